"""PostgreSQL itself: it restarts, is lost, full of others, or somebody else's; the platform says so and goes on."""

import asyncio
import os
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from kqi_hub.background.signals import PostgresSignals
from kqi_hub.db.engine import Database
from kqi_hub.db.place import place_of
from kqi_hub.db.postgresql import PostgresServer
from kqi_hub.errors import ConfigError, Unavailable
from kqi_hub.settings import as_environment, load
from kqi_hub.testing.service import Running, free_port, running
from tests.integration.api.caller import Caller, signed_in
from tests.integration.replicas.conftest import POSTGRES_ONLY
from tests.pki import Authority
from tests.platform import PROGRAM
from tests.postgres import Server, own_server

pytestmark = [POSTGRES_ONLY, pytest.mark.timeout(240)]


@pytest.fixture
def server() -> Iterator[Server]:
    with own_server(max_connections="25") as found:
        yield found


@pytest_asyncio.fixture
async def service(state: Path, server: Server) -> AsyncIterator[Running]:
    machine = {"cpu": 4, "memory_gb": 4}
    own = {"server": {"port": free_port()}, "engine": machine, "database": server.database()}
    async with running(load(environ={}, state=state, **own)) as found:
        yield found


@pytest_asyncio.fixture
async def alice(service: Running) -> AsyncIterator[Caller]:
    async with await signed_in(service, "alice", "sandbox") as caller:
        yield caller


async def back(alice: Caller) -> None:
    """Wait until the service writes again."""
    async with asyncio.timeout(60):
        body = {"display_name": "Alice"}
        while (await alice.client.patch("/me", json=body)).status_code != 200:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
async def test_nothing_is_lost_and_nobody_sees_a_fault_of_ours_when_it_restarts(
    alice: Caller, server: Server, how: signal.Signals
) -> None:
    run = await alice.train("while [ ! -e $KQI_ROOT/attach/go ]; do sleep 0.05; done; echo through")
    await alice.until(run["id"], "running")
    kept: list[int] = []
    said: Counter[int] = Counter()
    going = True

    async def create() -> None:
        while going:
            answer = await alice.client.post("/data", json={"name": "kept"})
            said[answer.status_code] += 1
            if answer.status_code == 201:
                kept.append(answer.json()["id"])
            else:
                assert answer.status_code == 503, answer.text
                assert answer.json()["detail"] and answer.headers["Retry-After"]
            said[(await alice.client.get("/data", params={"limit": 1})).status_code] += 1

    creating = [asyncio.create_task(create()) for _ in range(3)]
    await asyncio.sleep(0.5)
    await asyncio.to_thread(server.stop, how)
    async with asyncio.timeout(60):
        while not said[503]:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await asyncio.to_thread(server.start)
    await back(alice)
    going = False
    await asyncio.gather(*creating)
    assert said.keys() <= {200, 201, 503}, said
    for number in kept:
        await alice.get(f"/data/{number}")
    answer = await alice.client.put(f"/trainings/{run['id']}/attachments/go", content=b"")
    assert answer.status_code == 204
    assert (await alice.ended(run["id"]))["phase"] == "completed"
    assert (await alice.ended((await alice.train("true"))["id"]))["phase"] == "completed"


async def test_connections_that_others_have_taken_are_answered_with_a_sentence(
    alice: Caller, service: Running, server: Server
) -> None:
    place = place_of(service.settings)
    assert isinstance(place, PostgresServer)
    ours = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'kqi-hub'"
    others: list[psycopg.Connection[Any]] = []
    try:
        with pytest.raises(psycopg.OperationalError):
            while True:
                server.administer(ours)
                others.append(psycopg.connect(**place.libpq(), password=place.password()))
        # The first to ask may still have had one, which was ended just now.
        answers = [(await alice.client.get("/data")).json() for _ in range(5)]
        assert {answer["status"] for answer in answers} == {503}
        assert answers[-1]["code"] == "database_busy", answers
    finally:
        for other in others:
            other.close()
    await back(alice)


