"""Follows one kind of object for as long as the platform lives, through every outage."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from kqi_spawner.errors import BackendError
from kqi_spawner.kubernetes.client import Client, Gone

log = logging.getLogger(__name__)
# The server ends a watch after this time and tells the newest version first, so that the next one goes on from there.
_ROUND_S = 20
# A connection that is silent for longer is half open: somebody on the way has forgotten it.
_SILENCE_S = 27.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 5.0
_PAGE = "500"


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """`replace` takes all objects as of a version, `put` one that is new or changed, `drop` one that is gone."""

    path: str
    selector: str = ""
    fields: str = ""
    replace: Callable[[list[dict[str, Any]], int], None]
    put: Callable[[dict[str, Any]], None]
    drop: Callable[[dict[str, Any]], None]


async def follow(client: Client, what: Following, ready: asyncio.Event) -> None:
    """List, then watch, for ever; `ready` is set after the first list. Ends only when cancelled."""
    version, wait_s = "", _FIRST_WAIT_S
    while True:
        try:
            if not version:
                version = await _listed(client, what)
                ready.set()
            async for event in _events(client, what, version):
                version = event["object"]["metadata"]["resourceVersion"]
                wait_s = _FIRST_WAIT_S
                match event["type"]:
                    case "ADDED" | "MODIFIED":
                        what.put(event["object"])
                    case "DELETED":
                        what.drop(event["object"])
        except Exception as error:  # noqa: BLE001 - who does not listen any more takes all for unchanged
            if isinstance(error, Gone) and version:
                version = ""
                continue
            if not isinstance(error, BackendError):
                version = ""
            log.warning("a watch was interrupted, it goes on", extra={"path": what.path, "cause": repr(error)[:200]})
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, _LONGEST_WAIT_S)


async def _listed(client: Client, what: Following) -> str:
    found: list[dict[str, Any]] = []
    more = ""
    while True:
        query = {**_chosen(what), "limit": _PAGE, **({"continue": more} if more else {})}
        page = await client.get(what.path, query)
        found += page.get("items") or []
        more = page["metadata"].get("continue", "")
        if not more:
            version = str(page["metadata"]["resourceVersion"])
            what.replace(found, int(version))
            return version


def _events(client: Client, what: Following, version: str) -> AsyncIterator[dict[str, Any]]:
    query = {
        **{**_chosen(what), "watch": "1", "resourceVersion": version},
        **{"allowWatchBookmarks": "true", "timeoutSeconds": str(_ROUND_S)},
    }
    return client.lines(what.path, query, silence_s=_SILENCE_S)


def _chosen(what: Following) -> dict[str, str]:
    chosen = {"labelSelector": what.selector, "fieldSelector": what.fields}
    return {key: value for key, value in chosen.items() if value}
