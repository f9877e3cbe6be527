"""Decide on applications for accounts, and hand them to an LDAP directory."""

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from kqi_hub.clock import now
from kqi_hub.errors import Conflict, NotFound
from kqi_hub.identity.applications import WAITING, ApplicationRow

_LINE = 76
_PLAIN = re.compile(r"(?![ :<])[\x20-\x7e]*(?<! )")
_NOT_IN_NAMES = re.compile(r"[^a-z0-9._-]+")


async def page(session: AsyncSession, *, state: str | None, after: int | None, limit: int) -> list[ApplicationRow]:
    """Return up to `limit` applications, the oldest first."""
    query = select(ApplicationRow).order_by(ApplicationRow.id).limit(limit)
    if state is not None:
        query = query.where(ApplicationRow.state == state)
    if after is not None:
        query = query.where(ApplicationRow.id > after)
    return list((await session.execute(query)).scalars())


async def waiting(session: AsyncSession, number: int) -> ApplicationRow:
    """Return an application that nobody has decided on. Raises NotFound or Conflict."""
    row = await session.get(ApplicationRow, number)
    if row is None:
        raise NotFound("application", number)
    if row.state != WAITING:
        raise Conflict("application_decided", id=number, state=row.state, by=row.by)
    return row


def decide(row: ApplicationRow, state: str, *, by: str, user: str = "", reason: str = "") -> None:
    row.state, row.by, row.user, row.reason, row.decided_at = state, by, user, reason, now()


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where exported people go. `passwords`: with the hashes of those that were sent; `must_change`: by ppolicy."""

    base: str
    passwords: bool = False
    must_change: bool = True


def ldif(rows: Iterable[ApplicationRow], target: Target) -> str:
    """Return people as LDIF (RFC 2849), as `ldapadd` takes it; a name that is missing is made from the address."""
    return "version: 1\n" + "".join("\n" + _entry(row, target) for row in rows)


def user_of(email: str) -> str:
    """Return a user name made from an e-mail address."""
    plain = _NOT_IN_NAMES.sub("-", email.partition("@")[0].lower()).strip("-._")
    return plain[:64] or "user"


def _entry(row: ApplicationRow, target: Target) -> str:
    user = row.user or user_of(row.email)
    given, _, last = row.name.rpartition(" ")
    lines = [
        ("dn", f"uid={user},{target.base}"),
        *(("objectClass", kind) for kind in ("top", "person", "organizationalPerson", "inetOrgPerson")),
        ("uid", user),
        ("cn", row.name),
        ("sn", last or row.name),
        ("givenName", given),
        ("mail", row.email),
        ("o", row.affiliation),
        ("employeeType", row.category),
        ("description", f"application {row.id}"),
        *(_password(row.password_hash, target) if target.passwords and row.password_hash else ()),
    ]
    return "".join(_line(name, value) for name, value in lines if value)


def _password(hashed: str, target: Target) -> list[tuple[str, str]]:
    return [("userPassword", hashed), *([("pwdReset", "TRUE")] if target.must_change else [])]


def _line(name: str, value: str) -> str:
    plain = _PLAIN.fullmatch(value)
    text = f"{name}: {value}" if plain else f"{name}:: {base64.b64encode(value.encode()).decode()}"
    # A line that is too long goes on in the next one, after a space.
    first, rest = text[:_LINE], text[_LINE:]
    folded = [first, *(f" {rest[at : at + _LINE - 1]}" for at in range(0, len(rest), _LINE - 1))]
    return "\n".join(folded) + "\n"
