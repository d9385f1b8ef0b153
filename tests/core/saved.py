"""What a store gives back: the records that are not over."""

from collections.abc import Iterable, Mapping
from itertools import pairwise

from queuebit.core.model import (
    FINAL,
    BackendState,
    Job,
    Record,
    Workload,
    WorkloadState,
)


def unfinished(saved: Mapping[str, Record]) -> list[Record]:
    """What a new scheduler starts from; its order is not to matter."""
    return [record for record in reversed(list(saved.values())) if not is_over(record)]


def is_over(record: Record) -> bool:
    match record:
        case Job():
            return record.status in FINAL
        case Workload():
            return record.state is WorkloadState.CLOSED
        case BackendState():
            return False


def last_seq(saved: Mapping[str, Record]) -> int:
    given = (record.seq for record in saved.values() if not isinstance(record, BackendState))
    return max(given, default=0)


def windows(workload: Workload) -> Iterable[tuple[int, int]]:
    """The active windows that have ended, from the transitions."""
    for (state, began), (_, ended) in pairwise(workload.transitions):
        if state is WorkloadState.ACTIVE:
            yield began, ended
