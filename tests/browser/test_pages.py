"""Every page that is ours, in a real browser and in three languages."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from kqi_hub.i18n import text
from tests.browser.conftest import LETTERS, NewPage
from tests.platform import PASSWORD, Platform

LANGUAGES = pytest.mark.parametrize("language", ["en", "ja", "zh"])
Picture = Callable[[Page, str], None]
HOME = re.compile(r"/services/kqi/$")


def sign_in(page: Page, name: str, password: str = PASSWORD) -> None:
    page.goto("/")
    page.fill("#username", name)
    page.fill("#password", password)
    page.click("form button")


@LANGUAGES
def test_sign_in_without_scripts(language: str, new_page: NewPage, picture: Picture, faults: list[str]) -> None:
    page = new_page(language, scripts=False)
    sign_in(page, "alice", "wrong")
    alert = page.get_by_role("alert")
    assert LETTERS[language].search(alert.inner_text())
    assert "alice" not in alert.inner_text()
    assert page.locator("html").get_attribute("lang") == language
    picture(page, f"login-{language}")
    page.fill("#password", PASSWORD)
    page.click("form button")
    page.wait_for_url(HOME)
    expect(page.get_by_role("heading", name=text("page.welcome", language, {"name": "alice"}))).to_be_visible()
    picture(page, f"home-{language}")
    page.get_by_role("link", name=text("page.sign_out", language, {"name": "alice"})).click()
    page.goto("/services/kqi/")
    expect(page.locator("#password")).to_be_visible()
    assert [fault for fault in faults if "403" not in fault] == []


def test_a_language_that_was_chosen_stays_before_and_after_signing_in(new_page: NewPage) -> None:
    page = new_page("en")
    page.goto("/")
    page.get_by_role("link", name="日本語").click()
    page.fill("#username", "alice")
    page.fill("#password", PASSWORD)
    page.get_by_role("button", name="ログイン").click()
    page.wait_for_url(HOME)
    expect(page.get_by_role("link", name=text("page.lab_open", "ja"))).to_be_visible()
    page.get_by_role("link", name="中文").click()
    expect(page.get_by_role("link", name=text("page.lab_open", "zh"))).to_be_visible()
    page.goto("/hub/no-such-page")
    expect(page.get_by_text(text("page.not_found", "zh"))).to_be_visible()
    page.goto("/services/kqi/client")
    expect(page.get_by_text(text("page.client_note", "zh"))).to_be_visible()


@LANGUAGES
def test_the_tenant_is_switched_without_scripts(
    language: str, platform: Platform, new_page: NewPage, picture: Picture, faults: list[str]
) -> None:
    with platform.client("bob") as client:
        client.post("/tenants", json={"name": f"group-{language}", "display_name": f"Group {language}"})
    page = new_page(language, scripts=False, width=360)
    sign_in(page, "bob")
    page.wait_for_url(HOME)
    page.get_by_label(text("page.tenant", language)).select_option(f"group-{language}")
    page.get_by_role("button", name=text("page.tenant_switch", language)).click()
    page.wait_for_url(HOME)
    expect(page.get_by_label(text("page.tenant", language))).to_have_value(f"group-{language}")
    picture(page, f"tenant-{language}")
    assert faults == []


def test_a_small_telephone_shows_everything(new_page: NewPage, picture: Picture) -> None:
    page = new_page("ja", width=360)
    page.goto("/")
    picture(page, "login-small")
    sign_in(page, "alice")
    page.wait_for_url(HOME)
    picture(page, "home-small")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


@LANGUAGES
def test_the_password_one_was_given_must_be_changed_first(
    language: str, platform: Platform, new_page: NewPage, picture: Picture, faults: list[str]
) -> None:
    name = f"new-{language}"
    given = re.search(r"password: (\S+)", platform.command("user", "add", name).stdout)
    assert given
    page = new_page(language, scripts=False)
    sign_in(page, name, given[1])
    page.wait_for_url(re.compile("/hub/kqi/first-password"))
    for new, again in (("short", "short"), (PASSWORD, PASSWORD + "x")):
        page.fill("#old", given[1])
        page.fill("#new", new)
        page.fill("#again", again)
        page.click("form button")
        assert LETTERS[language].search(page.get_by_role("alert").inner_text())
    picture(page, f"first-password-{language}")
    page.goto("/services/kqi/")
    expect(page.locator("#username")).to_be_visible()  # not signed in by the password that was given
    sign_in(page, name, given[1])
    page.fill("#old", given[1])
    page.fill("#new", PASSWORD)
    page.fill("#again", PASSWORD)
    page.click("form button")
    page.wait_for_url(HOME)
    assert [fault for fault in faults if "400" not in fault] == []


@LANGUAGES
def test_what_people_typed_is_shown_as_text(
    language: str, platform: Platform, new_page: NewPage, faults: list[str]
) -> None:
    title = f"<img src=x onerror=alert(1)> \"'&{{{{7*7}}}} {language} 学习"
    with platform.client("alice") as client:
        client.post("/trainings", json={"title": title, "command": "true"}).raise_for_status()
    page = new_page(language)
    page.on("dialog", lambda dialog: faults.append(dialog.message))
    sign_in(page, "alice")
    page.wait_for_url(HOME)
    expect(page.get_by_role("cell", name=title, exact=True)).to_be_visible()
    assert faults == []


@LANGUAGES
def test_a_program_is_let_in_by_its_code(
    language: str, platform: Platform, new_page: NewPage, picture: Picture, tmp_path: Path, faults: list[str]
) -> None:
    """`kqi login` shows an address; who opens it signs in, compares the code and approves."""
    words = [sys.executable, "-m", "kqi", "login", platform.url, "--name", f"laptop {language}"]
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "KQI_LANG": "en", "COLUMNS": "200"}
    program = subprocess.Popen(words, env=environment, text=True, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert program.stderr
        told = program.stderr.readline() + program.stderr.readline()
        address = re.search(r"http\S+", told)
        assert address, told
        page = new_page(language)
        page.goto(address[0])
        page.fill("#username", "bob")
        page.fill("#password", PASSWORD)
        page.click("form button")
        expect(page.get_by_text(f"laptop {language}")).to_be_visible()
        picture(page, f"device-{language}")
        page.get_by_role("button", name=text("page.device_approve", language)).click()
        expect(page.get_by_text(text("page.device_approved", language))).to_be_visible()
        out, err = program.communicate(timeout=60)
        assert program.returncode == 0 and "bob" in out + err
    finally:
        program.kill()
        program.wait()
    assert faults == []


def test_the_page_for_laptops_gives_a_command_that_installs(
    platform: Platform, new_page: NewPage, picture: Picture, tmp_path: Path
) -> None:
    page = new_page("ja")
    page.goto("/services/kqi/client")
    picture(page, "client-ja")
    line = page.locator("pre").inner_text().splitlines()[0]
    wheel = re.fullmatch(r"pip install (\S+)", line)
    assert wheel
    target = tmp_path / "site"
    words = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", target, wheel[1]]
    subprocess.run(words, check=True)
    names = {path.relative_to(target).parts[0] for path in target.rglob("*.py")}
    assert names == {"kqi"}
    told = subprocess.run(
        [sys.executable, "-c", "import kqi; print(kqi.__file__)"],
        env={"PYTHONPATH": str(target)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.startswith(str(target))
