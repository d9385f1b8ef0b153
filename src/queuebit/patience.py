"""Does again what failed for a passing reason: a full disk, a database that is away."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from queuebit.store.faults import is_passing, said

log = logging.getLogger(__name__)

PAUSE_MIN_S = 0.05
PAUSE_MAX_S = 2.0  # then news of room, or of the database, is that late
TELL_EVERY_S = 10.0  # in the log

Result = TypeVar("Result")


async def until_done(
    work: Callable[[], Awaitable[Result]],
    what: str,
    *,
    most_s: float = float("inf"),
    failed: Callable[[BaseException], object] | None = None,
) -> Result:
    """Do `work` until it fails no more for a passing reason; after `most_s`, raise its error.

    Doing it twice must do no harm: it may have been done although it failed. `failed` is told of
    each error that passes.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    pause_s, told_s = PAUSE_MIN_S, float("-inf")
    while True:
        try:
            result = await work()
        except Exception as error:
            now = loop.time()
            if not is_passing(error) or now - began >= most_s:
                raise
            if failed is not None:
                failed(error)
            if now - told_s >= TELL_EVERY_S:
                told_s = now
                log.warning("%s: failed and is tried again", what, extra={"fault": said(error)})
        else:
            if pause_s > PAUSE_MIN_S:
                log.warning("%s: done after all", what)
            return result
        await asyncio.sleep(min(pause_s, max(0.0, began + most_s - loop.time())))
        pause_s = min(PAUSE_MAX_S, 2 * pause_s)
