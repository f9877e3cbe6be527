"""What happens to pods, for people who watch a start: in a namespace of any number of events."""

import json
from collections import OrderedDict
from typing import Any

from kubernetes_asyncio.client import ApiException
from kubespawner.spawner import EventReflector

_MOST = 2000


class Newest(OrderedDict[str, dict[str, Any]]):
    """The newest events, without what the apiserver keeps for itself; the oldest go first."""

    def __setitem__(self, key: str, event: dict[str, Any]) -> None:
        self.pop(key, None)
        meta = {name: value for name, value in event["metadata"].items() if name != "managedFields"}
        super().__setitem__(key, {**event, "metadata": meta})
        if len(self) > _MOST:
            self.popitem(last=False)


class NewEvents(EventReflector):  # type: ignore[misc]
    """Reads what happens from now on: a start shows nothing older, and a list of all is more than a hub can hold."""

    resources: Any

    async def _list_and_update(self, resource_version: str | None = None) -> str:
        if not isinstance(self.resources, Newest):
            self.resources = Newest()
        if resource_version not in {None, "0"}:
            return str(resource_version)  # the watch goes on where it was
        where = {} if self.omit_namespace else {"namespace": self.namespace}
        answer = await getattr(self.api, self.list_method_name)(
            **where, limit=1, _request_timeout=self.request_timeout, _preload_content=False
        )
        if not answer.ok:
            raise ApiException(status=answer.status, reason=answer.reason)
        found = json.loads(await answer.read())
        if not self.first_load_future.done():
            self.first_load_future.set_result(None)
        return str(found["metadata"]["resourceVersion"])
