"""A way out for a program that connects by itself, to where redirects and repositories tell it: no further than it may.

It is SOCKS 5 on loopback, of which one command is needed, and whose server's side no well-kept library has.
"""

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import unquote, urlsplit

from kqi_hub.outbound.addresses import Forbidden, Reach
from kqi_hub.outbound.proxy import proxy_for

_CONNECT_S = 30.0
_VERSION, _NO_PASSWORD, _CONNECT, _NAME, _IPV4, _IPV6 = 5, 0, 1, 3, 1, 4
_DONE, _FORBIDDEN, _UNREACHABLE, _OTHER_COMMAND = 0, 2, 4, 7

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(slots=True, kw_only=True)
class Tunnel:
    """`port` is the one of loopback that is listened at; `refused` the hosts that were asked for in vain."""

    port: int
    refused: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How far, and by what proxy: variables by which the site reaches others, `https_proxy` and `no_proxy`."""

    reach: Reach
    proxies: Mapping[str, str]

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[Tunnel]:
        """Yield a tunnel that ends with the block, and with it every connection that goes by it."""
        carrying: set[asyncio.Task[None]] = set()

        def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(self._carry(tunnel, (reader, writer)))
            carrying.add(task)
            task.add_done_callback(carrying.discard)

        server = await asyncio.start_server(carry, "127.0.0.1", 0)
        tunnel = Tunnel(port=server.sockets[0].getsockname()[1])
        try:
            yield tunnel
        finally:
            server.close()
            for task in carrying:
                task.cancel()
            await asyncio.gather(*carrying, return_exceptions=True)

    async def _carry(self, tunnel: Tunnel, near: Ends) -> None:
        reader, writer = near
        with contextlib.suppress(OSError, asyncio.IncompleteReadError), contextlib.closing(writer):
            asked = await _asked(reader, writer)
            if asked is None:
                return await _answer(writer, _OTHER_COMMAND)
            try:
                async with asyncio.timeout(_CONNECT_S):
                    far = await self._connected(*asked)
            except Forbidden:
                tunnel.refused.append(asked[0])
                return await _answer(writer, _FORBIDDEN)
            except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                return await _answer(writer, _UNREACHABLE)
            with contextlib.closing(far[1]):
                await _answer(writer, _DONE)
                await asyncio.gather(_copied(reader, far[1]), _copied(far[0], writer))

    async def _connected(self, host: str, port: int) -> Ends:
        proxy = proxy_for(host, self.proxies)
        if not proxy:
            return await self._direct(host, port)
        # Names that are known here are checked all the same; others the proxy alone knows.
        with contextlib.suppress(OSError):
            await self.reach.addresses(host, port)
        return await _by_proxy(proxy, host, port)

    async def _direct(self, host: str, port: int) -> Ends:
        addresses = await self.reach.addresses(host, port)
        # One that is down must not hide another that answers.
        for address in addresses[:-1]:
            with contextlib.suppress(OSError):
                return await asyncio.open_connection(address, port)
        return await asyncio.open_connection(addresses[-1], port)


async def _asked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, int] | None:
    """Return host and port to connect to; None for another command. RFC 1928, sections 3 and 4."""
    _, methods = await reader.readexactly(2)
    await reader.readexactly(methods)
    writer.write(bytes((_VERSION, _NO_PASSWORD)))
    _, command, _, kind = await reader.readexactly(4)
    if kind == _NAME:
        (length,) = await reader.readexactly(1)
        host = (await reader.readexactly(length)).decode("ascii", "replace")
    else:
        host = str(ip_address(await reader.readexactly({_IPV4: 4, _IPV6: 16}.get(kind, 4))))
    port = int.from_bytes(await reader.readexactly(2))
    return (host, port) if command == _CONNECT else None


async def _answer(writer: asyncio.StreamWriter, said: int) -> None:
    writer.write(bytes((_VERSION, said, 0, _IPV4, 0, 0, 0, 0, 0, 0)))
    await writer.drain()


async def _by_proxy(proxy: str, host: str, port: int) -> Ends:
    """Connect by what a proxy of HTTP makes of CONNECT. Raises OSError where it does not let it through."""
    place = urlsplit(proxy)
    secure = ssl.create_default_context() if place.scheme == "https" else None
    reader, writer = await asyncio.open_connection(place.hostname, place.port or 80, ssl=secure)
    at = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    words = f"CONNECT {at} HTTP/1.1\r\nHost: {at}\r\n"
    if place.username:
        secret = f"{unquote(place.username)}:{unquote(place.password or '')}"
        words += f"Proxy-Authorization: Basic {base64.b64encode(secret.encode()).decode()}\r\n"
    try:
        writer.write(f"{words}\r\n".encode())
        answer = await reader.readuntil(b"\r\n\r\n")
        if not answer.partition(b" ")[2].startswith(b"2"):
            raise ConnectionError(answer.partition(b"\r")[0].decode("latin-1"))
    except BaseException:
        writer.close()
        raise
    return reader, writer


async def _copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(1 << 16):
        writer.write(chunk)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
