"""Bodies of tenants, accounts and administration that are fine as they are, but for a text that is put in."""

from typing import Any

from tests.integration.api.caller import Caller
from tests.integration.api.recorded import public_key

Bodies = dict[str, tuple[str, str, dict[str, Any]]]


async def bodies_of_groups(boss: Caller, data: int) -> Bodies:
    """Return those of a manager of a tenant who is an administrator, too."""
    place, subject = f"/tenants/{boss.tenant}", f"subject-of-{boss.tenant}"
    await boss.post("/admin/people", {"name": subject})
    return {
        "CreateTenant": ("POST", "/tenants", {"name": f"{boss.tenant}-more"}),
        "ChangeTenant": ("PATCH", place, {}),
        "SetMember": ("PUT", f"{place}/members/{subject}", {"role": "user"}),
        "AskToJoin": ("POST", f"{place}-more/request", {}),
        "DefineServer": ("PUT", f"/servers/git/{boss.tenant}", {"kind": "any", "url": "https://git.example.org"}),
        "SetTenantServers": ("PUT", f"{place}/servers", {}),
        "SetPlacement": ("PUT", f"{place}/placement", {}),
        "EraseTenant": ("POST", f"{place}/erase", {"name": "another"}),
        "SetRoles": ("PUT", "/roles", {"roles": [{"name": "r", "level": "tenant", "capabilities": []}]}),
        "SetPlatformRole": ("PUT", f"/roles/people/{subject}", {"role": None}),
        "CreateMapping": ("POST", "/mappings", {"kind": "group-direct", "value": "g", "role": "auditor"}),
        "ApplySync": ("POST", "/mappings/apply", {"digest": "0" * 64}),
        "ShareWith": ("POST", f"/data/{data}/shares", {"person": subject}),
        "CreateSomebody": ("POST", "/admin/people", {"name": subject}),
        "ChangeSomebody": ("PATCH", f"/admin/people/{subject}", {}),
        "Suspend": ("POST", f"/admin/people/{subject}/suspend", {}),
        "HandOver": ("POST", f"/admin/people/{subject}/hand-over", {"to": "nobody-at-all"}),
        "DeleteSomebody": ("POST", f"/admin/people/{subject}/delete", {"confirm": "another"}),
        "ApproveApplication": ("POST", "/admin/applications/1/approve", {"user": "somebody"}),
        "DeclineApplication": ("POST", "/admin/applications/1/decline", {"reason": "r"}),
        # Never whole, for terms in force would keep everybody out; whole ones are in the tests of terms.
        "TermsTexts": ("POST", "/terms", {"zh": ""}),
    }


async def bodies_of_an_account(alice: Caller) -> Bodies:
    hook = {"kind": "webhook", "name": "n", "address": "https://hooks.example.org/x"}
    target = (await alice.post("/notifications", hook))["target"]["id"]
    return {
        "AddSshKey": ("POST", "/ssh-keys", {"key": public_key()}),
        "ImportSshKeys": ("POST", "/ssh-keys/import", {"server": "nowhere", "account": "a"}),
        "SetCredential": ("PUT", "/credentials/git", {"server": "git.example.org", "secret": "s"}),
        "AskGitCredential": ("POST", "/git-credential", {"protocol": "https", "host": "git.example.org"}),
        "AddNotificationTarget": ("POST", "/notifications", hook),
        "ChangeNotificationTarget": ("PATCH", f"/notifications/{target}", {}),
    }
