"""What a store gives back: the records that are not over, and charges made of those that are."""

from collections.abc import Iterable, Mapping
from itertools import pairwise

from queuebit.core.model import (
    FINAL,
    BackendState,
    Charge,
    Job,
    Mode,
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


def charges(saved: Mapping[str, Record]) -> list[Charge]:
    """What every instance was ever charged, record by record (semantics 5.1)."""
    found: list[Charge] = []
    for record in saved.values():
        if isinstance(record, Job) and record.ended_at is not None:
            workload = saved.get(record.workload_id or "")
            if not (isinstance(workload, Workload) and workload.mode is Mode.SESSION):
                ms = record.usage_ms
                found.append(Charge(instance=record.instance, at=record.ended_at, ms=ms))
        elif isinstance(record, Workload) and record.mode is Mode.SESSION:
            found += [
                Charge(instance=record.instance, at=ended, ms=ended - began)
                for began, ended in windows(record)
            ]
    return found


def windows(workload: Workload) -> Iterable[tuple[int, int]]:
    """The active windows that have ended, from the transitions."""
    for (state, began), (_, ended) in pairwise(workload.transitions):
        if state is WorkloadState.ACTIVE:
            yield began, ended
