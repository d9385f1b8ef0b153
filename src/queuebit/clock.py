"""The time, as a thing that is passed in. Only the driver and the HTTP layer ask for it.

Three clocks: the system's; a fast one, on which an hour of timers passes in a minute; a virtual
one, which stands still until it is told to go on.
"""

import asyncio
import time
from heapq import heappop, heappush
from typing import Protocol


class Clock(Protocol):
    """Milliseconds since the Unix epoch, and a way to wait for one of them."""

    def now(self) -> int:
        """The present instant in milliseconds."""

    async def sleep_until(self, at: int) -> None:
        """Return when it is `at` or later."""


SLEEP_MAX_MS = 30_000

# Where there is one, a clock that goes on while a laptop is suspended.
_ELAPSED = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class _SteadyClock:
    """Goes on from `start` for as long as the machine runs, however its wall clock is set."""

    _speed = 1.0

    def __init__(self, speed: float, start: int) -> None:
        self._speed = speed
        self._start = start
        self._began_ns = time.clock_gettime_ns(_ELAPSED)

    def now(self) -> int:
        """The present instant in milliseconds."""
        passed_ns = time.clock_gettime_ns(_ELAPSED) - self._began_ns
        return self._start + int(passed_ns * self._speed) // 1_000_000

    async def sleep_until(self, at: int) -> None:
        """Return when it is `at` or later."""
        # In short sleeps: the loop's own clock does not see a suspended laptop. And its timers may
        # be a millisecond early, which is `speed` milliseconds here.
        while True:
            left_ms = max(0, at - self.now()) / self._speed
            await asyncio.sleep(min(left_ms, SLEEP_MAX_MS) / 1_000)
            if self.now() >= at:
                return


class SystemClock(_SteadyClock):
    """The machine's wall clock as it was at the start, and from then on the time that passed.

    A wall clock may be set: no timer runs out early or late by that, and no date steps back.
    `start` is the latest instant on record, where the wall clock is behind it.
    """

    def __init__(self, start: int = 0) -> None:
        super().__init__(1.0, max(start, time.time_ns() // 1_000_000))


class FastClock(_SteadyClock):
    """Starts at an instant and runs `speed` times as fast as the machine's clock.

    It runs ahead of the wall clock, so after a restart it has to start where it had got to:
    `start` is the later of the system's time and the latest instant on record.
    """

    def __init__(self, speed: float, *, start: int) -> None:
        super().__init__(speed, start)


class VirtualClock:
    """Stands still, except where it is told to go on: an 8 h TTL is over in no time.

    Belongs to one event loop; from another thread, call it through `loop.call_soon_threadsafe`.
    """

    def __init__(self, start: int = 0) -> None:
        self._now = start
        self._seq = 0
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []

    def now(self) -> int:
        """The present instant in milliseconds."""
        return self._now

    async def sleep_until(self, at: int) -> None:
        """Return when the clock has been moved to `at` or later."""
        if at <= self._now:
            await asyncio.sleep(0)
            return
        self._seq += 1
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heappush(self._sleepers, (at, self._seq, future))
        await future

    def advance(self, ms: int) -> None:
        """Let `ms` milliseconds pass at once."""
        self._now += ms
        while self._sleepers and self._sleepers[0][0] <= self._now:
            _, _, future = heappop(self._sleepers)
            if not future.done():
                future.set_result(None)

    def jump(self) -> bool:
        """Go to the next instant that anybody waits for; False if nobody waits."""
        while self._sleepers and self._sleepers[0][2].done():
            heappop(self._sleepers)  # gave up waiting
        if not self._sleepers:
            return False
        self.advance(self._sleepers[0][0] - self._now)
        return True
