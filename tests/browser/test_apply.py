"""The form by which somebody asks for an account, in a real browser without scripts."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from kqi_hub.i18n import text
from tests.browser.conftest import LETTERS, NewPage
from tests.platform import Platform

Picture = Callable[[Page, str], None]


@pytest.mark.parametrize("language", ["en", "ja", "zh"])
def test_somebody_asks_for_an_account(
    language: str, platform: Platform, new_page: NewPage, picture: Picture, faults: list[str]
) -> None:
    page = new_page(language, scripts=False)
    page.goto("/hub/login")
    page.get_by_role("link", name=text("apply.link", language)).click()
    page.fill("#name", "山田 花子")
    page.fill("#email", f"{language}@example")
    page.select_option("#category", "student")
    page.fill("#affiliation", "Example University")
    page.check("input[name=terms]")
    page.get_by_role("button", name=text("apply.send", language)).click()
    alert = page.get_by_role("alert")
    assert LETTERS[language].search(alert.inner_text())
    expect(page.locator("#name")).to_have_value("山田 花子")
    picture(page, f"apply-{language}")
    page.fill("#email", f"{language}@example.org")
    page.get_by_role("button", name=text("apply.send", language)).click()
    expect(page.get_by_role("status")).to_have_text(text("apply.done", language))
    picture(page, f"applied-{language}")
    assert [fault for fault in faults if "400" not in fault] == []
