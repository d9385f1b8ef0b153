"""When jobs will start and end: looks ahead on a copy of the scheduler, in a thread."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from queuebit.core import forward
from queuebit.core.forward import Copy, Forward, Unknown
from queuebit.core.model import Job
from queuebit.core.scheduler import Scheduler
from queuebit.stage_times import StageTimes

CHEAP_S = 0.02  # a look that took no longer is made anew for whoever asks
REST = 10  # a dearer one serves for so many times as long as it took
FIRST_LOOK_S = 1.0  # how long others share a look whose cost is not known yet


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """When a job, or the first of several, starts, and when the last of them has ended."""

    start: int | Unknown
    end: int | Unknown
    waits_for_limit: bool = False
    """Whether the first one starts late, or never, for its instance's usage limit."""


class _View:
    """The future as it looks from one instant; grows in one thread as far as it is asked."""

    def __init__(self, copy: Copy, now: int, times: StageTimes, made_at: float) -> None:
        self._copy = copy
        self._now = now
        self._times = times
        self._jobs = {record.id: record for record in copy.records if isinstance(record, Job)}
        self._forward: Forward | None = None
        self.made_at = made_at
        self.spent_s: float | None = None  # None: nobody has looked to the end yet

    def look(self, job_ids: Sequence[str]) -> Foreseen:
        """When the first of the jobs starts, and the last to end ends."""
        began = time.perf_counter()
        if self._forward is None:
            self._forward = Forward(self._copy.scheduler(), self._now, self._times)
        ends = [self._forward.end_of(job_id) for job_id in job_ids]
        unknown = [end for end in ends if isinstance(end, Unknown)]
        known = [end for end in ends if not isinstance(end, Unknown)]
        found = Foreseen(
            start=self._forward.start_of(job_ids[0]),
            end=unknown[0] if unknown else max(known),
            waits_for_limit=self._forward.waits_for_limit(self._jobs[job_ids[0]]),
        )
        self.spent_s = (self.spent_s or 0.0) + time.perf_counter() - began
        return found

    def knows(self, job_ids: Sequence[str]) -> bool:
        """Whether the jobs were there when it was made."""
        return self._jobs.keys() >= set(job_ids)


class Foresight:
    """Answers from one view as long as making a new one would cost too much."""

    def __init__(
        self,
        scheduler: Scheduler,
        times: StageTimes,
        *,
        cheap_s: float = CHEAP_S,
        rest: float = REST,
    ) -> None:
        self._scheduler = scheduler
        self._times = times
        self._cheap_s = cheap_s
        self._rest = rest
        self._view: _View | None = None
        self._thread: ThreadPoolExecutor | None = None  # None: nobody has asked yet

    async def of(self, job_ids: Sequence[str], now: int) -> Foreseen:
        """What becomes of jobs that are not final; one at least."""
        loop = asyncio.get_running_loop()
        view = self._view
        if view is None or not self._is_fresh(view, loop.time()) or not view.knows(job_ids):
            copy = forward.copy(self._scheduler)
            view = self._view = _View(copy, now, self._times.frozen(), loop.time())
        if self._thread is None:
            # One thread: looks follow each other, also after a caller who has gone.
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="foresight")
        return await loop.run_in_executor(self._thread, partial(view.look, job_ids))

    def _is_fresh(self, view: _View, at: float) -> bool:
        if view.spent_s is None:
            return at < view.made_at + FIRST_LOOK_S
        return view.spent_s > self._cheap_s and at < view.made_at + self._rest * view.spent_s
