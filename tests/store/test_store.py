"""One suite for every store: the fake is as good as the real ones."""

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

from queuebit.core.model import Charge, JobStatus, Mode, Reason, Stage, WorkloadState
from queuebit.errors import ServiceFault
from queuebit.store.database import Loaded, StoredJob, StoredWorkload, WorkloadPage
from queuebit.store.listing import WorkloadQuery


async def test_a_new_store_is_empty(store: Store):
    assert await store.load() == Loaded(records=[], last_seq=0, last_at=0)
    assert await store.known_jobs() == set()
    assert await store.jobs(LAB) == ([], 0)
    assert await store.workloads(WorkloadQuery(instance="lab")) == WorkloadPage(
        entries=[], count=0, more_before=False, more_after=False
    )
    assert await store.usage_ms("lab", 0) == 0
    assert await store.queue_lengths() == {}


async def test_what_was_never_saved_is_none(store: Store):
    assert await store.job("nobody") is None
    assert await store.workload("nobody") is None


async def test_a_job_comes_back_as_it_was_saved(store: Store):
    record = job(
        "j1",
        7,
        status=JobStatus.FAILED,
        run=2,
        estimated_ms=2_100,
        usage_ms=2_300,
        started_at=START + 10,
        ready_at=START + 20,
        quantum_started_at=START + 30,
        quantum_ended_at=START + 40,
        ended_at=START + 50,
        reason=Reason(message="Ein Qubit lügt. 🐈", code=1517, solution="Ask another."),
    )
    details = job_details(
        "j1",
        tags=("zebra", "ape"),
        cost_s=600,
        private=True,
        log_level="DEBUG",
        runtime="image:tag",
        calibration_id="slow_gates",
        caller="qiskit-version-2/2.3",
        qiskit_version="2.3.0",
    )

    await store.save([record], [details])

    assert await store.job("j1") == StoredJob(record=record, details=details, metrics={})


async def test_a_reason_may_quote_what_no_database_stores(store: Store):
    """A save that fails ends the service: nothing that a user wrote may bring that about."""
    reason = Reason(message="register 'a\0b'", code=1517, solution="not \ud800")
    await store.save([ended("j1", 1, at=START, reason=reason)], [job_details("j1")])

    stored = await store.job("j1")
    assert stored is not None
    assert stored.record.reason is not None
    assert stored.record.reason.message in {"register 'a\0b'", "register 'a\ufffdb'"}


async def test_a_workload_comes_back_as_it_was_saved(store: Store):
    record = workload(
        "w1",
        3,
        mode=Mode.SESSION,
        state=WorkloadState.INACTIVE,
        state_reason="idle",
        accepting_jobs=False,
        started_at=START + 1,
        activated_at=START + 2,
        last_job_started_at=START + 3,
        last_job_completed_at=START + 4,
        idle_since=START + 5,
        active_ms=6,
        jobs_ms=7,
        drain_seq=8,
        transitions=((WorkloadState.OPEN, START), (WorkloadState.ACTIVE, START + 1)),
    )

    await store.save([record], [workload_details("w1")])

    expected = StoredWorkload(record=record, details=workload_details("w1"))
    assert await store.workload("w1") == expected


async def test_a_changed_record_keeps_details_and_metrics(store: Store):
    details = job_details("j1", tags=("a", "b"), cost_s=5)
    await store.save([job("j1", 1)], [details])
    await store.add_metrics("j1", {"qubits": 5})
    changed = job(
        "j1", 1, status=JobStatus.RUNNING, stage=Stage.PREPARE, run=1, started_at=START + 9
    )

    await store.save([changed], [])

    assert await store.job("j1") == StoredJob(
        record=changed, details=details, metrics={"qubits": 5}
    )


async def test_a_changed_workload_keeps_its_details(store: Store):
    await store.save([workload("w1", 1)], [workload_details("w1")])
    changed = workload("w1", 1, state=WorkloadState.CLOSED, closed_at=START + 9)

    await store.save([changed], [])

    expected = StoredWorkload(record=changed, details=workload_details("w1"))
    assert await store.workload("w1") == expected


async def test_a_value_can_become_none_again(store: Store):
    running = job("j1", 1, status=JobStatus.RUNNING, stage=Stage.READY, ready_at=START + 9)
    await store.save([running], [job_details("j1")])
    again = replace(running, stage=Stage.PREPARE, run=1, ready_at=None)

    await store.save([again], [])

    stored = await store.job("j1")
    assert stored is not None
    assert stored.record == again


async def test_saving_twice_is_saving_once(store: Store):
    record, details = job("j1", 1), job_details("j1", tags=("a", "b"))
    await store.save([record], [details])
    await store.add_metrics("j1", {"depth": 9})

    await store.save([record], [details])

    assert await store.job("j1") == StoredJob(record=record, details=details, metrics={"depth": 9})


async def test_details_told_again_replace_the_first(store: Store):
    await store.save([job("j1", 1)], [job_details("j1", tags=("a", "b", "c"))])
    changed = job_details("j1", tags=("b",), cost_s=9)

    await store.save([job("j1", 1)], [changed])

    stored = await store.job("j1")
    assert stored is not None
    assert stored.details == changed
    assert await ids(store, replace(LAB, tags=("a",))) == []


