"""`client.datasets`: data divided into splits, or flat, in versions."""

import os
from pathlib import Path

from kqi.client.bulk import download
from kqi.client.data import Names, Paths
from kqi.client.downloading import Remote
from kqi.client.exchange import collected, delete, get, pages, patch, post, put, segment
from kqi.client.filters import Filter
from kqi.client.operation import Group, Mode, operation, stream
from kqi.client.progress import Report
from kqi.client.steps import Steps, Stream
from kqi.schema import (
    ChangeDataset,
    CopyDataset,
    CreateDataset,
    Dataset,
    DatasetFile,
    DatasetUse,
    DatasetVersion,
    DataTypes,
    Entries,
    File,
)


class DatasetGroup(Group[Mode]):
    """Datasets of the tenants of the caller."""

    @operation
    def create(self, body: CreateDataset) -> Steps[Dataset]:
        return post(Dataset, "/datasets", body, {"tenant": self._tenant})

    @stream
    def list(self, where: Filter | None = None, limit: int | None = None) -> Stream[Dataset]:
        """Iterate over datasets, newest first."""
        return pages(Dataset, "/datasets", {"tenant": self._tenant, **(where or Filter()).query()}, limit)

    @operation
    def get(self, dataset_id: int) -> Steps[Dataset]:
        return get(Dataset, f"/datasets/{dataset_id}")

    @operation
    def edit(self, dataset_id: int, body: ChangeDataset) -> Steps[Dataset]:
        return patch(Dataset, f"/datasets/{dataset_id}", body)

    @operation
    def delete(self, dataset_id: int) -> Steps[None]:
        return delete(f"/datasets/{dataset_id}")

    @operation
    def replace(self, dataset_id: int, entries: Entries) -> Steps[Dataset]:
        """Change which data the current version holds; a frozen one refuses."""
        return put(Dataset, f"/datasets/{dataset_id}/entries", entries)

    @operation
    def add_version(self, dataset_id: int, entries: Entries) -> Steps[Dataset]:
        return post(Dataset, f"/datasets/{dataset_id}/versions", entries)

    @stream
    def versions(self, dataset_id: int, limit: int | None = None) -> Stream[DatasetVersion]:
        return pages(DatasetVersion, f"/datasets/{dataset_id}/versions", {}, limit)

    @operation
    def copy(self, dataset_id: int, body: CopyDataset) -> Steps[Dataset]:
        return post(Dataset, f"/datasets/{dataset_id}/copy", body)

    @stream
    def files(self, use: DatasetUse, limit: int | None = None) -> Stream[DatasetFile]:
        """Iterate over the files as they lie under `/kqi/input`."""
        return pages(DatasetFile, f"/datasets/{use.id}/files", {"version": use.version}, limit)

    @operation
    def download(self, use: DatasetUse, folder: str | os.PathLike[str], report: Report | None = None) -> Steps[Paths]:
        """Bring the files into a folder, laid out as a run finds them under `/kqi/input`."""
        files = yield from collected(pages(DatasetFile, f"/datasets/{use.id}/files", {"version": use.version}, None))
        names: dict[tuple[int, str], str] = {}
        remote = []
        for file in files:
            if (file.data, file.sha256) not in names:
                listed = yield from collected(pages(File, f"/data/{file.data}/files", {}, None))
                names.update({(file.data, one.sha256): one.path for one in listed})
            url = f"/data/{file.data}/content/{segment(names[file.data, file.sha256])}"
            remote.append(Remote(url=url, path=file.path, size=file.size, sha256=file.sha256))
        return (yield from download(remote, Path(folder), report))

    @operation
    def types(self) -> Steps[Names]:
        """Return the splits that typed datasets of the tenant may have, in order."""
        found = yield from get(DataTypes, "/data-types", {"tenant": self._tenant})
        return found.names

    @operation
    def set_types(self, body: DataTypes) -> Steps[Names]:
        found = yield from put(DataTypes, "/data-types", body, {"tenant": self._tenant})
        return found.names
