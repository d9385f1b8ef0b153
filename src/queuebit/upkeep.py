"""What is done every now and then: reserving room, and deleting what is kept no longer."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from queuebit.clock import Clock
from queuebit.config import Config
from queuebit.store.faults import is_passing, said
from queuebit.store.payloads import INPUTS, Payloads
from queuebit.store.room import Reserve

log = logging.getLogger(__name__)

RESERVE_EVERY_S = 10.0
DELETE_EVERY_S = 3_600.0
AT_ONCE = 200  # jobs; others use the database in between
DAY_MS = 86_400_000


class Kept(Protocol):
    """The part of the store that knows what is kept since when."""

    async def ended_before(self, before: int, limit: int) -> list[str]:
        """Jobs that ended before an instant, the first ones."""

    async def with_inputs(self, before: int, limit: int) -> list[str]:
        """The same that have inputs."""

    async def with_result(self, before: int, limit: int) -> list[tuple[str, int]]:
        """The same that have a result, and the run that it is of."""

    async def delete_job(self, job_id: str) -> None:
        """Forget a job but for its charge."""

    async def forget_inputs(self, job_id: str) -> None:
        """Note that a job's inputs are deleted."""

    async def forget_result(self, job_id: str) -> None:
        """Note that a job's result is deleted."""


class Upkeep:
    """Reserves room, and deletes what `config` says is kept no longer, by the service's clock."""

    def __init__(
        self, config: Config, kept: Kept, payloads: Payloads, reserve: Reserve, clock: Clock
    ) -> None:
        self._config = config
        self._kept = kept
        self._payloads = payloads
        self._reserve = reserve
        self._clock = clock

    async def run(self) -> None:
        """Do it until cancelled; what fails is for the next time."""
        delete_at = 0.0
        while True:
            await _try(lambda: asyncio.to_thread(self._reserve.keep))
            if time.monotonic() >= delete_at:
                delete_at = time.monotonic() + DELETE_EVERY_S / min(self._config.speed, 360)
                await _try(self.delete)
            await asyncio.sleep(RESERVE_EVERY_S)

    async def delete(self) -> None:
        """Delete what is kept no longer."""
        config = self._config
        if config.keep_days is not None:
            before = self._clock.now() - round(config.keep_days * DAY_MS)
            while ids := await self._kept.ended_before(before, AT_ONCE):
                for job_id in ids:
                    await self._delete(job_id)
        if config.keep_inputs_days is not None:
            before = self._clock.now() - round(config.keep_inputs_days * DAY_MS)
            while ids := await self._kept.with_inputs(before, AT_ONCE):
                for job_id in ids:
                    await asyncio.to_thread(self._payloads.discard, job_id, [INPUTS])
                    await self._kept.forget_inputs(job_id)
        if config.keep_results_days is not None:
            before = self._clock.now() - round(config.keep_results_days * DAY_MS)
            while found := await self._kept.with_result(before, AT_ONCE):
                for job_id, run in found:
                    await asyncio.to_thread(self._payloads.discard, job_id, [f"result.{run}"])
                    await self._kept.forget_result(job_id)

    async def _delete(self, job_id: str) -> None:
        """As its user would (api/jobs.py), in the same order."""
        await asyncio.to_thread(self._payloads.mark, job_id)
        await self._kept.delete_job(job_id)
        await asyncio.to_thread(self._payloads.delete, job_id)


async def _try(work: Callable[[], Awaitable[object]]) -> None:
    try:
        await work()
    except Exception as error:
        if not is_passing(error):
            raise
        log.warning("upkeep has to wait", extra={"fault": said(error)})
