"""`client.trainings` and `client.notebooks`: runs, their logs, outputs and attachments."""

import os
import tempfile
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import ClassVar

from kqi.client.bulk import download
from kqi.client.data import Paths
from kqi.client.downloading import Remote, bring
from kqi.client.errors import BadFile
from kqi.client.exchange import collected, delete, get, open_body, pages, patch, post, segment, send
from kqi.client.filters import RunFilter
from kqi.client.following import ended, follow, opens, wait_until
from kqi.client.local_files import LocalFile
from kqi.client.operation import Group, Mode, operation, stream
from kqi.client.packing import pack
from kqi.client.progress import Meter, Report
from kqi.client.steps import Emit, HttpRequest, Read, Steps, Stream, work
from kqi.client.uploading import send_files
from kqi.schema import (
    Archive,
    Attachment,
    ChangeRun,
    CopyTraining,
    CreateNotebook,
    CreateTraining,
    OutputEntry,
    Run,
    RunEvents,
    StopMode,
    StopRun,
)

PathLike = str | os.PathLike[str]


class RunGroup(Group[Mode]):
    """What trainings and notebooks have in common."""

    root: ClassVar[str]

    @stream
    def list(self, where: RunFilter | None = None, limit: int | None = None) -> Stream[Run]:
        """Iterate over runs, newest first."""
        return pages(Run, self.root, {"tenant": self._tenant, **(where or RunFilter()).query()}, limit)

    @operation
    def get(self, run_id: int) -> Steps[Run]:
        return get(Run, f"{self.root}/{run_id}")

    @operation
    def edit(self, run_id: int, body: ChangeRun) -> Steps[Run]:
        return patch(Run, f"{self.root}/{run_id}", body)

    @operation
    def delete(self, run_id: int) -> Steps[None]:
        return delete(f"{self.root}/{run_id}")

    @operation
    def stop(self, run_id: int, mode: StopMode = StopMode.CANCEL) -> Steps[Run]:
        return post(Run, f"{self.root}/{run_id}/stop", StopRun(mode=mode))

    @operation
    def wait(self, run_id: int) -> Steps[Run]:
        """Return the run when it has ended."""
        return wait_until(f"{self.root}/{run_id}", ended)

    @operation
    def events(self, run_id: int) -> Steps[RunEvents]:
        return get(RunEvents, f"{self.root}/{run_id}/events")

    @stream
    def log(self, run_id: int, offset: int = 0) -> Stream[bytes]:
        """Iterate over what was written so far, from a byte on."""
        opened = yield from open_body(
            HttpRequest(method="GET", path=f"{self.root}/{run_id}/log", query={"offset": offset})
        )
        while piece := (yield Read(opened)):
            yield Emit(piece)

    @stream
    def follow(self, run_id: int) -> Stream[bytes]:
        """Iterate over the log until the run has ended, also when the connection breaks in between."""
        return follow(f"{self.root}/{run_id}")

    @stream
    def outputs(self, run_id: int, path: str = "", limit: int | None = None) -> Stream[OutputEntry]:
        """Iterate over the entries of one output folder."""
        return pages(OutputEntry, f"{self.root}/{run_id}/outputs", {"path": path or None}, limit)

    @operation
    def download(self, run_id: int, folder: PathLike, path: str = "", report: Report | None = None) -> Steps[Paths]:
        """Bring the outputs below `path` into a folder; what is there, of the same size and time, is not sent again."""
        root = f"{self.root}/{run_id}/outputs"
        files = yield from _outputs_below(root, path)
        return (yield from download(files, Path(folder), report))

    @operation
    def archive(self, run_id: int, target: PathLike, path: str = "") -> Steps[Path]:
        """Bring the outputs as one zip."""
        url = f"{self.root}/{run_id}/outputs.zip"
        remote = Remote(url=url, path=Path(target).name, query=(("path", path or None),))
        return bring(remote, Path(target), Meter(1, 0, None))

    @stream
    def attachments(self, run_id: int) -> Stream[Attachment]:
        return pages(Attachment, f"{self.root}/{run_id}/attachments", {}, None)

    @operation
    def attach(self, run_id: int, place: PathLike, name: str | None = None) -> Steps[None]:
        """Put a file beside the run, under its own name or another."""
        file = Path(place)
        if not (yield from work(file.is_file)):
            raise BadFile("error.not_a_file", path=file)
        yield from send(
            HttpRequest(
                method="PUT",
                path=_attachment(self.root, run_id, name or file.name),
                content=file,
                headers={"Content-Type": "application/octet-stream"},
                silence_s=300,
            )
        )

    @operation
    def attachment(self, run_id: int, name: str, target: PathLike) -> Steps[Path]:
        """Bring one attachment."""
        return bring(Remote(url=_attachment(self.root, run_id, name), path=name), Path(target), Meter(1, 0, None))

    @operation
    def detach(self, run_id: int, name: str) -> Steps[None]:
        """Remove an attachment."""
        return delete(_attachment(self.root, run_id, name))

    @operation
    def send_code(self, folder: PathLike) -> Steps[Archive]:
        """Pack a folder, send it and return it as a source. The same content is sent once."""
        place = Path(folder).resolve()
        with tempfile.TemporaryDirectory(prefix="kqi-", ignore_cleanup_errors=True) as temporary:
            packed = Path(temporary, "code.tar.gz")
            yield from work(partial(_pack, place, packed))
            file = LocalFile(str(packed), packed.name, packed.stat().st_size)
            (sent,) = yield from send_files([file], self._tenant)
        return Archive(sha256=sent.sha256, origin=str(place)[-255:])


class TrainingGroup(RunGroup[Mode]):
    """Trainings of the tenants of the caller."""

    root = "/trainings"

    @operation
    def create(self, body: CreateTraining) -> Steps[Run]:
        return post(Run, self.root, body, {"tenant": self._tenant})

    @operation
    def copy(self, run_id: int, body: CopyTraining | None = None) -> Steps[Run]:
        """Run it again as it was recorded, but for what is given."""
        return post(Run, f"{self.root}/{run_id}/copy", body or CopyTraining())


class NotebookGroup(RunGroup[Mode]):
    """Notebooks of the tenants of the caller."""

    root = "/notebooks"

    @operation
    def create(self, body: CreateNotebook) -> Steps[Run]:
        return post(Run, self.root, body, {"tenant": self._tenant})

    @operation
    def start(self, run_id: int) -> Steps[Run]:
        """Start a stopped notebook again."""
        return post(Run, f"{self.root}/{run_id}/start")

    @operation
    def wait_open(self, run_id: int) -> Steps[Run]:
        """Return the notebook when it can be opened, or has ended instead."""
        return wait_until(f"{self.root}/{run_id}", opens)


def _outputs_below(root: str, path: str) -> "Steps[list[Remote]]":
    files: list[Remote] = []
    folders = [path]
    while folders:
        folder = folders.pop()
        entries = yield from collected(pages(OutputEntry, root, {"path": folder or None}, None))
        for entry in entries:
            full = f"{folder}/{entry.name}" if folder else entry.name
            if entry.folder:
                folders.append(full)
            else:
                url = f"{root}/content/{segment(full)}"
                files.append(Remote(url=url, path=full, size=entry.size or 0, changed_ns=_ns(entry.changed_at)))
    return files


def _ns(moment: datetime) -> int:
    return (moment - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1) * 1000


def _attachment(root: str, run_id: int, name: str) -> str:
    return f"{root}/{run_id}/attachments/{segment(name)}"


def _pack(folder: Path, packed: Path) -> int:
    with packed.open("wb") as out:
        return pack(folder, out)
