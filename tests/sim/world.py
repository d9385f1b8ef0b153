"""A whole service, its clients and its bad luck, from one seed; then everything must add up."""

import asyncio
import contextlib
import hashlib
import random
from dataclasses import dataclass

from tests.sim import api
from tests.sim.clients import Client, Promises, check_promises
from tests.sim.disk import MemoryPayloads, WatchedStore
from tests.sim.loop import VirtualLoop
from tests.sim.process import ServiceProcess, Unreachable
from tests.sim.weather import INSTANCES, Weather

from queuebit.clock import SystemClock
from queuebit.core.events import Tick
from queuebit.core.model import (
    FINAL,
    BackendState,
    BackendStatus,
    Job,
    JobStatus,
    Mode,
    Workload,
    WorkloadState,
)
from queuebit.core.scheduler import Scheduler

START_MS = 1_800_000_000_000
OUR_FAULTS = (9999, 9707)
PATIENCE_S = 3 * 86_400  # then what has not ended never will


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What there was of everything; `digest` tells whether two worlds were the same."""

    jobs: int
    events: int
    starts: int
    faults: int
    lasted_s: float
    digest: str


def simulate(seed: int) -> Report:
    """Let the world of `seed` happen; raises if anything goes wrong that must not."""
    rng = random.Random(seed)
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(rng)) as runner:
        return runner.run(_happen(rng))


async def _happen(rng: random.Random) -> Report:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, __: None)  # what must not be raises, in time
    return await _World(rng).happen()


class SimulatedClock(SystemClock):
    """The machine's clock, in virtual time; somebody sets it anew at times."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ahead_ms = START_MS

    def now(self) -> int:
        return self._ahead_ms + int(self._loop.time() * 1_000)

    def put_right(self) -> None:
        """Undo what was done to it."""
        self._ahead_ms = START_MS

    def step(self, ms: int) -> None:
        """Set it `ms` forward, or back if negative."""
        self._ahead_ms += ms


