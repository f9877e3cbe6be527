"""What the hub knows of people: who is signed in, and how that ends. Asked over its routes with the service's token."""

from datetime import datetime
from typing import Any, Protocol
from urllib.parse import quote

import httpx
from pydantic import BaseModel, TypeAdapter

from kqi_hub.errors import Unavailable
from kqi_spawner.workload import Secret


class HubSessionInfo(BaseModel):
    """A browser that is signed in, as the hub knows it. `tokens`: the hub's numbers of what it holds."""

    id: str
    person: str
    tokens: list[str]
    began_at: datetime | None
    used_at: datetime | None
    expires_at: datetime | None


class Hub(Protocol):
    """What administrators ask of the hub. Raises Unavailable while it is away."""

    async def sessions(self, person: str | None = None) -> list[HubSessionInfo]:
        """Return the browsers that are signed in."""

    async def end_sessions(self, person: str, session: str | None = None) -> int:
        """End one browser session of a person, or all; return how many ended."""

    async def put_out(self, person: str) -> None:
        """End everything by which a person reaches the hub: sessions, and tokens of servers as well."""

    async def forget(self, person: str) -> None:
        """Let the hub forget a person; one that it does not know is fine."""

    async def aclose(self) -> None: ...


_SESSIONS = TypeAdapter(list[HubSessionInfo])


class HubPeople:
    """The hub itself: `hub` is the hub's address with `/hub`; `token` that of our service."""

    def __init__(self, hub: str, token: Secret) -> None:
        headers = {"Authorization": f"Bearer {token.reveal()}"}
        self._client = httpx.AsyncClient(base_url=hub, headers=headers, timeout=20, trust_env=False)

    async def sessions(self, person: str | None = None) -> list[HubSessionInfo]:
        answer = await self._request("GET", "/kqi/sessions", {"person": person} if person else {})
        return _SESSIONS.validate_json(answer.content)

    async def end_sessions(self, person: str, session: str | None = None) -> int:
        asked = {"person": person, **({"session": session} if session else {})}
        return int((await self._request("DELETE", "/kqi/sessions", asked)).json()["ended"])

    async def put_out(self, person: str) -> None:
        await self._request("DELETE", "/kqi/sessions", {"person": person, "everything": "1"})

    async def forget(self, person: str) -> None:
        await self._request("DELETE", f"/api/users/{quote(person)}", {}, fine=(404,))

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _request(
        self, method: str, path: str, params: dict[str, Any], fine: tuple[int, ...] = ()
    ) -> httpx.Response:
        try:
            answer = await self._client.request(method, f".{path}", params=params)
        except httpx.HTTPError as error:
            raise Unavailable("hub_unreachable") from error
        if answer.is_error and answer.status_code not in fine:
            raise Unavailable("hub_refused", status=answer.status_code, message=answer.text[:300])
        return answer