async def test_wake_ups_reach_other_processes_also_after_a_restart(server: Server, state: Path) -> None:
    place = place_of(load(environ={}, state=state, database=server.database()))
    assert isinstance(place, PostgresServer)
    here, there = PostgresSignals(place), PostgresSignals(place)
    heard: asyncio.Queue[str] = asyncio.Queue()
    there.on("run", heard.put_nowait)
    tasks = [asyncio.create_task(signals.run()) for signals in (here, there)]
    async with asyncio.timeout(60):
        assert await heard.get() == ""  # whoever begins to listen takes it that anything may have changed
        here.send("run", "7")
        assert await heard.get() == "7"
        await asyncio.to_thread(server.stop)
        here.send("run", "8")
        await asyncio.to_thread(server.start)
        # Either the word itself, or, for who came back after it was sent: anything may have changed.
        assert await heard.get() in {"8", ""}
        here.send("run", "9")
        while await heard.get() != "9":
            pass
    there.send("run", "1")
    assert await heard.get() == "1" and heard.empty()  # at once, and once
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_the_connection_is_guarded_by_a_certificate_that_is_looked_at(tmp_path: Path, state: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.server("localhost")
    with own_server() as server:
        if os.geteuid() == 0:
            for path in (certificate, key):
                shutil.chown(path, "postgres")
        for path in (certificate, key):
            path.rename(server.folder / path.name)
        server.stop()
        server.options |= {
            "ssl": "on",
            "ssl_cert_file": str(server.folder / certificate.name),
            "ssl_key_file": str(server.folder / key.name),
        }
        server.start()
        plain = server.database()
        named = {**plain, "url": plain["url"].replace("127.0.0.1", "localhost")}
        del named["sslmode"]
        right = {**named, "ca_file": authority.certificate}
        await reached(state, right)
        await reached(state, {**plain, "sslmode": "verify-ca", "ca_file": authority.certificate})
        await reached(state, {**plain, "sslmode": "require"})
        other = Authority(tmp_path / "other")
        await refused(state, {**named, "ca_file": other.certificate})
        await refused(state, named)  # nobody that the system trusts
        await refused(state, {**right, "url": plain["url"]})  # another name than the certificate's


async def reached(state: Path, section: dict[str, Any]) -> None:
    settings = load(environ={}, state=state, database=section)
    place = place_of(settings)
    assert isinstance(place, PostgresServer)
    opened = Database(place)
    async with opened.read() as session:
        query = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"
        assert (await (await session.connection()).exec_driver_sql(query)).scalar() is True
    await opened.close()
    with place.sync_engine().connect() as connection:
        assert connection.exec_driver_sql(query).scalar() is True


async def refused(state: Path, section: dict[str, Any]) -> None:
    place = place_of(load(environ={}, state=state, database=section))
    with pytest.raises(Unavailable):
        await Database(place).ping()
    with pytest.raises(ConfigError):
        place.sync_engine().connect()


def test_what_is_wrong_with_the_address_is_one_sentence_without_the_password(tmp_path: Path, server: Server) -> None:
    section = server.empty()
    secret = section["password_file"].read_text()
    wrong = tmp_path / "wrong"
    wrong.write_text("not the password")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"url": f"postgresql://kqi:{secret}@127.0.0.1/kqi"}, "password_file"),
        ({"url": "mysql://kqi@127.0.0.1/kqi"}, "postgresql://"),
        ({"url": "postgresql://kqi@127.0.0.1"}, "postgresql://"),
        ({**section, "password_file": wrong}, "password"),
        ({**section, "password_file": tmp_path / "missing"}, "missing"),
        ({**section, "url": section["url"] + "x"}, "does not exist"),
        ({**section, "url": f"postgresql://kqi@127.0.0.1:{free_port()}/kqi"}, "refused"),
    ]
    for given, sentence in cases:
        done = command("migrate", tmp_path / "state", given)
        assert done.returncode == 1 and sentence in done.stderr, (given, done.stderr)
        assert "Traceback" not in done.stderr and secret not in done.stderr
    shown = command("check-config", tmp_path / "state", section)
    assert section["url"] in shown.stdout and secret not in shown.stdout, shown.stderr
    assert secret not in repr(load(environ={}, state=tmp_path, database=section))


def test_a_database_of_another_encoding_is_refused(tmp_path: Path, server: Server) -> None:
    kind = "encoding 'LATIN1' locale 'C' locale_provider libc"
    server.administer(f"create database latin owner kqi template template0 {kind}")
    done = command("migrate", tmp_path / "state", server.section("latin"))
    assert done.returncode == 1 and "LATIN1" in done.stderr and "UTF8" in done.stderr, done.stderr


def test_a_backup_goes_back_to_the_engine_it_came_from_and_over_nothing_unasked(tmp_path: Path, server: Server) -> None:
    one, other = server.database(), server.empty()
    assert command("user", tmp_path / "one", one, "add", "alice").returncode == 0
    made = command("backup", tmp_path / "one", one, str(tmp_path / "b.tar.gz"))
    assert made.returncode == 0, made.stderr
    wrong = command("restore", tmp_path / "two", {}, str(tmp_path / "b.tar.gz"))
    assert wrong.returncode == 1 and "PostgreSQL" in wrong.stderr and "SQLite" in wrong.stderr
    assert command("user", tmp_path / "three", other, "add", "bob").returncode == 0
    over = command("restore", tmp_path / "two", other, str(tmp_path / "b.tar.gz"))
    assert over.returncode == 1 and "--force" in over.stderr
    assert "bob" in command("user", tmp_path / "three", other, "list").stdout
    forced = command("restore", tmp_path / "two", other, "--force", str(tmp_path / "b.tar.gz"))
    assert forced.returncode == 0, forced.stderr
    listed = command("user", tmp_path / "two", other, "list").stdout
    assert "alice" in listed and "bob" not in listed
    lacking = command("backup", tmp_path / "one", one, str(tmp_path / "c.tar.gz"), PATH="/nowhere")
    assert lacking.returncode == 1 and "pg_dump is missing" in lacking.stderr
    assert not (tmp_path / "c.tar.gz").exists()


def command(
    name: str, state: Path, section: dict[str, Any], *words: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", **as_environment({"database": section})}
    return subprocess.run(
        [PROGRAM, name, *words, "--state", state], env={**environment, **variables}, capture_output=True, text=True
    )
