"""Ask the hub to start and stop the servers of notebooks."""

import json

import httpx

from kqi_hub.errors import Conflict, Unavailable
from kqi_hub.runs.model import Run
from kqi_spawner.workload import Secret

# What the hub answers when the server is already as it was asked to be.
_FINE = {201, 202, 204, 404}
# The hub sends a sign of life every 8 seconds while a server starts.
_SILENT_S = 30.0


class HubLauncher:
    """`hub` is the hub's address with `/hub`; `token` that of our service."""

    def __init__(self, hub: str, token: Secret) -> None:
        headers = {"Authorization": f"token {token.reveal()}"}
        self._client = httpx.AsyncClient(base_url=f"{hub}/api/", headers=headers, timeout=30, trust_env=False)

    async def open(self, run: Run) -> None:
        answer = await self._send("POST", run, {"user_options": {"run": run.number}})
        if answer.status_code == 404:
            # The hub has not met this person yet: they came by the command line.
            await self._request("POST", f"users/{run.person}", None)
            answer = await self._send("POST", run, {"user_options": {"run": run.number}})
        # 400: it is running or starting already.
        if answer.status_code not in {201, 202, 204, 400}:
            raise _refusal(answer)

    async def close(self, run: Run) -> None:
        answer = await self._send("DELETE", run, None)
        if answer.status_code not in _FINE | {400}:
            raise Unavailable("hub_refused", status=answer.status_code, message=answer.text[:300])

    async def opened(self, run: Run) -> str | None:
        """Follow the hub's own account of the start."""
        try:
            async with self._client.stream("GET", f"{_place(run)}/progress", timeout=_SILENT_S) as answer:
                if answer.status_code == 200:
                    async for line in answer.aiter_lines():
                        event = json.loads(line[5:]) if line.startswith("data:") else {}
                        if event.get("ready"):
                            return None
                        if event.get("failed"):
                            return str(event.get("message", ""))
        except httpx.HTTPError as error:
            raise Unavailable("hub_unreachable") from error
        # The hub was restarted, or knows nothing of a start: it is to be asked once more.
        raise Unavailable("hub_refused", status=answer.status_code, message="")

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _send(self, method: str, run: Run, body: object) -> httpx.Response:
        return await self._request(method, _place(run), body)

    async def _request(self, method: str, place: str, body: object) -> httpx.Response:
        try:
            return await self._client.request(method, place, json=body)
        except httpx.HTTPError as error:
            raise Unavailable("hub_unreachable") from error


def _place(run: Run) -> str:
    return f"users/{run.person}/servers/{run.server}" if run.server else f"users/{run.person}/server"


def _refusal(answer: httpx.Response) -> Conflict | Unavailable:
    """Return what to raise: too many at once and faults of the hub go by, the rest does not."""
    passing = answer.status_code in {404, 409, 429} or answer.status_code >= 500
    kind = Unavailable if passing else Conflict
    return kind("hub_refused", status=answer.status_code, message=answer.text[:300])
