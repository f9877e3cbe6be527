"""Who must change a password of the directory, in a real browser."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from tests import slapd
from tests.browser.conftest import NewPage
from tests.integration.directory.conftest import platform_over
from tests.platform import Platform
from tests.slapd import PASSWORD, Slapd

pytestmark = pytest.mark.browser
NEW = "another horse battery"


@pytest.fixture(scope="session")
def platform() -> Iterator[Platform]:
    server = Slapd()
    people = [slapd.person(name, 10000 + number, pwdReset="TRUE") for number, name in enumerate(("ja", "en", "zh"))]
    server.load([*slapd.tree(), *people])
    with server, platform_over(server) as found:
        yield found


@pytest.mark.parametrize(("language", "short"), [("ja", "短すぎます"), ("en", "too short"), ("zh", "太短")])
def test_the_way_in_leads_through_the_change(
    new_page: NewPage, picture: Callable[[Page, str], None], language: str, short: str
) -> None:
    page = new_page(language, scripts=False)
    page.goto("/hub/login")
    page.fill("#username", language)
    page.fill("#password", PASSWORD)
    page.click("button")
    page.wait_for_url("**/hub/kqi/first-password**")
    picture(page, f"directory-change-{language}")
    for new in ("short", NEW):
        page.fill("#old", PASSWORD)
        page.fill("#new", new)
        page.fill("#again", new)
        page.click("button")
        if new == "short":
            expect(page.get_by_role("alert")).to_contain_text(short)
            picture(page, f"directory-refused-{language}")
    page.wait_for_url("**/services/kqi/")
