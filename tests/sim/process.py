"""One life of the service: what `app.Service` builds, in virtual time; it may die at any moment.

What is real: driver, runner, scheduler. What stands in: the store and its faults, the engine, and
`api.py` for HTTP.
"""

import asyncio
import contextlib
import contextvars
import errno
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from tests.sim.disk import MemoryPayloads, WatchedStore
from tests.sim.engine import SimulatedEngine
from tests.sim.loop import PROCESS, Process
from tests.sim.watch import WatchedRunner, WatchedScheduler
from tests.sim.weather import Weather

from queuebit.clock import Clock
from queuebit.core.events import Event, Step
from queuebit.core.model import Charge, Record
from queuebit.driver import Driver
from queuebit.errors import ServiceFault
from queuebit.runner import clear_up
from queuebit.store.audit import Entry
from queuebit.store.database import StoredJob
from queuebit.store.details import Details

Result = TypeVar("Result")


class DiskFull(Exception):
    """The save that the weather made fail."""


class Unreachable(Exception):
    """There is no service, or it went away before it answered."""


class ProcessStore:
    """The store as one process sees it: slow, failing at times, gone when the process is dead."""

    def __init__(self, disk: WatchedStore, process: Process, weather: Weather) -> None:
        self._disk = disk
        self._process = process
        self._weather = weather
        self._is_made = False
        """A save was made whose commit seemed to fail."""
        self.under_way: dict[asyncio.Task[Any], None] = {}  # in their order, for every process

    async def save(
        self,
        records: Sequence[Record],
        details: Sequence[Details],
        entries: Sequence[Entry] = (),
        charges: Sequence[Charge] = (),
    ) -> None:
        del entries
        await self._to_its_end(self._save(records, details, charges))

    async def job(self, job_id: str) -> StoredJob | None:
        await self._weather.wait("disk")
        self._live()
        return await self._disk.job(job_id)

    async def add_metrics(
        self, job_id: str, metrics: Mapping[str, Any], result_bytes: int = 0
    ) -> None:
        del result_bytes
        await self._to_its_end(self._add_metrics(job_id, metrics))

    async def delete_job(self, job_id: str, entries: Sequence[Entry] = ()) -> None:
        await self._to_its_end(self._delete_job(job_id))
        del entries

    async def _save(
        self, records: Sequence[Record], details: Sequence[Details], charges: Sequence[Charge]
    ) -> None:
        await self._weather.wait("disk")
        self._live()
        if self._weather.strikes("save fails"):
            raise DiskFull
        if self._weather.strikes("disk is full for a while"):
            raise OSError(errno.ENOSPC, "No space left on device")
        if self._is_made:  # as the numbers of saves tell (store/lead.py)
            self._is_made = False
            return
        await self._disk.save(records, details, charges=charges)
        if self._weather.strikes("save fails after all"):
            raise DiskFull
        if self._weather.strikes("dies after save"):
            assert isinstance(self._process, ServiceProcess)
            self._process.kill()
        if self._weather.strikes("commit is unsure"):
            self._is_made = True
            raise ConnectionResetError
        await self._weather.wait("disk")
        self._live()

    async def _add_metrics(self, job_id: str, metrics: Mapping[str, Any]) -> None:
        await self._weather.wait("disk")
        self._live()
        if self._weather.strikes("disk is full for a while"):
            raise OSError(errno.ENOSPC, "No space left on device")
        await self._disk.add_metrics(job_id, metrics)
        await self._weather.wait("disk")

    async def _delete_job(self, job_id: str) -> None:
        await self._weather.wait("disk")
        self._live()
        await self._disk.delete_job(job_id)
        await self._weather.wait("disk")

    async def _to_its_end(self, call: Coroutine[Any, Any, None]) -> None:
        """As `Database` does: whoever gives up waiting, the transaction goes on."""
        task = asyncio.create_task(call)
        self.under_way[task] = None
        task.add_done_callback(self._over)
        await asyncio.shield(task)

    def _over(self, task: asyncio.Task[Any]) -> None:
        self.under_way.pop(task, None)
        error = None if task.cancelled() else task.exception()
        if not isinstance(error, DiskFull | OSError):
            self._weather.watch(task)

    def _live(self) -> None:
        if self._process.dead:
            raise asyncio.CancelledError


