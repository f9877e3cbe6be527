"""A person at the API, in the words of the tests."""

import hashlib
import io
import itertools
import tarfile
from types import TracebackType
from typing import Any, Self

import httpx

from kqi_hub.testing.service import Running

ENDED = {"completed", "failed", "canceled", "killed"}
_AT_WORK = ("queued", "preparing", "running", "stopping", "collecting")


class Caller:
    def __init__(self, client: httpx.AsyncClient, name: str, tenant: str) -> None:
        self.client, self.name, self.tenant = client, name, tenant

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.client.aclose()

    async def get(self, path: str, status: int = 200, **options: Any) -> Any:
        return _answer(await self.client.get(path, **options), status)

    async def post(self, path: str, body: Any = None, status: int = 201, **options: Any) -> Any:
        return _answer(await self.client.post(path, json=body, **options), status)

    async def patch(self, path: str, body: Any, status: int = 200) -> Any:
        return _answer(await self.client.patch(path, json=body), status)

    async def put(self, path: str, body: Any, status: int = 200) -> Any:
        return _answer(await self.client.put(path, json=body), status)

    async def delete(self, path: str, status: int = 204) -> Any:
        return _answer(await self.client.delete(path), status)

    async def upload(self, files: dict[str, bytes]) -> list[dict[str, str]]:
        """Send files in one batch; return what `POST /data` takes."""
        content = packed(files)
        answer = await self.client.post(
            "/uploads/batch", content=content, headers={"Content-Type": "application/x-tar"}
        )
        return [{"path": file["path"], "sha256": file["sha256"]} for file in _answer(answer, 200)["files"]]

    async def data(self, files: dict[str, bytes], **fields: Any) -> Any:
        return await self.post("/data", {"name": "some data", "files": await self.upload(files), **fields})

    async def dataset(self, entries: dict[str, Any], **fields: Any) -> Any:
        return await self.post("/datasets", {"name": "some dataset", "entries": entries, **fields})

    async def train(self, command: str, **fields: Any) -> Any:
        small = {"cpu": 0.1, "memory_gb": 0.25}
        return await self.post("/trainings", {"command": command, "resources": small, **fields})

    async def ended(self, number: int, kind: str = "trainings") -> Any:
        """Wait until the run has ended and return it."""
        run = await self.get(f"/{kind}/{number}")
        while run["phase"] not in ENDED:
            run = await self.get(f"/{kind}/{number}", params={"wait_s": 30, "unless": run["phase"]})
        return run

    async def until(self, number: int, phase: str, kind: str = "trainings") -> Any:
        """Wait until the run is in `phase`; fail if it ended in another one."""
        run = await self.get(f"/{kind}/{number}")
        while run["phase"] != phase:
            assert run["phase"] not in ENDED, run
            run = await self.get(f"/{kind}/{number}", params={"wait_s": 30, "unless": run["phase"]})
        return run

    async def leave(self) -> None:
        """End what the caller's tenants still have at work: it takes no card or place from whoever comes next."""
        tenants = [tenant["name"] for tenant in (await self.get("/me"))["tenants"] if not tenant.get("archived")]
        for kind, tenant in itertools.product(("trainings", "notebooks"), tenants):
            asked = [{"phase": phase, "limit": 500, "tenant": tenant} for phase in _AT_WORK]
            found = [await self.get(f"/{kind}", params=each) for each in asked]
            numbers = [run["id"] for page in found for run in page["items"]]
            for number in numbers:
                answer = await self.client.post(f"/{kind}/{number}/stop", json={"mode": "kill"})
                assert answer.status_code == 200 or answer.json()["code"] == "run_ended", answer.text
            for number in numbers:
                await self.ended(number, kind)

    async def says(self, number: int, text: str) -> None:
        """Follow the log until it holds `text`."""
        seen = ""
        async with self.client.stream("GET", f"/trainings/{number}/log", params={"follow": True}) as log:
            async for chunk in log.aiter_text():
                seen += chunk
                if text in seen:
                    return
        raise AssertionError(f"never said {text!r}: {seen}")

    async def log(self, number: int, *, follow: bool = False) -> str:
        answer = await self.client.get(f"/trainings/{number}/log", params={"follow": follow})
        assert answer.status_code == 200, answer.text
        return answer.text


async def signed_in(service: Running, person: str, tenant: str, *, administrator: bool = False) -> Caller:
    token = await service.token(person, tenant, administrator=administrator)
    base = f"{service.url}/services/kqi/api/v1"
    client = httpx.AsyncClient(base_url=base, headers={"Authorization": f"Bearer {token}"}, timeout=60)
    return Caller(client, person, tenant)


def packed(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _answer(answer: httpx.Response, status: int) -> Any:
    assert answer.status_code == status, (
        f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text}"
    )
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"] and answer.json()["detail"] != answer.json()["code"]
    return answer.json() if answer.content and "json" in answer.headers.get("content-type", "") else answer
