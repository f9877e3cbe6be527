"""Ask the hub to start and stop the servers of notebooks."""

import json
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import quote

import aiohttp

from kqi_hub.errors import Unavailable
from kqi_hub.runs.model import Run, server_of
from kqi_spawner.workload import Secret

# What the hub answers when the server is already as it was asked to be.
_FINE = {201, 202, 204, 404}
# The hub sends a sign of life every 8 seconds while a server starts.
_SILENT_S = 30.0
_ANSWER_S = 30.0
_WAIT_S = 10  # for the answer; a start that takes longer is followed
_LINE = 1 << 20  # the longest account of a step


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    text: str


class HubLauncher:
    """`hub` is the hub's address with `/hub`; `token` that of our service. Belongs to one event loop."""

    def __init__(self, hub: str, token: Secret) -> None:
        self._api, self._token = f"{hub}/api/", token

    async def open(self, run: Run) -> str | None:
        place, asked = f"{_place(run)}?wait={_WAIT_S}", {"user_options": {"run": run.number}}
        answer = await self._request("POST", place, asked)
        if answer.status == 404:
            # The hub has not met this person yet: they came by the command line.
            await self._request("POST", _user(run), None)
            answer = await self._request("POST", place, asked)
        match answer.status:
            case 201:
                return None
            case 200:
                return str(json.loads(answer.text)["fault"])
            case _:
                return await self._followed(run, answer)

    async def close(self, run: Run) -> None:
        await self._close(run, _place(run))

    async def over(self, run: Run) -> None:
        await self._close(run, f"{_place(run)}?workload={run.workload}")

    async def _close(self, run: Run, place: str) -> None:
        # With every one there ever was in its database the hub grows slow; what a person named stays in their list.
        body = {"remove": True} if run.server == server_of(run.number) else None
        answer = await self._request("DELETE", place, body)
        if answer.status not in _FINE | {400}:
            raise Unavailable("hub_refused", status=answer.status, message=answer.text[:300])

    async def _followed(self, run: Run, answer: _Answer) -> str | None:
        """Follow the hub's own account of a start that goes on, or went wrong; without one the answer says why not."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_ANSWER_S, sock_read=_SILENT_S)
        try:
            async with self._session.get(f"{self._api}{_place(run)}/progress", timeout=timeout) as account:
                if account.status == 200:
                    async for line in account.content:
                        event = json.loads(line[5:]) if line.startswith(b"data:") else {}
                        if event.get("ready"):
                            return None
                        if event.get("failed"):
                            return str(event.get("message", ""))
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise Unavailable("hub_unreachable") from error
        # 202, 400: it was on its way or there, and the hub, restarted meanwhile, knows nothing of a start.
        if answer.status in {202, 400} or _passes(answer):
            raise Unavailable("hub_refused", status=answer.status, message=answer.text[:300])
        return f"{answer.status} {answer.text[:300]}"

    async def aclose(self) -> None:
        await self._session.close()

    async def _request(self, method: str, place: str, body: object) -> _Answer:
        try:
            async with self._session.request(method, f"{self._api}{place}", json=body) as answer:
                return _Answer(answer.status, await answer.text())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable("hub_unreachable") from error

    @cached_property
    def _session(self) -> aiohttp.ClientSession:
        headers = {"Authorization": f"token {self._token.reveal()}"}
        # As many starts are followed as there are.
        connector = aiohttp.TCPConnector(limit=0)
        return aiohttp.ClientSession(
            connector=connector, headers=headers, timeout=aiohttp.ClientTimeout(total=_ANSWER_S), read_bufsize=_LINE
        )


def _user(run: Run) -> str:
    return f"users/{quote(run.person, safe='')}"


def _place(run: Run) -> str:
    return f"{_user(run)}/servers/{quote(run.server, safe='')}" if run.server else f"{_user(run)}/server"


def _passes(answer: _Answer) -> bool:
    """Whether it is worth asking again: too many at once and faults of the hub go by, the rest does not."""
    return answer.status in {404, 409, 429} or answer.status >= 500
