"""What becomes of backends, and how long their jobs wait: one suite for every store."""

from dataclasses import replace

import pytest
from tests.store.records import START, Store, ended, job, job_details

from queuebit.core.model import BackendState, BackendStatus, Calibrated
from queuebit.errors import ServiceFault

TORINO = BackendState(
    id="fake_torino",
    status=BackendStatus.PAUSED,
    status_reason="Die Kühlung ist warm. 🐈",
    scheduled=(("monitoring", START + 5), ("benchmarking", START + 3)),
    due=("readout", "gates"),
    calibrating="coupling",
    calibrating_since=START + 2,
    run=7,
    calibrated_at=START + 1,
    drawn=6,
    drift=0.25,
)


async def test_nothing_became_of_any_backend_in_a_new_store(store: Store):
    assert await store.backend_states() == {}


async def test_a_state_comes_back_as_it_was_saved(store: Store):
    fez = BackendState(id="fake_fez")

    await store.save([TORINO, fez], [])

    assert await store.backend_states() == {"fake_torino": TORINO, "fake_fez": fez}
    assert (await store.load()).records == [fez, TORINO]


async def test_a_state_is_replaced_as_a_whole(store: Store):
    await store.save([TORINO], [])

    await store.save([BackendState(id="fake_torino", run=8)], [])

    assert await store.backend_states() == {"fake_torino": BackendState(id="fake_torino", run=8)}


async def test_waits_are_of_the_jobs_that_started_last(store: Store):
    waits = {"a": 500, "b": 20, "c": 300}
    records = [
        *(
            ended(key, seq, at=START + 9_000, created_at=START, started_at=START + wait)
            for seq, (key, wait) in enumerate(waits.items(), 1)
        ),
        job("queued", 4, created_at=START),
        job("elsewhere", 5, backend="fake_fez", created_at=START, started_at=START + 7),
    ]
    await store.save(records, [job_details(record.id) for record in records])

    assert await store.waits("fake_torino", 2) == [500, 300]
    assert await store.waits("fake_torino", 9) == [500, 300, 20]
    assert await store.waits("fake_manila", 9) == []


async def test_how_calibrations_left_a_backend_is_kept_for_ever(store: Store):
    assert await store.calibrated("fake_torino", START) is None

    made = [Calibrated(at=START + at, drawn=at, drift=at / 100) for at in (10, 20, 30)]
    for each in made:
        state = replace(TORINO, calibrated_at=each.at, drawn=each.drawn, drift=each.drift)
        await store.save([state, BackendState(id="fake_fez")], [])
        await store.save([replace(state, due=(), run=99)], [])  # later news of the same one

    found = [await store.calibrated("fake_torino", START + by) for by in (9, 10, 29, 30, 2**53)]
    assert found == [None, made[0], made[1], made[2], made[2]]
    assert await store.calibrated("fake_fez", START + 30) is None


async def test_a_calibration_is_kept_with_what_ended_it_or_not_at_all(store: Store):
    with pytest.raises(ServiceFault):
        await store.save([TORINO, job("without details", 1)], [])

    assert await store.calibrated("fake_torino", 2**53) is None
    assert await store.backend_states() == {}
