"""Carries out the scheduler's commands: has stages run, and tells the driver how they ended."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, assert_never

from queuebit.clock import Clock
from queuebit.core.events import (
    CalibrationEnded,
    Command,
    Event,
    RunCalibration,
    RunStage,
    StageEnded,
    StageFailed,
    Step,
    StopJob,
)
from queuebit.core.model import Calibrated, Job, Stage
from queuebit.engines.task import Engine, Outcome, Task
from queuebit.stage_times import StageTimes
from queuebit.store.database import StoredJob
from queuebit.store.payloads import Payloads, leftovers

# Clearing up takes a moment. This is much more, for clocks that run fast.
CLEARED_WITHIN_MS = 86_400_000


class JobReader(Protocol):
    """The part of the store that the runner needs."""

    async def job(self, job_id: str) -> StoredJob | None:
        """A job with what its user said of it."""

    async def add_metrics(self, job_id: str, metrics: Mapping[str, Any]) -> None:
        """Add to the job's metrics."""


class EndedJobs(Protocol):
    """The part of the store that tells what to clear up after."""

    async def ended_since(self, since: int) -> list[tuple[Job, bool]]:
        """The jobs that ended at `since` or later, and whether each is private."""


@dataclass(slots=True)
class _Running:
    """A job that holds a lane."""

    work: asyncio.Task[None]
    log: list[str] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)
    told: bool = False  # log and metrics are stored


class Runner:
    """One asyncio task for each stage that is running.

    On the backends of `real_timing` a quantum stage lasts, by `clock`, as long as the real QPU
    would have needed; longer where the simulation takes longer.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        database: JobReader,
        payloads: Payloads,
        clock: Clock,
        real_timing: Collection[str] = (),
    ) -> None:
        self._engine = engine
        self._database = database
        self._payloads = payloads
        self._clock = clock
        self._real_timing = frozenset(real_timing)
        self.times = StageTimes(real_timing)
        """How long stages last, by what was seen."""
        self._running: dict[str, _Running] = {}
        self._send: Callable[[Event], Awaitable[Step]] | None = None
        self._calibrated: Callable[[str], Calibrated | None] | None = None
        self._group: asyncio.TaskGroup | None = None

    def bind(
        self,
        send: Callable[[Event], Awaitable[Step]],
        calibrated: Callable[[str], Calibrated | None],
    ) -> None:
        """Tell news of stages to `send`, and ask `calibrated` how a backend was left by the latest.

        Both are the driver's; it and the runner need each other.
        """
        self._send = send
        self._calibrated = calibrated

    async def run(self) -> None:
        """Own every stage's task, until cancelled; raises if our own work with the store fails."""
        async with asyncio.TaskGroup() as self._group:
            await asyncio.Event().wait()

    def carry_out(self, command: Command) -> None:
        """Begin what `command` says. Repeating a command does no harm."""
        match command:
            case RunStage():
                assert self._group is not None
                work = self._group.create_task(self._run_stage(command))
                running = self._running.setdefault(command.job_id, _Running(work))
                running.work = work
            case StopJob(job_id=job_id):
                stopped = self._running.get(job_id)
                if stopped is not None:
                    stopped.work.cancel()
            case RunCalibration():
                assert self._group is not None
                self._group.create_task(self._calibrate(command))
            case _:
                assert_never(command)

    def ended(self, job: Job) -> None:
        """Forget what only a running job needs, and a private job's inputs (decisions 24)."""
        running = self._running.pop(job.id, None)
        assert self._group is not None
        self._group.create_task(self._clear(job, running))

    async def _run_stage(self, command: RunStage) -> None:
        stored = await self._database.job(command.job_id)
        if stored is None:  # cancelled and deleted already; the command to stop is on its way
            return
        assert self._calibrated is not None
        task = Task(
            job_id=command.job_id,
            run=command.run,
            stage=command.stage,
            program_id=stored.details.program_id,
            backend=stored.record.backend,
            calibrated=self._calibrated(stored.record.backend),
        )
        began_at = self._clock.now()
        outcome = await self._engine.run(task)
        running = self._running[command.job_id]
        running.log += outcome.log
        running.metrics.update(outcome.metrics)
        if command.stage is Stage.QUANTUM and outcome.error is None:
            running.metrics.update(await self._real_time(stored.record, outcome.usage_ms))
        if outcome.error is None:
            self.times.saw(stored.record, command.stage, self._clock.now() - began_at)
        if outcome.error is not None or command.stage is Stage.FINISH:
            # Before the end is told: who sees the job final sees all of its log and metrics.
            await self._tell(command.job_id, running)
        assert self._send is not None
        await self._send(_news(command, outcome))

    async def _real_time(self, job: Job, usage_ms: int) -> dict[str, Any]:
        """Wait until the real QPU would have been done; what to tell of it beside `quantum_ms`."""
        if job.backend not in self._real_timing:
            return {}
        assert job.quantum_started_at is not None  # it was saved with the command
        await self._clock.sleep_until(job.quantum_started_at + usage_ms)
        return {"timing": "real", "qpu_ms": usage_ms}

    async def _calibrate(self, command: RunCalibration) -> None:
        """A simulated QPU is taken for as long as it would last; new values draw themselves."""
        await self._clock.sleep_until(self._clock.now() + command.lasts_ms)
        assert self._send is not None
        await self._send(CalibrationEnded(backend=command.backend, run=command.run))

    async def _tell(self, job_id: str, running: _Running) -> None:
        """Keep the log and the metrics of all stages that there were."""
        running.told = True
        if running.log:
            content = "".join(f"{line}\n" for line in running.log).encode()
            await asyncio.to_thread(self._payloads.write, job_id, "log", content, durable=False)
        await self._database.add_metrics(job_id, running.metrics)

    async def _clear(self, job: Job, running: _Running | None) -> None:
        stored = await self._database.job(job.id)
        if stored is None:  # deleted meanwhile
            return
        stopped = running is not None and not running.told
        if running is not None and stopped and (running.log or running.metrics):
            await self._tell(job.id, running)
        names = leftovers(job, private=stored.details.private)
        await asyncio.to_thread(self._payloads.discard, job.id, names)


async def clear_up(database: EndedJobs, payloads: Payloads, last_at: int) -> None:
    """Clear up after the jobs whose service died just after their ends were saved.

    `last_at` is the latest instant on record. For the start of the service, while nobody writes.
    """
    for job, private in await database.ended_since(last_at - CLEARED_WITHIN_MS):
        await asyncio.to_thread(payloads.discard, job.id, leftovers(job, private=private))


def _news(command: RunStage, outcome: Outcome) -> Event:
    if outcome.error is not None:
        return StageFailed(
            job_id=command.job_id,
            run=command.run,
            stage=command.stage,
            reason=outcome.error,
            service_fault=outcome.service_fault,
        )
    return StageEnded(
        job_id=command.job_id,
        run=command.run,
        stage=command.stage,
        estimated_ms=outcome.estimated_ms,
        usage_ms=outcome.usage_ms,
    )
