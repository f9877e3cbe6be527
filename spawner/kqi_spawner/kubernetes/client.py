"""Requests to the apiserver: plain dictionaries in and out, errors by what one can do about them."""

import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import Configuration
from kubernetes.aio.config.config_exception import ConfigException

from kqi_spawner.errors import BackendError, CannotStart

FIELD_MANAGER = "kqi"
_TIMEOUT_S = 20.0
_MERGE = "application/strategic-merge-patch+json"
# The largest object that an apiserver hands out, with room for its envelope.
_LINE = 1 << 22


class ApiError(BackendError):
    """The apiserver refused; `status` is its HTTP status and `reason` its word for it."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status, self.reason, self.message = status, reason, message


class Gone(ApiError):
    """What is asked for (an object, or the events since a version) is not there any more."""


class Client:
    """One object per event loop; `close` ends its connections."""

    def __init__(self, configuration: Configuration) -> None:
        # The package reads kubeconfigs and renews tokens; its models are not used.
        self._configuration = configuration
        self._host = configuration.host.rstrip("/")
        self._ssl = _context(configuration)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=64, ssl=self._ssl), read_bufsize=_LINE, trust_env=True
        )

    @classmethod
    async def opened(cls, kubeconfig: Path | None) -> Self:
        """Connect by a kubeconfig, or as the pod that this runs in. Raises `CannotStart`."""
        configuration = Configuration()
        try:
            if kubeconfig is not None:
                await config.load_kube_config(str(kubeconfig), client_configuration=configuration)  # type: ignore[no-untyped-call]
            else:
                config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        except (ConfigException, OSError) as error:
            raise CannotStart(f"no way to a cluster: {error}") from error
        return cls(configuration)

    async def close(self) -> None:
        await self._session.close()

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        return await self._request("GET", path, query)

    async def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return await self._request("POST", path, {"fieldManager": FIELD_MANAGER}, body)

    async def merge(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Change what `body` names; lists such as finalizers are added to."""
        return await self._request("PATCH", path, {"fieldManager": FIELD_MANAGER}, body, _MERGE)

    async def delete(self, path: str, options: Mapping[str, Any] | None = None) -> None:
        """Ask for its removal; one that is gone is fine."""
        with suppress(Gone):
            await self._request("DELETE", path, None, {"apiVersion": "v1", "kind": "DeleteOptions", **(options or {})})

    async def lines(self, path: str, query: Mapping[str, str], *, silence_s: float) -> AsyncIterator[dict[str, Any]]:
        """Yield the events of a watch. Raises `Gone` for a version that is too old, `BackendError` else."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_TIMEOUT_S, sock_read=silence_s)
        try:
            async with self._session.get(
                self._url(path, query), headers=await self._headers(), timeout=timeout
            ) as answer:
                await _checked(answer)
                async for line in answer.content:
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise _refusal(event["object"].get("code", 500), event["object"])
                    yield event
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise BackendError(f"watch of {path}: {error or type(error).__name__}") from error

    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        kind: str = "application/json",
    ) -> dict[str, Any]:
        data = json.dumps(body).encode() if body is not None else None
        headers = {**await self._headers(), "Content-Type": kind}
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        try:
            async with self._session.request(
                method, self._url(path, query), data=data, headers=headers, timeout=timeout
            ) as answer:
                await _checked(answer)
                found: dict[str, Any] = json.loads(await answer.read())
                return found
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise BackendError(f"{method} {path}: {error or type(error).__name__}") from error

    def _url(self, path: str, query: Mapping[str, str] | None) -> str:
        return f"{self._host}{path}" + (f"?{urlencode(query)}" if query else "")

    async def _headers(self) -> dict[str, str]:
        signing = (await self._configuration.auth_settings()).get("BearerToken", {})
        signed = {str(signing["key"]): str(signing["value"])} if signing.get("value") else {}
        return {"Accept": "application/json", "User-Agent": FIELD_MANAGER, **signed}


async def _checked(answer: aiohttp.ClientResponse) -> None:
    if answer.status < 400:
        return
    text = await answer.text()
    try:
        raise _refusal(answer.status, json.loads(text))
    except ValueError:
        raise ApiError(answer.status, str(answer.reason), text[:300]) from None


def _refusal(status: int, told: Mapping[str, Any]) -> ApiError:
    kind = Gone if status in {404, 410} else ApiError
    return kind(status, str(told.get("reason", "")), str(told.get("message", "")))


def _context(configuration: Configuration) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert, cadata=configuration.ca_cert_data)
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
