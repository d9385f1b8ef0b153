"""The driver saves before it acts, keeps time, and leaves nobody waiting."""

import asyncio

import pytest

from queuebit.core.events import (
    Event,
    JobCancelRequested,
    JobSubmitted,
    Rule,
    RunStage,
    StageEnded,
    StopJob,
    Tick,
    WorkloadOpened,
)
from queuebit.core.model import JobStatus, Mode, Stage, WorkloadState
from queuebit.errors import ServiceFault, Unavailable
from queuebit.store.details import JobDetails


def submit(job_id: str, workload_id: str | None = None) -> JobSubmitted:
    return JobSubmitted(job_id=job_id, instance="i", backend="q", workload_id=workload_id)


def details(job_id: str) -> JobDetails:
    return JobDetails(id=job_id, program_id="sampler")


def opened(workload_id: str, unused_ttl_ms: int = 500) -> Event:
    return WorkloadOpened(
        workload_id=workload_id,
        instance="i",
        backend="q",
        mode=Mode.BATCH,
        max_ttl_ms=10_000,
        interactive_ttl_ms=100,
        active_ttl_ms=10_000,
        unused_ttl_ms=unused_ttl_ms,
    )


def ended(job_id: str, stage: Stage) -> StageEnded:
    return StageEnded(job_id=job_id, run=1, stage=stage)


# -- save, then act


async def test_what_was_decided_is_saved_before_the_answer_and_the_act(service):
    async with service.running():
        service.store.may_save.clear()
        sender = asyncio.create_task(service.driver.send(submit("a"), details("a")))
        await service.settled()

        assert not sender.done()
        assert service.runner.commands == []

        service.store.may_save.set()
        step = await sender

        assert step.changed == {"a": service.job("a")}
        assert service.store.details == ["a"]
        assert service.runner.commands == [RunStage("a", 1, Stage.PREPARE)]


async def test_a_restart_is_the_first_thing_that_happens(service):
    async with service.running():
        await service.driver.send(submit("a"))
    again = type(service)(list(service.store.records.values()))
    async with again.running():
        assert again.job("a").run == 2
        assert again.runner.commands == [RunStage("a", 2, Stage.PREPARE)]


async def test_what_changes_nothing_is_not_saved(service):
    async with service.running():
        await service.driver.send(Tick())

    assert service.store.saves == []


async def test_what_comes_in_during_a_save_is_saved_at_once_after_it(service):
    """Group commit: a save may take longer than an event."""
    async with service.running():
        service.store.may_save.clear()
        senders = [asyncio.create_task(service.driver.send(submit("a")))]
        await service.settled()
        senders += [asyncio.create_task(service.driver.send(submit(j))) for j in "bcde"]
        await service.settled()
        service.store.may_save.set()
        steps = await asyncio.gather(*senders)

    assert service.store.saves == [["a"], ["b", "c", "d", "e"]]
    assert [list(step.changed) for step in steps] == [["a"], ["b"], ["c"], ["d"], ["e"]]


async def test_of_several_changes_in_one_save_the_last_is_saved(service):
    async with service.running():
        await asyncio.gather(
            service.driver.send(submit("a")),
            service.driver.send(JobCancelRequested(job_id="a")),
        )

    assert service.store.saves == [["a"]]
    assert service.job("a").status is JobStatus.CANCELLED
    assert service.runner.commands == [RunStage("a", 1, Stage.PREPARE), StopJob("a")]
    assert service.runner.cleared == ["a"]


async def test_commands_are_carried_out_in_the_order_of_events(service):
    async with service.running():
        await asyncio.gather(*(service.driver.send(submit(job_id)) for job_id in "abc"))
        await service.driver.send(JobCancelRequested(job_id="b"))

    assert service.runner.commands == [
        RunStage("a", 1, Stage.PREPARE),
        RunStage("b", 1, Stage.PREPARE),
        StopJob("b"),
        RunStage("c", 1, Stage.PREPARE),
    ]


async def test_a_refusal_answers_and_saves_no_details(service):
    async with service.running():
        step = await service.driver.send(submit("a", "closed"), details("a"))

    assert step.refusal is not None
    assert step.refusal.rule is Rule.WORKLOAD_CLOSED
    assert (service.store.records, service.store.details) == ({}, [])


async def test_a_refused_neighbour_takes_nothing_with_it(service):
    async with service.running():
        await asyncio.gather(
            service.driver.send(submit("a", "closed"), details("a")),
            service.driver.send(submit("b"), details("b")),
        )

    assert (list(service.store.records), service.store.details) == (["b"], ["b"])


