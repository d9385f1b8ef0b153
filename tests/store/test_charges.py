"""What becomes of backends, and what instances were charged: one suite for every store."""

import random
from dataclasses import replace

from tests.core.world import World
from tests.core.world_parts import BACKENDS, INSTANCES, PAYERS
from tests.store.records import (
    START,
    Store,
    ended,
    job,
    job_details,
    workload,
    workload_details,
)

from queuebit.core.events import JobCancelRequested
from queuebit.core.ledger import HOUR_MS, Ledger
from queuebit.core.model import (
    BackendState,
    BackendStatus,
    Charge,
    Job,
    JobStatus,
    Mode,
    Stage,
    Workload,
    WorkloadState,
)

HOUR = START // HOUR_MS * HOUR_MS  # where START's hour begins
OPEN, ACTIVE, INACTIVE, CLOSED = WorkloadState
FAR = "far.instance"


def charge(ms: int, hour: int, instance: str = "lab") -> Charge:
    """What jobs of one hour were charged, `hour` hours after START's."""
    return Charge(instance=instance, at=HOUR + (hour + 1) * HOUR_MS - 1, ms=ms)


def in_order(charges: list[Charge]) -> list[Charge]:
    return sorted(charges, key=lambda charge: (charge.instance, charge.at, charge.ms))


async def save(store: Store, *records: Job | Workload) -> None:
    """Save new records, with details."""
    await store.save(
        records,
        [
            job_details(one.id) if isinstance(one, Job) else workload_details(one.id)
            for one in records
        ],
    )


# -- what becomes of backends


async def test_a_backends_state_comes_back_as_it_was_saved(store: Store):
    state = BackendState(
        id="q",
        status=BackendStatus.PAUSED,
        status_reason="the fridge is warm",
        scheduled=(("monitor", START + 5), ("gates", START + 9)),
        due=("a", "b"),
        calibrating="c",
        run=7,
        calibrated_at=START,
    )
    bare = BackendState(id="r")
    await store.save([state, bare], [])

    assert (await store.load()).records == [state, bare]


async def test_a_changed_state_replaces_the_one_before(store: Store):
    state = BackendState(id="q", scheduled=(("monitor", 5),), due=("a",), calibrating="c")
    await store.save([state], [])
    changed = BackendState(id="q", status=BackendStatus.OFFLINE, status_reason="away", run=1)
    await store.save([changed], [])

    assert (await store.load()).records == [changed]


async def test_states_are_saved_with_jobs_and_workloads_in_one_save(store: Store):
    state, batch, inside = BackendState(id="q", run=1), workload("w", 1), job("j", 2)
    inside = replace(inside, workload_id="w")
    await store.save([inside, state, batch], [job_details("j"), workload_details("w")])

    assert (await store.load()).records == [state, batch, inside]


async def test_the_end_of_a_calibration_is_an_instant_on_record(store: Store):
    await store.save([BackendState(id="q", calibrated_at=START + 5)], [])

    assert (await store.load()).last_at == START + 5


# -- what instances were charged


async def test_a_new_store_has_charged_nobody(store: Store):
    assert await store.charges(0) == []


async def test_jobs_are_charged_by_the_hour_of_their_end(store: Store):
    await save(
        store,
        ended("a", 1, at=HOUR, usage_ms=1),
        ended("b", 2, at=HOUR + HOUR_MS - 1, usage_ms=20),
        ended("c", 3, at=HOUR + HOUR_MS, usage_ms=300),
        ended("d", 4, at=HOUR + 5, usage_ms=4_000, instance=FAR),
    )

    assert in_order(await store.charges(0)) == [
        charge(4_000, 0, FAR),
        charge(21, 0),
        charge(300, 1),
    ]


async def test_whatever_their_end_jobs_are_charged_what_they_used(store: Store):
    await save(
        store,
        *(
            job(status, number, status=status, ended_at=START, usage_ms=10**number)
            for number, status in enumerate(
                (JobStatus.COMPLETED, JobStatus.CANCELLED, JobStatus.FAILED)
            )
        ),
    )

    assert await store.charges(0) == [charge(111, 0)]


async def test_what_ended_before_does_not_count(store: Store):
    await save(
        store,
        ended("a", 1, at=START - 1, usage_ms=1),
        ended("b", 2, at=START, usage_ms=20),
    )

    assert await store.charges(START) == [charge(20, 0)]
    assert await store.charges(START + 1) == []


async def test_jobs_that_run_or_used_nothing_are_not_charged(store: Store):
    await save(
        store,
        job("running", 1, status=JobStatus.RUNNING, stage=Stage.FINISH, usage_ms=50),
        ended("free", 2, at=START),
    )

    assert await store.charges(0) == []


