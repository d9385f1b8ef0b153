"""Fair share over ten thousand jobs: executed time as allocated (semantics 2.2)."""

import random
from collections import Counter, deque

import pytest

from queuebit.core.events import JobSubmitted, RunStage, StageEnded, WorkloadOpened
from queuebit.core.hourly import HOUR_MS
from queuebit.core.model import Backend, Instance, Mode, Stage
from queuebit.core.scheduler import Scheduler

DAY_MS = 24 * HOUR_MS
TWO = {"i": 200_000, "j": 100_000}
THREE = {"i": 300_000, "j": 200_000, "k": 100_000}


class Loop:
    """Five lanes in virtual time, with instances that always have work waiting."""

    def __init__(self, seed: int, allocations: dict[str, int], window_ms: int | None) -> None:
        self.rng = random.Random(seed)
        instances = [
            Instance(id=name, allocation_ms=ms, window_ms=window_ms)
            for name, ms in allocations.items()
        ]
        self.scheduler = Scheduler([Backend(name="q", lanes=5)], instances=instances)
        self.now = 0
        self.tasks: deque[RunStage] = deque()
        self.executed_ms: Counter[str] = Counter()
        self.jobs = 0

    def tell(self, event) -> None:
        step = self.scheduler.handle(event, self.now)
        self.tasks += step.commands

    def submit(self, name: str, *, workload_id: str | None = None) -> None:
        self.jobs += 1
        job_id = f"job{self.jobs}"
        self.tell(JobSubmitted(job_id=job_id, instance=name, backend="q", workload_id=workload_id))

    def submit_batch(self, name: str) -> None:
        workload_id = f"batch{self.jobs}"
        self.tell(
            WorkloadOpened(
                workload_id=workload_id,
                instance=name,
                backend="q",
                mode=Mode.BATCH,
                max_ttl_ms=DAY_MS,
                interactive_ttl_ms=60_000,
                active_ttl_ms=DAY_MS,
                unused_ttl_ms=HOUR_MS,
            )
        )
        for _ in range(self.rng.randrange(1, 12)):
            self.submit(name, workload_id=workload_id)

    def keep_busy(self, *, batches: bool) -> None:
        """Equal demand: everybody has at least ten jobs in the system."""
        for name in self.scheduler.ledger.instances:
            while self.scheduler.index.pending.get(name, 0) < 10:
                if batches and self.rng.random() < 0.2:
                    self.submit_batch(name)
                else:
                    self.submit(name)

    def run(self, jobs: int, *, batches: bool = False) -> None:
        ended = 0
        while ended < jobs:
            self.keep_busy(batches=batches)
            task = self.tasks[self.rng.randrange(len(self.tasks))]
            self.tasks.remove(task)
            payer = self.scheduler.jobs[task.job_id].instance
            usage_ms = self.rng.randrange(1_000, 9_000) if task.stage is Stage.QUANTUM else 0
            self.now += usage_ms
            self.executed_ms[payer] += usage_ms
            ended += task.stage is Stage.FINISH
            self.tell(
                StageEnded(job_id=task.job_id, run=task.run, stage=task.stage, usage_ms=usage_ms)
            )


@pytest.mark.parametrize(
    ("allocations", "batches", "window_ms"),
    [
        pytest.param(TWO, False, None, id="two, jobs, for ever"),
        pytest.param(TWO, True, 4 * HOUR_MS, id="two, mixed, 4 h"),
        pytest.param(THREE, False, 4 * HOUR_MS, id="three, jobs, 4 h"),
        pytest.param(THREE, True, None, id="three, mixed, for ever"),
    ],
)
def test_executed_time_is_shared_as_allocated(allocations, batches, window_ms):
    """IBM: "twice the minutes, twice the workloads executed", all else equal."""
    loop = Loop(7, allocations, window_ms)
    loop.run(10_000, batches=batches)

    unit = sum(loop.executed_ms.values()) / sum(allocations.values())
    for name, allocation_ms in allocations.items():
        assert loop.executed_ms[name] == pytest.approx(unit * allocation_ms, rel=0.05)