async def test_a_save_that_fails_stops_the_driver_and_nothing_is_done(service):
    """Memory is ahead of the store then, so only a restart from the store is true."""
    run = asyncio.create_task(service.driver.run())
    await service.settled()
    service.store.broken = True
    senders = [asyncio.create_task(service.driver.send(submit(j), details(j))) for j in "ab"]

    with pytest.raises(OSError, match="disk full"):
        await run
    assert service.runner.commands == []
    for sender in senders:
        with pytest.raises(ServiceFault, match="stopped"):
            await sender
    with pytest.raises(ServiceFault, match="stopped"):
        await service.driver.send(submit("c"))


async def test_a_save_that_fails_for_a_passing_reason_is_tried_again(service):
    """Who can come again is told so at once; what was decided, and news of stages, waits."""
    async with service.running():
        service.store.away = 3
        decided = asyncio.create_task(service.driver.send(submit("a"), details("a"), patient=False))
        await service.store.failed.wait()
        news = asyncio.create_task(service.driver.send(ended("a", Stage.PREPARE)))
        with pytest.raises(Unavailable):
            await service.driver.send(submit("b"), details("b"), patient=False)
        assert service.driver.is_stalled

        assert (await decided).refusal is None
        await news
        assert not service.driver.is_stalled
        assert service.job("a").stage is Stage.QUANTUM
        assert "b" not in service.store.records
        await service.driver.send(submit("b"), details("b"), patient=False)


async def test_who_waits_for_the_next_save_is_told_when_this_one_fails(service):
    async with service.running():
        service.store.may_save.clear()
        decided = asyncio.create_task(service.driver.send(submit("a"), details("a"), patient=False))
        await service.settled()
        waiting = asyncio.create_task(service.driver.send(submit("b"), details("b"), patient=False))
        await service.settled()
        service.store.away = 1
        service.store.may_save.set()

        with pytest.raises(Unavailable):
            await waiting
        await decided
        assert "b" not in service.store.records


async def test_a_save_that_fails_for_too_long_stops_the_driver(service):
    run = asyncio.create_task(service.driver.run())
    await service.settled()
    service.store.away = 1_000
    sender = asyncio.create_task(service.driver.send(submit("a"), details("a")))

    with pytest.raises(OSError, match="No space left"):
        await run
    with pytest.raises(ServiceFault, match="stopped"):
        await sender


async def test_who_waits_when_the_driver_is_stopped_is_told(service):
    async with service.running():
        service.store.may_save.clear()
        decided = asyncio.create_task(service.driver.send(submit("a")))
        await service.settled()
        waiting = asyncio.create_task(service.driver.send(submit("b")))
        gone = asyncio.create_task(service.driver.send(submit("c")))
        await service.settled()
        gone.cancel()

    for sender in (decided, waiting):
        with pytest.raises(ServiceFault, match="stopped"):
            await sender


async def test_a_sender_who_gives_up_does_not_take_the_event_back(service):
    """A client that hangs up in the middle of POST has a job all the same, or none: never half."""
    async with service.running():
        service.store.may_save.clear()
        busy = asyncio.create_task(service.driver.send(submit("a")))
        await service.settled()
        sender = asyncio.create_task(service.driver.send(submit("b"), details("b")))
        await service.settled()
        sender.cancel()
        service.store.may_save.set()
        await busy
        await service.settled()

    assert service.job("b").status is JobStatus.RUNNING
    assert service.store.details == ["b"]
    assert service.runner.commands[-1] == RunStage("b", 1, Stage.PREPARE)


# -- time


async def test_a_deadline_ticks_by_itself(service):
    async with service.running():
        await service.driver.send(opened("B", unused_ttl_ms=500))
        service.clock.advance(499)
        await service.settled()
        assert service.store.records["B"].state is WorkloadState.OPEN

        service.clock.advance(1)
        await service.settled()
        assert service.store.records["B"].state is WorkloadState.CLOSED


async def test_a_nearer_deadline_is_not_missed_for_a_farther_one(service):
    async with service.running():
        await service.driver.send(opened("B", unused_ttl_ms=500))
        await service.driver.send(opened("C", unused_ttl_ms=200))
        service.clock.advance(200)
        await service.settled()

        assert service.store.records["C"].state is WorkloadState.CLOSED


async def test_an_event_that_comes_with_a_deadline_is_not_lost(service):
    async with service.running():
        await service.driver.send(opened("B", unused_ttl_ms=500))
        sender = asyncio.create_task(service.driver.send(submit("a")))
        service.clock.advance(500)
        await sender
        await service.settled()

    assert service.job("a").status is JobStatus.RUNNING
    assert service.store.records["B"].state is WorkloadState.CLOSED


