"""One connection to one server; the only module that talks to ldap3, and where its errors are translated.

Every call has a time by which it ends, and answers have a size that they may not pass. Nothing follows a referral.
"""

import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from functools import partial
from typing import Any, TypeVar

import ldap3
from ldap3.core.exceptions import LDAPExceptionError, LDAPInvalidDnError, LDAPInvalidFilterError, LDAPObjectClassError
from ldap3.extend.microsoft.modifyPassword import ad_modify_password
from ldap3.extend.standard.modifyPassword import ModifyPassword

from kqi_hub.directory.ldap.turns import TURNS
from kqi_hub.directory.ldap.verdicts import POLICY, Answer, decoded
from kqi_hub.errors import Unavailable
from kqi_spawner.workload import Secret

Given = TypeVar("Given")
Done = TypeVar("Done")
_PAGE, _FEW = 500, 10
_CHUNK = 65536
_NO_SUCH_OBJECT, _SIZE_EXCEEDED, _BUSY, _UNAVAILABLE = 32, 4, 51, 52


class Reach(Enum):
    """Which entries a search is for."""

    ENTRY = auto()  # the one it begins at
    FEW = auto()  # a handful of those below, to see whether there is exactly one
    ALL = auto()  # every one below, however many


class Cause(StrEnum):
    """What is the matter with a directory; each is a key of the catalogue."""

    NO_HOST = "ldap_no_host"
    REFUSED = "ldap_connection_refused"
    TIMEOUT = "ldap_timeout"
    CERTIFICATE = "ldap_certificate"
    TLS = "ldap_tls"
    CLOSED = "ldap_closed"
    TOO_LARGE = "ldap_too_large"
    SERVICE = "ldap_service_account"
    ANSWER = "ldap_answer"
    BUSY = "ldap_busy"


_OF_THE_QUESTION = {Cause.SERVICE, Cause.ANSWER, Cause.TOO_LARGE}


class Away(Unavailable):
    """The directory cannot be asked. `elsewhere`: it is the server's fault, and another one may do better."""

    def __init__(self, cause: Cause, server: str = "", message: str = "") -> None:
        super().__init__(cause.value, server=server, message=message.strip("()',")[:300])
        self.cause = cause
        self.elsewhere = cause not in _OF_THE_QUESTION


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A server. `tls`: from the first byte on (`ldaps`), `starttls`, or none."""

    host: str
    port: int
    tls: str
    context: ssl.SSLContext | None

    @property
    def name(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long each step may take; a deadline bounds all of them."""

    connect_s: float
    answer_s: float
    max_bytes: int


@dataclass(frozen=True, slots=True)
class Found:
    """An entry: values by the name of their attribute in lower case, as they came."""

    dn: str
    values: dict[str, list[bytes]]

    def texts(self, attribute: str) -> list[str]:
        return [value.decode("utf-8", "replace") for value in self.values.get(attribute.lower(), [])]

    def first(self, attribute: str) -> str:
        return next(iter(self.texts(attribute)), "")


class Wire:
    """Not for two threads at once. After `Away` it is of no use any more."""

    def __init__(self, place: Place, patience: Patience, deadline: float) -> None:
        self.place = place
        self.opened_at = self.used_at = time.monotonic()
        self._patience = patience
        server = ldap3.Server(
            place.host,
            port=place.port,
            use_ssl=place.tls == "ldaps",
            tls=_Tls(place.context) if place.context else None,
            get_info=ldap3.NONE,
            connect_timeout=max(0.05, min(patience.connect_s, deadline - time.monotonic())),
            mode=ldap3.IP_SYSTEM_DEFAULT,
        )
        self._line: _Line | None = None
        self._ldap = ldap3.Connection(
            server, auto_referrals=False, check_names=False, return_empty_attributes=False, raise_exceptions=False
        )
        self._ldap.strategy.socket_size = _CHUNK
        TURNS.wait(self._guarded, self._open)

    def bind(self, dn: str, password: Secret, deadline: float) -> Answer:
        """Ask whether the password is the entry's. Neither may be empty: that would be anonymous, which is no proof."""
        if not dn or not password.reveal():
            raise ValueError("a bind needs a name and a password")
        # As bytes: for texts the library would ask for another password than the one that was typed (RFC 4013).
        self._ldap.user, self._ldap.password = dn, password.reveal().encode()
        self._ldap.authentication = ldap3.SIMPLE
        try:
            self._call(deadline, lambda: self._ldap.bind(read_server_info=False, controls=[(POLICY, False, None)]))
        finally:
            self._ldap.user = self._ldap.password = None
        return self._answer()

    def search(self, base: str, text: str, attributes: Sequence[str], deadline: float, reach: Reach) -> list[Found]:
        """Return the entries that match, those that there are where the server would not give all of them."""
        scope = ldap3.BASE if reach is Reach.ENTRY else ldap3.SUBTREE
        found: list[Found] = []
        paging: dict[str, Any] = {"paged_size": _PAGE} if reach is Reach.ALL else {"size_limit": _FEW}
        while True:
            asked = partial(self._ldap.search, base, text, scope, attributes=list(attributes), **paging)
            self._call(deadline, asked)
            found += [_found(item) for item in self._ldap.response or () if item["type"] == "searchResEntry"]
            answer = self._answer()
            if answer.code not in {0, _SIZE_EXCEEDED, _NO_SUCH_OBJECT}:
                raise Away(Cause.ANSWER, self.place.name, f"{answer.code} {answer.message}")
            cookie = _cookie(self._ldap.result)
            if not cookie or answer.code:
                return found
            paging["paged_cookie"] = cookie

    def change_password(self, dn: str, old: Secret, new: Secret, deadline: float) -> Answer:
        """Change it by RFC 3062, as whoever is bound."""

        def change() -> None:
            controls = [(POLICY, False, None)]
            words = (old.reveal().encode(), new.reveal().encode())
            ModifyPassword(self._ldap, dn, *words, None, None, controls).send()

        self._call(deadline, change)
        return self._answer()

    def change_ad_password(self, dn: str, old: Secret, new: Secret, deadline: float) -> Answer:
        """Change `unicodePwd`, which Active Directory takes over TLS alone."""
        self._call(deadline, lambda: ad_modify_password(self._ldap, dn, new.reveal(), old.reveal(), controls=None))
        return self._answer()

    def certificate(self) -> dict[str, Any]:
        """Return the server's certificate as `ssl` describes it; empty without TLS."""
        raw = self._line.raw if self._line else None
        return dict(raw.getpeercert() or {}) if isinstance(raw, ssl.SSLSocket) else {}

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._ldap.strategy.close()

    def _open(self) -> None:
        self._ldap.open(read_server_info=False)
        if self.place.tls == "starttls":
            self._ldap.start_tls(read_server_info=False)
        self._line = _Line(self._ldap.socket, self._patience.max_bytes)
        self._ldap.socket = self._line

    def _call(self, deadline: float, work: Callable[[], Any]) -> None:
        if self._line is None or self._ldap.closed:
            raise Away(Cause.CLOSED, self.place.name)
        self.used_at = time.monotonic()
        self._line.arm(min(deadline, self.used_at + self._patience.answer_s))
        self._guarded(work)

    def _guarded(self, work: Callable[[], Any]) -> None:
        try:
            work()
        except (LDAPInvalidFilterError, LDAPObjectClassError, LDAPInvalidDnError) as error:
            raise Away(Cause.ANSWER, self.place.name, str(error)) from error
        except (LDAPExceptionError, OSError) as error:
            self.close()
            fault = self._line.fault if self._line else None
            raise Away(fault or _cause(error), self.place.name, str(error)) from error
        except Exception as error:
            self.close()
            raise Away(Cause.ANSWER, self.place.name, type(error).__name__) from error

    def _answer(self) -> Answer:
        result = self._ldap.result
        if result["result"] in {_BUSY, _UNAVAILABLE}:
            raise Away(Cause.BUSY, self.place.name, f"{result['result']} {result['description']}")
        controls = {oid: control.get("value") for oid, control in (result.get("controls") or {}).items()}
        message = result.get("message") or ("" if result["result"] == 0 else result["description"])
        return Answer(code=result["result"], message=str(message)[:1000], policy=decoded(controls))


