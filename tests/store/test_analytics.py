"""Usage over time, of the same suite for every store."""

from dataclasses import replace

import pytest
from tests.store.records import START, Store, ended, job, job_details, workload, workload_details

from queuebit.core.model import Job, Mode
from queuebit.store.analytics import DAY_MS, AnalyticsQuery, Cell, Sum

NEXT = START + DAY_MS
ALL = AnalyticsQuery(instances=["lab", "other"])


@pytest.fixture
async def used(store: Store) -> Store:
    """A store with jobs and workloads of two instances, users, backends and days."""
    records = [
        ended("one", 1, at=START + 50, usage_ms=3_000, started_at=START + 11),
        ended("two", 2, at=START + 60, usage_ms=5_000, started_at=START + 32),
        ended("late", 3, at=NEXT + 9, usage_ms=100, created_at=NEXT, started_at=NEXT + 4),
        job("queued", 4, backend="fake_fez"),
        workload("batch", 5, jobs_ms=700, created_at=START),
        ended("in it", 6, at=START + 70, usage_ms=700, workload_id="batch"),
        workload("session", 7, mode=Mode.SESSION, active_ms=90_000, created_at=START),
        ended("bob's", 8, at=START + 80, usage_ms=1, user="bob"),
        ended("theirs", 9, at=START + 80, usage_ms=2_000, instance="other"),
        ended("deleted", 10, at=START + 80, usage_ms=4_000, started_at=START + 10),
    ]
    await store.save(
        records,
        [
            job_details(one.id)
            if isinstance(one, Job)
            else replace(workload_details(one.id), user="ada")
            for one in records
        ],
    )
    await store.delete_job("deleted")
    return store


def days(cells: list[Cell]) -> set[tuple[str, str | None, str | None, int]]:
    first = START // DAY_MS
    return {(cell.instance, cell.backend, cell.user, cell.day - first) for cell in cells}


async def test_usage_is_counted_by_instance_backend_user_and_day(used: Store):
    cells = await used.analytics(ALL)

    assert days(cells) == {
        ("lab", "fake_torino", "ada", 0),
        ("lab", "fake_torino", "ada", 1),
        ("lab", "fake_torino", "bob", 0),
        ("lab", "fake_fez", "ada", 0),
        ("other", "fake_torino", "ada", 0),
    }
    totals = next(c.totals for c in cells if c.instance == "lab" and c.totals.batches.count)
    assert totals.alone == Sum(3, 12_000, 5_000)  # the deleted one counts on
    assert totals.members == Sum(1, 700, 700)
    assert totals.batches == Sum(1, 700, 700)
    assert totals.sessions == Sum(1, 90_000, 90_000)
    assert totals.queued == Sum(3, 40, 30)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"instances": []}, 0),
        ({"instances": ["other"]}, 1),
        ({"backends": ["fake_fez"]}, 1),
        ({"users": ["bob"]}, 1),
        ({"since": NEXT}, 1),
        ({"until": NEXT}, 4),
        ({"since": START, "until": START}, 0),
    ],
)
async def test_only_what_is_asked_for_counts(used: Store, asked: dict, found: int):
    assert len(await used.analytics(replace(ALL, **asked))) == found


async def test_tags_are_found_by_a_part_of_them_in_their_instance(store: Store):
    tags = {"a": ("Bell-pair", "bells"), "b": ("bells", "100%_sure"), "c": ("bellow",)}
    records = [job("a", 1), job("b", 2), job("c", 3, instance="other")]
    await store.save(records, [job_details(name, tags=given) for name, given in tags.items()])

    assert await store.tags("lab", "BELL", 8) == ["Bell-pair", "bells"]
    assert await store.tags("lab", "bell", 1) == ["Bell-pair"]
    assert await store.tags("lab", "0%_s", 8) == ["100%_sure"]
    assert await store.tags("lab", "0__s", 8) == []
