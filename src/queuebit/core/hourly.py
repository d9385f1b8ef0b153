"""Sums by the hour, each over a window that rolls.

An hour leaves a window when all of it has, so that never less counts than was added in the window,
and up to an hour more.
"""

from collections.abc import Hashable
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

HOUR_MS = 3_600_000

Key = TypeVar("Key", bound=Hashable)


class HourlySums(Generic[Key]):
    """What was added under each key; times and sums are in milliseconds."""

    def __init__(self) -> None:
        self.totals: dict[Key, int] = {}
        self.hours: dict[Key, dict[int, int]] = {}
        """What was added in each hour; hours count from the epoch."""
        self._leaving: list[tuple[int, Key, int]] = []  # when, whose, which hour

    def add(self, key: Key, at: int, ms: int, window_ms: int | None) -> None:
        """Add `ms` at the instant `at`; `window_ms` None: it counts for ever."""
        hour = at // HOUR_MS
        hours = self.hours.setdefault(key, {})
        self.totals[key] = self.totals.get(key, 0) + ms
        if hour not in hours and window_ms is not None:
            heappush(self._leaving, ((hour + 1) * HOUR_MS + window_ms, key, hour))
        hours[hour] = hours.get(hour, 0) + ms

    def roll(self, now: int) -> list[Key]:
        """Let what is older than its window go; the keys that have less for it."""
        rolled: dict[Key, None] = {}
        while self._leaving and self._leaving[0][0] <= now:
            _, key, hour = heappop(self._leaving)
            self.totals[key] -= self.hours[key].pop(hour)
            rolled[key] = None
        return list(rolled)

    def take_out(self, key: Key) -> dict[int, int]:
        """Forget a key; what it had in each hour."""
        self.totals.pop(key, None)
        self._leaving = [one for one in self._leaving if one[1] != key]
        heapify(self._leaving)
        return self.hours.pop(key, {})


def end_of(hour: int) -> int:
    """The last instant of an hour."""
    return (hour + 1) * HOUR_MS - 1
