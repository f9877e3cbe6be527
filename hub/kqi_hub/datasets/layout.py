"""Where each file of a dataset lies under `/kqi/input`, and the description beside it. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kqi_hub.datasets.model import FLAT, Dataset, Version

META = "meta.json"


@dataclass(frozen=True, slots=True)
class Placed:
    """A file in the tree: `path` is relative to the dataset's root."""

    path: str
    data: int
    sha256: str
    size: int


def placed(version: Version, files: Mapping[int, Sequence[tuple[str, str, int]]]) -> list[Placed]:
    """Return all files of a version; `files` maps an id of data to (path, hash, size)."""
    return [
        Placed(f"{folder(split, data)}/{path}", data, sha256, size)
        for split, ids in version.entries.items()
        for data in ids
        for path, sha256, size in files.get(data, ())
    ]


def folder(split: str, data: int) -> str:
    return str(data) if split == FLAT else f"{split}/{data}"


def meta(dataset: Dataset, version: Version, names: Mapping[int, tuple[str, Sequence[str]]]) -> str:
    """Return the text of `meta.json`; `names` maps an id of data to its name and tags."""
    described = {
        "id": dataset.id,
        "name": dataset.name,
        "memo": dataset.memo,
        "version": version.number,
        "flat": version.flat,
        "files": version.files,
        "bytes": version.size,
        "entries": [
            {"type": split or None, "id": data, "name": names[data][0], "tags": list(names[data][1])}
            for split, ids in version.entries.items()
            for data in ids
            if data in names
        ],
    }
    return json.dumps(described, ensure_ascii=False, indent=2) + "\n"
