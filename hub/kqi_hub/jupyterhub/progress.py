"""The account of a start, told to each reader in their own language."""

from typing import Any

from jupyterhub.apihandlers.users import SpawnProgressAPIHandler

from kqi_hub.i18n import text
from kqi_hub.jupyterhub.reader import language_of


class Progress(SpawnProgressAPIHandler):  # type: ignore[misc]
    """JupyterHub's, whoever asked for the server: one that the platform starts is read by its person later."""

    _last: str = ""

    async def send_event(self, event: dict[str, Any]) -> None:
        said = event.get("said") or (self._fault() if event.get("failed") else _OWN.get(_which(event)))
        told = {name: value for name, value in event.items() if name != "said"}
        if said:
            told["message"] = text(said["key"], language_of(self), said["params"])
            told.pop("html_message", None)
        if told.get("message") == self._last and not (told.get("failed") or told.get("ready")):
            return
        self._last = told.get("message", "")
        await super().send_event(told)

    def _fault(self) -> dict[str, Any] | None:
        """Return why the start has failed, where our Spawner has said it."""
        person, *server = self.path_args
        user = self.find_user(person)
        ended = user.spawners[server[0] if server else ""]._spawn_future if user else None
        fault = ended.exception() if ended and ended.done() and not ended.cancelled() else None
        said: dict[str, Any] | None = getattr(fault, "said", None)
        return said


# What JupyterHub itself says, in English only.
_OWN: dict[str, dict[str, Any]] = {key: {"key": f"spawn.{key}", "params": {}} for key in ("asked", "ready")}


def _which(event: dict[str, Any]) -> str:
    return "ready" if event.get("ready") else "asked" if event.get("progress") == 0 else ""


# As JupyterHub has them; handlers of an authenticator come first.
PROGRESS = (
    (r"/api/users/([^/]+)/server/progress", Progress),
    (r"/api/users/([^/]+)/servers/([^/]*)/progress", Progress),
)
