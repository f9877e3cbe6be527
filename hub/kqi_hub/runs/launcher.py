"""Ask the hub to start and stop the servers of notebooks."""

import logging

import httpx

from kqi_hub.errors import Unavailable
from kqi_hub.runs.model import Run
from kqi_spawner.workload import Secret

log = logging.getLogger(__name__)
# What the hub answers when the server is already as it was asked to be.
_FINE = {201, 202, 204, 404}


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
            raise Unavailable("hub_refused", status=answer.status_code, message=answer.text[:300])

    async def close(self, run: Run) -> None:
        answer = await self._send("DELETE", run, None)
        if answer.status_code not in _FINE | {400}:
            raise Unavailable("hub_refused", status=answer.status_code, message=answer.text[:300])

    async def ready(self, run: Run) -> bool:
        """Return whether the hub has seen the server answer."""
        try:
            answer = await self._client.get(f"users/{run.person}")
        except httpx.HTTPError as error:
            raise Unavailable("hub_unreachable") from error
        if answer.status_code != 200:
            return False
        server = answer.json().get("servers", {}).get(run.server, {})
        return bool(server.get("ready"))

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _send(self, method: str, run: Run, body: object) -> httpx.Response:
        place = f"users/{run.person}/servers/{run.server}" if run.server else f"users/{run.person}/server"
        return await self._request(method, place, body)

    async def _request(self, method: str, place: str, body: object) -> httpx.Response:
        try:
            return await self._client.request(method, place, json=body)
        except httpx.HTTPError as error:
            raise Unavailable("hub_unreachable") from error
