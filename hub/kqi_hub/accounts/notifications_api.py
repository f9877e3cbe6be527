"""Routes of where one wants to be told of one's work."""

import json
import re
from typing import Annotated

from fastapi import Path
from sqlalchemy import func, select

from kqi import schema
from kqi_hub.clock import now
from kqi_hub.errors import Conflict, Invalid, NotFound, TooMany
from kqi_hub.identity.policy import Permission
from kqi_hub.ids import opaque
from kqi_hub.jupyterhub.limits import Attempts
from kqi_hub.notify.messages import Event
from kqi_hub.notify.rows import TargetRow
from kqi_hub.notify.service import Notifications, note_outcome
from kqi_hub.outbound import http
from kqi_hub.web.call import Call, Caller, feature
from kqi_hub.web.routes import Routes
from kqi_spawner.workload import Secret

routes = Routes("account")
Id = Annotated[int, Path(ge=1, le=2**53 - 1)]
_AT_MOST = 20
_MAIL = re.compile(r"[^@\s,;<>\"]{1,64}@[A-Za-z0-9.-]{1,190}")


@routes.get("/notifications", permission=Permission.ACCOUNT_MANAGE)
async def list_notifications(call: Caller) -> schema.Page[schema.NotificationTarget]:
    query = select(TargetRow).where(TargetRow.person_id == call.person.person).order_by(TargetRow.id)
    return schema.Page(items=[_shown(call, row) for row in (await call.session.execute(query)).scalars()])


@routes.post("/notifications", permission=Permission.ACCOUNT_MANAGE, status=201)
async def add_notification(call: Caller, body: schema.AddNotificationTarget) -> schema.NewNotificationTarget:
    """Add a chat, a webhook or a mail address. The key that signs the bodies of a webhook is in this answer alone."""
    _check(body.kind, body.address)
    own = select(func.count()).select_from(TargetRow).where(TargetRow.person_id == call.person.person)
    if (await call.session.execute(own)).scalar_one() >= _AT_MOST:
        raise Conflict("too_many_targets", count=_AT_MOST)
    key = opaque(32) if body.kind is schema.NoticeKind.WEBHOOK else None
    vault = call.platform.vault
    row = TargetRow(
        person_id=call.person.person,
        kind=body.kind.value,
        name=body.name,
        address=vault.seal(Secret(body.address)),
        key=vault.seal(Secret(key)) if key else None,
        mention=body.mention,
        events=json.dumps(body.events),
        created_at=now(),
    )
    row.fault = ""
    call.session.add(row)
    await call.session.flush()
    await call.note("notification.add", f"notification/{row.id}", kind=row.kind, name=row.name)
    return schema.NewNotificationTarget(target=_shown(call, row), key=key)


@routes.patch("/notifications/{target_id}", permission=Permission.ACCOUNT_MANAGE)
async def change_notification(
    call: Caller, target_id: Id, body: schema.ChangeNotificationTarget
) -> schema.NotificationTarget:
    row = await _own(call, target_id)
    if body.address is not None:
        _check(schema.NoticeKind(row.kind), body.address)
        row.address = call.platform.vault.seal(Secret(body.address))
    row.name = row.name if body.name is None else body.name
    row.mention = row.mention if body.mention is None else body.mention
    row.events = row.events if body.events is None else json.dumps(body.events)
    await call.session.flush()
    await call.note("notification.change", f"notification/{row.id}", fields=sorted(body.model_fields_set))
    return _shown(call, row)


@routes.delete("/notifications/{target_id}", permission=Permission.ACCOUNT_MANAGE)
async def remove_notification(call: Caller, target_id: Id) -> None:
    row = await _own(call, target_id)
    await call.session.delete(row)
    await call.note("notification.remove", f"notification/{target_id}")


@routes.post("/notifications/{target_id}/test", permission=Permission.ACCOUNT_MANAGE)
async def test_notification(
    call: Caller,
    target_id: Id,
    notifications: Annotated[Notifications, feature(Notifications)],
    limit: Annotated[Attempts, feature(Attempts)],
) -> schema.NotificationTarget:
    """Tell something now; an answer that is an error says why it did not arrive."""
    wait_s = limit.wait_s(str(call.person.person))
    if wait_s:
        raise TooMany("too_many_attempts", retry_after_s=wait_s)
    # In a transaction of its own, closed before somebody else is asked.
    async with call.platform.database.read() as session:
        found = await session.get(TargetRow, target_id)
        own = found is not None and found.person_id == call.person.person
        target = await notifications.target(session, found) if found is not None and own else None
    if target is None:
        raise NotFound("notification", target_id)
    await notifications.tell(target, Event(phase="test", title=call.person.name, at=now().isoformat()))
    row = await _own(call, target_id)
    note_outcome(row, "")
    await call.session.flush()
    return _shown(call, row)


async def _own(call: Call, target_id: int) -> TargetRow:
    row = await call.session.get(TargetRow, target_id)
    if row is None or row.person_id != call.person.person:
        raise NotFound("notification", target_id)
    return row


def _check(kind: schema.NoticeKind, address: str) -> None:
    if kind is not schema.NoticeKind.EMAIL:
        http.check(address)
    elif not _MAIL.fullmatch(address):
        raise Invalid("mail_address_not_valid")


def _shown(call: Call, row: TargetRow) -> schema.NotificationTarget:
    address = call.platform.vault.open(row.address).reveal()
    mail = row.kind == schema.NoticeKind.EMAIL.value
    return schema.NotificationTarget(
        id=row.id,
        kind=schema.NoticeKind(row.kind),
        name=row.name,
        address=address if mail else f"https://{http.host_of(address)}/…",
        mention=row.mention,
        events=json.loads(row.events),
        created_at=row.created_at,
        told_at=row.told_at,
        fault=row.fault,
    )
