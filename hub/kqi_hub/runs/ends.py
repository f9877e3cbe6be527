"""Tell a person of the end of their run."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncSession

from kqi.schema import Phase
from kqi_hub.clock import now
from kqi_hub.i18n.catalogue import LANGUAGES
from kqi_hub.notify.messages import Event
from kqi_hub.runs.model import Kind, Run
from kqi_hub.runs.view import explanation


class Sends(Protocol):
    async def send(self, session: AsyncSession, person: int, event: Event) -> None:
        """See to it that the person is told once `session` is committed."""


@dataclass(slots=True, kw_only=True)
class Ends:
    """`wake` is called when a transaction with an end in it is committed."""

    notifications: Sends
    url: str
    wake: Callable[[], None] = lambda: None

    async def ended(self, session: AsyncSession, run: Run, phase: Phase, reason: str | None) -> None:
        """A notebook that its person closes is no news; one that failed is."""
        if run.kind is Kind.NOTEBOOK and phase is not Phase.FAILED:
            return
        event = Event(
            phase=phase.value,
            kind=run.kind.value,
            number=run.number,
            title=run.title,
            tenant=run.tenant,
            reason=reason or "",
            explanations={language: explanation(replace(run, reason=reason), language) for language in LANGUAGES},
            at=now().isoformat(),
            url=f"{self.url}/services/kqi/",
        )
        await self.notifications.send(session, run.person_id, event)
