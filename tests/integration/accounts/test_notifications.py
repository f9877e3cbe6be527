"""People are told of the end of their runs, by servers that they name, and the platform goes nowhere else."""

import asyncio
import hashlib
import hmac
import json
import socket
import threading
from email import message_from_bytes
from email.policy import default
from typing import Any

import pytest
from sqlalchemy import select

from kqi_hub.notify.rows import NoticeRow, TargetRow
from kqi_hub.testing.service import Running
from tests.integration.api.caller import Caller
from tests.servers.https import HttpsServer, Reply
from tests.servers.smtp import SmtpServer

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def add(caller: Caller, address: str, kind: str = "webhook", **more: Any) -> Any:
    return await caller.post("/notifications", {"kind": kind, "name": "mine", "address": address, **more})


async def test_a_chat_a_webhook_and_a_mail_address_are_told_of_the_end(
    alice: Caller, outside: HttpsServer, mail_server: SmtpServer
) -> None:
    await alice.patch("/me", {"language": "ja"})
    for path in ("/services/T0/canary-chat", "/hook/canary"):
        outside.replies[path] = Reply()
    await add(alice, f"{outside.url}/services/T0/canary-chat", "slack", mention="<@U1>")
    hook = await add(alice, f"{outside.url}/hook/canary", events=["completed"])
    await add(alice, "alice@example.org", "email", events=["completed"])
    assert "canary" not in str(await alice.get("/notifications"))
    before = len(outside.received)
    run = await alice.train("true", title="<b> & *x*")
    await alice.ended(run["id"])
    found = {request.path: request for request in (await asyncio.to_thread(outside.wait, before + 2))[before:]}
    chat = json.loads(found["/services/T0/canary-chat"].body)
    assert chat["text"] == "<@U1>" and "&lt;b&gt; &amp;" in chat["attachments"][0]["text"]
    assert "完了" in chat["attachments"][0]["fallback"]
    request = found["/hook/canary"]
    assert json.loads(request.body)["phase"] == "completed" and json.loads(request.body)["number"] == run["id"]
    signed = f"{request.headers['x-kqi-timestamp']}.".encode() + request.body
    made = hmac.new(hook["key"].encode(), signed, hashlib.sha256).hexdigest()
    assert request.headers["x-kqi-signature"] == f"sha256={made}"
    await asyncio.to_thread(mail_server.wait)
    assert "To: alice@example.org" in mail_server.mails[0] and "From: kqi@example.org" in mail_server.mails[0]


async def test_the_reason_is_told_in_the_words_of_the_reader(
    alice: Caller, outside: HttpsServer, mail_server: SmtpServer
) -> None:
    await alice.patch("/me", {"language": "zh"})
    for path, kind in (("/why-hook", "webhook"), ("/why-chat", "slack")):
        outside.replies[path] = Reply()
        await add(alice, outside.url + path, kind, events=["failed"])
    await add(alice, "why@example.org", "email", events=["failed"])
    before = len(outside.received)
    run = await alice.train("exit 3")
    await alice.ended(run["id"])
    found = {one.path: json.loads(one.body) for one in (await asyncio.to_thread(outside.wait, before + 2))[before:]}
    why = (await alice.get(f"/trainings/{run['id']}"))["explanation"]
    assert "3" in why and why != "exit_code"
    assert found["/why-hook"]["explanation"] == why and found["/why-hook"]["reason"] == "exit_code"
    assert "explanations" not in found["/why-hook"]
    assert found["/why-chat"]["attachments"][0]["text"].endswith(why)
    sent = await asyncio.to_thread(mail_server.wait_for, "why@example.org")
    body = message_from_bytes(sent.encode(), policy=default).get_content()
    assert why in body and "exit_code" not in body


