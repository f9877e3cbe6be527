"""Who brings people a message outside of the platform."""

from dataclasses import dataclass
from typing import Protocol

from kqi_hub.errors import Conflict
from kqi_hub.i18n import text
from kqi_hub.notify.service import Notifications


class Courier(Protocol):
    @property
    def ready(self) -> bool:
        """Whether there is a way to send anything."""

    async def send(self, to: str, key: str, language: str, **params: object) -> None:
        """Send the e-mail whose texts are `key.subject` and `key.text`. Raises Unavailable if it could not be sent."""


@dataclass(frozen=True, slots=True)
class Postman:
    """Sends by the platform's mail server. Where there is none, what cannot be sent is shown instead."""

    notifications: Notifications

    @property
    def ready(self) -> bool:
        return self.notifications.mails

    async def send(self, to: str, key: str, language: str, **params: object) -> None:
        subject, body = (text(f"{key}.{part}", language, params) for part in ("subject", "text"))
        await self.notifications.mail(subject, body, to)


def check_can_send(courier: Courier, address: str) -> None:
    """Raise Conflict unless something can be sent to this address."""
    if not courier.ready:
        raise Conflict("no_sender")
    if not address:
        raise Conflict("no_address")
