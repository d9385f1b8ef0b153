"""What a store gives a service that starts, of the same suite for every store."""

from typing import Any

import pytest
from tests.store.records import START, Store, ended, job, job_details, workload, workload_details

from queuebit.core.model import Job, JobStatus, Stage, WorkloadState

ON_THE_QPU: dict[str, Any] = {
    "status": JobStatus.RUNNING,
    "stage": Stage.QUANTUM,
    "started_at": START + 5,
    "ready_at": START + 7,
    "quantum_started_at": START + 9,
}


def in_state(state: WorkloadState, at: int) -> dict[str, Any]:
    """The fields of a workload that was started at `START + 2` and is in `state` since `at`."""
    transitions = ((WorkloadState.OPEN, START + 1), (state, at))
    active = {"activated_at": at} if state is WorkloadState.ACTIVE else {}
    return {"state": state, "started_at": START + 2, "transitions": transitions, **active}


async def test_load_gives_what_is_not_over_in_order_of_seq(store: Store):
    await store.save(
        [
            job("queued", 9, created_at=START),
            job("running", 4, **ON_THE_QPU),
            ended("completed", 5, at=START + 50),
            job("cancelled", 6, status=JobStatus.CANCELLED, ended_at=START + 60),
            workload("open", 8),
            workload("active", 2, **in_state(WorkloadState.ACTIVE, START + 3)),
            workload("closed", 1, state=WorkloadState.CLOSED, closed_at=START + 70),
        ],
        [
            *(job_details(job_id) for job_id in ("queued", "running", "completed", "cancelled")),
            *(workload_details(one) for one in ("open", "active", "closed")),
        ],
    )

    loaded = await store.load()

    assert [record.id for record in loaded.records] == ["active", "open", "running", "queued"]
    assert loaded.last_seq == 9


@pytest.mark.parametrize("last", ["final job", "closed workload", "deleted job"])
async def test_a_seq_is_never_given_twice(store: Store, last: str):
    await store.save([job("j1", 1)], [job_details("j1")])
    if last == "closed workload":
        closed = workload("w", 2, state=WorkloadState.CLOSED, closed_at=START)
        await store.save([closed], [workload_details("w")])
    else:
        await store.save([ended("j2", 2, at=START)], [job_details("j2")])
    if last == "deleted job":
        await store.delete_job("j2")

    assert (await store.load()).last_seq == 2


@pytest.mark.parametrize(
    ("records", "last"),
    [
        ([job("queued", 1, created_at=START + 1)], START + 1),
        ([job("running", 1, **ON_THE_QPU)], START + 9),
        ([ended("final", 1, at=START + 90)], START + 90),
        ([workload("open", 1, created_at=START + 1)], START + 1),
        ([workload("idle", 1, **in_state(WorkloadState.INACTIVE, START + 7))], START + 7),
        ([workload("closed", 1, closed_at=START + 80)], START + 80),
        ([ended("final", 1, at=START + 90), job("queued", 2, created_at=START + 99)], START + 99),
        ([workload("closed", 1, closed_at=START + 80), job("queued", 2)], START + 80),
    ],
)
async def test_the_latest_instant_on_record_is_known(store: Store, records, last: int):
    await store.save(
        records,
        [
            job_details(one.id) if isinstance(one, Job) else workload_details(one.id)
            for one in records
        ],
    )

    assert (await store.load()).last_at == last


async def test_the_end_of_a_deleted_job_stays_on_record(store: Store):
    await store.save(
        [ended("first", 1, at=START + 5), ended("last", 2, at=START + 90)],
        [job_details("first"), job_details("last")],
    )

    await store.delete_job("last")

    assert (await store.load()).last_at == START + 90
