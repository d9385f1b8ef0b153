"""What a store lists, of the same suite for every store."""

from dataclasses import replace

import pytest
from tests.store.records import (
    LAB,
    START,
    Store,
    ended,
    ids,
    job,
    job_details,
    workload,
    workload_details,
)

from queuebit.core.model import JobStatus, Stage


async def test_jobs_are_listed_by_creation_then_by_seq(store: Store):
    await store.save(
        [
            job("third", 30, created_at=START + 1),
            job("second", 20, created_at=START + 1),
            job("first", 40, created_at=START),
            job("fourth", 10, created_at=START + 2),
        ],
        [job_details(job_id) for job_id in ("first", "second", "third", "fourth")],
    )

    oldest_first = ["first", "second", "third", "fourth"]
    assert await ids(store, replace(LAB, newest_first=False)) == oldest_first
    assert await ids(store, LAB) == oldest_first[::-1]


async def test_pages_join_without_gaps_and_count_everything(store: Store):
    records = [job(f"j{seq}", seq, created_at=START + seq // 3) for seq in range(1, 11)]
    tags = ("a", "b", "c")
    await store.save(records, [job_details(record.id, tags=tags) for record in records])

    pages = [await store.jobs(replace(LAB, limit=4, offset=offset)) for offset in (0, 4, 8, 12)]

    assert [count for _, count in pages] == [10, 10, 10, 10]
    assert [len(found) for found, _ in pages] == [4, 4, 2, 0]
    listed = [stored for found, _ in pages for stored in found]
    assert [stored.record for stored in listed] == records[::-1]
    assert {stored.details.tags for stored in listed} == {tags}


@pytest.fixture
async def varied(store: Store) -> Store:
    """A store with jobs that differ in everything that one can ask for."""
    await store.save(
        [
            workload("w1", 1),
            job("queued", 2, workload_id="w1"),
            job("running", 3, status=JobStatus.RUNNING, stage=Stage.READY),
            ended("completed", 4, at=START, workload_id="w1"),
            job("failed", 5, status=JobStatus.FAILED, ended_at=START, backend="fake_fez"),
            job("cancelled", 6, status=JobStatus.CANCELLED, ended_at=START),
            job("theirs", 7, instance="other"),
        ],
        [
            workload_details("w1"),
            job_details("queued", tags=("x", "y")),
            job_details("running", tags=("y", "z", "x")),
            job_details("completed", tags=("x",), program_id="estimator"),
            job_details("failed", tags=("X",)),
            job_details("cancelled", program_id="estimator"),
            job_details("theirs", tags=("x", "y")),
        ],
    )
    return store


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, ["queued", "running", "completed", "failed", "cancelled"]),
        ({"instance": "other"}, ["theirs"]),
        ({"instance": "nobody"}, []),
        ({"pending": True}, ["queued", "running"]),
        ({"pending": False}, ["completed", "failed", "cancelled"]),
        ({"program_id": "estimator"}, ["completed", "cancelled"]),
        ({"backend": "fake_fez"}, ["failed"]),
        ({"workload_id": "w1"}, ["queued", "completed"]),
        ({"created_after": START + 4}, ["completed", "failed", "cancelled"]),
        ({"created_before": START + 4}, ["queued", "running", "completed"]),
        ({"created_after": START + 4, "created_before": START + 4}, ["completed"]),
        ({"created_after": 0}, ["queued", "running", "completed", "failed", "cancelled"]),
        ({"created_before": 0}, []),
        ({"tags": ("x",)}, ["queued", "running", "completed"]),
        ({"tags": ("x", "y")}, ["queued", "running"]),
        ({"tags": ("z", "y", "x")}, ["running"]),
        ({"tags": ("x", "x")}, ["queued", "running", "completed"]),
        ({"tags": ("x", "nobody")}, []),
        ({"tags": ("x",), "pending": True, "workload_id": "w1", "limit": 1}, ["queued"]),
    ],
)
async def test_jobs_are_found_by_what_was_asked_for(varied: Store, asked, expected):
    query = replace(LAB, newest_first=False, **asked)

    found, count = await varied.jobs(query)

    assert [stored.record.id for stored in found] == expected
    assert count == len(expected)


async def test_a_listed_job_is_whole(varied: Store):
    found, _ = await varied.jobs(LAB)

    assert found == [await varied.job(stored.record.id) for stored in found]
