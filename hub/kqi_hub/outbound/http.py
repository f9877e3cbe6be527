"""HTTPS to an address that somebody chose: resolved, checked, and connected to that very address; no redirects.

Where a site has a proxy, that connects. Names that are known here are checked all the same; others it alone knows.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import httpcore

from kqi_hub.errors import Invalid
from kqi_hub.outbound import trust
from kqi_hub.outbound.addresses import Forbidden, Reach, networks
from kqi_hub.outbound.proxy import proxy_for
from kqi_hub.settings_outside import Outbound


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    body: bytes


class Refused(Invalid):
    """It may not be asked, cannot be reached, or answers too late or too much; `message` says which."""

    def __init__(self, url: str, message: str) -> None:
        super().__init__("outbound_failed", host=host_of(url), message=message)


class Outside:
    """Asks servers out there. Each request has a connection of its own, whose end was looked at.

    `proxies`: variables by which the site reaches others, `https_proxy` and `no_proxy`.
    """

    def __init__(self, settings: Outbound, proxies: Mapping[str, str]) -> None:
        self._settings = settings
        self._proxies = proxies
        self._reach = Reach(networks(settings.private_networks), networks(settings.closed_networks))
        self._trust: ssl.SSLContext | None = None

    async def ask(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        at_most: int = 65_536,
    ) -> Answer:
        """Return the answer, of no more than `at_most` bytes. Raises Refused; its text never holds the address."""
        check(url)
        if self._trust is None:
            self._trust = trust.context(self._settings.ca_file)
        sent = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        try:
            async with (
                asyncio.timeout(self._settings.timeout_s),
                await self._pool(self._trust, host_of(url)) as pool,
                pool.stream(method, url, headers=sent, content=content) as answer,
            ):
                return Answer(status=answer.status, body=await _bounded(answer, at_most))
        except Forbidden as error:
            raise Refused(url, "the address is not one of the open internet") from error
        except _TooMuch as error:
            raise Refused(url, f"more than {at_most} bytes") from error
        except (TimeoutError, httpcore.TimeoutException) as error:
            raise Refused(url, "no answer in time") from error
        except socket.gaierror as error:
            raise Refused(url, "the name is not known") from error
        except httpcore.ProxyError as error:
            raise Refused(url, "the site's proxy does not let it through") from error
        except httpcore.ConnectError as error:
            cause = error.__cause__
            said = cause.verify_message if isinstance(cause, ssl.SSLCertVerificationError) else "no connection"
            raise Refused(url, said) from error
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError, ValueError) as error:
            raise Refused(url, "no answer of HTTP") from error

    async def _pool(self, trusted: ssl.SSLContext, host: str) -> httpcore.AsyncConnectionPool:
        checked = _Checked(self._reach)
        proxy = proxy_for(host, self._proxies)
        if not proxy:
            return httpcore.AsyncConnectionPool(trusted, network_backend=checked)
        with contextlib.suppress(socket.gaierror):
            await self._reach.addresses(host, 443)
        place, name = urlsplit(proxy), host_of(proxy)
        auth = (unquote(place.username), unquote(place.password or "")) if place.username else None
        address = f"{place.scheme}://{f'[{name}]' if ':' in name else name}:{place.port or 80}"
        return httpcore.AsyncHTTPProxy(address, ssl_context=trusted, proxy_auth=auth)


def check(url: str) -> None:
    """Raise Invalid for an address that is none of HTTPS, or holds a name and a password."""
    try:
        found = urlsplit(url)
        port = found.port
    except ValueError as error:
        raise Invalid("url_not_valid") from error
    plain = url.isascii() and not any(char <= " " for char in url)
    if found.scheme != "https" or not found.hostname or found.username is not None or port == 0 or not plain:
        raise Invalid("url_not_valid")


def host_of(url: str) -> str:
    """Return what may be shown of an address."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


class _TooMuch(Exception):
    pass


class _Checked(httpcore.AnyIOBackend):
    """Connects to what a name resolves to, if all of that may be connected to."""

    def __init__(self, reach: Reach) -> None:
        super().__init__()
        self._reach = reach

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await self._reach.addresses(host, port)
        # One that is down must not hide another that answers.
        for address in addresses[:-1]:
            try:
                return await super().connect_tcp(address, port, timeout, local_address, socket_options)
            except httpcore.ConnectError:
                continue
        return await super().connect_tcp(addresses[-1], port, timeout, local_address, socket_options)

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        raise Forbidden


async def _bounded(answer: httpcore.Response, at_most: int) -> bytes:
    body = bytearray()
    async for piece in answer.aiter_stream():
        body += piece
        if len(body) > at_most:
            raise _TooMuch
    return bytes(body)