class _World:
    def __init__(self, rng: random.Random) -> None:
        self._weather = Weather(rng)
        self._promises = Promises()
        self._clock = SimulatedClock()
        self._disk = WatchedStore()
        self._payloads = MemoryPayloads()
        self._process: ServiceProcess | None = None
        self._starts = 0

    async def happen(self) -> Report:
        """Bad luck as long as there are clients; then calm, until all has ended; then the count."""
        weather = self._weather
        try:
            async with asyncio.TaskGroup() as world:
                others = [
                    world.create_task(happens())
                    for happens in (
                        self._restart,
                        self._kill,
                        self._set_clock,
                        self._repeat,
                        self._administer,
                    )
                ]
                others.append(world.create_task(weather.trouble()))
                async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as users:
                    for number in range(weather.rng.choice((1, 2, 5))):
                        client = Client(number, weather, self._promises, lambda: self._process)
                        users.create_task(client.live())
                weather.calm = True
                self._clock.put_right()
                await self._bring_online()
                await self._end()
                for task in others:
                    task.cancel()
        except BaseExceptionGroup as group:
            raise _first(group) from None
        self._check()
        await self._check_usage()
        return self._report()

    # -- what happens to the service

    async def _restart(self) -> None:
        """Somebody starts the service, whenever it has ended."""
        while True:
            if self._weather.strikes("clock is set at a restart"):
                self._clock.step(self._weather.rng.randrange(-3_600_000, 60_000))
            self._starts += 1
            self._weather.note("-- the service starts")
            late, self._weather.late = self._weather.late, []
            for event in late:
                self._weather.tell_later(event)
            self._process = ServiceProcess(self._disk, self._payloads, self._clock, self._weather)
            await asyncio.create_task(self._process.live())
            self._weather.note("-- the service has ended")
            await self._weather.wait("start")

    async def _kill(self) -> None:
        while not self._weather.calm:
            await asyncio.sleep(0.001 + self._weather.delay_s("death"))
            process = self._process
            if self._weather.calm or process is None or process.dead:
                continue
            if self._weather.strikes("stops instead of dying"):
                process.stop()
            else:
                self._weather.note("-- the service is killed")
                process.kill()

    async def _set_clock(self) -> None:
        while not self._weather.calm:
            await asyncio.sleep(1 + self._weather.delay_s("setting of the clock"))
            if not self._weather.calm:
                ms = self._weather.rng.choice((-3_600_000, -1_000, -1, 1_000))
                self._weather.note(f"-- the clock is set by {ms} ms")
                self._clock.step(ms)

    async def _repeat(self) -> None:
        """Tell again what was told before; to whichever process there is by then."""
        while True:
            event = await self._weather.rumours.get()
            if self._process is not None and not self._process.dead:
                self._weather.note(f"-- once more: {event}")
                await self._process.hear(event)

    async def _administer(self) -> None:
        """Backends are paused and go on; in the end all are online."""
        weather = self._weather
        while not weather.calm:
            await asyncio.sleep(1 + weather.delay_s("administration"))
            if weather.calm:
                return
            with contextlib.suppress(Unreachable):
                name = weather.rng.choice(weather.backends).name
                await self._set_status(name, weather.rng.choice(list(BackendStatus)))

    async def _bring_online(self) -> None:
        for backend in self._weather.backends:
            while True:
                try:
                    await self._set_status(backend.name, BackendStatus.ONLINE)
                except Unreachable:
                    await asyncio.sleep(10)
                else:
                    break

    async def _set_status(self, backend: str, status: BackendStatus) -> None:
        if self._process is None:
            raise Unreachable
        self._weather.note(f"-- {backend} goes {status}")
        await self._process.request(api.set_status(self._process, backend, status))

    async def _end(self) -> None:
        """Wait until nothing is left to do."""
        began = asyncio.get_running_loop().time()
        while any(
            not isinstance(record, BackendState) for record in (await self._disk.load()).records
        ):
            await asyncio.sleep(600)
            assert asyncio.get_running_loop().time() < began + PATIENCE_S, "something never ends"
        await asyncio.sleep(60)  # it is cleared up after all

    # -- the count

    def _check(self) -> None:
        """All that was promised is true, and the sums add up."""
        disk = self._disk
        check_promises(self._promises, disk.seen)
        for job in disk.every_job:
            assert job.status in FINAL, f"{job.id} never ended"
            assert job.reason is None or "could not be run" not in job.reason.message
            self._check_payloads(job)
        for workload in disk.every_workload:
            assert workload.state is WorkloadState.CLOSED
            own = [job for job in disk.every_job if job.workload_id == workload.id]
            assert workload.jobs_ms == sum(job.usage_ms for job in own)
            assert workload.active_ms == _windows_ms(workload)
            if workload.mode is Mode.SESSION:
                assert workload.active_ms + workload.modelled_ms >= workload.jobs_ms
        process = self._process
        assert process is not None
        assert process.runner.is_idle
        assert not process.driver._ended, "somebody waits for what has ended"

    def _check_payloads(self, job: Job) -> None:
        """A result is there, of the run that counts and with the usage that was charged."""
        names = self._payloads.names(job.id)
        if job.id in self._promises.deleted:
            return
        if job.status is JobStatus.COMPLETED:
            params = job.id.encode()
            content = self._payloads.read(job.id, f"result.{job.run}")
            assert content == params + b" %d of run %d" % (job.usage_ms, job.run)
        elif (
            job.reason is not None and job.reason.code in OUR_FAULTS
        ) or job.quantum_started_at is None:
            assert job.usage_ms == 0
        assert "params" in names or job.id in self._promises.private
        if job.id in self._promises.private:
            assert "params" not in names, f"the inputs of {job.id} are still there"
        left = [name for name in names if name.startswith(("prepared", "raw"))]
        kept = f"result.{job.run}" if job.status is JobStatus.COMPLETED else None
        left += [name for name in names if name.startswith("result") and name != kept]
        assert not left, f"{job.id} left {left}"

    async def _check_usage(self) -> None:
        disk = self._disk
        process = self._process
        assert process is not None
        now = self._clock.now()
        charges = await disk.charges(0)
        backends, instances = self._weather.backends, self._weather.instances
        twin = Scheduler(backends, instances=instances, charges=charges)
        twin.handle(Tick(), now)
        process.scheduler.handle(Tick(), now)
        for instance in INSTANCES:
            assert process.scheduler.ledger.used_ms(instance) == twin.ledger.used_ms(instance)
            jobs = [job for job in disk.every_job if job.instance == instance]
            expected_ms = sum(job.usage_ms for job in jobs if not disk.in_session(job))
            expected_ms += sum(
                _windows_ms(workload) + workload.modelled_ms
                for workload in disk.every_workload
                if workload.instance == instance and workload.mode is Mode.SESSION
            )
            assert await disk.usage_ms(instance, 0) == expected_ms

    def _report(self) -> Report:
        lines = [*self._weather.log, *map(repr, self._disk.seen.values())]
        return Report(
            jobs=len(self._disk.every_job),
            events=self._disk.saves,
            starts=self._starts,
            faults=sum(" -- " in line for line in self._weather.log),
            lasted_s=asyncio.get_running_loop().time(),
            digest=hashlib.sha256("\n".join(lines).encode()).hexdigest(),
        )


def _windows_ms(workload: Workload) -> int:
    """How long the workload was active, from the states that it took."""
    ends = [at for _, at in workload.transitions[1:]]
    windows = zip(workload.transitions, ends, strict=False)
    return sum(end - began for (state, began), end in windows if state is WorkloadState.ACTIVE)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
