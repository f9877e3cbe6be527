"""People as administrators see and change them; the command `kqi-hub user` does the same without the service."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel, Field
from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from kqi.schema import SomebodysState
from kqi_hub.administration.rows import SuspensionRow
from kqi_hub.clock import now
from kqi_hub.directory.local import set_password
from kqi_hub.directory.one_time import one_time_password
from kqi_hub.errors import Conflict, NotFound
from kqi_hub.identity import people
from kqi_hub.identity.model import Principal
from kqi_hub.identity.rows import LOCAL, LocalAccountRow, MembershipRow, PersonRow, TenantRow
from kqi_hub.tenants.roles import check_may_change
from kqi_spawner.workload import Secret


class Search(BaseModel):
    """What a list may be narrowed to."""

    q: str | None = Field(default=None, max_length=255)
    state: SomebodysState | None = None
    source: str | None = Field(default=None, max_length=16)
    role: str | None = Field(default=None, max_length=32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A person with what is told of them."""

    row: PersonRow
    account: LocalAccountRow | None
    suspension: SuspensionRow | None
    tenants: tuple[str, ...]
    default_tenant: str

    @property
    def state(self) -> SomebodysState:
        if self.row.disabled:
            return SomebodysState.SUSPENDED
        if self.row.gone_at is not None:
            return SomebodysState.GONE
        return SomebodysState.LOCKED if _locked(self.account, now()) else SomebodysState.ACTIVE


async def find(session: AsyncSession, name: str) -> PersonRow:
    found = await people.person_named(session, name)
    if found is None:
        raise NotFound("person", name)
    return found


async def changeable(session: AsyncSession, name: str, caller: Principal) -> PersonRow:
    """Return somebody whom the caller may change. Raises NotFound, or Forbidden for who may do more than the caller."""
    row = await find(session, name)
    await check_may_change(session, row, caller)
    return row


async def page(session: AsyncSession, search: Search, after: str | None, limit: int) -> list[Seen]:
    """Return up to `limit` people, by name, after the one whose name is `after`."""
    query = select(PersonRow).where(*_conditions(search)).order_by(PersonRow.name).limit(limit)
    if after is not None:
        query = query.where(PersonRow.name > after)
    return await _seen(session, (await session.execute(query)).scalars().all())


async def one(session: AsyncSession, name: str) -> Seen:
    return (await _seen(session, [await find(session, name)]))[0]


async def add(
    session: AsyncSession, name: str, tenant: str, *, display_name: str = "", email: str = ""
) -> tuple[PersonRow, Secret]:
    """Make a local account whose password works once. Raises Conflict for a name that is taken."""
    if await people.person_named(session, name) is not None:
        raise Conflict("user_exists", name=name)
    home = await people.ensure_tenant(session, tenant, tenant)
    row = await people.ensure_person(session, name, home, display_name=display_name)
    row.email = email
    password = one_time_password()
    await set_password(session, row.id, password, must_change=True)
    return row, password


async def renew_password(session: AsyncSession, row: PersonRow) -> Secret:
    """Give a new password that works once, and lift a lock. Raises Conflict for who has none of ours."""
    check_password_is_ours(row)
    password = one_time_password()
    await set_password(session, row.id, password, must_change=True)
    return password


def check_password_is_ours(row: PersonRow) -> None:
    """Raise Conflict for who signs in with a password of a directory's."""
    if row.source != LOCAL:
        raise Conflict("password_of_directory", name=row.name, source=row.source)


async def unlock(session: AsyncSession, row: PersonRow) -> None:
    """Let somebody try again who typed too many wrong passwords."""
    check_password_is_ours(row)
    lifted = update(LocalAccountRow).where(LocalAccountRow.person_id == row.id).values(failures=0, locked_until=None)
    await session.execute(lifted.execution_options(synchronize_session="fetch"))


async def change(session: AsyncSession, row: PersonRow, values: Mapping[str, str | None]) -> list[str]:
    """Change display name, e-mail or default tenant; return what changed. The directory's own people keep its word."""
    given = {key: value for key, value in values.items() if value is not None}
    theirs = sorted({"display_name", "email"} & given.keys())
    if theirs and row.source != LOCAL:
        raise Conflict("field_of_directory", field=theirs[0], source=row.source)
    if "default_tenant" in given:
        row.default_tenant_id = await _tenant_of(session, row.id, given.pop("default_tenant"))
    for key, value in given.items():
        setattr(row, key, value)
    await session.flush()
    return sorted(key for key, value in values.items() if value is not None)


async def _tenant_of(session: AsyncSession, person: int, name: str) -> int:
    query = select(TenantRow.id).join(MembershipRow, MembershipRow.tenant_id == TenantRow.id)
    found = await session.scalar(query.where(MembershipRow.person_id == person, TenantRow.name == name))
    if found is None:
        raise NotFound("tenant", name)
    return int(found)


def _conditions(search: Search) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if search.q:
        columns = (PersonRow.name, PersonRow.display_name, PersonRow.email)
        found.append(or_(*[column.icontains(search.q, autoescape=True) for column in columns]))
    if search.source is not None:
        found.append(PersonRow.source == search.source)
    if search.role is not None:
        found.append((PersonRow.platform_role == search.role) | (PersonRow.directory_platform_role == search.role))
    if search.state is not None:
        found.append(_in_state(search.state))
    return found


def _in_state(state: SomebodysState) -> ColumnElement[bool]:
    suspended, gone = PersonRow.disabled.is_(True), PersonRow.gone_at.is_not(None)
    locked = PersonRow.id.in_(select(LocalAccountRow.person_id).where(LocalAccountRow.locked_until > now()))
    return {
        SomebodysState.SUSPENDED: suspended,
        SomebodysState.GONE: ~suspended & gone,
        SomebodysState.LOCKED: ~suspended & ~gone & locked,
        SomebodysState.ACTIVE: ~suspended & ~gone & ~locked,
    }[state]


async def _seen(session: AsyncSession, rows: Sequence[PersonRow]) -> list[Seen]:
    ids = [row.id for row in rows]
    accounts = await session.execute(select(LocalAccountRow).where(LocalAccountRow.person_id.in_(ids)))
    suspensions = await session.execute(select(SuspensionRow).where(SuspensionRow.person_id.in_(ids)))
    memberships = (
        select(MembershipRow.person_id, TenantRow.id, TenantRow.name)
        .join(TenantRow, TenantRow.id == MembershipRow.tenant_id)
        .where(MembershipRow.person_id.in_(ids))
        .order_by(TenantRow.name)
    )
    theirs: dict[int, dict[int, str]] = {number: {} for number in ids}
    for person, tenant, name in (await session.execute(memberships)).tuples():
        theirs[person][tenant] = name
    account_of = {account.person_id: account for account in accounts.scalars()}
    suspension_of = {suspension.person_id: suspension for suspension in suspensions.scalars()}
    return [
        Seen(
            row=row,
            account=account_of.get(row.id),
            suspension=suspension_of.get(row.id),
            tenants=tuple(theirs[row.id].values()),
            default_tenant=theirs[row.id].get(row.default_tenant_id, ""),
        )
        for row in rows
    ]


def _locked(account: LocalAccountRow | None, at: datetime) -> bool:
    return account is not None and account.locked_until is not None and account.locked_until > at
