"""A real browser on the real platform. `KQI_PICTURES=folder` keeps a picture of every page that a test looked at."""

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.demo.lab import FLAGS, chromium
from tests.platform import Platform

LOCALES = {"en": "en-US", "ja": "ja-JP", "zh": "zh-CN"}
LETTERS = {"en": re.compile(r"\b[a-z]{3,}\b"), "ja": re.compile("[ぁ-んァ-ン]"), "zh": re.compile("[一-龥]")}
NewPage = Callable[..., Page]
expect.set_options(timeout=60_000)  # a whole Lab loads while the other processor starts a platform


@pytest.fixture(scope="session")
def platform() -> Iterator[Platform]:
    settings = {"KQI_HUB__SIGN_IN__ATTEMPTS_PER_MINUTE": "1000", "KQI_HUB__APPLICATIONS__ENABLED": "true"}
    with Platform(**settings) as found:
        for name in ("alice", "bob"):
            found.add_user(name)
        yield found


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    """Not for the whole session: Playwright keeps an event loop running, beside which no other can."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def faults() -> list[str]:
    """What the pages of a test complained of in the console; must stay empty."""
    return []


@pytest.fixture
def new_page(chrome: Browser, platform: Platform, faults: list[str]) -> Iterator[NewPage]:
    """Open a page of a fresh browser profile in a language, with or without scripts."""
    opened = []

    def make(language: str = "en", *, scripts: bool = True, width: int = 1280) -> Page:
        context = chrome.new_context(
            locale=LOCALES[language],
            java_script_enabled=scripts,
            base_url=platform.url,
            viewport={"width": width, "height": 800},
        )
        opened.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        return page

    yield make
    for context in opened:
        context.close()


@pytest.fixture
def picture(request: pytest.FixtureRequest) -> Callable[[Page, str], None]:
    """Keep a picture of the page, and see that nothing sticks out to the right."""
    folder = Path(os.environ.get("KQI_PICTURES") or tempfile.mkdtemp(prefix="kqi-pictures-"))
    if "KQI_PICTURES" not in os.environ:
        request.addfinalizer(lambda: shutil.rmtree(folder))
    folder.mkdir(parents=True, exist_ok=True)

    def keep(page: Page, name: str) -> None:
        page.screenshot(path=str(folder / f"{name}.png"))
        size = page.viewport_size
        assert size
        box = page.locator("main, body").first.bounding_box()
        assert box and box["x"] >= 0 and box["x"] + box["width"] <= size["width"]

    return keep