@pytest.mark.parametrize("turns", range(8))
async def test_no_event_is_lost_whenever_it_comes_beside_a_deadline(service, turns):
    """The alarm gives up waiting for the inbox: an event may slip in at any turn of the loop."""
    async with service.running():
        await service.driver.send(opened("B", unused_ttl_ms=500))
        await service.settled()
        service.clock.advance(500)
        for _ in range(turns):
            await asyncio.sleep(0)
        await asyncio.wait_for(service.driver.send(submit("a")), 1)
        await service.settled()

    assert service.job("a").status is JobStatus.RUNNING
    assert service.store.records["B"].state is WorkloadState.CLOSED


async def test_a_clock_that_steps_back_does_not_turn_back_time(service):
    async with service.running():
        await service.driver.send(submit("a"))
        service.clock.advance(-700)
        await service.driver.send(submit("b"))

    assert service.clock.now() == 300
    assert (service.job("a").created_at, service.job("b").created_at) == (1_000, 1_000)


async def test_a_clock_set_back_between_two_starts_does_not_turn_back_time(service):
    """A session's active window ended before it had begun, and its usage was negative."""
    again = type(service)(last_at=9_000)
    async with again.running():
        await again.driver.send(submit("a"))

    assert again.clock.now() == 1_000
    assert again.job("a").created_at == 9_000


async def test_an_alarm_that_rings_early_changes_nothing(service):
    """A sleep may end a millisecond before its time, by the rounding of two clocks."""
    early = asyncio.Event()

    async def sleep_until(at: int) -> None:
        await early.wait()
        early.clear()

    service.clock.sleep_until = sleep_until
    async with service.running():
        await service.driver.send(opened("B", unused_ttl_ms=500))
        service.clock.advance(499)
        early.set()
        await service.settled()
        assert service.store.records["B"].state is WorkloadState.OPEN

        service.clock.advance(1)
        early.set()
        await service.settled()
        assert service.store.records["B"].state is WorkloadState.CLOSED


# -- waiting for a job's end


async def test_who_waits_for_a_job_wakes_at_its_end(service):
    async with service.running():
        await service.driver.send(submit("a"))
        waiting = [asyncio.create_task(service.driver.wait_for_end("a", 30)) for _ in range(2)]
        await service.driver.send(ended("a", Stage.PREPARE))
        await service.driver.send(ended("a", Stage.QUANTUM))
        await service.settled()
        assert not any(task.done() for task in waiting)

        await service.driver.send(ended("a", Stage.FINISH))
        await asyncio.wait_for(asyncio.gather(*waiting), 1)


async def test_who_waits_wakes_only_when_the_end_is_saved(service):
    async with service.running():
        await service.driver.send(submit("a"))
        waiting = asyncio.create_task(service.driver.wait_for_end("a", 30))
        service.store.may_save.clear()
        cancel = asyncio.create_task(service.driver.send(JobCancelRequested(job_id="a")))
        await service.settled()
        assert not waiting.done()

        service.store.may_save.set()
        await asyncio.gather(waiting, cancel)
        assert service.job("a").status is JobStatus.CANCELLED


async def test_who_asks_while_the_end_is_being_saved_waits_for_it(service):
    """The scheduler had forgotten the job, so the wait was over before a reader saw the end."""
    async with service.running():
        await service.driver.send(submit("a"))
        service.store.may_save.clear()
        cancel = asyncio.create_task(service.driver.send(JobCancelRequested(job_id="a")))
        await service.settled()
        waiting = asyncio.create_task(service.driver.wait_for_end("a", 30))
        await service.settled()
        assert not waiting.done()

        service.store.may_save.set()
        await asyncio.wait_for(asyncio.gather(waiting, cancel), 1)


async def test_who_waits_too_long_goes_away(service):
    async with service.running():
        await service.driver.send(submit("a"))
        await service.driver.wait_for_end("a", 0.01)

        assert service.job("a").status is JobStatus.RUNNING


async def test_nobody_waits_for_what_has_ended_or_never_was(service):
    async with service.running():
        await service.driver.send(submit("a"))
        await service.driver.send(JobCancelRequested(job_id="a"))
        async with asyncio.timeout(1):
            await service.driver.wait_for_end("a", 30)
            await service.driver.wait_for_end("unknown", 30)


async def test_a_jobs_end_is_cleared_up_after_once(service):
    async with service.running():
        await service.driver.send(submit("a"))
        await service.driver.send(JobCancelRequested(job_id="a"))
        await service.driver.send(JobCancelRequested(job_id="a"))

    assert service.runner.cleared == ["a"]