async def test_jobs_and_their_workload_may_come_in_one_save_in_any_order(store: Store):
    await store.save(
        [job("j1", 2, workload_id="w1"), workload("w1", 1)],
        [job_details("j1"), workload_details("w1")],
    )

    loaded = await store.load()
    assert [record.id for record in loaded.records] == ["w1", "j1"]


@pytest.mark.parametrize(
    ("records", "details"),
    [
        ([job("j1", 1), job("j2", 2)], [job_details("j1")]),
        ([job("j1", 1)], [job_details("j1"), job_details("j2")]),
        ([job("j1", 1), workload("w1", 2)], [job_details("j1")]),
    ],
)
async def test_a_save_that_fails_saves_nothing(store: Store, records, details):
    with pytest.raises(ServiceFault):
        await store.save(records, details)

    assert await store.load() == Loaded(records=[], last_seq=0, last_at=0)


async def test_a_thousand_jobs_in_one_save(store: Store):
    records = [job(f"j{seq:04}", seq) for seq in range(1, 1001)]
    details = [job_details(record.id, tags=("many",)) for record in records]

    await store.save(records, details)

    assert await store.load() == Loaded(records=list(records), last_seq=1000, last_at=START + 1000)
    assert (await store.jobs(replace(LAB, tags=("many",), limit=1)))[1] == 1000


async def test_tags_are_replaced_and_found(store: Store):
    await store.save([job("j1", 1)], [job_details("j1", tags=("old", "kept"))])

    await store.set_tags("j1", ["new", "kept"])

    stored = await store.job("j1")
    assert stored is not None
    assert stored.details.tags == ("new", "kept")
    assert await ids(store, replace(LAB, tags=("kept", "new"))) == ["j1"]
    assert await ids(store, replace(LAB, tags=("old",))) == []


async def test_tags_can_be_cleared(store: Store):
    await store.save([job("j1", 1)], [job_details("j1", tags=("a",))])

    await store.set_tags("j1", [])

    stored = await store.job("j1")
    assert stored is not None
    assert stored.details.tags == ()


async def test_metrics_are_merged_key_by_key(store: Store):
    await store.save([job("j1", 1)], [job_details("j1")])
    await store.add_metrics("j1", {"circuits": 3, "noise": {"kind": "exact", "terms": 7}})

    await store.add_metrics("j1", {"noise": {"kind": "twirled"}, "depths": [1, 2.5], "gpu": None})

    stored = await store.job("j1")
    assert stored is not None
    assert stored.metrics == {
        "circuits": 3,
        "noise": {"kind": "twirled"},
        "depths": [1, 2.5],
        "gpu": None,
    }


async def test_a_deleted_job_is_gone(store: Store):
    await store.save(
        [ended("j1", 1, at=START), ended("j2", 2, at=START)],
        [job_details("j1", tags=("a",)), job_details("j2", tags=("a",))],
    )

    await store.delete_job("j1")

    assert await store.job("j1") is None
    assert await ids(store, replace(LAB, tags=("a",))) == ["j2"]
    assert await store.known_jobs() == {"j2"}


async def test_an_unfinished_job_is_not_deleted(store: Store):
    await store.save([job("j1", 1)], [job_details("j1")])

    await store.delete_job("j1")

    assert await store.known_jobs() == {"j1"}


async def test_nothing_happens_to_a_job_that_is_gone(store: Store):
    await store.save([ended("j1", 1, at=START)], [job_details("j1")])
    await store.delete_job("j1")

    await store.delete_job("j1")
    await store.set_tags("j1", ["a"])
    await store.add_metrics("j1", {"a": 1})

    assert await store.job("j1") is None


async def test_usage_counts_sessions_that_are_active_until_now(store: Store):
    active = {"state": WorkloadState.ACTIVE, "active_ms": 40, "activated_at": START + 60}
    await store.save(
        [
            workload("session", 1, mode=Mode.SESSION, **active),
            workload("idle", 2, mode=Mode.SESSION, state=WorkloadState.INACTIVE, active_ms=500),
            workload("batch", 3, **active),
        ],
        [workload_details(one) for one in ("session", "idle", "batch")],
        [],
        [Charge(instance="lab", at=START + 9, ms=540, source="session")],
    )

    assert await store.usage_ms("lab", 0) == 540
    assert await store.usage_ms("lab", 0, START + 100) == 580
    assert await store.usage_ms("lab", 0, START + 50) == 540


async def test_queued_and_running_jobs_are_counted(store: Store):
    await store.save(
        [
            job("a", 1),
            job("b", 2, instance="other"),
            job("c", 3, backend="fake_fez"),
            job("d", 4, status=JobStatus.RUNNING, stage=Stage.PREPARE, backend="fake_manila"),
            ended("e", 5, at=START),
        ],
        [job_details(job_id) for job_id in "abcde"],
    )

    assert await store.queue_lengths() == {"fake_torino": 2, "fake_fez": 1}
    assert await store.running_jobs() == {"fake_manila": 1}


async def test_known_jobs_are_all_that_were_accepted(store: Store):
    await store.save([job("a", 1), ended("b", 2, at=START)], [job_details("a"), job_details("b")])

    assert await store.known_jobs() == {"a", "b"}
