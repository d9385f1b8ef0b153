"""The FAQ's question "N PUBs in one job, or N jobs in a batch", in numbers and a picture.

    python examples/simulate/n_pubs.py [PICTURE.svg]

Ten PUBs of 40 circuits, 100 qubits wide and 100 deep, 1,000 shots each, sent in five ways to a QPU
of five lanes: one that is idle, and one that other users keep busy (means over 20 made-up days).
"""

import sys
from dataclasses import replace
from itertools import count
from pathlib import Path
from statistics import fmean

import numpy as np

from queuebit.core.events import JobSubmitted, WorkloadCloseRequested, WorkloadOpened
from queuebit.core.model import Backend, Mode
from queuebit.core.usage import overhead_ms, qpu_ms
from queuebit.simulate.load import Load, generate
from queuebit.simulate.picture import draw_gantt
from queuebit.simulate.report import make_report
from queuebit.simulate.simulation import History, simulate
from queuebit.simulate.trace import Entry, Machine, Trace, Work

PUBS = 10
CIRCUITS, QUBITS, DEPTH, SHOTS = 40, 100, 100, 1_000  # of one PUB
SHOT_S = 300e-6  # with the repetition delay
PREPARE_S, FINISH_S = 20, 10  # classical work for one PUB
THINK_S = 5  # of a client that looks at each result before it goes on

SEEDS = 20
OTHERS = Load(hours=3, rate=40, session=0.05)  # keep the QPU busy for some 65% of the time
BEGIN_S = 3_600  # we come when the others have been there for an hour
DAY_MS = 86_400_000
ME = "me"


def work(pubs: int) -> Work:
    """A job of so many PUBs, by the model of usage."""
    circuits = pubs * CIRCUITS
    overhead = overhead_ms(circuits=circuits, qubits=QUBITS, depth=DEPTH)
    usage = qpu_ms(overhead_ms=overhead, runs=[(SHOT_S, SHOTS)] * circuits)
    return Work(
        prepare_ms=1_000 * PREPARE_S * pubs,
        quantum_ms=usage,
        finish_ms=1_000 * FINISH_S * pubs,
        usage_ms=usage,
    )


def jobs(number: int, pubs: int, *, at_ms: int, workload: str | None = None) -> list[Entry]:
    """Jobs that are submitted at once."""
    return [
        Entry(
            event=JobSubmitted(job_id=f"mine{n}", instance=ME, backend="qpu", workload_id=workload),
            delay_ms=at_ms,
            work=work(pubs),
        )
        for n in range(1, number + 1)
    ]


def in_workload(mode: Mode, at_ms: int) -> list[Entry]:
    """A batch or session, its jobs at once, then closed."""
    opened = WorkloadOpened(
        workload_id="mine",
        instance=ME,
        backend="qpu",
        mode=mode,
        max_ttl_ms=DAY_MS // 3,
        interactive_ttl_ms=60_000,
        active_ttl_ms=DAY_MS // 3,
        unused_ttl_ms=1_800_000,
    )
    return [
        Entry(event=opened, delay_ms=at_ms),
        *jobs(PUBS, 1, at_ms=at_ms, workload="mine"),
        Entry(event=WorkloadCloseRequested(workload_id="mine"), delay_ms=at_ms),
    ]


def in_loop(at_ms: int) -> list[Entry]:
    """A session whose client waits for each result and thinks about it."""
    opened, first, *others, closed = in_workload(Mode.SESSION, at_ms)
    names = (f"mine{n}" for n in count(1))
    return [
        opened,
        first,
        *(replace(entry, delay_ms=1_000 * THINK_S, after=(next(names),)) for entry in others),
        replace(closed, delay_ms=0, after=(next(names),)),
    ]


WAYS = {
    "one job of 10 PUBs": lambda at_ms: jobs(1, PUBS, at_ms=at_ms),
    "10 jobs in a batch": lambda at_ms: in_workload(Mode.BATCH, at_ms),
    "10 jobs in job mode": lambda at_ms: jobs(PUBS, 1, at_ms=at_ms),
    "10 jobs in a session, at once": lambda at_ms: in_workload(Mode.SESSION, at_ms),
    "10 jobs in a session, in a loop": in_loop,
}


def alone(way: str) -> History:
    return simulate(
        Trace(machines=(Machine(backend=Backend(name="qpu")),), entries=(*WAYS[way](0),))
    )


def among_others(way: str, seed: int) -> History:
    others = generate(OTHERS, np.random.default_rng(seed))
    mine = WAYS[way](1_000 * BEGIN_S)
    return simulate(replace(others, entries=(*others.entries, *mine)))


def mine(history: History) -> tuple[float, float]:
    """From the first submission to the last result, and QPU time charged; seconds."""
    group = make_report("", history).by_instance[ME]
    assert group.total_s is not None
    return group.total_s, group.usage_s


def main() -> None:
    histories = [(way, alone(way)) for way in WAYS]
    print("|  | time alone | time among others | charged alone | charged among others |")
    print("|---|---|---|---|---|")
    for way, history in histories:
        total_s, usage_s = mine(history)
        crowded = [mine(among_others(way, seed)) for seed in range(SEEDS)]
        total_crowded_s = fmean(total for total, _ in crowded)
        usage_crowded_s = fmean(usage for _, usage in crowded)
        print(
            f"| {way} | {total_s:.0f} s | {total_crowded_s:.0f} s "
            f"| {usage_s:.0f} s | {usage_crowded_s:.0f} s |"
        )
    busy = fmean(
        make_report("", simulate(generate(OTHERS, np.random.default_rng(seed))))
        .by_backend["qpu"]
        .qpu
        or 0
        for seed in range(SEEDS)
    )
    print(f"\nThe others alone have the QPU for {busy:.0%} of the time.")
    if len(sys.argv) > 1:
        draw_gantt(histories, Path(sys.argv[1]))


if __name__ == "__main__":
    main()
