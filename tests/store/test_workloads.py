"""The list of jobs in job mode, batches and sessions, of the same suite for every store."""

import random
from dataclasses import replace

import pytest
from tests.fakes import MemoryStore
from tests.store.records import START, Store, ended, job, job_details, workload, workload_details

from queuebit.core.model import FINAL, Job, JobStatus, Mode, WorkloadState
from queuebit.store.database import Database, WorkloadPage
from queuebit.store.listing import CANCELLED_BY_USER, EntryMode, EntryStatus, WorkloadQuery

LAB = WorkloadQuery(instance="lab")
SESSION = {"mode": Mode.SESSION}
CLOSED = {"state": WorkloadState.CLOSED, "accepting_jobs": False}
CANCELLED = {**CLOSED, "state_reason": CANCELLED_BY_USER}


def names(page: WorkloadPage) -> list[str]:
    return [entry.record.id for entry in page.entries]


@pytest.fixture
async def varied(store: Store) -> Store:
    """A store with workloads that differ in everything that one can ask for, oldest first."""
    records = [
        workload("open", 1),
        job("in it", 2, workload_id="open"),
        job("queued", 3),
        workload("idle", 4, state=WorkloadState.INACTIVE, backend="fake_fez", **SESSION),
        job("running", 5, status=JobStatus.RUNNING, user="bob"),
        workload("active", 6, state=WorkloadState.ACTIVE, **SESSION),
        ended("done", 7, at=START + 50),
        workload("closed", 8, closed_at=START + 50, **CLOSED),
        job("failed", 9, status=JobStatus.FAILED, ended_at=START + 50, backend="fake_fez"),
        workload("cancelled", 10, closed_at=START + 50, **CANCELLED, **SESSION),
        job("stopped", 11, status=JobStatus.CANCELLED, ended_at=START + 50),
        job("theirs", 12, instance="other"),
        workload("theirs too", 13, instance="other"),
    ]
    tags = {
        "in it": ("x",),
        "queued": ("x", "y"),
        "done": ("y", "done", "closed"),
        "failed": ("X",),
        "theirs": ("x",),
    }
    await store.save(
        records,
        [
            job_details(one.id, tags=tags.get(one.id, ()))
            if isinstance(one, Job)
            else replace(workload_details(one.id), user="bob" if one.id == "closed" else "ada")
            for one in records
        ],
    )
    return store


EVERY = [
    *("open", "queued", "idle", "running", "active"),
    *("done", "closed", "failed", "cancelled", "stopped"),
]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, EVERY),
        ({"newest_first": True}, EVERY[::-1]),
        ({"instance": "other"}, ["theirs", "theirs too"]),
        ({"instance": "nobody"}, []),
        ({"mode": EntryMode.JOB}, ["queued", "running", "done", "failed", "stopped"]),
        ({"mode": EntryMode.BATCH}, ["open", "closed"]),
        ({"mode": EntryMode.SESSION}, ["idle", "active", "cancelled"]),
        ({"backend": "fake_fez"}, ["idle", "failed"]),
        ({"user": "bob"}, ["running", "closed"]),
        ({"search": "queued"}, ["queued"]),
        ({"search": "idle"}, ["idle"]),
        ({"search": "y"}, ["queued", "done"]),
        ({"search": "closed"}, ["done", "closed"]),
        ({"search": "que"}, []),
        ({"search": "theirs"}, []),
        ({"search": "in it"}, []),
        ({"tags": ("x",)}, ["queued"]),
        ({"tags": ("y", "x")}, ["queued"]),
        ({"tags": ("x", "nobody")}, []),
        ({"tags": ("y",), "mode": EntryMode.BATCH}, []),
        ({"created_after": START + 8}, ["closed", "failed", "cancelled", "stopped"]),
        ({"created_before": START + 4}, ["open", "queued", "idle"]),
        ({"created_after": START + 4, "created_before": START + 5}, ["idle", "running"]),
        ({"statuses": {"pending"}}, ["open", "queued", "idle"]),
        ({"statuses": {"in_progress"}}, ["running", "active"]),
        ({"statuses": {"completed"}}, ["done", "closed"]),
        ({"statuses": {"failed"}}, ["failed"]),
        ({"statuses": {"canceled"}}, ["cancelled", "stopped"]),
        ({"statuses": {"failed", "pending"}}, ["open", "queued", "idle", "failed"]),
        ({"statuses": {"in_progress", "canceled"}, "mode": EntryMode.JOB}, ["running", "stopped"]),
    ],
)
async def test_workloads_are_found_by_what_was_asked_for(varied: Store, asked, expected):
    statuses = frozenset(map(EntryStatus, asked.get("statuses", ())))
    query = replace(LAB, **asked | {"statuses": statuses})

    page = await varied.workloads(query)

    assert names(page) == expected
    assert (page.count, page.more_before, page.more_after) == (len(expected), False, False)