async def test_a_batchs_jobs_are_charged_and_a_sessions_are_not(store: Store):
    await save(
        store,
        workload("batch", 1),
        workload("session", 2, mode=Mode.SESSION),
        ended("a", 3, at=START, usage_ms=7, workload_id="batch"),
        ended("b", 4, at=START, usage_ms=1_000, workload_id="session"),
    )

    assert await store.charges(0) == [charge(7, 0)]


async def test_a_deleted_job_stays_charged_as_it_was(store: Store):
    await save(
        store,
        workload("batch", 1),
        workload("session", 2, mode=Mode.SESSION),
        ended("a", 3, at=START, usage_ms=1),
        ended("b", 4, at=START, usage_ms=20, workload_id="batch"),
        ended("c", 5, at=START, usage_ms=1_000, workload_id="session"),
    )
    assert await store.charges(0) == [charge(21, 0)]
    for job_id in "abc":
        await store.delete_job(job_id)

    assert await store.charges(0) == [charge(21, 0)]
    assert await store.charges(START + 1) == []


async def test_a_session_is_charged_for_each_active_window_when_it_ends(store: Store):
    transitions = (
        (OPEN, START),
        (ACTIVE, START + 10),
        (INACTIVE, START + 40),
        (ACTIVE, START + 100),
        (CLOSED, START + 300),
    )
    await save(
        store,
        workload("s", 1, mode=Mode.SESSION, transitions=transitions, closed_at=START + 300),
        workload("batch", 2, transitions=transitions, closed_at=START + 300),
    )

    first = Charge(instance="lab", at=START + 40, ms=30)
    second = Charge(instance="lab", at=START + 300, ms=200)
    assert in_order(await store.charges(0)) == [first, second]
    # A window that began before counts whole; one that ended before counts no more.
    assert in_order(await store.charges(START + 40)) == [first, second]
    assert await store.charges(START + 41) == [second]
    assert await store.charges(START + 300) == [second]
    assert await store.charges(START + 301) == []


async def test_a_window_that_goes_on_is_not_charged_yet(store: Store):
    transitions = (
        (OPEN, START),
        (ACTIVE, START + 10),
        (INACTIVE, START + 40),
        (ACTIVE, START + 50),
    )
    await save(store, workload("s", 1, mode=Mode.SESSION, transitions=transitions))

    assert await store.charges(0) == [Charge(instance="lab", at=START + 40, ms=30)]


async def test_a_session_never_started_is_not_charged(store: Store):
    closed = {"transitions": ((OPEN, START), (CLOSED, START + 9)), "closed_at": START + 9}
    await save(
        store,
        workload("s", 1, mode=Mode.SESSION, **closed),
        workload("t", 2, mode=Mode.SESSION),
    )

    assert await store.charges(0) == []


async def test_the_charges_of_a_whole_life_make_the_ledger_that_the_scheduler_has(store: Store):
    world = life(random.Random(3), events=600)
    await store.save(list(world.saved.values()), details(world))
    for job_id in sorted(world.ended)[::3]:
        await store.delete_job(job_id)

    ledger = Ledger(INSTANCES, await store.charges(0))
    ledger.roll(world.now)

    assert {one.id: ledger.used_ms(one.id) for one in INSTANCES} == {
        one.id: world.scheduler.ledger.used_ms(one.id) for one in INSTANCES
    }
    assert sum(ledger.used_ms(one.id) > 0 for one in INSTANCES) >= 2


def details(world: World):
    return [
        job_details(one.id) if isinstance(one, Job) else workload_details(one.id)
        for one in world.saved.values()
        if not isinstance(one, BackendState)
    ]


def life(rng: random.Random, events: int) -> World:
    """Jobs, batches and sessions of every instance over some hours."""
    world = World()
    workloads: list[str] = []
    for _ in range(events):
        world.now += rng.randrange(60_000)
        choice, tasks = rng.random(), list(world.tasks.values())
        backend, payer = rng.choice(BACKENDS).name, rng.choice(PAYERS)
        if choice < 0.6 and tasks:
            world.end_stage(rng.choice(tasks), rng.randrange(1, 3_000), check=False)
        elif choice < 0.65:
            ttls = (HOUR_MS, HOUR_MS, 60_000, HOUR_MS)
            workloads.append(world.open(rng.choice(list(Mode)), backend, payer, ttls))
        elif choice < 0.68 and tasks:
            event = JobCancelRequested(job_id=rng.choice(tasks).job_id)
            world.feed(event, check=False)
        else:
            workload_id = rng.choice([None, *workloads[-3:]])
            world.submit(backend, payer, workload_id, check=False)
    return world
