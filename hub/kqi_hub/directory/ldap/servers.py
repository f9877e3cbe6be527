"""The servers of a directory: kept connections, one server for another that fails, and threads that wait for them."""

import asyncio
import logging
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from ldap3.core.exceptions import LDAPExceptionError

from kqi_hub.directory.ldap.breaker import Breaker
from kqi_hub.directory.ldap.traits import LdapTraits, TlsStrategy
from kqi_hub.directory.ldap.turns import TURNS
from kqi_hub.directory.ldap.verdicts import Answer
from kqi_hub.directory.ldap.wire import Away, Cause, Found, Patience, Place, Reach, Wire
from kqi_hub.errors import ConfigError
from kqi_spawner.workload import Secret

log = logging.getLogger(__name__)
T = TypeVar("T")
# Servers and what stands between close what is idle, most after minutes.
_IDLE_S, _LIFE_S = 50.0, 600.0
_PORTS = {"ldap": 389, "ldaps": 636}


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """Who searches; without a name nobody needs to be."""

    dn: str
    password: Secret


class Visit:
    """One server, for one piece of work that ends by `deadline`; within one thread."""

    def __init__(self, servers: "Servers", number: int, deadline: float) -> None:
        self._servers = servers
        self._number = number
        self._deadline = deadline
        self._mine: Wire | None = None

    @property
    def place(self) -> Place:
        return self._servers.places[self._number]

    @property
    def has_account(self) -> bool:
        """Whether somebody else than who has bound in this visit searches."""
        return self._servers.account is not None

    def search(self, base: str, text: str, attributes: Sequence[str], reach: Reach = Reach.ALL) -> list[Found]:
        """Search as the service account, or as whoever has bound in this visit where there is none."""

        def work(wire: Wire) -> list[Found]:
            return wire.search(base, text, attributes, self._deadline, reach)

        if self._servers.account is None and self._mine is not None:
            return work(self._mine)
        return self._with("service", work)

    def search_as_bound(self, base: str, text: str, attributes: Sequence[str]) -> list[Found]:
        """Read one entry as whoever has bound in this visit."""
        assert self._mine is not None  # noqa: S101 - the caller's order of steps
        return self._mine.search(base, text, attributes, self._deadline, Reach.ENTRY)

    def bind(self, dn: str, password: Secret) -> Answer:
        """Ask whether the password is the entry's; what follows in this visit may be done as them."""
        self.leave()
        answer, self._mine = self._kept("person", lambda wire: wire.bind(dn, password, self._deadline))
        return answer

    def change_password(self, dn: str, old: Secret, new: Secret) -> Answer:
        """Change it as whoever has bound in this visit."""
        assert self._mine is not None  # noqa: S101 - the caller's order of steps
        return self._mine.change_password(dn, old, new, self._deadline)

    def change_ad_password(self, dn: str, old: Secret, new: Secret) -> Answer:
        """Change it as the account that searches: who must change theirs cannot bind. Without one, as who has bound."""

        def work(wire: Wire) -> Answer:
            return wire.change_ad_password(dn, old, new, self._deadline)

        if self._servers.account is None and self._mine is not None:
            return work(self._mine)
        return self._with("service", work)

    def certificate(self) -> dict[str, Any]:
        return self._with("person", lambda wire: wire.certificate())

    def leave(self) -> None:
        """Give back what is kept for this visit."""
        if self._mine is not None:
            self._servers.give_back(self._number, "person", self._mine)
            self._mine = None

    def _with(self, kind: str, work: Callable[[Wire], T]) -> T:
        found, wire = self._kept(kind, work)
        self._servers.give_back(self._number, kind, wire)
        return found

    def _kept(self, kind: str, work: Callable[[Wire], T]) -> tuple[T, Wire]:
        """Do it on a kept connection, once more on a new one if that had been closed meanwhile."""
        kept = self._servers.take(self._number, kind)
        if kept is not None:
            try:
                return work(kept), kept
            except Away as error:
                kept.close()
                if error.cause is not Cause.CLOSED:
                    raise
        wire = self._servers.open(self._number, kind, self._deadline)
        try:
            return work(wire), wire
        except Away:
            wire.close()
            raise