class _Tls(ldap3.Tls):  # type: ignore[misc]
    """A context that is made once, and that looks at the name of the server by itself."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(validate=context.verify_mode)
        self._context = context

    def wrap_socket(self, connection: Any, do_handshake: bool = False) -> None:
        host = connection.server.host
        connection.socket = self._context.wrap_socket(connection.socket, server_hostname=host)


class _Line:
    """A socket whose answers come by a time and within a size."""

    def __init__(self, raw: socket.socket, max_bytes: int) -> None:
        self.raw = raw
        self.fault: Cause | None = None
        self._max_bytes = self._left = max_bytes
        self._deadline = 0.0

    def arm(self, deadline: float) -> None:
        self._deadline, self._left, self.fault = deadline, self._max_bytes, None

    def recv(self, size: int) -> bytes:
        data = self._timed(self.raw.recv, size)
        self._left -= len(data)
        if self._left < 0:
            self.fault = Cause.TOO_LARGE
            raise OSError("the answer is too large")
        if not data:
            self.fault = Cause.CLOSED
            raise OSError("the server closed the connection")
        return data

    def sendall(self, data: bytes) -> None:
        self._timed(self.raw.sendall, data)

    def shutdown(self, how: int) -> None:
        self.raw.shutdown(how)

    def close(self) -> None:
        self.raw.close()

    def _timed(self, work: Callable[[Given], Done], given: Given) -> Done:
        left = self._deadline - time.monotonic()
        try:
            if left <= 0:
                raise TimeoutError("no time is left")
            self.raw.settimeout(left)
            return TURNS.wait(work, given)
        except TimeoutError:
            self.fault = Cause.TIMEOUT
            raise
        except OSError:
            self.fault = Cause.CLOSED
            raise


def _found(item: dict[str, Any]) -> Found:
    raw = item["raw_attributes"]
    return Found(item["dn"], {name.lower(): [bytes(value) for value in values] for name, values in raw.items()})


def _cookie(result: dict[str, Any]) -> bytes | None:
    page = (result.get("controls") or {}).get("1.2.840.113556.1.4.319")
    return page["value"]["cookie"] or None if page else None


def _cause(error: BaseException) -> Cause:
    """Return why a connection could not be made; ldap3 leaves of the first error little more than its words."""
    words = f"{type(error).__name__} {error}".lower()
    for sign, cause in _SIGNS:
        if sign in words:
            return cause
    return Cause.CLOSED


_SIGNS = (
    ("certificate", Cause.CERTIFICATE),
    ("hostname mismatch", Cause.CERTIFICATE),
    ("timed out", Cause.TIMEOUT),
    ("timeout", Cause.TIMEOUT),
    ("refused", Cause.REFUSED),
    ("unreachable", Cause.REFUSED),
    ("no route", Cause.REFUSED),
    ("invalid server address", Cause.NO_HOST),
    ("name or service", Cause.NO_HOST),
    ("ssl", Cause.TLS),
    ("tls", Cause.TLS),
    ("handshake", Cause.TLS),
)
