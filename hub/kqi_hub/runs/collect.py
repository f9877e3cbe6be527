"""Keep what a run made, and look into it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from kqi_hub.runs.model import Run
from kqi_hub.storage import beneath
from kqi_hub.storage.store import Store, answering_disk_errors
from kqi_hub.web import files as answers

ZIP_NAME = "output.zip"


def zip_output(store: Store, run: Run) -> None:
    """Pack the output into the attachments, whole or not at all. Blocks."""
    attach = store.path(run.folder / "attach")
    with answering_disk_errors(), beneath.replacing(attach, ZIP_NAME, owner=store.owner) as file:
        answers.pack(file, outputs(store, run))


def outputs(store: Store, run: Run, path: str = "") -> Iterator[tuple[str, Callable[[], BinaryIO]]]:
    """Yield path and opener of every regular file of the output, or of a folder in it."""
    root = store.path(run.folder / "output")
    for name in beneath.files(root, path):
        yield name, _opener(root, name)


def _opener(root: Path, name: str) -> Callable[[], BinaryIO]:
    return lambda: beneath.open_file(root, name)