class Servers:
    """Work is done by threads, as many as there may be connections; nobody waits for longer than `deadline_s`."""

    def __init__(self, traits: LdapTraits) -> None:
        self.account = _account(traits)
        self.places = _places(traits)
        self._patience = Patience(
            connect_s=traits.connect_timeout_s,
            answer_s=traits.answer_timeout_s,
            max_bytes=traits.max_answer_kib * 1024,
        )
        self._deadline_s = traits.deadline_s
        self._breaker = Breaker(len(self.places))
        self._idle: dict[tuple[int, str], list[Wire]] = {}
        self._lock = threading.Lock()
        self._last: Away | None = None
        self._threads = ThreadPoolExecutor(traits.connections, "ldap")

    async def run(self, work: Callable[[Visit], T]) -> T:
        """Do `work` in a thread, at the first server that can be asked. Raises Away, in time."""
        deadline = time.monotonic() + self._deadline_s
        asked = asyncio.get_running_loop().run_in_executor(self._threads, self.work, work, deadline)
        try:
            async with asyncio.timeout(self._deadline_s + 0.2):
                return await asyncio.shield(asked)
        except TimeoutError as error:
            asked.add_done_callback(_forget)
            raise Away(Cause.TIMEOUT, ", ".join(place.name for place in self.places)) from error

    def work(self, work: Callable[[Visit], T], deadline: float) -> T:
        """The same in this thread."""
        with TURNS:
            return self._work(work, deadline)

    def _work(self, work: Callable[[Visit], T], deadline: float) -> T:
        tried: frozenset[int] = frozenset()
        last: Away | None = None
        while True:
            number = self._breaker.turn(time.monotonic(), tried)
            if number is None or time.monotonic() >= deadline:
                raise last or self._last or Away(Cause.BUSY)
            visit = Visit(self, number, deadline)
            try:
                found = work(visit)
            except Away as error:
                said = {"cause": error.cause.value, "server": visit.place.name, "said": error.params["message"]}
                log.warning("directory failed", extra=said)
                if not error.elsewhere:
                    raise
                self._breaker.bad(number, time.monotonic())
                last = self._last = error
                tried |= {number}
                continue
            finally:
                visit.leave()
            self._breaker.good(number)
            return found

    def take(self, number: int, kind: str) -> Wire | None:
        now = time.monotonic()
        with self._lock:
            waiting = self._idle.setdefault((number, kind), [])
            wire = waiting.pop() if waiting else None
        if wire is not None and (now - wire.used_at > _IDLE_S or now - wire.opened_at > _LIFE_S):
            wire.close()
            return self.take(number, kind)
        return wire

    def give_back(self, number: int, kind: str, wire: Wire) -> None:
        with self._lock:
            self._idle.setdefault((number, kind), []).append(wire)

    def open(self, number: int, kind: str, deadline: float) -> Wire:
        wire = Wire(self.places[number], self._patience, deadline)
        if kind == "service" and self.account is not None:
            answer = wire.bind(self.account.dn, self.account.password, deadline)
            if not answer.good:
                wire.close()
                raise Away(Cause.SERVICE, wire.place.name, f"{answer.code} {answer.message}")
        return wire

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            wires = [wire for waiting in self._idle.values() for wire in waiting]
            self._idle.clear()
        for wire in wires:
            wire.close()


def _forget(done: "asyncio.Future[T]") -> None:
    """Take note of how what nobody waits for any more went, so that nobody is told of it."""
    if not done.cancelled():
        done.exception()


def _account(traits: LdapTraits) -> ServiceAccount | None:
    if not traits.lookup_dn_search_user:
        return None
    if traits.lookup_dn_search_password_file:
        try:
            password = Path(traits.lookup_dn_search_password_file).read_text("utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise _wrong("lookup_dn_search_password_file", error) from error
    else:
        password = traits.lookup_dn_search_password or ""
    if not password:
        raise ConfigError("config_no_lookup_password", key=_key("lookup_dn_search_password_file"))
    return ServiceAccount(traits.lookup_dn_search_user, Secret(password))


def _places(traits: LdapTraits) -> tuple[Place, ...]:
    try:
        context = traits.tls_context()
    except (OSError, ValueError, TypeError, LDAPExceptionError) as error:
        raise _wrong("tls_kwargs" if traits.tls_kwargs else "ca_file", error) from error
    named = traits.servers or [traits.server_address]
    return tuple(_place(text, traits, context) for text in named)


def _place(text: str, traits: LdapTraits, context: ssl.SSLContext) -> Place:
    wanted = {TlsStrategy.before_bind: "starttls", TlsStrategy.on_connect: "ldaps", TlsStrategy.insecure: "none"}
    tls = wanted[traits.tls_strategy]
    found = urlsplit(text if "://" in text else f"//{text}")
    try:
        host, port = found.hostname, found.port
    except ValueError as error:
        raise _wrong("servers", error) from error
    if not host or found.scheme not in {"", *_PORTS} or found.path.strip("/"):
        raise ConfigError("config_no_server", key=_key("servers"), address=text)
    if found.scheme == "ldaps":
        tls = "ldaps"
    elif found.scheme == "ldap" and tls == "ldaps":
        tls = "starttls"
    standard = _PORTS.get(found.scheme) or traits.server_port
    return Place(host=host, port=port or standard, tls=tls, context=None if tls == "none" else context)


def _wrong(key: str, why: object) -> ConfigError:
    return ConfigError("config_bad_value", key=_key(key), message=str(why))


def _key(name: str) -> str:
    return f"traits.LDAPAuthenticator.{name}"
