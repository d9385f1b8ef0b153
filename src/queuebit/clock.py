"""The time, as a thing that is passed in. Only the driver and the HTTP layer ask for it."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Milliseconds since the Unix epoch, and a way to wait for one of them."""

    def now(self) -> int:
        """The present instant in milliseconds."""

    async def sleep_until(self, at: int) -> None:
        """Return when it is `at` or later."""


class SystemClock:
    """The machine's wall clock: deadlines are stored, so they must outlive the process."""

    def now(self) -> int:
        return time.time_ns() // 1_000_000

    async def sleep_until(self, at: int) -> None:
        await asyncio.sleep(max(0, at - self.now()) / 1000)
