"""Draws docs/states.md from the tables of core/moves.py, so that the page cannot be wrong.

python scripts/draw_states.py
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from queuebit.core.model import FINAL, JobStatus, Stage, WorkloadState
from queuebit.core.moves import JOB_MOVES, STAGE_MOVES, WORKLOAD_MOVES

PAGE = Path(__file__).parent.parent / "docs" / "states.md"

# Why each move is made; the tables say which moves there are.
JOB_WHY = {
    (JobStatus.QUEUED, JobStatus.RUNNING): "a lane is free and it is next",
    (JobStatus.QUEUED, JobStatus.CANCELLED): "cancelled, alone or with its workload",
    (JobStatus.QUEUED, JobStatus.FAILED): "its workload's max TTL",
    (JobStatus.RUNNING, JobStatus.COMPLETED): "its last stage ended",
    (JobStatus.RUNNING, JobStatus.FAILED): "a stage failed",
    (JobStatus.RUNNING, JobStatus.CANCELLED): "cancelled by its user",
}
STAGE_WHY: dict[tuple[Stage | None, Stage | None], str] = {
    (None, Stage.PREPARE): "started",
    (Stage.PREPARE, Stage.READY): "prepared",
    (Stage.READY, Stage.QUANTUM): "the QPU is its",
    (Stage.QUANTUM, Stage.FINISH): "measured",
    **{(stage, None): "ended" for stage in Stage},
    **{(stage, Stage.PREPARE): "restart" for stage in Stage},
}
WORKLOAD_WHY = {
    (WorkloadState.OPEN, WorkloadState.ACTIVE): "its first job starts",
    (WorkloadState.OPEN, WorkloadState.CLOSED): "closed, cancelled or never used",
    (WorkloadState.ACTIVE, WorkloadState.INACTIVE): "interactive TTL",
    (WorkloadState.ACTIVE, WorkloadState.CLOSED): "accepts nothing and has nothing left",
    (WorkloadState.INACTIVE, WorkloadState.ACTIVE): "a job came through the normal queue",
    (WorkloadState.INACTIVE, WorkloadState.CLOSED): "closed, cancelled or max TTL",
}

TEXT = """\
# States

Drawn by `scripts/draw_states.py` from the tables of `src/queuebit/core/moves.py`, which the
scheduler obeys: what is not drawn here does not happen. A test compares this page with the tables.

## A job

{jobs}

## A running job

It holds one lane of its backend through all of its stages; one job at a time is in `quantum`. After
a restart of the service it begins again.

{stages}

## A batch or session

Whether it accepts jobs is a flag beside its state: one that is closed by its user, cancelled or
past its max TTL accepts nothing more, and is `closed` as soon as it has nothing left to run.

{workloads}
"""


def page() -> str:
    """The whole page."""
    stages = list(Stage)
    return TEXT.format(
        jobs=diagram(JobStatus.QUEUED, list(JobStatus), JOB_MOVES, JOB_WHY, FINAL),
        stages=diagram(None, stages, STAGE_MOVES, STAGE_WHY, frozenset()),
        workloads=diagram(
            WorkloadState.OPEN,
            list(WorkloadState),
            WORKLOAD_MOVES,
            WORKLOAD_WHY,
            frozenset({WorkloadState.CLOSED}),
        ),
    )


def diagram(
    first: str | None,
    order: Sequence[str],
    moves: Iterable[tuple[str | None, str | None]],
    why: Mapping[Any, str],
    final: Collection[str],
) -> str:
    """A Mermaid state diagram; None among the states is outside."""
    places: list[str | None] = [None, *order]
    lines = [] if first is None else [f"[*] --> {first}"]
    for move in sorted(moves, key=lambda move: [places.index(place) for place in move]):
        begin, end = ("[*]" if place is None else str(place) for place in move)
        lines.append(f"{begin} --> {end}: {why[move]}")
    lines += [f"{state} --> [*]" for state in order if state in final]
    return "\n".join(["```mermaid", "stateDiagram-v2", *(f"    {line}" for line in lines), "```"])


if __name__ == "__main__":
    PAGE.write_text(page())
