"""The time, as one thing that can be handed in."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime
from pydantic_core import PydanticCustomError


def now() -> datetime:
    """Return the time in UTC."""
    return datetime.now(UTC)


def _utc(at: datetime) -> datetime:
    try:
        return at.astimezone(UTC)
    except OverflowError as error:  # an hour before the first year, or after the last
        raise PydanticCustomError("time_out_of_range", "is a time that there is not in UTC") from error


# As clients give one; kept in UTC.
Moment = Annotated[AwareDatetime, AfterValidator(_utc)]
