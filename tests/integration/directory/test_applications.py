"""Accounts that were asked for: the first password is mailed where there is one, and never silently not."""

import logging
import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import select

from kqi_hub.directory.base import Entry, Refusal, Refused
from kqi_hub.directory.local import LocalDirectory
from kqi_hub.identity.applications import ApplicationRow, keep
from kqi_hub.settings import load
from kqi_hub.testing.service import Running, free_port, running
from kqi_spawner.memory import MemoryBackend
from kqi_spawner.workload import Secret
from tests import database, slapd
from tests.integration.api.caller import Caller, signed_in
from tests.integration.directory.conftest import Open
from tests.pki import Authority
from tests.servers.smtp import SmtpServer
from tests.slapd import PASSWORD, Slapd

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


def added(server: Slapd, text: str) -> None:
    """Add entries as an administrator of a directory does."""
    who = ["-x", "-H", f"ldap://127.0.0.1:{server.port}", "-D", slapd.ADMIN, "-w", slapd.ADMIN_PASSWORD]
    done = subprocess.run(["ldapadd", *who], input=text, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


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


async def test_the_first_password_of_an_account_of_a_directory_is_mailed_and_must_be_changed_there(
    service: Running, root: Caller, mail_server: SmtpServer, open_directory: Open, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    number = await asked_for(service, "hanako@example.org")
    body = {"user": "hanako", "make": False, "send": True}
    done = await root.post(f"/admin/applications/{number}/approve", body, 200)
    assert (done["sent"], done["password"]) == (True, None)
    (mail,) = mail_server.mails
    given = re.search(r"first sign-in: (\S+)", mail)
    assert given
    exported = (await root.client.get("/admin/applications/ldif", params={"state": "approved"})).text
    assert "pwdReset: TRUE" in exported and "{SSHA}" in exported.replace("\n ", "")
    made = Slapd()
    made.load(slapd.tree())
    with made as server:
        added(server, exported)
        directory = open_directory(server)
        entered = await directory.verify("hanako", Secret(given[1]))
        assert isinstance(entered, Entry) and entered.must_change
        assert await directory.verify("hanako", Secret("another one")) == Refused(why=Refusal.WRONG)
        assert await directory.change_password("hanako", Secret(given[1]), Secret(PASSWORD)) is None
        entered = await directory.verify("hanako", Secret(PASSWORD))
        assert isinstance(entered, Entry) and not entered.must_change
    await root.get("/admin/people/hanako", 404)  # no account of ours
    records = caplog.text + str(await root.get("/admin/audit")) + str(await root.get("/admin/applications"))
    assert given[1] not in records and "{SSHA}" not in records and given[1] not in exported
    async with service.database.read() as session:
        kept = (await session.execute(select(ApplicationRow.__table__))).all()
    assert given[1] not in str(kept) and "{SSHA}" in str(kept)


async def test_auditors_export_no_hashes(service: Running, root: Caller) -> None:
    number = await asked_for(service, "hanako@example.org")
    body = {"user": "hanako", "make": False, "send": True}
    await root.post(f"/admin/applications/{number}/approve", body, 200)
    async with await signed_in(service, "reader", "sandbox") as reader:
        await root.patch("/admin/people/reader", {"platform_role": "auditor"})
        exported = await reader.client.get("/admin/applications/ldif", params={"state": "approved"})
        assert "uid: hanako" in exported.text and "userPassword" not in exported.text


async def test_a_password_for_a_directory_that_could_not_be_mailed_is_in_the_answer(
    service: Running, root: Caller, mail_server: SmtpServer
) -> None:
    mail_server.password = "another since"
    number = await asked_for(service, "hanako@example.org")
    body = {"user": "hanako", "make": False, "send": True}
    done = await root.post(f"/admin/applications/{number}/approve", body, 200)
    assert done["password"] and not done["sent"]


async def test_an_account_that_is_made_elsewhere_has_no_password_where_none_is_sent(
    service: Running, root: Caller, mail_server: SmtpServer
) -> None:
    number = await asked_for(service, "hanako@example.org")
    done = await root.post(f"/admin/applications/{number}/approve", {"user": "hanako", "make": False}, 200)
    assert (done["application"]["state"], done["password"], done["sent"]) == ("approved", None, False)
    approved = await root.client.get("/admin/applications/ldif", params={"state": "approved"})
    assert "uid: hanako" in approved.text and "userPassword" not in approved.text
    assert not mail_server.mails