async def test_only_the_ends_that_one_wants_to_hear_of_are_told(
    service: Running, alice: Caller, outside: HttpsServer
) -> None:
    outside.replies["/failed"] = Reply()
    made = await add(alice, f"{outside.url}/failed", events=["failed"])
    await alice.ended((await alice.train("true"))["id"])
    failed = await alice.train("exit 3")
    await alice.ended(failed["id"])
    while not [request for request in outside.received if request.path == "/failed"]:
        await asyncio.to_thread(outside.wait, len(outside.received) + 1)
    told = [json.loads(request.body)["number"] for request in outside.received if request.path == "/failed"]
    assert told == [failed["id"]]
    target = made["target"]["id"]
    await alice.patch(f"/notifications/{target}", {"events": []})
    await alice.delete(f"/notifications/{target}")
    async with service.database.read() as session:
        assert (await session.execute(select(NoticeRow).where(NoticeRow.target_id == target))).all() == []


async def test_what_cannot_be_told_is_tried_again_and_says_why(
    service: Running, alice: Caller, outside: HttpsServer
) -> None:
    outside.replies["/broken"] = Reply(status=500)
    made = await add(alice, f"{outside.url}/broken", events=["completed"])
    before = len(outside.received)
    await alice.ended((await alice.train("true"))["id"])
    await asyncio.to_thread(outside.wait, before + 1)
    while not (row := await _target(service, made["target"]["id"])).fault:
        pass
    assert "500" in row.fault and "broken" not in row.fault
    async with service.database.read() as session:
        query = select(NoticeRow).where(NoticeRow.target_id == row.id)
        notice = (await session.execute(query)).scalar_one()
    assert notice.tries == 1


async def test_the_test_button_tells_what_is_wrong_and_is_not_pressed_all_day(
    alice: Caller, stranger: Caller, outside: HttpsServer
) -> None:
    outside.replies["/good"] = Reply(status=204)
    good = (await add(alice, f"{outside.url}/good"))["target"]["id"]
    bad = (await add(alice, f"{outside.url}/none"))["target"]["id"]
    tested = await alice.post(f"/notifications/{good}/test", status=200)
    assert tested["told_at"] and json.loads(outside.received[-1].body)["event"] == "test"
    refused = await alice.post(f"/notifications/{bad}/test", status=422)
    assert refused["code"] == "notify_refused" and refused["params"]["status"] == 404
    await stranger.post(f"/notifications/{good}/test", status=404)
    last = [(await alice.client.post(f"/notifications/{good}/test")).status_code for _ in range(12)]
    assert last[0] == 200 and last[-1] == 429


@pytest.mark.parametrize(
    "address",
    [
        "http://localhost/",
        "https://name:password@localhost/",
        "file:///etc/passwd",
        "https://",
        "https://local host/",
        "gopher://localhost/",
    ],
)
async def test_addresses_that_are_none_are_refused(alice: Caller, address: str) -> None:
    refused = await alice.post("/notifications", {"kind": "webhook", "name": "x", "address": address}, 422)
    assert refused["code"] == "url_not_valid" and "password@" not in str(refused)


async def test_the_platform_connects_to_nothing_of_the_inside(alice: Caller) -> None:
    """127.0.0.1 alone is allowed here; whoever listens at another address of loopback hears nothing."""
    heard = threading.Event()
    with socket.socket() as canary:
        canary.bind(("127.0.0.2", 0))
        canary.listen()
        canary.settimeout(0.1)
        port = canary.getsockname()[1]
        hosts = [
            *("127.0.0.2", "2130706434", "0x7f000002", "0177.0.0.2", "127.2", "[::ffff:127.0.0.2]", "[::127.0.0.2]"),
            *("[::ffff:7f00:2]", "0.0.0.0", "10.0.0.1", "169.254.169.254", "[fe80::1]", "[fd00::1]", "192.168.0.1"),
            *("[64:ff9b::7f00:2]", "[2002:7f00:2::]", "100.64.0.1", "224.0.0.1", "255.255.255.255", "[::]"),
        ]
        for host in hosts:
            made = (await add(alice, f"https://{host}:{port}/"))["target"]["id"]
            answer = await alice.client.post(f"/notifications/{made}/test")
            if answer.status_code == 429:
                break
            assert answer.json()["code"] == "outbound_failed", (host, answer.text)
            await alice.delete(f"/notifications/{made}")
        try:
            canary.accept()
            heard.set()
        except TimeoutError:
            pass
    assert not heard.is_set()


async def _target(service: Running, number: int) -> TargetRow:
    async with service.database.read() as session:
        return await session.get_one(TargetRow, number)
