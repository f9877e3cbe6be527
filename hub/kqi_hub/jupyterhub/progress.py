"""The account of a start, told to each reader in their own language."""

import asyncio
from typing import Any

from jupyterhub.apihandlers.users import SpawnProgressAPIHandler
from jupyterhub.utils import maybe_future, url_escape_path, url_path_join
from tornado.web import RequestHandler

from kqi_hub.i18n import text
from kqi_hub.jupyterhub.reader import language_of

_LOOK_S = 0.05


class Progress(SpawnProgressAPIHandler):  # type: ignore[misc]
    """JupyterHub's, whoever asked for the server: one that the platform starts is read by its person later."""

    _last: str = ""

    async def send_event(self, event: dict[str, Any]) -> None:
        if event.get("failed"):
            event = await self._ready_after_all() or event
        said = event.get("said") or (self._fault() if event.get("failed") else _OWN.get(_which(event)))
        told = {name: value for name, value in event.items() if name != "said"}
        if said:
            told["message"] = text(said["key"], language_of(self), said["params"])
            told.pop("html_message", None)
        if told.get("message") == self._last and not (told.get("failed") or told.get("ready")):
            return
        self._last = told.get("message", "")
        await super().send_event(told)

    async def _ready_after_all(self) -> dict[str, Any] | None:
        """Return what is to be said instead of "failed" of a server that is only being looked at.

        JupyterHub calls a server failed that has started while somebody else asks for it once more.
        """
        spawner = self._spawner()
        if spawner is None or spawner._spawn_future is not None:  # kept of a start that has failed, for its reason
            return None
        while spawner.pending:  # noqa: ASYNC110 - the hub announces it to nobody
            await asyncio.sleep(_LOOK_S)
        if not spawner.ready:
            return None
        url = url_path_join(spawner.user.url, url_escape_path(spawner.name), "/")
        event = {"progress": 100, "ready": True, "url": url, "message": ""}
        hook = spawner.progress_ready_hook
        return await maybe_future(hook(spawner, event)) if hook else event

    def _spawner(self) -> Any:
        person, *server = self.path_args
        user = self.find_user(person)
        return user.spawners[server[0] if server else ""] if user else None

    def _fault(self) -> dict[str, Any] | None:
        """Return why the start has failed, where our Spawner has said it."""
        spawner = self._spawner()
        ended = spawner._spawn_future if spawner else None
        fault = ended.exception() if ended and ended.done() and not ended.cancelled() else None
        said: dict[str, Any] | None = getattr(fault, "said", None)
        return said


def fault_of(handler: RequestHandler, error: BaseException) -> str:
    """Return why a start has failed, to whoever asks."""
    said = getattr(error, "said", None)
    return text(said["key"], language_of(handler), said["params"]) if said else str(error)


# What JupyterHub itself says, in English only.
_OWN: dict[str, dict[str, Any]] = {key: {"key": f"spawn.{key}", "params": {}} for key in ("asked", "ready")}


def _which(event: dict[str, Any]) -> str:
    return "ready" if event.get("ready") else "asked" if event.get("progress") == 0 else ""


# As JupyterHub has them; handlers of an authenticator come first.
PROGRESS = (
    (r"/api/users/([^/]+)/server/progress", Progress),
    (r"/api/users/([^/]+)/servers/([^/]*)/progress", Progress),
)
