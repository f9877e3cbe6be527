"""Sign-ins by LDAP beside jupyterhub-ldapauthenticator 2.0.2: the same slapd, block of traits, TLS, people and groups.

Measured up to the answer of `get_authenticated_user`, which for ours includes the record of it in the database.
"""

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ldapauthenticator import LDAPAuthenticator
from tests import slapd
from tests.ldap_wire import Relay
from tests.slapd import PASSWORD, Slapd, dn_of
from traitlets.config import Config

from bench import handler
from bench.record import Record
from kqi_hub.directory.base import Entry
from kqi_hub.interpreter import settle
from kqi_hub.jupyterhub.authenticator import KqiAuthenticator
from kqi_hub.settings import load
from kqi_hub.supervisor.folders import prepare_folders
from kqi_hub.supervisor.state import migrate_database
from kqi_spawner.workload import Secret

_PEOPLE, _GROUPS, _PARALLEL, _OURS, _THEIRS = 10_000, (1, 10, 100, 1000), 50, 500, 10
_TARGET = ">= 50 x at 100 groups, growth over groups <= 0.1"
_STALL_TARGET = "no stall above 50 ms"
_HANGS_S = 6.0
Sign = Callable[[str], Any]


@dataclass
class Side:
    """Signs somebody in; the answer must name them."""

    authenticator: Any
    stalls: list[float] = field(default_factory=list)

    async def one(self, name: str) -> bool:
        """Return whether they are in: `None` and an error are both no."""
        try:
            found = await self.authenticator.get_authenticated_user(None, await self.given(name))
        except Exception as error:  # noqa: BLE001 - what the peer does when its directory is away
            print(f"    {type(error).__name__}")
            return False
        assert found is None or found["name"] == name
        return found is not None

    async def given(self, name: str) -> dict[str, Any]:
        """Return what the page of sign-in hands to the authenticator."""
        return {"username": name, "password": PASSWORD}

    async def many(self, count: int) -> tuple[float, int]:
        """Return the seconds for each of `count` sign-ins, 50 at a time, and how many went well."""
        slots = asyncio.Semaphore(_PARALLEL)

        async def turn(number: int) -> bool:
            async with slots:
                return await self.one(f"u{number}")

        async with self._looked_at():
            begin = time.perf_counter()
            done = await asyncio.gather(*(turn(number) for number in range(count)))
            return (time.perf_counter() - begin) / count, sum(done)

    @asynccontextmanager
    async def _looked_at(self) -> AsyncIterator[None]:
        async def look() -> None:
            while True:
                begin = time.perf_counter()
                await asyncio.sleep(0.005)
                self.stalls.append(time.perf_counter() - begin - 0.005)

        task = asyncio.create_task(look())
        await asyncio.sleep(0)
        yield
        await asyncio.sleep(0.02)  # so that a stall up to the end is seen
        task.cancel()


def block(server: Slapd, port: int, groups: int) -> dict[str, Any]:
    return {
        "server_address": slapd.HOST,
        "server_port": port,
        "lookup_dn": True,
        "lookup_dn_search_user": slapd.SERVICE,
        "lookup_dn_search_password": slapd.SERVICE_PASSWORD,
        "lookup_dn_user_dn_attribute": "cn",
        "user_search_base": slapd.PEOPLE,
        "user_attribute": "uid",
        "tls_kwargs": {"ca_certs_file": str(server.ca_file)},
        "allowed_groups": [f"cn=g{number},{slapd.GROUPS}" for number in range(groups)],
    }


@contextmanager
def directory(groups: int) -> Iterator[Slapd]:
    """10,000 people; those who sign in are in the last of the groups, the others spread over all."""
    server = Slapd()
    members: list[list[str]] = [[] for _ in range(groups)]
    for number in range(_PEOPLE):
        members[-1 if number < _OURS else number % groups].append(dn_of(f"u{number}"))
    listed = [slapd.group(f"g{number}", *found) for number, found in enumerate(members)]
    server.load([*slapd.tree(), *(slapd.person(f"u{n}", 20000 + n) for n in range(_PEOPLE)), *listed])
    with server:
        yield server


class Ours(Side):
    """Our page checks the password and lets people arrive itself."""

    async def given(self, name: str) -> dict[str, Any]:
        entry = await self.authenticator.check(name, Secret(PASSWORD))
        arrived = await self.authenticator.arrive(entry) if isinstance(entry, Entry) else None
        return {"arrived": arrived, "entry": entry}


