"""Data: files in folders, with tags and a memo; and the ways their bytes come in."""

from datetime import datetime

from pydantic import Field

from kqi.schema.base import FilePath, Request, Sha256, Tag, Text, Title, Wire

PART_SIZE = 8 * 2**20  # bytes of one part of a large file
SMALL_FILE = 2**20  # bytes up to which a file travels in a batch
BATCH_FILES = 10_000
BATCH_BYTES = 64 * 2**20


class NewFile(Request):
    """A file whose bytes were uploaded before; `sha256` is what the upload answered."""

    path: FilePath
    sha256: Sha256


class CreateData(Request):
    """With `more`, nobody sees the data until its last files were added."""

    name: Title
    memo: Text = ""
    tags: list[Tag] = Field(default=[], max_length=100)
    files: list[NewFile] = Field(default=[], max_length=BATCH_FILES)
    more: bool = False


class AddFiles(Request):
    """`more`: of a data that was made with it, these are not the last files."""

    files: list[NewFile] = Field(min_length=1, max_length=BATCH_FILES)
    more: bool = False


class RemoveFiles(Request):
    paths: list[FilePath] = Field(min_length=1, max_length=BATCH_FILES)


class ChangeData(Request):
    """What is left out stays as it is."""

    name: Title | None = None
    memo: Text | None = None
    tags: list[Tag] | None = Field(default=None, max_length=100)


class Data(Wire):
    id: int
    tenant: str
    name: str
    memo: str
    tags: list[str]
    files: int
    bytes: int
    frozen: bool  # in a dataset version that a run used: files can no longer change
    created_by: str
    created_at: datetime
    changed_at: datetime


class File(Wire):
    path: str
    size: int
    sha256: str
    media_type: str


class FindBlobs(Request):
    """Which of these need not be sent, because the caller's tenant has them already."""

    sha256: list[Sha256] = Field(max_length=BATCH_FILES)


class Blobs(Wire):
    sha256: list[str]


class StoredFile(Wire):
    path: str
    sha256: str
    size: int


class Stored(Wire):
    """What a batch (a tar stream without compression) left in the store."""

    files: list[StoredFile]


class StartUpload(Request):
    """A large file in parts of `part_size` bytes (the last may be shorter); `sha256` is checked at the end."""

    size: int = Field(ge=0, le=2**44)
    sha256: Sha256
    part_size: int = Field(default=PART_SIZE, ge=2**16, le=2**30)


class Upload(Wire):
    id: str
    size: int
    sha256: str
    part_size: int
    parts: list[int]  # numbers, from 0, of the parts that are in the store
    complete: bool
