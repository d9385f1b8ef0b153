"""Carries out the scheduler's commands: has stages run, and tells the driver how they ended."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, assert_never

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
from queuebit.core.model import FINAL, Calibrated, Job, Reason, Stage
from queuebit.engines.task import CODE_TEMPORARY, Engine, Outcome, Task
from queuebit.errors import DamagedRecord, QueuebitError
from queuebit.patience import PAUSE_MAX_S, PAUSE_MIN_S, until_done
from queuebit.stage_times import StageTimes
from queuebit.store.database import StoredJob
from queuebit.store.payloads import Payloads, leftovers

log = logging.getLogger(__name__)

T = TypeVar("T")


class JobReader(Protocol):
    """The part of the store that the runner needs."""

    async def job(self, job_id: str) -> StoredJob | None:
        """A job with what its user said of it."""

    async def add_metrics(
        self, job_id: str, metrics: Mapping[str, Any], result_bytes: int = 0
    ) -> None:
        """Add to the job's metrics; note how large its result is, if that is not 0."""


@dataclass(slots=True)
class _Running:
    """A job that holds a lane."""

    work: asyncio.Task[None]
    log: list[str] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)
    told: bool = False  # log and metrics are stored
    result_bytes: int = 0


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
        """Own every stage's task, until cancelled."""
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
        assert self._send is not None
        try:
            news = await self._news_of(command)
        except Exception as error:  # it may cost this job, and nobody else
            log.exception("stage failed", extra={"job": command.job_id})
            what = str(error) if isinstance(error, QueuebitError) else type(error).__name__
            message = f"The stage {command.stage} could not be run: {what}"
            reason = Reason(message=message, code=CODE_TEMPORARY)
            news = _news(command, Outcome(error=reason, service_fault=True))
        if news is not None:
            await self._send(news)

    async def _news_of(self, command: RunStage) -> Event | None:
        """Run a stage; how it ended. None: the job is gone."""
        stored = await until_done(lambda: self._database.job(command.job_id), "job")
        if stored is None:  # cancelled and deleted already; the command to stop is on its way
            return None
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
        outcome = await self._outcome(task)
        running = self._running[command.job_id]
        running.log += outcome.log
        running.metrics.update(outcome.metrics)
        if command.stage is Stage.QUANTUM and outcome.error is None:
            running.metrics.update(await self._real_time(stored.record, outcome.usage_ms))
        if outcome.error is None:
            self.times.saw(stored.record, command.stage, self._clock.now() - began_at)
        if outcome.error is not None or command.stage is Stage.FINISH:
            # Before the end is told: who sees the job final sees all of its log and metrics.
            if outcome.error is None:
                running.result_bytes = await asyncio.to_thread(self._result_bytes, command)
            await self._tell(command.job_id, running)
        return _news(command, outcome)

    async def _outcome(self, task: Task) -> Outcome:
        """Run `task`, again and again while the system lacks what it needs."""
        pause_s = PAUSE_MIN_S
        while True:
            outcome = await self._engine.run(task)
            if not outcome.held:
                return outcome
            await asyncio.sleep(pause_s)
            pause_s = min(PAUSE_MAX_S, 2 * pause_s)

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
            content = "".join(f"{line}\n" for line in running.log).encode("utf-8", "replace")
            await until_done(lambda: self._write_log(job_id, content), "log of a job")
        metrics, size = running.metrics, running.result_bytes
        await until_done(lambda: self._database.add_metrics(job_id, metrics, size), "metrics")

    def _result_bytes(self, command: RunStage) -> int:
        with contextlib.suppress(OSError):
            return self._payloads.size(command.job_id, f"result.{command.run}")
        return 0

    async def _write_log(self, job_id: str, content: bytes) -> None:
        await _whole(asyncio.to_thread(self._payloads.write, job_id, "log", content, durable=False))

    async def _clear(self, job: Job, running: _Running | None) -> None:
        try:
            if running is not None:  # what its worker still writes comes before
                await asyncio.wait({running.work})
            stored = await until_done(lambda: self._database.job(job.id), "job")
            untold = running is not None and not running.told and (running.log or running.metrics)
            if running is not None and stored is not None and untold:
                await self._tell(job.id, running)
            if stored is not None:  # else it was deleted meanwhile
                names = leftovers(job, private=stored.details.private)
                await asyncio.to_thread(self._payloads.discard, job.id, names)
            await asyncio.to_thread(self._payloads.settle, job.id)
        except Exception:  # the next start does it
            log.exception("a job cannot be cleared up after", extra={"job": job.id})


async def clear_up(database: JobReader, payloads: Payloads) -> None:
    """Clear up after the jobs that something was under way with when their service died.

    For the start of the service, while nobody writes.
    """
    for job_id in await asyncio.to_thread(payloads.marked):
        try:
            stored = await database.job(job_id)
        except DamagedRecord:  # what becomes of it is for an operator to say
            continue
        if stored is None:
            await asyncio.to_thread(payloads.delete, job_id)
        elif stored.record.status not in FINAL:
            await asyncio.to_thread(payloads.empty_work, job_id)
        else:
            names = leftovers(stored.record, private=stored.details.private)
            await asyncio.to_thread(payloads.discard, job_id, names)
            await asyncio.to_thread(payloads.settle, job_id)


async def _whole(work: Coroutine[Any, Any, T]) -> T:
    """Do `work` to its end though the caller is cancelled: a thread cannot be cut off."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


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
