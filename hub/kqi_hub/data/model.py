"""Data as features above see it. Pure."""

import mimetypes
from dataclasses import dataclass
from datetime import datetime

# Types that a browser may show in place: nothing that could run a script.
_PICTURES = {"image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp"}
_TEXTS = {"application/json", "application/xml", "application/x-yaml", "application/toml", "application/javascript"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    id: int
    tenant_id: int
    tenant: str
    name: str
    memo: str
    tags: tuple[str, ...]
    files: int
    size: int
    frozen: bool
    created_by: str
    created_at: datetime
    changed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    path: str
    size: int
    sha256: str


def media_type(path: str) -> str:
    """Return the media type by the name's ending; `text/plain` for what only a text viewer should show."""
    guessed = mimetypes.guess_type(path.rsplit("/", 1)[-1], strict=False)[0] or "application/octet-stream"
    return guessed


def preview_type(path: str) -> str | None:
    """Return as what a file may be shown in a page, None if it may not."""
    guessed = media_type(path)
    if guessed in _PICTURES:
        return guessed
    if guessed.startswith("text/") or guessed in _TEXTS or "." not in path.rsplit("/", 1)[-1]:
        return "text/plain; charset=utf-8"
    return None
