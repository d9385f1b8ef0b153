"""What becomes of backends, and what instances were charged: one suite for every store."""

import random
from dataclasses import replace
from datetime import UTC, datetime

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

from queuebit.config import InstanceConfig
from queuebit.core.events import JobCancelRequested
from queuebit.core.hourly import HOUR_MS
from queuebit.core.ledger import Ledger
from queuebit.core.model import (
    BackendState,
    BackendStatus,
    Charge,
    Job,
    Mode,
)
from queuebit.tenancy import InstanceRecord

HOUR = START // HOUR_MS * HOUR_MS  # where START's hour begins
FAR = "far.instance"


def charge(source: str, at: int, ms: int, instance: str = "lab") -> Charge:
    return Charge(source=source, instance=instance, at=at, ms=ms)


def in_hour(ms: int, hour: int, instance: str = "lab") -> Charge:
    """What was charged in one hour, `hour` hours after START's."""
    return Charge(instance=instance, at=HOUR + (hour + 1) * HOUR_MS - 1, ms=ms)


def in_order(charges: list[Charge]) -> list[Charge]:
    return sorted(charges, key=lambda charge: (charge.instance, charge.at, charge.ms))


async def save_charges(store: Store, *charges: Charge) -> None:
    await store.save([], [], [], charges)


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


async def test_charges_are_summed_by_the_hour(store: Store):
    await save_charges(
        store,
        charge("a", HOUR, 1),
        charge("b", HOUR + HOUR_MS - 1, 20),
        charge("c", HOUR + HOUR_MS, 300),
        charge("d", HOUR + 5, 4_000, FAR),
    )

    assert in_order(await store.charges(0)) == [
        in_hour(4_000, 0, FAR),
        in_hour(21, 0),
        in_hour(300, 1),
    ]


async def test_what_was_charged_before_does_not_count(store: Store):
    await save_charges(store, charge("a", START - 1, 1), charge("b", START, 20))

    assert await store.charges(START) == [in_hour(20, 0)]
    assert await store.charges(START + 1) == []
    assert await store.usage_ms("lab", START) == 20
    assert await store.usage_ms("lab", START + 1) == 0


async def test_in_the_hour_in_which_usage_begins_to_count_not_all_of_it_does(store: Store):
    since = datetime.fromtimestamp(START / 1_000, UTC)
    config = InstanceConfig(name="lab", since=since)
    await store.tenants.put(InstanceRecord(id="lab", config=config))
    await save_charges(store, charge("a", START - 1, 1), charge("b", START, 20))

    assert await store.charges(0) == [in_hour(20, 0)]


async def test_a_save_that_comes_again_charges_once(store: Store):
    first, window = charge("a", START, 7), charge("s", START + 1, 100)
    await save_charges(store, first, window)
    await save_charges(store, first, window, charge("s", START + 2, 1_000))

    assert await store.charges(0) == [in_hour(1_107, 0)]
    assert await store.usage_ms("lab", 0) == 1_107


async def test_a_deleted_job_stays_charged(store: Store):
    await store.save(
        [ended("a", 3, at=START, usage_ms=7)], [job_details("a")], [], [charge("a", START, 7)]
    )
    await store.delete_job("a")

    assert await store.charges(0) == [in_hour(7, 0)]
    assert await store.usage_ms("lab", 0) == 7


async def test_the_charges_of_a_whole_life_make_the_ledger_that_the_scheduler_has(store: Store):
    world = life(random.Random(3), events=600)
    await store.save(list(world.saved.values()), details(world), [], world.charges)
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
