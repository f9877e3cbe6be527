"""HTTP as both drivers use it: how a request is addressed and signed, and what a failure is called."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import httpx

from kqi.client.errors import BadSettings, ConnectionFailed
from kqi.client.settings import Settings
from kqi.client.steps import Answer, HttpRequest
from kqi.texts import language

API = "/services/kqi/api/v1"
CONNECTIONS = 32
PIECE = 2**20  # bytes of a file read at once


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One server, and who asks."""

    settings: Settings

    def build(self, request: HttpRequest) -> httpx.Request:
        """Return the request for httpx, the same for its blocking and its awaiting client."""
        settings = self.settings
        query = {name: value for name, value in request.query.items() if value is not None}
        url = settings.server + ("" if request.outside else API) + request.path
        headers = {"Accept-Language": language(), "User-Agent": settings.agent, **request.headers}
        if settings.token and not request.anonymous:
            headers["Authorization"] = f"Bearer {settings.token.reveal()}"
        timeout = httpx.Timeout(request.silence_s, connect=min(10, request.silence_s)).as_dict()
        url += "?" + urlencode(query) if query else ""
        content = None if isinstance(request.content, Path) else request.content
        built = httpx.Request(request.method, url, content=content, headers=headers, extensions={"timeout": timeout})
        if isinstance(request.content, Path):
            built.stream = FileBody(request.content)
            built.headers["Content-Length"] = str(request.content.stat().st_size)
        return built

    def trust(self) -> ssl.SSLContext:
        """Return the context that checks certificates: the system's authorities, and a private one where it is set."""
        context = ssl.create_default_context()
        if self.settings.ca_file:
            try:
                context.load_verify_locations(cafile=self.settings.ca_file)
            except OSError as problem:
                raise BadSettings("error.ca_file", path=self.settings.ca_file, reason=problem) from problem
        return context

    def failure(self, problem: httpx.HTTPError) -> ConnectionFailed:
        """Return the sentence for a connection that did not come about or broke."""
        server = self.settings.server
        if "CERTIFICATE_VERIFY_FAILED" in str(problem):
            return ConnectionFailed("error.certificate", server=server, reason=problem)
        if isinstance(problem, httpx.ConnectError | httpx.ConnectTimeout):
            return ConnectionFailed("error.cannot_connect", server=server, reason=problem)
        if isinstance(problem, httpx.TimeoutException):
            return ConnectionFailed("error.silent", server=server)
        return ConnectionFailed("error.cut", server=server, reason=problem or type(problem).__name__)


class FileBody(httpx.SyncByteStream, httpx.AsyncByteStream):
    """The bytes of a file as a body, for both of httpx's clients."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def __iter__(self) -> Iterator[bytes]:
        with self._place.open("rb") as file:
            while piece := file.read(PIECE):
                yield piece

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with self._place.open("rb") as file:
            while piece := await asyncio.to_thread(file.read, PIECE):
                yield piece


def limits() -> httpx.Limits:
    return httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)


def head(response: httpx.Response) -> Answer:
    return Answer(status=response.status_code, headers={name.lower(): text for name, text in response.headers.items()})


def whole(response: httpx.Response) -> Answer:
    start = head(response)
    return Answer(status=start.status, headers=start.headers, content=response.content)