async def test_a_listed_workload_is_whole(varied: Store):
    page = await varied.workloads(LAB)

    each = [await varied.job(name) or await varied.workload(name) for name in names(page)]
    assert page.entries == each


@pytest.mark.parametrize("newest_first", [False, True])
async def test_pages_join_without_gaps_in_both_directions(varied: Store, newest_first):
    expected = EVERY[::-1] if newest_first else EVERY
    query = replace(LAB, limit=4, newest_first=newest_first)
    pages = [await varied.workloads(query)]
    while pages[-1].more_after:
        last = pages[-1].entries[-1].record
        pages.append(await varied.workloads(replace(query, after=(last.created_at, last.seq))))
    back = pages[-1:]
    while back[0].more_before:
        first = back[0].entries[0].record
        place = (first.created_at, first.seq)
        back.insert(0, await varied.workloads(replace(query, before=place)))

    assert [names(page) for page in pages] == [expected[:4], expected[4:8], expected[8:]]
    assert [page.more_before for page in pages] == [False, True, True]
    assert {page.count for page in (*pages, *back)} == {10}
    assert back == pages


async def test_what_is_added_or_deleted_meanwhile_moves_no_page(varied: Store):
    query = replace(LAB, limit=3, newest_first=True)
    first = await varied.workloads(query)
    last = first.entries[-1].record
    await varied.save(
        [job("new", 20), ended("old", 14, at=START, created_at=START - 9)],
        [job_details("new"), job_details("old")],
    )
    await varied.delete_job("failed")  # the last one of the first page

    second = await varied.workloads(replace(query, after=(last.created_at, last.seq)))
    top = second.entries[0].record
    again = await varied.workloads(replace(query, before=(top.created_at, top.seq)))

    assert names(first) == ["stopped", "cancelled", "failed"]
    assert names(second) == ["closed", "done", "active"]
    assert (names(again), again.more_before) == (["new", "stopped", "cancelled"], False)


async def test_a_page_beyond_the_end_is_empty(varied: Store):
    page = await varied.workloads(replace(LAB, after=(START + 99, 0)))

    assert page == WorkloadPage(entries=[], count=10, more_before=False, more_after=False)


async def test_any_query_has_the_answer_that_the_fake_gives(database: Database):
    rng = random.Random(5)
    records = [any_record(rng, seq) for seq in range(1, 120)]
    details = [
        job_details(one.id, tags=tuple(rng.sample("abc", rng.randrange(3))))
        if isinstance(one, Job)
        else workload_details(one.id)
        for one in records
    ]
    memory = MemoryStore()
    for store in (database, memory):
        await store.save(records, details)

    sizes = set()
    for _ in range(150):
        query = any_query(rng)
        page = await database.workloads(query)
        sizes.add(len(page.entries))
        assert page == await memory.workloads(query), query

    assert {0, 1, 2, 7} <= sizes


def any_record(rng: random.Random, seq: int):
    common = {
        "created_at": START + rng.randrange(40),  # some at one instant
        "backend": rng.choice(["fake_torino", "fake_fez"]),
        "instance": rng.choice(["lab", "lab", "other"]),
    }
    if rng.random() < 0.4:
        state = rng.choice(list(WorkloadState))
        return workload(
            f"w{seq}",
            seq,
            mode=rng.choice(list(Mode)),
            state=state,
            state_reason=rng.choice([CANCELLED_BY_USER, "max_ttl_reached"]),
            closed_at=START + 99 if state is WorkloadState.CLOSED else None,
            **common,
        )
    status = rng.choice(list(JobStatus))
    over = {"ended_at": START + 99} if status in FINAL else {}
    return job(f"j{seq}", seq, status=status, user=rng.choice("xy"), **over, **common)


def any_query(rng: random.Random) -> WorkloadQuery:
    def maybe(value, chance: float = 0.3):
        return value if rng.random() < chance else None

    place = (START + rng.randrange(40), rng.randrange(120))
    side = rng.choice(["after", "before", None])
    return WorkloadQuery(
        instance="lab",
        limit=rng.choice([1, 2, 7, 50]),
        newest_first=rng.random() < 0.5,
        after=place if side == "after" else None,
        before=place if side == "before" else None,
        backend=maybe("fake_fez"),
        user=maybe("x"),
        mode=maybe(rng.choice(list(EntryMode))),
        statuses=frozenset(rng.sample(list(EntryStatus), rng.choice([0, 0, 1, 2]))),
        search=maybe(rng.choice(["a", "w3", "j4"]), 0.1),
        tags=("a",) if rng.random() < 0.2 else (),
        created_after=maybe(START + rng.randrange(40)),
        created_before=maybe(START + rng.randrange(40)),
    )
