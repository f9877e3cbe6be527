"""Accounts that were asked for: the first password is mailed where there is one, and never silently not."""

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from kqi_hub.directory.base import Entry
from kqi_hub.directory.local import LocalDirectory
from kqi_hub.identity.applications import ApplicationRow, keep
from kqi_hub.settings import load
from kqi_hub.testing.service import Running, free_port, running
from kqi_spawner.memory import MemoryBackend
from kqi_spawner.workload import Secret
from tests import database
from tests.integration.api.caller import Caller, signed_in
from tests.pki import Authority
from tests.servers.smtp import SmtpServer

_MAIL_PASSWORD = "canary-of-the-mail-password-51ae"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "pki")


@pytest.fixture
def mail_server(authority: Authority) -> Iterator[SmtpServer]:
    with SmtpServer(authority, "kqi", _MAIL_PASSWORD) as server:
        yield server


@pytest_asyncio.fixture
async def service(tmp_path: Path, authority: Authority, mail_server: SmtpServer) -> AsyncIterator[Running]:
    password = tmp_path / "mail-password"
    password.touch(mode=0o600)
    password.write_text(_MAIL_PASSWORD)
    smtp = {"host": "localhost", "port": mail_server.port, "user": "kqi", "password_file": password}
    settings = load(
        environ={},
        state=tmp_path / "state",
        server={"port": free_port()},
        database=database.fresh(),
        outbound={"ca_file": authority.certificate, "private_networks": ["127.0.0.1/32", "::1/128"]},
        smtp={**smtp, "sender": "kqi@example.org"},
    )
    async with running(settings, MemoryBackend()) as found:
        yield found


async def asked_for(service: Running, email: str) -> int:
    async with service.database.write() as session:
        words = {"category": "student", "affiliation": "", "terms": "1", "language": "en", "address": "192.0.2.1"}
        row = ApplicationRow(name="Hanako Yamada", email=email, **words)
        assert await keep(session, row, at_most=10)
        return row.id


@pytest_asyncio.fixture
async def root(service: Running) -> AsyncIterator[Caller]:
    async with await signed_in(service, "root", "sandbox", administrator=True) as caller:
        yield caller


async def test_the_first_password_is_mailed_and_opens_the_account(
    service: Running, root: Caller, mail_server: SmtpServer
) -> None:
    number = await asked_for(service, "hanako@example.org")
    done = await root.post(f"/admin/applications/{number}/approve", {"user": "hanako", "send": True}, 200)
    assert (done["sent"], done["password"], done["application"]["state"]) == (True, None, "approved")
    (mail,) = mail_server.mails
    assert "To: hanako@example.org" in mail
    given = re.search(r"first sign-in: (\S+)", mail)
    assert given
    entered = await LocalDirectory(service.database, service.settings.sign_in).verify("hanako", Secret(given[1]))
    assert isinstance(entered, Entry) and entered.must_change


async def test_a_password_that_could_not_be_mailed_is_in_the_answer(
    service: Running, root: Caller, mail_server: SmtpServer
) -> None:
    mail_server.password = "another since"
    number = await asked_for(service, "hanako@example.org")
    done = await root.post(f"/admin/applications/{number}/approve", {"user": "hanako", "send": True}, 200)
    assert done["password"] and not done["sent"] and not mail_server.mails


async def test_nothing_is_promised_to_be_sent_of_an_account_that_is_made_elsewhere(
    service: Running, root: Caller, mail_server: SmtpServer
) -> None:
    number = await asked_for(service, "hanako@example.org")
    where, body = f"/admin/applications/{number}/approve", {"user": "hanako", "make": False}
    assert (await root.post(where, {**body, "send": True}, 422))["code"] == "application_made_elsewhere"
    assert (await root.get("/admin/applications"))["items"][0]["state"] == "waiting"
    done = await root.post(where, body, 200)
    assert (done["application"]["state"], done["password"], done["sent"]) == ("approved", None, False)
    approved = await root.client.get("/admin/applications/ldif", params={"state": "approved"})
    assert "uid: hanako" in approved.text and "userPassword" not in approved.text
    assert not mail_server.mails
