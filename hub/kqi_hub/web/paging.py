"""Keyset paging: the cursor is the place of the last item, so that page 1,000 costs what page 1 costs."""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar

from fastapi import Query

from kqi import schema
from kqi_hub.db.base import kept
from kqi_hub.errors import Invalid

Row = TypeVar("Row")
Item = TypeVar("Item")

Limit = Annotated[int, Query(ge=1, le=1000, description="Items on a page")]
Cursor = Annotated[str | None, Query(max_length=4096, description="`next` of the page before")]


def number_after(cursor: str | None) -> int | None:
    """Return the number that a cursor of numbers holds. Raises Invalid."""
    value = _decoded(cursor)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 2**63:
        raise Invalid("cursor_not_valid")
    return value


def text_after(cursor: str | None) -> str | None:
    """Return the text that a cursor of texts holds. Raises Invalid."""
    value = _decoded(cursor)
    if value is None:
        return None
    if not isinstance(value, str) or value != kept(value):
        raise Invalid("cursor_not_valid")
    return value


def page(
    rows: Sequence[Row], limit: int, place: Callable[[Row], int | str], convert: Callable[[Row], Item]
) -> schema.Page[Item]:
    """Make a page of up to `limit` of `rows`, which were asked for with one more than that."""
    shown = rows[:limit]
    more = len(rows) > limit
    return schema.Page(items=[convert(row) for row in shown], next=_encoded(place(shown[-1])) if more else None)


def _encoded(place: int | str) -> str:
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def _decoded(cursor: str | None) -> object:
    if cursor is None:
        return None
    try:
        return json.loads(base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error, RecursionError) as error:
        raise Invalid("cursor_not_valid") from error
