"""Whatever changes something leaves an entry in the audit log, and no entry holds a secret."""

from typing import Any

import pytest

from kqi_hub.testing.service import Running
from tests.integration.api.caller import Caller
from tests.integration.api.recorded import ACCOUNTS, GROUPS, SHARES, Around, Step, around_of

pytestmark = pytest.mark.asyncio(loop_scope="session")
_CHANGING = {"post", "put", "patch", "delete"}
# Reviewed: they change nothing that anybody else could see, until another operation, which is on record, uses it.
NOT_ON_RECORD = {
    "find_blobs": "asks which contents are there",
    "upload_batch": "bytes that no data names yet",
    "start_upload": "bytes that no data names yet",
    "put_part": "bytes that no data names yet",
    "complete_upload": "bytes that no data names yet",
    "preview_sync": "says what would change",
    "test_notification": "sends a message to the person who asks",
    "start_device": "a code that nobody has approved; its approval and its token are on record",
}
# On record as well, where they are tested with what they need: a hub, or a form.
ELSEWHERE = {
    "redeem_device": "tests of signing in with a device",
    "approve_application": "tests of applications",
    "decline_application": "tests of applications",
    "import_ssh_keys": "tests of keys, with a server",
    "publish_terms": "tests of terms, for they keep everybody out",
    "accept_terms": "tests of terms",
}
SECRET = "a-marked-secret-"


async def _data(around: Around) -> Any:
    around.made["data"] = (await around.alice.data({"a.txt": b"a"}))["id"]
    around.made["more"] = {"files": await around.alice.upload({"b.txt": b"b"})}
    around.made["entries"] = {"splits": {"training": [around.made["data"]]}}


async def _dataset(around: Around) -> Any:
    made = await around.alice.dataset({"splits": {"training": [around.made["data"]]}})
    around.made["dataset"] = made["id"]


async def _training(around: Around) -> Any:
    environment = {"PASSWORD": f"{SECRET}variable"}
    run = await around.alice.train("sleep 600", environment=environment)
    around.made["training"] = run["id"]


async def _copied(around: Around) -> Any:
    made = await around.alice.post(f"/trainings/{around.made['training']}/copy", {})
    await around.alice.post(f"/trainings/{made['id']}/stop", {"mode": "kill"}, 200)


async def _notebook(around: Around) -> Any:
    small = {"cpu": 0.1, "memory_gb": 0.25}
    around.made["notebook"] = (await around.alice.post("/notebooks", {"title": "n", "resources": small}))["id"]


async def _ended(around: Around, kind: str) -> None:
    await around.alice.ended(around.made[kind], f"{kind}s")
    await around.alice.delete(f"/{kind}s/{around.made[kind]}")


async def _again(around: Around) -> Any:
    place = f"/notebooks/{around.made['notebook']}"
    await around.alice.ended(around.made["notebook"], "notebooks")
    await around.alice.post(f"{place}/start", None, 200)
    await around.alice.post(f"{place}/stop", {"mode": "kill"}, 200)


async def _attach(around: Around, method: str, kind: str = "training") -> Any:
    place = f"/{kind}s/{around.made[kind]}/attachments/note.txt"
    answer = await around.alice.client.request(method, place, content=b"x" if method == "PUT" else None)
    assert answer.status_code == 204, answer.text


async def _delete_data(around: Around) -> Any:
    made = await around.alice.data({"c.txt": b"c"})
    await around.alice.delete(f"/data/{made['id']}")


async def _revoke(around: Around) -> Any:
    made = await around.alice.post("/tokens", {"name": "short"})
    around.secrets.append(made["token"])
    await around.alice.delete(f"/tokens/{made['info']['id']}")


async def _token(around: Around) -> Any:
    made = await around.alice.post("/tokens", {"name": "ci"})
    around.secrets.append(made["token"])
    around.made["token"] = made["info"]["id"]


async def _person(around: Around) -> Any:
    made = await around.admin.post("/admin/people", {"name": around.person})
    around.secrets.append(made["password"])


async def _password(around: Around) -> Any:
    made = await around.admin.post(f"/admin/people/{around.person}/password", {}, 200)
    around.secrets.append(made["password"])


def _admin(method: str, path: str, body: Any, status: int = 200) -> Step:
    async def step(around: Around) -> Any:
        place = f"/admin/people/{around.person}{path}"
        if method == "post":
            return await around.admin.post(place, body, status)
        return await around.admin.delete(place, status) if method == "delete" else await around.admin.patch(place, body)

    return step


async def _gone(around: Around) -> Any:
    other = await around.alice.post("/tokens", {"name": "for this call"})
    around.secrets.append(other["token"])
    headers = {"Authorization": f"Bearer {other['token']}"}
    answer = await around.alice.client.delete("/tokens/current", headers=headers)
    assert answer.status_code == 204, answer.text


async def _session(around: Around) -> Any:
    await around.admin.delete(f"/admin/people/{around.alice.name}/sessions/token-{around.made['token']}", 204)


