"""Events per second of the scheduler, by the number of jobs queued: it is to stay flat.

    python benchmarks/scheduler.py [--kind KIND] [--profile] [QUEUED ...]

The steady state: five lanes are busy, each round submits one job and takes another through its
stages, so four events a round and always as many queued. "fair share": a thousand instances with
allocations of many sizes, each with a limit that it does not reach and charges all over its window.
Goal: 20,000 events a second on one core, within a factor of 1.5 from a thousand to a million queued
jobs.
"""

import argparse
import cProfile
import gc
import pstats
import time
import tracemalloc
from collections import deque

from queuebit.core.events import JobSubmitted, RunStage, StageEnded, Step, WorkloadOpened
from queuebit.core.model import Backend, Charge, Instance, Mode, Stage
from queuebit.core.scheduler import Scheduler

ROUNDS = 10_000
EVENTS_A_ROUND = 4
KINDS = ("job mode", "one batch", "100 batches", "fair share")
INSTANCES = 1_000
DAY_MS = 86_400_000
HOUR_MS = 3_600_000


class Load:
    """A scheduler that is kept busy."""

    def __init__(self, kind: str, queued: int) -> None:
        self.instances = [
            Instance(
                id=f"instance{n}",
                allocation_ms=DAY_MS * (1 + n % 17),
                limit_ms=DAY_MS * 1_000,
                window_ms=28 * DAY_MS,
            )
            for n in range(INSTANCES if kind == "fair share" else 0)
        ]
        self.payers = [instance.id for instance in self.instances] or ["i"]
        self.scheduler = Scheduler(
            [Backend(name="q")],
            instances=self.instances,
            charges=[
                Charge(instance=instance.id, at=hour * HOUR_MS, ms=1_000 * (1 + number % 29))
                for number, instance in enumerate(self.instances)
                for hour in range(0, 28 * 24, 12)
            ],
        )
        self.now = 28 * DAY_MS if self.instances else 0
        self.names = 0
        self.tasks: deque[RunStage] = deque()
        self.workloads: list[str | None] = []
        for number in range({"one batch": 1, "100 batches": 100}.get(kind, 0)):
            self.open(f"B{number}")
            self.workloads.append(f"B{number}")
        self.workloads = self.workloads or [None]
        for _ in range(queued + 5):
            self.submit()

    def open(self, workload_id: str) -> None:
        self.scheduler.handle(
            WorkloadOpened(
                workload_id=workload_id,
                instance="i",
                backend="q",
                mode=Mode.BATCH,
                max_ttl_ms=DAY_MS,
                interactive_ttl_ms=60_000,
                active_ttl_ms=DAY_MS,
                unused_ttl_ms=1_800_000,
            ),
            self.now,
        )

    def submit(self) -> None:
        self.names += 1
        self.now += 1
        workload_id = self.workloads[self.names % len(self.workloads)]
        payer = self.payers[self.names % len(self.payers)]
        event = JobSubmitted(
            job_id=f"job{self.names:020}", instance=payer, backend="q", workload_id=workload_id
        )
        self.take(self.scheduler.handle(event, self.now))

    def take(self, step: Step) -> None:
        for command in step.commands:
            assert isinstance(command, RunStage)
            self.tasks.append(command)

    def end_job(self) -> None:
        """Take the job whose work is the oldest through the stages that it still has."""
        for _ in range(EVENTS_A_ROUND - 1):
            task = self.tasks.popleft()
            self.now += 1
            event = StageEnded(
                job_id=task.job_id,
                run=task.run,
                stage=task.stage,
                estimated_ms=2_000 if task.stage is Stage.PREPARE else None,
                usage_ms=2_000 if task.stage is Stage.QUANTUM else 0,
            )
            self.take(self.scheduler.handle(event, self.now))
            self.scheduler.next_deadline()

    def run(self, rounds: int) -> float:
        """Events a second of processor time, which neighbours on the machine do not change much."""
        began = time.process_time()
        for _ in range(rounds):
            self.submit()
            self.end_job()
        return rounds * EVENTS_A_ROUND / (time.process_time() - began)


def bytes_a_job(kind: str) -> int:
    """Memory of one queued job, its name included."""
    queued = 20_000
    tracemalloc.start()
    load = Load(kind, queued)
    gc.collect()
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(load.scheduler.jobs) == queued + 5
    return used // queued


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("queued", nargs="*", type=int, default=[1_000, 100_000, 1_000_000])
    parser.add_argument("--kind", choices=KINDS, help="only this one")
    parser.add_argument("--profile", action="store_true", help="where the time goes")
    arguments = parser.parse_args()
    if arguments.profile:
        load = Load(arguments.kind or "100 batches", arguments.queued[0])
        with cProfile.Profile() as profile:
            load.run(ROUNDS)
        pstats.Stats(profile).sort_stats("tottime").print_stats(20)
        return
    print(f"{'':12} {'queued':>10} {'events/s':>10} {'of first':>9} {'bytes/job':>10}")
    for kind in [arguments.kind] if arguments.kind else KINDS:
        first = None
        memory = bytes_a_job(kind)
        for queued in arguments.queued:
            load = Load(kind, queued)
            gc.collect()
            rate = max(load.run(ROUNDS) for _ in range(3))
            first = first or rate
            print(f"{kind:12} {queued:10,} {rate:10,.0f} {rate / first:9.2f} {memory:10,}")


if __name__ == "__main__":
    main()
