"""Records to store: whole, short to write, and at random."""

from dataclasses import fields
from itertools import count
from typing import Any, get_type_hints

from hypothesis import strategies as st
from tests.fakes import MemoryStore

from queuebit.core.model import Job, JobStatus, Mode, Reason, Workload, WorkloadState
from queuebit.store.database import Database, JobQuery
from queuebit.store.details import JobDetails, WorkloadDetails

Store = Database | MemoryStore
LAB = JobQuery(instance="lab")
START = 1_790_000_000_000  # ms; 2026-09-21


def job(job_id: str, seq: int, **more: Any) -> Job:
    values = {"instance": "lab", "user": "ada", "backend": "fake_torino", "created_at": START + seq}
    return Job(id=job_id, seq=seq, **(values | more))


def ended(job_id: str, seq: int, *, at: int, usage_ms: int = 0, **more: Any) -> Job:
    return job(job_id, seq, status=JobStatus.COMPLETED, ended_at=at, usage_ms=usage_ms, **more)


def job_details(job_id: str, **more: Any) -> JobDetails:
    return JobDetails(id=job_id, **({"program_id": "sampler"} | more))


def workload(workload_id: str, seq: int, **more: Any) -> Workload:
    values = {
        "instance": "lab",
        "backend": "fake_torino",
        "mode": Mode.BATCH,
        "created_at": START + seq,
        "max_ttl_ms": 28_800_000,
        "interactive_ttl_ms": 60_000,
        "active_ttl_ms": 28_800_000,
        "unused_ttl_ms": 1_800_000,
        "transitions": ((WorkloadState.OPEN, START + seq),),
    }
    return Workload(id=workload_id, seq=seq, **(values | more))


def workload_details(workload_id: str) -> WorkloadDetails:
    return WorkloadDetails(id=workload_id, user="ada")


async def ids(store: Store, query: JobQuery) -> list[str]:
    """Of one page of jobs."""
    found, _ = await store.jobs(query)
    return [stored.record.id for stored in found]


# PostgreSQL stores no NUL, and no database stores half of a character.
text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
instants = st.integers(0, 2**53)

_BY_TYPE: dict[Any, st.SearchStrategy[Any]] = {
    str: text,
    int: instants,
    bool: st.booleans(),
    float: st.floats(0, 1),
    tuple[str, ...]: st.lists(text, max_size=8).map(tuple),
    Reason: st.builds(Reason, message=text, code=st.integers(1000, 9999), solution=text),
    tuple[tuple[str, int], ...]: st.lists(st.tuples(text, instants), max_size=3).map(tuple),
    tuple[tuple[WorkloadState, int], ...]: st.lists(
        st.tuples(st.sampled_from(WorkloadState), instants), max_size=5
    ).map(tuple),
}

_fresh = count(1)


def any_of(record: type, **given: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Any value in every field, also what the scheduler would never decide."""
    hints = get_type_hints(record)
    return st.builds(
        record,
        **{
            field.name: given[field.name] if field.name in given else _any_value(hints[field.name])
            for field in fields(record)
        },
    )


def _any_value(hint: Any) -> st.SearchStrategy[Any]:
    if hint in _BY_TYPE:
        return _BY_TYPE[hint]
    if isinstance(hint, type):  # an enumeration
        return st.sampled_from(hint)
    options = [st.none() if part is type(None) else _any_value(part) for part in hint.__args__]
    return st.one_of(options)


def fresh_id() -> str:
    """An id that no other example of the same test has."""
    return f"id{next(_fresh)}"
