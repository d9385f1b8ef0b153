"""A scheduler to which anything happens, all of it told by a seed."""

import random

from queuebit.core.events import (
    BackendStatusSet,
    CalibrationEnded,
    Event,
    JobCancelRequested,
    JobSubmitted,
    Restarted,
    RunCalibration,
    RunStage,
    StageEnded,
    Tick,
    WorkloadCloseRequested,
    WorkloadOpened,
)
from queuebit.core.model import (
    Backend,
    BackendStatus,
    Calibration,
    Charge,
    Instance,
    Mode,
    Record,
    Stage,
)
from queuebit.core.scheduler import Scheduler

DAY_MS = 86_400_000


class Town:
    """Three instances on one backend, all modes, calibrations, pauses, a usage limit.

    With `static_shares` nothing that happens changes who has used less.
    """

    def __init__(self, seed: int, *, lanes: int, static_shares: bool = False) -> None:
        self.rng = random.Random(seed)
        self.now = 0
        self.names = 0
        self.tasks: list[RunStage] = []
        self.calibrating: list[RunCalibration] = []
        self.workloads: list[str] = []
        self.usage_ms = 0 if static_shares else 40
        calibrations = () if static_shares else (Calibration(kind="c", every_ms=300, lasts_ms=9),)
        # Far apart, so that no interactive TTL of a session changes who goes first.
        shares = ((1, 10), (1, 30), (1, 90)) if static_shares else ((9, 1), (9, 1), (1, 1))
        self.instances = [
            Instance(
                id=f"secret{n}",
                allocation_ms=allocation * DAY_MS,
                limit_ms=None if n != 1 else 100_000 * DAY_MS if static_shares else 300,
                window_ms=DAY_MS,
            )
            for n, (allocation, _) in enumerate(shares)
        ]
        self.scheduler = Scheduler(
            [Backend(name="q", lanes=lanes, calibrations=calibrations)],
            instances=self.instances,
            charges=[
                Charge(instance=f"secret{n}", at=0, ms=used * DAY_MS if static_shares else used)
                for n, (_, used) in enumerate(shares)
            ],
        )
        self.owners: dict[str, str] = {}
        self.saved: dict[str, Record] = {}
        self.feed(Restarted())  # which plans the calibrations

    def feed(self, event: Event) -> None:
        step = self.scheduler.handle(event, self.now)
        self.saved.update(step.changed)
        for command in step.commands:
            if isinstance(command, RunStage):
                self.tasks.append(command)
            elif isinstance(command, RunCalibration):
                self.calibrating.append(command)

    def name(self, kind: str, instance: str) -> str:
        self.names += 1
        name = f"<{kind}{self.names}>"
        self.owners[name] = instance
        return name

    def happen(self, *, closes: bool = True) -> None:
        """One more event; `closes`: the backend may be closed too."""
        self.now += self.rng.choice((0, 1, 5, 20))
        choice = self.rng.random()
        if choice < 0.40:
            self.submit()
        elif choice < 0.50:
            self.open()
        elif choice < 0.80 and self.tasks:
            self.end_stage(self.tasks.pop(self.rng.randrange(len(self.tasks))))
        elif choice < 0.84 and self.scheduler.jobs:
            self.feed(JobCancelRequested(job_id=self.rng.choice(list(self.scheduler.jobs))))
        elif choice < 0.88 and self.calibrating:
            self.feed(CalibrationEnded(backend="q", run=self.calibrating.pop().run))
        elif choice < 0.91 and closes:
            status = self.rng.choice(list(BackendStatus))
            self.feed(BackendStatusSet(backend="q", status=status, reason="said"))
        elif choice < 0.93 and self.workloads:
            self.feed(WorkloadCloseRequested(workload_id=self.rng.choice(self.workloads)))
        else:
            self.feed(Tick())

    def submit(self) -> None:
        workload_id = self.rng.choice([None, None, *self.workloads[-4:]])
        instance = self.rng.choice(self.instances).id
        if workload_id is not None:
            instance = self.owners[workload_id]
        for _ in range(self.rng.choice((1, 1, 3))):
            job_id = self.name("job", instance)
            self.feed(
                JobSubmitted(job_id=job_id, instance=instance, backend="q", workload_id=workload_id)
            )

    def open(self) -> None:
        instance = self.rng.choice(self.instances).id
        workload_id = self.name("workload", instance)
        self.workloads.append(workload_id)
        self.feed(
            WorkloadOpened(
                workload_id=workload_id,
                instance=instance,
                backend="q",
                mode=self.rng.choice(list(Mode)),
                max_ttl_ms=DAY_MS,
                interactive_ttl_ms=30,
                active_ttl_ms=DAY_MS,
                unused_ttl_ms=DAY_MS,
            )
        )

    def end_stage(self, task: RunStage) -> None:
        usage_ms = self.usage_ms if task.stage is Stage.QUANTUM else 0
        self.feed(StageEnded(job_id=task.job_id, run=task.run, stage=task.stage, usage_ms=usage_ms))
