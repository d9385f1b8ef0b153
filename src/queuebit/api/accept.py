"""Which media type a client wants most, by its header `Accept` (RFC 9110, 12.5.1)."""

import re
from collections.abc import Sequence

_RANGE = re.compile(r"\s*([^;\s]+)\s*(?:;.*?\bq=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?))?")


def preferred(offered: Sequence[str], accept: str | None) -> str:
    """The media type of `offered` that `accept` prefers; of equal ones, and of none, the first."""
    if not accept:
        return offered[0]
    wanted = {}
    for part in accept.lower().split(","):
        if read := _RANGE.match(part):
            wanted[read[1]] = float(read[2] or 1)

    def quality(kind: str) -> float:
        name = kind.partition(";")[0]
        family = f"{name.partition('/')[0]}/*"
        return next((wanted[one] for one in (name, family, "*/*") if one in wanted), 0.0)

    return max(offered, key=quality)
