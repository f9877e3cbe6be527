"""`client.data`: files with a name, a memo and tags."""

import os
from collections.abc import Iterable
from pathlib import Path

from kqi.client.bulk import download
from kqi.client.downloading import Remote, bring
from kqi.client.exchange import collected, delete, get, open_body, pages, patch, post, segment
from kqi.client.filters import DataFilter
from kqi.client.local_files import Taking
from kqi.client.operation import Group, Mode, operation, stream
from kqi.client.progress import Meter, Report
from kqi.client.steps import Emit, HttpRequest, Read, Steps, Stream
from kqi.client.uploading import upload
from kqi.schema import BATCH_FILES, AddFiles, ChangeData, CreateData, Data, File, NewFile, Page, RemoveFiles

PathLike = str | os.PathLike[str]
Paths = list[Path]
Names = list[str]


class DataGroup(Group[Mode]):
    """Data of the tenants of the caller."""

    @operation
    def create(self, body: CreateData) -> Steps[Data]:
        """Make a data from files whose bytes are in the store; `upload` does both."""
        return post(Data, "/data", body, {"tenant": self._tenant})

    @operation
    def upload(
        self, paths: Iterable[PathLike], body: CreateData, report: Report | None = None, taking: Taking | None = None
    ) -> Steps[Data]:
        """Send files and folders and make a data of them, or nothing. Begin a cut upload again to continue it."""
        files = yield from upload(paths, self._tenant, report, taking)
        first = body.model_copy(update={"files": files[:BATCH_FILES], "more": len(files) > BATCH_FILES})
        made = yield from post(Data, "/data", first, {"tenant": self._tenant})
        return (yield from _add(made, files[BATCH_FILES:]))

    @stream
    def list(self, where: DataFilter | None = None, limit: int | None = None) -> Stream[Data]:
        """Iterate over data, newest first."""
        return pages(Data, "/data", {"tenant": self._tenant, **(where or DataFilter()).query()}, limit)

    @operation
    def get(self, data_id: int) -> Steps[Data]:
        return get(Data, f"/data/{data_id}")

    @operation
    def edit(self, data_id: int, body: ChangeData) -> Steps[Data]:
        return patch(Data, f"/data/{data_id}", body)

    @operation
    def delete(self, data_id: int) -> Steps[None]:
        return delete(f"/data/{data_id}")

    @stream
    def files(self, data_id: int, prefix: str | None = None, limit: int | None = None) -> Stream[File]:
        return pages(File, f"/data/{data_id}/files", {"prefix": prefix}, limit)

    @operation
    def add(
        self, data_id: int, paths: Iterable[PathLike], report: Report | None = None, taking: Taking | None = None
    ) -> Steps[Data]:
        """Send files and folders and add them to a data. Begin a cut call again: what has come may come again."""
        data = yield from get(Data, f"/data/{data_id}")
        files = yield from upload(paths, data.tenant, report, taking)
        return (yield from _add(data, files))

    @operation
    def remove(self, data_id: int, paths: Iterable[str]) -> Steps[Data]:
        """Take files out of a data, by their paths."""
        return post(Data, f"/data/{data_id}/files/remove", RemoveFiles(paths=[*paths]))

    @operation
    def download(
        self, data_id: int, folder: PathLike, prefix: str | None = None, report: Report | None = None
    ) -> Steps[Paths]:
        """Bring the files into a folder, checked by their hashes; what is there already is not sent again."""
        files = yield from collected(pages(File, f"/data/{data_id}/files", {"prefix": prefix}, None))
        remote = [
            Remote(url=_content(data_id, file.path), path=file.path, size=file.size, sha256=file.sha256)
            for file in files
        ]
        archive = None if prefix else f"/data/{data_id}/archive.zip"
        return (yield from download(remote, Path(folder), report, archive))

    @stream
    def content(self, data_id: int, path: str) -> Stream[bytes]:
        """Iterate over the bytes of one file."""
        opened = yield from open_body(HttpRequest(method="GET", path=_content(data_id, path)))
        while piece := (yield Read(opened)):
            yield Emit(piece)

    @operation
    def archive(self, data_id: int, target: PathLike) -> Steps[Path]:
        """Bring all files as one zip."""
        remote = Remote(url=f"/data/{data_id}/archive.zip", path=Path(target).name)
        return bring(remote, Path(target), Meter(1, 0, None))

    @operation
    def tags(self) -> Steps[Names]:
        """Return the tags in use, in order."""
        page = yield from get(Page[str], "/tags", {"tenant": self._tenant})
        return page.items


def _content(data_id: int, path: str) -> str:
    return f"/data/{data_id}/content/{segment(path)}"


def _add(data: Data, files: list[NewFile]) -> Steps[Data]:
    for start in range(0, len(files), BATCH_FILES):
        end = start + BATCH_FILES
        more = AddFiles(files=files[start:end], more=end < len(files))
        data = yield from post(Data, f"/data/{data.id}/files", more)
    return data
