"""An event loop in virtual time: an hour of waiting is over at once, and the order never changes.

Nothing in it may touch the outside: no sockets, no processes, no threads.
"""

import asyncio
import contextvars
import random
import selectors
from collections.abc import Callable
from typing import Any


class Stuck(Exception):
    """Everything waits for something that will not come."""


class _Sleeper(selectors.SelectSelector):
    """Where a loop waits: here, waiting is over at once."""

    def __init__(self) -> None:
        super().__init__()
        self.passed_s = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise Stuck
        self.passed_s += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Work for threads is done on the loop, a little later; `rng` says when."""

    def __init__(self, rng: random.Random) -> None:
        self._sleeper = _Sleeper()
        super().__init__(self._sleeper)
        self._rng = rng

    def time(self) -> float:
        return self._sleeper.passed_s

    def run_in_executor(  # type: ignore[override]  # what asyncio.to_thread needs of it
        self, executor: None, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = self.create_future()
        process = PROCESS.get(None)

        def work() -> None:
            if process is not None and process.dead:  # its threads died with it
                future.cancel()
                return
            try:
                result = func(*args)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the caller's
                if not future.done():
                    future.set_exception(error)
            else:
                if not future.done():  # a thread does its work, whether anybody waits or not
                    future.set_result(result)

        self.call_later(self._rng.expovariate(1_000), work)
        return future


class Process:
    """What dies as a whole."""

    dead = False


PROCESS: contextvars.ContextVar[Process] = contextvars.ContextVar("PROCESS")
"""In whose name a task runs."""
