"""How far estimated starts are from what happens, over a simulated day.

    python benchmarks/explain.py [--seed N] [--rate WORKLOADS_AN_HOUR] [--noise SHARE] [--every N]

At its submission every job is asked when it will start, by running a copy of the scheduler ahead
with the stage times that were expected; the day itself runs with those times off by `--noise`
(normal, standard deviation) and with everything that arrives later.
"""

import argparse
import statistics
import time
from dataclasses import replace

import numpy as np

from queuebit.core import forward
from queuebit.core.events import Event, JobSubmitted
from queuebit.core.forward import Forward
from queuebit.core.model import Instance, Job, Stage
from queuebit.core.scheduler import Scheduler
from queuebit.simulate.load import Load, generate
from queuebit.simulate.simulation import simulate
from queuebit.simulate.trace import Trace, Work

MODES = {"j": "job mode", "b": "batches", "s": "sessions"}


class Asking:
    """Watches a simulation; every `every`-th job is told at once when it should start."""

    def __init__(self, expected: dict[str, Work], every: int) -> None:
        self._expected = expected
        self._every = every
        self._submitted = 0
        self.foreseen: dict[str, int] = {}
        self.spent_ms: list[float] = []

    def __call__(self, event: Event, scheduler: Scheduler, now: int) -> None:
        """Ask about the job that was submitted just now."""
        if not isinstance(event, JobSubmitted) or event.job_id not in scheduler.jobs:
            return
        self._submitted += 1
        if self._submitted % self._every:
            return
        began = time.perf_counter()
        copy = forward.copy(scheduler).scheduler()
        start = Forward(copy, now, self.duration).start_of(event.job_id)
        self.spent_ms.append(1_000 * (time.perf_counter() - began))
        if isinstance(start, int):
            self.foreseen[event.job_id] = start

    def duration(self, job: Job, stage: Stage) -> int:
        work = self._expected[job.id]
        return {
            Stage.PREPARE: work.prepare_ms,
            Stage.QUANTUM: work.quantum_ms,
            Stage.FINISH: work.finish_ms,
        }[stage]


def noisy(trace: Trace, noise: float, rng: np.random.Generator) -> Trace:
    """The trace as it happens: every stage off by a random share of what was expected."""

    def off(ms: int) -> int:
        return max(1, round(ms * (1 + noise * rng.standard_normal())))

    def happens(work: Work | None) -> Work | None:
        if work is None:
            return None
        return replace(
            work,
            prepare_ms=off(work.prepare_ms),
            quantum_ms=off(work.quantum_ms),
            finish_ms=off(work.finish_ms),
        )

    entries = tuple(replace(entry, work=happens(entry.work)) for entry in trace.entries)
    return replace(trace, entries=entries)


def told(name: str, waits_s: list[float], errors_s: list[float]) -> None:
    if not errors_s:
        return
    sizes = sorted(map(abs, errors_s))
    p95 = sizes[int(0.95 * (len(sizes) - 1))]
    later = sum(error > 0 for error in errors_s) / len(errors_s)
    exact = sum(size < 1 for size in sizes) / len(sizes)
    print(
        f"{name:22} {len(sizes):6} {statistics.median(waits_s):10.1f} "
        f"{statistics.median(sizes):10.1f} {p95:10.1f} {later:10.0%} {exact:10.0%}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=60, help="workloads an hour")
    parser.add_argument("--noise", type=float, default=0.2)
    parser.add_argument("--every", type=int, default=5, help="ask for every N-th job")
    given = parser.parse_args()
    rng = np.random.default_rng(given.seed)
    load = Load(rate=given.rate)
    plan = generate(load, rng)
    labs = [Instance(id=f"lab{n + 1}", allocation_ms=3_600_000) for n in range(load.instances)]
    plan = replace(plan, instances=tuple(labs))
    expected = {event.job_id: work for event, work in plan.submissions()}
    day = Asking(expected, given.every)
    history = simulate(noisy(plan, given.noise, rng), day)
    busy_ms = sum(job.usage_ms for job in history.jobs.values())
    print(
        f"seed {given.seed}: {len(history.jobs)} jobs, QPU busy "
        f"{busy_ms / (load.hours * 3_600_000):.0%}, {len(day.foreseen)} asked; "
        f"an estimate takes {statistics.median(day.spent_ms):.1f} ms, "
        f"at most {max(day.spent_ms):.0f} ms"
    )
    print(f"{'':22} {'jobs':>6} {'wait':>10} {'error':>10} {'95%':>10} {'later':>10} {'< 1 s':>10}")
    rows: dict[str, tuple[list[float], list[float]]] = {}
    for job_id, start in day.foreseen.items():
        job = history.jobs[job_id]
        if job.started_at is None:
            continue
        wait_s = (job.started_at - job.created_at) / 1_000
        error_s = (job.started_at - start) / 1_000
        waited = wait_s > 0
        names = ["all", "that waited" if waited else "that did not"]
        names += [f"waited, {MODES[job_id[0]]}"] if waited else []
        for name in names:
            waits, errors = rows.setdefault(name, ([], []))
            waits.append(wait_s)
            errors.append(error_s)
    for name in sorted(rows):
        told(name, *rows[name])


if __name__ == "__main__":
    main()
