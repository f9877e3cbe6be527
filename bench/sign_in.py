"""Sign-ins by LDAP beside jupyterhub-ldapauthenticator 2.0.2: the same slapd, block of traits, TLS, people and groups.

Measured up to the answer of `get_authenticated_user`, which for ours includes the record of it in the database.
"""

import asyncio
import shutil
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What is the matter with a directory; after `ends_s` it is gone."""

    delay_s: float = 0.0
    hangs: bool = False
    ends_s: float = 20.0


_TROUBLES = {"200_ms": Trouble(delay_s=0.2), "5_s": Trouble(delay_s=5.0), "dead": Trouble(hangs=True, ends_s=6.0)}


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
    """Fifty sign-ins at once at a directory that is slow, slower, or hangs; one of the peer's, cut off in time."""
    found: dict[str, list[tuple[float, int, float]]] = {name: [] for name in _TROUBLES}
    for groups in _GROUPS:
        with directory(groups) as server:
            for name, trouble in _TROUBLES.items():
                async with _troubled(server, trouble) as port, ours(server, port, groups) as mine:
                    _, well = await mine.many(_PARALLEL)
                async with _troubled(server, trouble) as port:
                    other = theirs(server, port, groups)
                    await other.many(1)
                found[name].append((max(mine.stalls), well, max(other.stalls)))
    return iter([_stalled(name, seen) for name, seen in found.items()])


def _stalled(name: str, seen: list[tuple[float, int, float]]) -> Record:
    limit = {f"in, of 50, {groups} groups": float(one[1]) for groups, one in zip(_GROUPS, seen, strict=True)}
    return Record(
        name=f"ldap_stall_{name}",
        peer=_peer(),
        n=list(_GROUPS),
        ours=[one[0] for one in seen],
        theirs=[one[2] for one in seen],
        limit={**limit, "theirs cut off after": _TROUBLES[name].ends_s},
        target=_STALL_TARGET,
    )


@asynccontextmanager
async def _troubled(server: Slapd, trouble: Trouble) -> AsyncIterator[int]:
    """Yield the port of a relay; the outage ends when the server does, for the peer would wait for ever."""
    relay = Relay(server.port)
    relay.delay_s = trouble.delay_s
    if trouble.hangs:
        relay.hangs.set()
    over = threading.Timer(trouble.ends_s, _end, [relay])
    over.start()
    try:
        yield relay.port
    finally:
        over.cancel()
        relay.close()


def _end(relay: Relay) -> None:
    relay.gone.set()
    relay.cut()


def _peer() -> str:
    return f"jupyterhub-ldapauthenticator {version('jupyterhub-ldapauthenticator')}"


def run() -> Iterator[Record]:
    yield from asyncio.run(rates())
    yield from asyncio.run(stalls())