@asynccontextmanager
async def ours(server: Slapd, port: int, groups: int) -> AsyncIterator[Side]:
    state = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="kqi-bench-"))
    settings = load(environ={}, state=state, traits={"LDAPAuthenticator": block(server, port, groups)})
    prepare_folders(settings)
    await asyncio.to_thread(migrate_database, settings)
    authenticator = KqiAuthenticator(platform=settings, allow_all=True, manage_groups=True)
    settle()  # as the hub does when it has started
    try:
        yield Ours(authenticator)
    finally:
        authenticator.directory.close()
        await authenticator.database.close()
        shutil.rmtree(state)


def theirs(server: Slapd, port: int, groups: int) -> Side:
    return Side(LDAPAuthenticator(config=Config(LDAPAuthenticator=block(server, port, groups))))


async def rates() -> Iterator[Record]:
    found: dict[str, list[float]] = {"ours": [], "theirs": [], "stall": [], "their stall": [], "first": []}
    for groups in _GROUPS:
        with directory(groups) as server:
            async with ours(server, server.port, groups) as mine:
                other = theirs(server, server.port, groups)
                first, well = await mine.many(_OURS)  # makes everybody known to the platform
                pairs = [(await mine.many(_OURS), await other.many(_THEIRS)) for _ in range(3)]
            assert well == _OURS and all(a[1] == _OURS and b[1] == _THEIRS for a, b in pairs)
            found["ours"].append(sorted(a[0] for a, _ in pairs)[1])
            found["theirs"].append(sorted(b[0] for _, b in pairs)[1])
            found["first"].append(first)
            found["stall"].append(max(mine.stalls))
            found["their stall"].append(max(other.stalls))
    limit = {f"sign-ins/s, {n} groups": round(1 / s) for n, s in zip(_GROUPS, found["ours"], strict=True)}
    limit |= {f"the first time of all, {n} groups, s": s for n, s in zip(_GROUPS, found["first"], strict=True)}
    limit["the hub's own handler on both sides, s"] = await asyncio.to_thread(handler.cost_s)
    rate = Record(
        name="ldap_sign_in",
        peer=_peer(),
        n=list(_GROUPS),
        ours=found["ours"],
        theirs=found["theirs"],
        limit=limit,
        target=_TARGET,
    )
    stall = Record(
        name="ldap_stall_healthy",
        peer=_peer(),
        n=list(_GROUPS),
        ours=found["stall"],
        theirs=found["their stall"],
        limit={},
        target=_STALL_TARGET,
    )
    return iter((rate, stall))


async def stalls() -> Iterator[Record]:
    """Fifty sign-ins at once at a directory that is slower, much slower, or hangs for six seconds."""
    records = []
    with directory(10) as server:
        for name, delay_s in (("200_ms", 0.2), ("5_s", 5.0), ("dead", 0.0)):
            seen = []
            for mine in (True, False):
                relay = Relay(server.port)
                relay.delay_s = delay_s
                if name == "dead":
                    relay.hangs.set()
                    asyncio.get_running_loop().run_in_executor(None, _end_after, relay)
                async with contextlib.AsyncExitStack() as stack:
                    if mine:
                        side = await stack.enter_async_context(ours(server, relay.port, 10))
                    else:
                        side = theirs(server, relay.port, 10)
                    each_s, well = await side.many(_PARALLEL if mine else 2)
                seen.append((max(side.stalls), each_s, well))
                relay.close()
            limit = {"sign-ins that went well": seen[0][2], "of 50; theirs of 2": seen[1][2]}
            records.append(
                Record(
                    name=f"ldap_stall_{name}",
                    peer=_peer(),
                    n=[_PARALLEL],
                    ours=[seen[0][0]],
                    theirs=[seen[1][0]],
                    limit=limit,
                    target=_STALL_TARGET,
                )
            )
    return iter(records)


def _end_after(relay: Relay) -> None:
    """The peer would wait for ever: its outage ends when the server does."""
    time.sleep(_HANGS_S)
    relay.gone.set()
    relay.cut()


def _peer() -> str:
    return f"jupyterhub-ldapauthenticator {version('jupyterhub-ldapauthenticator')}"


def run() -> Iterator[Record]:
    yield from asyncio.run(rates())
    yield from asyncio.run(stalls())
