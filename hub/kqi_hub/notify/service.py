"""Record what is to be told, in the transaction in which it happens; tell it afterwards, and again where that fails."""

import asyncio
import json
import logging
import time
from dataclasses import dataclass
from datetime import timedelta
from email.message import EmailMessage

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from kqi_hub.clock import now
from kqi_hub.db.base import kept
from kqi_hub.db.engine import Database
from kqi_hub.errors import Invalid, KqiError, Unavailable
from kqi_hub.i18n import text
from kqi_hub.identity.rows import PersonRow
from kqi_hub.notify import messages, smtp
from kqi_hub.notify.messages import Event
from kqi_hub.notify.rows import NoticeRow, TargetRow
from kqi_hub.outbound.http import Outside
from kqi_hub.settings import Settings
from kqi_hub.settings_outside import Smtp
from kqi_hub.vault import Vault

log = logging.getLogger(__name__)
_AT_ONCE, _SIDE_BY_SIDE = 50, 8
# Half a minute, two, eight, half an hour, two hours: who is away for longer looks for themselves.
_FIRST_PAUSE = timedelta(seconds=30)
_TRIES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where to tell somebody, and in which language."""

    kind: str
    address: str
    key: str | None
    mention: str
    language: str

    def __repr__(self) -> str:
        return f"Target({self.kind})"


@dataclass(slots=True, kw_only=True)
class Notifications:
    settings: Settings
    database: Database
    vault: Vault
    outside: Outside

    async def send(self, session: AsyncSession, person: int, event: Event) -> None:
        """See to it that the person is told where they want to hear of such a thing, once `session` is committed."""
        rows = await session.execute(select(TargetRow.id, TargetRow.events).where(TargetRow.person_id == person))
        for target, events in rows.all():
            if event.phase in json.loads(events):
                session.add(NoticeRow(target_id=target, event=event.to_json(), due_at=now()))
        await session.flush()

    async def one_pass(self) -> None:
        """Tell all that is due. What a crash cuts is told again."""
        async with self.database.read() as session:
            query = select(NoticeRow).where(NoticeRow.due_at <= now()).order_by(NoticeRow.due_at).limit(_AT_ONCE)
            due = list((await session.execute(query)).scalars())
        room = asyncio.Semaphore(_SIDE_BY_SIDE)
        await asyncio.gather(*(self._tell_of(row, room) for row in due))

    async def target(self, session: AsyncSession, row: TargetRow) -> Target | None:
        """Return where and how the row's person is told; None for who is suspended."""
        person = await session.get(PersonRow, row.person_id)
        if person is None or person.disabled:
            return None
        return Target(
            kind=row.kind,
            address=self.vault.open(row.address).reveal(),
            key=self.vault.open(row.key).reveal() if row.key else None,
            mention=row.mention,
            language=person.language or "en",
        )

    async def tell(self, target: Target, event: Event) -> None:
        """Tell it now. Raises a KqiError that says why it did not arrive."""
        if target.kind == "email":
            await self._mail(target, event)
            return
        headers = {"Content-Type": "application/json", "User-Agent": "kqi-hub"}
        if target.kind == "slack":
            body = messages.slack(event, target.mention, target.language)
        else:
            body = messages.webhook(event, target.language)
            headers |= messages.signature(target.key or "", int(time.time()), body)
        answer = await self.outside.ask("POST", target.address, headers=headers, content=body)
        if not 200 <= answer.status < 300:
            raise Invalid("notify_refused", status=answer.status)

    @property
    def mails(self) -> bool:
        """Whether there is a server that takes mail."""
        return self.settings.smtp is not None

    async def mail(self, subject: str, body: str, to: str) -> None:
        """Send mail now. Raises Unavailable with the reason if it did not go out."""
        await self._post(messages.letter(subject, body, to, self._smtp.sender))

    async def _mail(self, target: Target, event: Event) -> None:
        await self._post(messages.mail(event, target.address, self._smtp.sender, target.language))

    @property
    def _smtp(self) -> Smtp:
        if self.settings.smtp is None:
            raise Unavailable("mail_not_configured")
        return self.settings.smtp

    async def _post(self, message: EmailMessage) -> None:
        outbound = self.settings.outbound
        await asyncio.to_thread(smtp.hand_over, message, self._smtp, outbound.ca_file, outbound.timeout_s)

    async def _target(self, number: int) -> Target | None:
        async with self.database.read() as session:
            row = await session.get(TargetRow, number)
            return await self.target(session, row) if row else None

    async def _tell_of(self, notice: NoticeRow, room: asyncio.Semaphore) -> None:
        async with room:
            await self._settle(notice, await self._fault_of(notice))

    async def _fault_of(self, notice: NoticeRow) -> str:
        """Tell it; return why it did not arrive, empty if it did."""
        try:
            target = await self._target(notice.target_id)
            if target is not None:
                await self.tell(target, Event.from_json(notice.event))
        except KqiError as error:
            log.warning("somebody could not be told", extra={"target": notice.target_id, "code": error.code})
            return text(error.code, "en", error.params)
        return ""

    async def _settle(self, notice: NoticeRow, fault: str) -> None:
        async with self.database.write() as session:
            row, place = await session.get(NoticeRow, notice.id), await session.get(TargetRow, notice.target_id)
            if place is not None:
                note_outcome(place, fault)
            if row is None:
                return
            if not fault or row.tries + 1 >= _TRIES:
                await session.delete(row)
                return
            row.due_at, row.tries = now() + _FIRST_PAUSE * 4**row.tries, row.tries + 1


def note_outcome(row: TargetRow, fault: str) -> None:
    row.fault = kept(fault)[:255]
    if not fault:
        row.told_at = now()