class ServiceProcess(Process):
    """One process of the service, from its start to its end, whichever that is."""

    def __init__(
        self, disk: WatchedStore, payloads: MemoryPayloads, clock: Clock, weather: Weather
    ) -> None:
        self.disk = disk
        self.payloads = payloads
        self.weather = weather
        self.store = ProcessStore(disk, self, weather)
        self.engine = SimulatedEngine(payloads, weather)
        self.driver: Driver
        self.scheduler: WatchedScheduler
        self.runner: WatchedRunner
        self._clock = clock
        self._stopping = asyncio.Event()
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._context = contextvars.copy_context()
        self._context.run(PROCESS.set, self)
        self._main = self._task(self._run())
        self._requests: dict[asyncio.Task[Any], None] = {}
        self._answers = False

    async def live(self) -> None:
        """Return when the process has ended in one of the ways in which it may."""
        await asyncio.wait({self._main})
        self._answers = False
        left = [*self._requests, *self.store.under_way]
        if self.dead:
            for task in left:
                task.cancel()
        if left:
            await asyncio.wait(left)
        self.dead = True
        self._over.set_result(None)
        if not self._main.cancelled() and (error := self._main.exception()) is not None:
            _expect(error)

    def kill(self) -> None:
        """It dies at this instant: nothing that it does from now on has an effect."""
        self.dead = True
        self._answers = False
        self._main.cancel()

    def stop(self) -> None:
        """It is told to end, as by SIGTERM."""
        self._stopping.set()

    async def request(self, handler: Coroutine[Any, Any, Result]) -> Result:
        """What the service answers; Unreachable if it does not."""
        if not self._answers:
            handler.close()
            raise Unreachable
        task = self._task(handler)
        self._requests[task] = None
        task.add_done_callback(self._answered)
        first: list[asyncio.Future[Any]] = [task, self._over]
        await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        if self.dead or not task.done() or task.cancelled():
            raise Unreachable
        try:
            return task.result()
        except ServiceFault:
            raise Unreachable from None

    def _task(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        """A task of this process, not of whoever asks for it."""
        return asyncio.create_task(work, context=self._context)

    def _answered(self, task: asyncio.Task[Any]) -> None:
        self._requests.pop(task)
        if not task.cancelled():
            task.exception()

    async def _run(self) -> None:
        """Do what `Service._serve` does, in its order."""
        loaded = await self.disk.load()
        await clear_up(self.disk, self.payloads)
        self.scheduler = WatchedScheduler(
            self.weather.backends,
            loaded.records,
            loaded.last_seq,
            instances=self.weather.instances,
            charges=await self.disk.charges(0),
        )
        self.runner = WatchedRunner(
            self.disk,
            engine=self.engine,
            database=self.store,
            payloads=self.payloads,
            clock=self._clock,
        )
        self.driver = Driver(
            self.scheduler, self.store, self.runner, self._clock, last_at=loaded.last_at
        )
        self.runner.bind(self._tell, self.driver.calibrated)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(self.runner.run())
            driving = group.create_task(self.driver.run())
            self._answers = True
            await self._stopping.wait()
            self._answers = False
            while self._requests:
                await asyncio.wait(set(self._requests))
            driving.cancel()
            running.cancel()

    async def hear(self, event: Event) -> None:
        """Be told `event` by somebody who does not care what comes of it."""
        while not self._answers and not self.dead:  # noqa: ASYNC110 - it may die instead
            await asyncio.sleep(0.01)
        if not self.dead:
            with contextlib.suppress(Unreachable):
                await self.request(self.driver.send(event))

    async def _tell(self, event: Event) -> Step:
        """Bring news of a stage: late at times, and at times somebody repeats them later."""
        await self.weather.wait("news")
        self.weather.gossip(event)
        return await self.driver.send(event)


def _expect(error: BaseException) -> None:
    """Raise what no process may die of."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            _expect(inner)
    elif not isinstance(error, DiskFull | ServiceFault | asyncio.CancelledError):
        raise error
