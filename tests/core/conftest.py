"""A scheduler to play with."""

from collections.abc import Iterable
from dataclasses import replace

import pytest
from tests.core import saved

from queuebit.core import invariants
from queuebit.core.events import (
    BackendStatusSet,
    CalibrationEnded,
    Event,
    JobCancelRequested,
    JobSubmitted,
    Restarted,
    Stage,
    StageEnded,
    StageFailed,
    Step,
    Tick,
    WorkloadOpened,
)
from queuebit.core.model import (
    Backend,
    BackendState,
    BackendStatus,
    Calibration,
    Charge,
    Instance,
    Job,
    JobStatus,
    Mode,
    Reason,
    Record,
    Workload,
)
from queuebit.core.scheduler import Scheduler

BACKEND = Backend(name="q")


class Lab:
    """A scheduler, its clock and what it had saved; the invariants hold after every event.

    A backend "q" with five lanes, unless said otherwise; an instance "i"; times in milliseconds.
    """

    def __init__(self) -> None:
        self.backends: Iterable[Backend] = (BACKEND,)
        self.instances: Iterable[Instance] = ()
        self.scheduler = Scheduler(self.backends)
        self.now = 0
        self.saved: dict[str, Record] = {}
        self.charges: list[Charge] = []

    def configure(
        self,
        *instances: Instance,
        charges: Iterable[Charge] = (),
        lanes: int = 5,
        calibrations: tuple[Calibration, ...] = (),
    ) -> None:
        """Begin anew with these instances, charged so, and backend "q" like this."""
        self.instances = instances
        self.backends = (replace(BACKEND, lanes=lanes, calibrations=calibrations),)
        self.scheduler = Scheduler(self.backends, instances=instances, charges=charges)
        if calibrations:
            self.send(Restarted())  # which the driver sends first

    def send(self, event: Event, *, at: int | None = None) -> Step:
        """What the scheduler decides on `event`, now or `at` a later time."""
        self.now = self.now if at is None else at
        step = self.scheduler.handle(event, self.now)
        self.saved.update(step.changed)
        self.charges += step.charges
        invariants.check(self.scheduler, self.now)
        return step

    def tick(self, at: int) -> Step:
        return self.send(Tick(), at=at)

    def job(self, job_id: str) -> Job:
        """The job as it was last saved."""
        job = self.saved[job_id]
        assert isinstance(job, Job)
        return job

    def workload(self, workload_id: str) -> Workload:
        """The workload as it was last saved."""
        workload = self.saved[workload_id]
        assert isinstance(workload, Workload)
        return workload

    def state(self, backend: str = "q") -> BackendState:
        """The backend's state as it was last saved."""
        state = self.saved[backend]
        assert isinstance(state, BackendState)
        return state

    def running(self) -> list[str]:
        """Jobs in lanes, by id."""
        return sorted(j.id for j in self.scheduler.jobs.values() if j.status is JobStatus.RUNNING)

    def open(
        self,
        workload_id: str,
        mode: Mode = Mode.BATCH,
        *,
        backend: str = "q",
        by: str = "i",
        **ttls_ms: int,
    ) -> Step:
        """Open a batch or session; `max_ttl_ms` and the like, where it matters."""
        event = WorkloadOpened(
            workload_id=workload_id,
            instance=by,
            backend=backend,
            mode=mode,
            max_ttl_ms=28_800_000,
            interactive_ttl_ms=60_000,
            active_ttl_ms=28_800_000,
            unused_ttl_ms=1_800_000,
        )
        return self.send(replace(event, **ttls_ms))

    def submit(
        self,
        *job_ids: str,
        to: str | None = None,
        backend: str = "q",
        by: str = "i",
        limit_ms: int | None = None,
    ) -> Step:
        """Submit one job after the other; the last one's step."""
        for job_id in job_ids:
            step = self.send(
                JobSubmitted(
                    job_id=job_id, instance=by, backend=backend, workload_id=to, limit_ms=limit_ms
                )
            )
        return step

    def cancel(self, job_id: str) -> Step:
        return self.send(JobCancelRequested(job_id=job_id))

    def set_status(self, status: BackendStatus, reason: str = "", *, backend: str = "q") -> Step:
        return self.send(BackendStatusSet(backend=backend, status=status, reason=reason))

    def calibrated(self, *, backend: str = "q", run: int | None = None) -> Step:
        """A calibration ended; with `run`, that of an earlier one."""
        run = self.state(backend).run if run is None else run
        return self.send(CalibrationEnded(backend=backend, run=run))

    def prepared(self, job_id: str, *, estimated_ms: int | None = None) -> Step:
        run = self.job(job_id).run
        return self.send(
            StageEnded(job_id=job_id, run=run, stage=Stage.PREPARE, estimated_ms=estimated_ms)
        )

    def measured(self, job_id: str, *, usage_ms: int = 0) -> Step:
        run = self.job(job_id).run
        return self.send(StageEnded(job_id=job_id, run=run, stage=Stage.QUANTUM, usage_ms=usage_ms))

    def finished(self, job_id: str) -> Step:
        run = self.job(job_id).run
        return self.send(StageEnded(job_id=job_id, run=run, stage=Stage.FINISH))

    def done(self, *job_ids: str, usage_ms: int = 0) -> Step:
        """Take running jobs through all of their stages; the last one's last step."""
        for job_id in job_ids:
            self.prepared(job_id)
            self.measured(job_id, usage_ms=usage_ms)
            step = self.finished(job_id)
        return step

    def failed(self, job_id: str, reason: Reason, *, service_fault: bool = False) -> Step:
        job = self.job(job_id)
        assert job.stage is not None
        return self.send(
            StageFailed(
                job_id=job_id,
                run=job.run,
                stage=job.stage,
                reason=reason,
                service_fault=service_fault,
            )
        )

    def restart(
        self, backends: Iterable[Backend] | None = None, *, last_at: int | None = None
    ) -> Step:
        """A new scheduler made of what was saved, maybe with other backends; last seen then."""
        self.backends = self.backends if backends is None else backends
        self.scheduler = Scheduler(
            self.backends,
            saved.unfinished(self.saved),
            saved.last_seq(self.saved),
            instances=self.instances,
            charges=self.charges,
        )
        return self.send(Restarted(last_at))


@pytest.fixture
def lab() -> Lab:
    return Lab()
