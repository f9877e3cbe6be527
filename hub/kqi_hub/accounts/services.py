"""What accounts stand on, put together; and all of their routes."""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from kqi_hub.accounts import api, credentials_api, keys_api, notifications_api, terms_api, tokens_api
from kqi_hub.accounts.credentials import Credentials
from kqi_hub.accounts.rows import SshKeyRow
from kqi_hub.db.engine import Database
from kqi_hub.jupyterhub.limits import Attempts
from kqi_hub.notify.service import Notifications
from kqi_hub.outbound.http import Outside
from kqi_hub.settings import Settings
from kqi_hub.vault import Vault

ROUTES = (
    api.routes,
    tokens_api.routes,
    keys_api.routes,
    credentials_api.routes,
    notifications_api.routes,
    terms_api.routes,
)
# How often a person may make the platform ask somebody else at once, in a minute.
_ASKED_PER_MINUTE = 10
_NOTICES_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountServices:
    vault: Vault
    credentials: Credentials
    notifications: Notifications
    outside: Outside

    @classmethod
    def of(cls, settings: Settings, database: Database) -> Self:
        vault, outside = Vault.of(settings), Outside(settings.outbound, settings.proxies)
        return cls(
            vault=vault,
            credentials=Credentials(database=database, vault=vault),
            notifications=Notifications(settings=settings, database=database, vault=vault, outside=outside),
            outside=outside,
        )

    @property
    def passes(self) -> Mapping[str, tuple[Callable[[], Awaitable[None]], float]]:
        """What the loops do, by name, and how often unless they are woken."""
        return {"notices": (self.notifications.one_pass, _NOTICES_S)}

    @property
    def features(self) -> dict[type[Any], Any]:
        return {
            Credentials: self.credentials,
            Notifications: self.notifications,
            Outside: self.outside,
            Attempts: Attempts(_ASKED_PER_MINUTE, time.monotonic),
        }


async def key_holders(session: AsyncSession) -> set[int]:
    """Return whom an SSH key lets in."""
    return set(await session.scalars(select(SshKeyRow.person_id).distinct()))
