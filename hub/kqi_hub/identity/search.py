"""What every list of things may be narrowed to, whatever the things are."""

from datetime import datetime

from pydantic import BaseModel, Field
from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import InstrumentedAttribute

from kqi_hub.clock import Moment
from kqi_hub.identity.rows import PersonRow


class Made(BaseModel):
    """`q` is looked for in what people wrote; a thing was made from `since` on and before `until`."""

    q: str | None = Field(default=None, max_length=255)
    created_by: str | None = Field(default=None, max_length=64)
    since: Moment | None = None
    until: Moment | None = None

    def conditions(
        self,
        by: InstrumentedAttribute[int],
        at: InstrumentedAttribute[datetime],
        *written: InstrumentedAttribute[str],
    ) -> list[ColumnElement[bool]]:
        """Return what must hold of the columns that say who made a thing, when, and what people wrote in it."""
        found: list[ColumnElement[bool]] = []
        if self.q:
            found.append(or_(*[column.icontains(self.q, autoescape=True) for column in written]))
        if self.created_by is not None:
            found.append(by.in_(select(PersonRow.id).where(PersonRow.name == self.created_by)))
        if self.since is not None:
            found.append(at >= self.since)
        if self.until is not None:
            found.append(at < self.until)
        return found