# In this order, for each stands on those before it.
STEPS: dict[str, Step] = {
    "create_data": _data,
    "change_data": lambda a: a.alice.patch(f"/data/{a.made['data']}", {"memo": "m"}),
    "add_files": lambda a: a.alice.post(f"/data/{a.made['data']}/files", a.made["more"], 200),
    "remove_files": lambda a: a.alice.post(f"/data/{a.made['data']}/files/remove", {"paths": ["b.txt"]}, 200),
    "set_data_types": lambda a: a.admin.put("/data-types", {"names": ["training", "validation", "testing"]}),
    "create_dataset": _dataset,
    "replace_entries": lambda a: a.alice.put(f"/datasets/{a.made['dataset']}/entries", a.made["entries"]),
    "add_version": lambda a: a.alice.post(f"/datasets/{a.made['dataset']}/versions", a.made["entries"]),
    "change_dataset": lambda a: a.alice.patch(f"/datasets/{a.made['dataset']}", {"memo": "m"}),
    "copy_dataset": lambda a: a.alice.post(f"/datasets/{a.made['dataset']}/copy", {"name": "copy"}),
    **{name: SHARES[name] for name in SHARES if "data" in name},
    "create_token": _token,
    "change_me": lambda a: a.alice.patch("/me", {"display_name": "Alice"}),
    "create_training": _training,
    "copy_training": _copied,
    "change_training": lambda a: a.alice.patch(f"/trainings/{a.made['training']}", {"memo": "m"}),
    **{name: SHARES[name] for name in SHARES if "training" in name},
    "stop_training": lambda a: a.alice.post(f"/trainings/{a.made['training']}/stop", {"mode": "kill"}, 200),
    "put_training_attachment": lambda a: _attach(a, "PUT"),
    "delete_training_attachment": lambda a: _attach(a, "DELETE"),
    "delete_training": lambda a: _ended(a, "training"),
    "create_notebook": _notebook,
    "change_notebook": lambda a: a.alice.patch(f"/notebooks/{a.made['notebook']}", {"memo": "m"}),
    **{name: SHARES[name] for name in SHARES if "notebook" in name},
    "stop_notebook": lambda a: a.alice.post(f"/notebooks/{a.made['notebook']}/stop", {"mode": "kill"}, 200),
    "start_notebook": lambda a: _again(a),
    "put_notebook_attachment": lambda a: _attach(a, "PUT", "notebook"),
    "delete_notebook_attachment": lambda a: _attach(a, "DELETE", "notebook"),
    "delete_notebook": lambda a: _ended(a, "notebook"),
    "delete_dataset": lambda a: a.alice.delete(f"/datasets/{a.made['dataset']}"),
    "delete_data": lambda a: _delete_data(a),
    "end_session": _session,
    "revoke_token": lambda a: _revoke(a),
    "revoke_current_token": _gone,
    **ACCOUNTS,
    **GROUPS,
    "create_person": _person,
    "change_person": _admin("patch", "", {"email": "x@example.org"}),
    "renew_password": _password,
    "unlock_person": _admin("post", "/unlock", None),
    "end_sessions": _admin("delete", "/sessions", None),
    "suspend_person": _admin("post", "/suspend", {"reason": "r"}),
    "resume_person": _admin("post", "/resume", None),
    "hand_over": lambda a: a.admin.post(f"/admin/people/{a.person}/hand-over", {"to": a.alice.name}, 202),
    "delete_person": _admin("post", "/delete", {}, 202),
}


# What is looked for where a step does more than the one thing.
ACTIONS = {
    "copy_training": "run.submit",
    "delete_training": "run.delete",
    "start_notebook": "run.start_again",
    "delete_notebook": "run.delete",
    "delete_data": "data.delete",
    "revoke_token": "token.revoke",
    "revoke_current_token": "token.revoke",
    "get_git_credential": "credential.hand_out",
}


async def newest(admin: Caller) -> int:
    found = (await admin.get("/admin/audit", params={"limit": 1}))["items"]
    return int(found[0]["id"]) if found else 0


async def test_whatever_changes_something_is_on_record_and_no_entry_holds_a_secret(
    service: Running, alice: Caller
) -> None:
    around = await around_of(service, alice)
    admin = around.admin
    # Requests that were made up at random may have removed the one that every platform begins with.
    await admin.put("/servers/git/github", {"kind": "github", "url": "https://github.com"})
    unrecorded = []
    for name, step in STEPS.items():
        before = await newest(admin)
        await step(around)
        found = (await admin.get("/admin/audit", params={"limit": 50}))["items"]
        actions = {item["action"] for item in found if item["id"] > before and not item["refused"]}
        if not actions or (name in ACTIONS and ACTIONS[name] not in actions):
            unrecorded.append(name)
    assert unrecorded == []
    lines = (await admin.client.get("/admin/audit/export")).text
    assert not [secret for secret in [*around.secrets, SECRET] if secret in lines]


async def test_every_changing_operation_is_looked_at_here(service: Running, alice: Caller) -> None:
    document = await alice.get("/openapi.json")
    changing = {
        operation["operationId"]
        for methods in document["paths"].values()
        for method, operation in methods.items()
        if method in _CHANGING
    }
    looked_at = STEPS.keys() | NOT_ON_RECORD.keys() | ELSEWHERE.keys()
    assert changing - looked_at == set()
    assert looked_at - changing == set()
