"""The real scheduler and runner, watched: whatever they do must be right when they do it."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from tests.sim.disk import WatchedStore

from queuebit.core import invariants
from queuebit.core.events import Command, Event, Restarted, RunCalibration, RunStage, Step, Tick
from queuebit.core.model import (
    FINAL,
    Backend,
    BackendState,
    Charge,
    Instance,
    Job,
    JobStatus,
    Mode,
    Record,
    Workload,
    WorkloadState,
)
from queuebit.core.moves import begun_again, interrupted
from queuebit.core.scheduler import Scheduler
from queuebit.core.usage import workload_usage_ms
from queuebit.runner import Runner


class WatchedScheduler(Scheduler):
    """Keeps its invariants after every decision; a restart shows nowhere."""

    def __init__(
        self,
        backends: Iterable[Backend],
        records: Iterable[Record],
        last_seq: int,
        *,
        instances: Iterable[Instance],
        charges: Iterable[Charge],
    ) -> None:
        self._loaded = list(records)
        self._charges = list(charges)
        self._parts = (list(backends), last_seq, list(instances))
        super().__init__(
            backends, self._loaded, last_seq, instances=instances, charges=self._charges
        )

    def handle(self, event: Event, now: int) -> Step:
        step = super().handle(event, now)
        invariants.check(self, now)
        if isinstance(event, Restarted):
            self._check_restart(step, event.last_at or now, now)
        return step

    def _check_restart(self, step: Step, last_at: int, now: int) -> None:
        """What clients see is what it would be if only time had passed, and no QPU been there."""
        backends, last_seq, instances = self._parts
        running = [
            record
            for record in self._loaded
            if isinstance(record, Job) and record.status is JobStatus.RUNNING
        ]
        at_work = {job.workload_id for job in running}
        left: dict[str, Record] = {job.id: begun_again(job) for job in running}
        charges = list(self._charges)
        for record in self._loaded:
            if isinstance(record, Workload) and is_active_session(record):
                away = without_service(record, last_at, now, is_at_work=record.id in at_work)
                left[record.id] = away
                ms = away.active_ms - record.active_ms
                charges.append(Charge(instance=record.instance, at=last_at, ms=ms))
        loaded = [left.get(record.id, record) for record in self._loaded]
        twin = Scheduler(backends, loaded, last_seq, instances=instances, charges=charges)
        expected = twin.handle(Tick(), now)
        new: dict[str, Record] = {name: BackendState(id=name) for name in self.index.backends}
        stored = new | {record.id: record for record in self._loaded}
        for name, state in self.index.states.items():
            had = stored[name]
            assert isinstance(had, BackendState)
            assert {had.calibrating, *had.due} <= {None, state.calibrating, *state.due}
        seen = visible(stored | step.changed, now)
        for record_id, as_expected in visible(stored | left | expected.changed, now).items():
            assert seen.pop(record_id) == as_expected, f"a restart changed {record_id}"
        assert not seen, f"a restart made {seen}"


def is_active_session(workload: Workload) -> bool:
    return workload.mode is Mode.SESSION and workload.state is WorkloadState.ACTIVE


def without_service(session: Workload, last_at: int, now: int, *, is_at_work: bool) -> Workload:
    """An active session with the time until `now` taken out, in which there was no service.

    Its timers go on; one with nothing at work that they end is not active any more.
    """
    ttls = [session.started_at + session.max_ttl_ms]
    if session.idle_since is not None:
        ttls.append(session.idle_since + session.interactive_ttl_ms)
    over_at = now + 1 if is_at_work else min(ttls)
    if last_at >= now or over_at <= last_at:
        return session
    return interrupted(session, last_at, now if over_at > now else None)


class WatchedRunner(Runner):
    """Acts on nothing that is not in the store."""

    def __init__(self, disk: WatchedStore, **parts: Any) -> None:
        super().__init__(**parts)
        self._disk = disk
        self.ended_s: dict[str, float] = {}
        """When each job's end was known, by the loop's time."""

    def carry_out(self, command: Command) -> None:
        if isinstance(command, RunCalibration):
            state = self._disk.seen.get(command.backend)
            assert isinstance(state, BackendState), "calibrates what is not saved"
            assert state.run >= command.run, "calibrates what is not saved"
            super().carry_out(command)
            return
        record = self._disk.seen.get(command.job_id)
        assert isinstance(record, Job), "acts on a job that is not saved"
        if isinstance(command, RunStage):
            assert record.run >= command.run, "acts on a run that is not saved"
            was_there = record.stage is command.stage or record.status in FINAL
            assert was_there or record.run > command.run, "acts on a stage that is not saved"
        else:
            assert record.status in FINAL, "stops a job whose end is not saved"
        super().carry_out(command)

    def ended(self, job: Job) -> None:
        assert self._disk.seen[job.id] == job, "clears up after a job whose end is not saved"
        self.ended_s[job.id] = asyncio.get_running_loop().time()
        super().ended(job)

    @property
    def is_idle(self) -> bool:
        """Whether it has forgotten every job."""
        return not self._running


def visible(records: Mapping[str, Record], now: int) -> dict[str, tuple[Any, ...]]:
    """What clients can see of records."""
    return {record.id: _seen_of(record, now) for record in records.values()}


def _seen_of(record: Record, now: int) -> tuple[Any, ...]:
    if isinstance(record, BackendState):
        return (record.status, record.status_reason)
    if isinstance(record, Workload):
        used_ms = workload_usage_ms(record, now)
        return (record.state, record.accepting_jobs, record.transitions, record.closed_at, used_ms)
    at = (record.created_at, record.started_at, record.ended_at)
    usage_ms = record.usage_ms if record.status in FINAL else None
    return (record.status, *at, record.reason, usage_ms)
