"""The front page shows where one works, and lets one work elsewhere."""

import html
import re

import httpx
import pytest

from tests.platform import Platform, problem

HOME = "/services/kqi/"


def form_of(page: str) -> tuple[str, dict[str, str], str]:
    """Return where the form goes to, the titles of its tenants by their names, and the one that is chosen."""
    action = re.search(r'action="(/services/kqi/tenant[^"]*)"', page)
    assert action, page
    options = re.findall(r'<option value="([^"]+)"( selected)?>([^<]+)<', page)
    titles = {name: html.unescape(title) for name, _, title in options}
    (chosen,) = [name for name, selected, _ in options if selected]
    return html.unescape(action[1]), titles, chosen


def test_the_front_page_switches_the_tenant_for_all_programs(hub_platform: Platform) -> None:
    hub_platform.add_user("grace")
    with hub_platform.browser("grace") as browser, hub_platform.client("grace") as program:
        assert "<select" not in browser.get(HOME).text  # with one tenant there is nothing to choose
        for name in ("optics", "shelved"):
            made = program.post("/tenants", json={"name": name, "display_name": f"<{name}> & co"})
            assert made.status_code == 201, made.text
        assert program.post("/tenants/shelved/archive").status_code == 200
        action, titles, chosen = form_of(browser.get(HOME).text)
        assert titles["optics"] == "<optics> & co (optics)" and chosen == "sandbox" and "shelved" not in titles
        switched = browser.post(action, data={"tenant": "optics"})
        assert (switched.status_code, switched.url.path) == (200, HOME)
        assert form_of(switched.text)[2] == "optics"
        assert program.get("/me").json()["default_tenant"] == "optics"
        run = program.post("/trainings", json={"command": "true"}).json()
        assert run["tenant"] == "optics"
    hub_platform.add_user("onlooker", "--admin")
    with hub_platform.client("onlooker") as auditor:
        asked = {"person": "grace", "action": "account.change"}
        (entry,) = auditor.get("/admin/audit", params=asked).json()["items"]
        assert entry["details"] == {"fields": ["default_tenant"]}


@pytest.mark.parametrize(
    ("fields", "status"), [({"tenant": "nobody-has-it"}, 404), ({"tenant": "a\nb"}, 422), ({}, 422)]
)
def test_only_to_a_tenant_of_ones_own(hub_platform: Platform, fields: dict[str, str], status: int) -> None:
    with hub_platform.browser("carol") as browser:
        csrf = browser.get("/services/kqi/session").text
        assert browser.post(f"/services/kqi/tenant?_csrf={csrf}", data=fields).status_code == status
        assert browser.get("/services/kqi/api/v1/me").json()["default_tenant"] == "sandbox"


def test_a_switch_needs_the_token_of_its_form(hub_platform: Platform) -> None:
    with hub_platform.browser("carol") as browser:
        forged = browser.post("/services/kqi/tenant", data={"tenant": "sandbox"})
        assert (forged.status_code, problem(forged)) == (403, "csrf_token_missing")
    nobody = httpx.post(f"{hub_platform.url}/services/kqi/tenant", data={"tenant": "sandbox"})
    assert nobody.status_code == 401
