"""Tenants as the configuration has them, and as JupyterHub sees them: its groups."""

import pytest

from tests.integration.hub.test_servers import hub_headers
from tests.platform import Platform

pytestmark = pytest.mark.timeout(180)


def groups(platform: Platform, name: str) -> set[str]:
    """Return the groups that the hub has somebody in who signs in now."""
    with platform.browser(name) as browser:
        answer = browser.get("/hub/api/user", headers=hub_headers(browser))
        assert answer.status_code == 200, answer.text
        return set(answer.json()["groups"])


def test_everybody_joins_a_tenant_of_another_name_and_administrators_alone_make_more() -> None:
    platform = Platform(environment=False)
    said = 'default_tenant = "physics"\n[tenants]\ncreated_by = "administrators"\n'
    (platform.state / "kqi-hub.toml").write_text(said)
    with platform:
        platform.add_user("alice")
        platform.add_user("chief", "--admin")
        with platform.client("alice") as alice, platform.client("chief") as chief:
            me = alice.get("/me").json()
            assert (me["default_tenant"], [tenant["name"] for tenant in me["tenants"]]) == ("physics", ["physics"])
            refused = alice.post("/tenants", json={"name": "optics"})
            assert (refused.status_code, refused.json()["code"]) == (403, "not_permitted")
            assert chief.post("/tenants", json={"name": "optics"}).status_code == 201
            assert groups(platform, "alice") == {"physics"}
            member = "/tenants/optics/members/alice"
            assert chief.put(member, json={"role": "researcher"}).status_code in {200, 201, 204}
            assert groups(platform, "alice") == {"physics", "optics"}
            assert chief.delete(member).status_code == 204
            assert groups(platform, "alice") == {"physics"}
