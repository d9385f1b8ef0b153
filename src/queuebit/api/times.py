"""Instants and spans between the core (int milliseconds) and the wire (ISO dates, seconds)."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import BeforeValidator


def _iso(value: object) -> object:
    """Refuse numbers: pydantic takes them for seconds or for milliseconds, as their size is."""
    if isinstance(value, str | datetime | None) and not _is_number(value):
        return value
    raise ValueError("Input should be an instant as 2025-08-23T16:04:33Z")


def _is_number(value: object) -> bool:
    try:
        float(str(value))
    except ValueError:
        return False
    return True


Instant = Annotated[datetime, BeforeValidator(_iso)]
"""An instant that a client names, in ISO 8601."""


def wire_time(at: int) -> str:
    """`at` as the clients read it: 2025-08-23T16:04:33.285Z.

    Always UTC, because the client overwrites whatever zone it is told (docs/endpoints.md).
    """
    told = datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds")
    return told.replace("+00:00", "Z")


def wire_time_or_none(at: int | None) -> str | None:
    """`wire_time`, or None for what has not happened."""
    return None if at is None else wire_time(at)


def whole_seconds(ms: int) -> int:
    """Seconds of usage, rounded up: nobody is told that more is left than there is.

    IBM's are whole, and its client's own suite asserts it.
    """
    return -(-ms // 1000)


def from_wire(at: datetime) -> int:
    """Milliseconds since the epoch; a date without a zone is UTC."""
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return round(at.timestamp() * 1000)


def from_wire_or_none(at: datetime | None) -> int | None:
    """`from_wire`, or None for what was not said."""
    return None if at is None else from_wire(at)
