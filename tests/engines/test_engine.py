"""What every engine promises; the fake promises it too."""

import asyncio

import pytest
from tests.engines.conftest import Bench, a_task

from queuebit.core.model import Reason, Stage
from queuebit.engines.task import Outcome

BY_HAND = "by-hand"
DONE = Outcome(estimated_ms=7, metrics={"depth": 3}, log=("prepared",))


def run(bench: Bench, job_id: str, *, stage: Stage | None = Stage.PREPARE) -> asyncio.Task[Outcome]:
    return asyncio.create_task(bench.engine.run(a_task(job_id, BY_HAND, stage=stage)))


@pytest.mark.parametrize("stage", [None, Stage.PREPARE, Stage.QUANTUM, Stage.FINISH])
async def test_a_task_ends_with_the_outcome_of_its_work(bench: Bench, stage: Stage | None):
    task = run(bench, "a", stage=stage)
    await bench.begun("a")

    bench.end("a", DONE)

    assert await task == DONE


async def test_tasks_run_at_once_and_end_in_any_order(bench: Bench):
    tasks = {job_id: run(bench, job_id) for job_id in "abc"}
    for job_id in "abc":
        await bench.begun(job_id)

    ends = []
    for job_id in "cab":
        bench.end(job_id, Outcome(log=(job_id,)))
        ends += (await tasks[job_id]).log

    assert ends == ["c", "a", "b"]


async def test_a_failure_is_an_outcome_not_an_exception(bench: Bench):
    failed = Outcome(error=Reason(message="no", code=9999), service_fault=True)
    task = run(bench, "a")
    await bench.begun("a")

    bench.end("a", failed)

    assert await task == failed


async def test_cancelling_stops_the_work_before_it_returns(bench: Bench):
    task = run(bench, "a")
    await bench.begun("a")

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert not bench.is_working("a")


async def test_others_go_on_when_one_is_cancelled(bench: Bench):
    kept, stopped = run(bench, "a"), run(bench, "b")
    await bench.begun("a")
    await bench.begun("b")

    stopped.cancel()
    bench.end("a", DONE)

    assert await kept == DONE


async def test_a_job_can_have_its_next_task_after_a_cancelled_one(bench: Bench):
    task = run(bench, "a")
    await bench.begun("a")
    task.cancel()
    await asyncio.wait([task])

    again = run(bench, "a", stage=Stage.FINISH)
    await bench.begun("a", times=2)
    bench.end("a", DONE)

    assert await again == DONE


@pytest.mark.parametrize("deaths", [1, 2])
async def test_work_whose_worker_died_runs_again(bench: Bench, deaths: int):
    task = run(bench, "a")
    for times in range(1, deaths + 1):
        await bench.begun("a", times)
        bench.kill("a")
    await bench.begun("a", times=deaths + 1)

    bench.end("a", DONE)

    assert await task == DONE


async def test_work_that_ended_three_workers_is_a_service_fault(bench: Bench):
    task = run(bench, "a", stage=Stage.QUANTUM)
    for times in (1, 2, 3):
        await bench.begun("a", times)
        bench.kill("a")

    outcome = await task

    assert outcome.service_fault
    assert outcome.error is not None
    assert outcome.error.code == 9707
    assert outcome.error.message.startswith("The stage quantum ended its worker process 3 times")
    assert outcome.status < 500  # the client repeats a POST that is answered with 5xx
