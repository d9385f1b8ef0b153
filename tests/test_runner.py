"""The runner between a real driver and a scripted engine, on a clock that stands still."""

import asyncio
import errno
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.fakes import MemoryStore
from tests.fakes_engine import ScriptedEngine

from queuebit.clock import VirtualClock
from queuebit.core.events import JobCancelRequested, JobSubmitted, RunStage, StopJob
from queuebit.core.model import Backend, Job, JobStatus, Stage
from queuebit.core.scheduler import Scheduler
from queuebit.driver import Driver
from queuebit.engines.task import Outcome, Task
from queuebit.runner import Runner
from queuebit.store.details import JobDetails
from queuebit.store.payloads import Payloads

START = 1_000  # ms
USAGE_MS = 5_000
STAGES = [Stage.PREPARE, Stage.QUANTUM, Stage.FINISH]
OUTCOMES = {
    Stage.PREPARE: Outcome(
        estimated_ms=USAGE_MS, metrics={"prepare_ms": 1, "num_circuits": 2}, log=("prepared",)
    ),
    Stage.QUANTUM: Outcome(usage_ms=USAGE_MS, metrics={"quantum_ms": 70}, log=("measured", "m2")),
    Stage.FINISH: Outcome(metrics={"finish_ms": 3}, log=("finished",)),
}


class WatchedPayloads(Payloads):
    """Tells when a job was cleared up after."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.settled = threading.Event()

    def settle(self, job_id: str) -> None:
        super().settle(job_id)
        self.settled.set()


class LateEngine(ScriptedEngine):
    """A worker that writes until it is dead, after its task was cancelled."""

    def __init__(self, payloads: Payloads) -> None:
        super().__init__()
        self._payloads = payloads

    async def run(self, task: Task) -> Outcome:
        try:
            return await super().run(task)
        except asyncio.CancelledError:
            for name in ("params", "prepared.1", "result.1"):
                self._payloads.write(task.job_id, name, b"secret", durable=False)
            raise


class WatchedStore(MemoryStore):
    """Notes what can be seen of a job at the moment when its end is saved."""

    def __init__(self, payloads: Payloads) -> None:
        super().__init__()
        self.seen: dict[str, tuple[str, dict[str, Any]]] = {}
        self._payloads = payloads

    async def save(self, records, details, entries=(), charges=()) -> None:
        for record in records:
            if isinstance(record, Job) and record.ended_at is not None:
                self.seen[record.id] = (log_of(self._payloads, record.id), self.metrics(record.id))
        await super().save(records, details, entries, charges)

    def metrics(self, job_id: str) -> dict[str, Any]:
        stored = self._jobs.get(job_id)
        return dict(stored.metrics) if stored is not None else {}


class Bench:
    """Backend "q" takes its simulation's time, backend "real" the QPU's."""

    def __init__(self, folder: Path) -> None:
        self.clock = VirtualClock(START)
        self.engine = ScriptedEngine()
        self.payloads = WatchedPayloads(folder)
        self.store = WatchedStore(self.payloads)
        self.runner = Runner(
            engine=self.engine,
            database=self.store,
            payloads=self.payloads,
            clock=self.clock,
            real_timing={"real"},
        )
        scheduler = Scheduler([Backend(name="q", lanes=2), Backend(name="real", lanes=2)])
        self.driver = Driver(scheduler, self.store, self.runner, self.clock)
        self.runner.bind(self.driver.send, self.driver.calibrated)

    async def submit(self, job_id: str, *, backend: str = "q", private: bool = False) -> None:
        self.payloads.write(job_id, "params", b"{}", durable=False)
        event = JobSubmitted(job_id=job_id, instance="i", backend=backend)
        details = JobDetails(id=job_id, program_id="sampler", private=private)
        await self.driver.send(event, details)

    async def cancel(self, job_id: str) -> None:
        step = await self.driver.send(JobCancelRequested(job_id=job_id))
        assert step.refusal is None

    async def begins(self, job_id: str, stage: Stage) -> Task:
        """Wait until the engine has the job's `stage`."""
        async with asyncio.timeout(5):
            task = await self.engine.begins(job_id)
        assert task.stage is stage
        return task

    async def go_through(self, job_id: str, until: Stage | None = None) -> None:
        """Have the job's stages end well, up to the one before `until`; None: to the job's end."""
        for stage in STAGES:
            await self.begins(job_id, stage)
            if stage is until:
                return
            self.engine.end(job_id, OUTCOMES[stage])
        await self.ended(job_id)

    async def ended(self, job_id: str) -> Job:
        await self.driver.wait_for_end(job_id, 5)
        job = await self.job(job_id)
        assert job.ended_at is not None
        return job

    async def job(self, job_id: str) -> Job:
        stored = await self.store.job(job_id)
        assert stored is not None
        return stored.record

    async def cleared(self) -> None:
        """Wait until the runner has cleared up after a job."""
        assert await asyncio.to_thread(self.payloads.settled.wait, 5)


def log_of(payloads: Payloads, job_id: str) -> str:
    try:
        return payloads.read(job_id, "log").decode()
    except FileNotFoundError:
        return ""


def payloads_of(payloads: Payloads, job_id: str) -> set[str]:
    places = (payloads._folder / job_id, payloads._folder / ".work" / job_id)
    return {path.name for place in places if place.exists() for path in place.iterdir()}


@pytest.fixture
async def bench(tmp_path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    running = asyncio.create_task(bench.runner.run())
    await asyncio.sleep(0)
    driving = asyncio.create_task(bench.driver.run())
    yield bench
    driving.cancel()
    running.cancel()
    await asyncio.wait({driving, running})
    for task in (driving, running):
        if not task.cancelled():
            task.result()  # raises what went wrong


async def settled() -> None:
    """Let everything happen that needs no time."""
    for _ in range(30):
        await asyncio.sleep(0)


async def test_a_job_goes_through_its_stages_in_order(bench):
    await bench.submit("a")
    await bench.go_through("a")

    job = await bench.job("a")
    assert [task.stage for task in bench.engine.begun] == STAGES
    assert {(t.job_id, t.run, t.program_id, t.backend) for t in bench.engine.begun} == {
        ("a", 1, "sampler", "q")
    }
    assert (job.status, job.estimated_ms, job.usage_ms) == (
        JobStatus.COMPLETED,
        USAGE_MS,
        USAGE_MS,
    )


@pytest.mark.parametrize("stage", STAGES)
async def test_a_cancelled_job_stops_in_whatever_stage_it_is(bench, stage):
    await bench.submit("a")
    await bench.go_through("a", until=stage)
    await bench.cancel("a")

    job = await bench.ended("a")
    await asyncio.sleep(0)
    assert job.status is JobStatus.CANCELLED
    assert [task.stage for task in bench.engine.cancelled] == [stage]
    assert bench.engine.working == []


async def test_a_job_cancelled_while_it_waits_for_the_qpu_stops_nothing(bench):
    await bench.submit("a")
    await bench.go_through("a", until=Stage.QUANTUM)
    await bench.submit("b")
    await bench.begins("b", Stage.PREPARE)
    bench.engine.end("b", OUTCOMES[Stage.PREPARE])
    await settled()
    assert (await bench.job("b")).stage is Stage.READY
    await bench.cancel("b")

    assert (await bench.ended("b")).status is JobStatus.CANCELLED
    assert [task.job_id for task in bench.engine.working] == ["a"]
    assert bench.engine.cancelled == []


async def test_the_log_and_the_metrics_are_there_before_the_end_is_told(bench):
    await bench.submit("a")
    await bench.go_through("a")

    assert bench.store.seen["a"] == (
        "prepared\nmeasured\nm2\nfinished\n",
        {"prepare_ms": 1, "num_circuits": 2, "quantum_ms": 70, "finish_ms": 3},
    )


async def test_a_job_that_fails_has_the_log_and_metrics_of_its_stages_so_far(bench):
    await bench.submit("a")
    await bench.go_through("a", until=Stage.QUANTUM)
    bench.engine.fail("a", "too wide")

    job = await bench.ended("a")
    assert job.status is JobStatus.FAILED
    assert job.reason is not None
    assert job.reason.message == "too wide"
    assert bench.store.seen["a"] == ("prepared\n", {"prepare_ms": 1, "num_circuits": 2})


async def test_a_fault_of_ours_is_not_charged_and_the_users_is(bench):
    for job_id, ours in (("ours", True), ("theirs", False)):
        await bench.submit(job_id)
        await bench.go_through(job_id, until=Stage.QUANTUM)
        bench.clock.advance(1_000)
        bench.engine.fail(job_id, "broken", service_fault=ours)
        await bench.ended(job_id)

    assert (await bench.job("ours")).usage_ms == 0
    assert (await bench.job("theirs")).usage_ms == 3_000  # with the preparation of the QPU


async def test_a_worker_that_dies_three_times_fails_the_job_alone(bench):
    await bench.submit("a")
    await bench.submit("b")
    await bench.begins("a", Stage.PREPARE)
    for _ in range(3):
        bench.engine.kill("a")

    job = await bench.ended("a")
    await bench.go_through("b")
    assert (job.status, job.usage_ms) == (JobStatus.FAILED, 0)
    assert (await bench.job("b")).status is JobStatus.COMPLETED


@pytest.mark.parametrize(
    ("private", "kept"), [(False, {"params", "result.1", "log"}), (True, {"result.1", "log"})]
)
async def test_only_what_is_still_of_use_is_kept_of_a_job_that_ended(bench, private, kept):
    await bench.submit("a", private=private)
    for name in ("prepared.1", "raw.1", "result.1"):
        bench.payloads.write("a", name, b"x", durable=False)
    await bench.go_through("a")

    await bench.cleared()
    assert payloads_of(bench.payloads, "a") == kept


async def test_inputs_of_a_private_job_go_when_it_is_cancelled_too(bench):
    await bench.submit("a", private=True)
    await bench.go_through("a", until=Stage.QUANTUM)
    bench.payloads.write("a", "prepared.1", b"x", durable=False)
    await bench.cancel("a")

    await bench.cleared()
    assert payloads_of(bench.payloads, "a") == {"log"}  # of the stages until then
    assert log_of(bench.payloads, "a") == "prepared\n"
    assert bench.store.metrics("a") == OUTCOMES[Stage.PREPARE].metrics


async def test_a_job_deleted_at_its_end_leaves_nothing_to_clear(bench):
    class Quick(MemoryStore):
        async def job(self, job_id):
            return None

    bench.runner._database = Quick()
    bench.payloads.write("a", "prepared.1", b"x", durable=False)
    job = Job(id="a", seq=1, instance="i", backend="q", created_at=0, run=1, ended_at=1)
    bench.runner.ended(job)
    await bench.cleared()

    assert bench.payloads.marked() == []


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "no room"), OSError(errno.EMFILE, "")])
async def test_what_fails_for_a_passing_reason_is_tried_again(bench, error):
    """The end of a job is told once its log and metrics are stored, however long that takes."""
    left = {"log": 2, "metrics": 2, "job": 2}

    def strike(what: str) -> None:
        left[what] -= 1
        if left[what] >= 0:
            raise error

    write, add = bench.payloads.write, bench.store.add_metrics
    read = bench.store.job

    def write_log(job_id, name, content, *, durable):
        if name == "log":
            strike("log")
        write(job_id, name, content, durable=durable)

    async def add_metrics(job_id, metrics, result_bytes=0):
        strike("metrics")
        await add(job_id, metrics, result_bytes)

    async def job(job_id):
        strike("job")
        return await read(job_id)

    bench.payloads.write, bench.store.add_metrics = write_log, add_metrics
    bench.store.job = job
    await bench.submit("a")
    await bench.go_through("a")

    logged, metrics = bench.store.seen["a"]
    assert logged == "prepared\nmeasured\nm2\nfinished\n"
    assert metrics == {"prepare_ms": 1, "num_circuits": 2, "quantum_ms": 70, "finish_ms": 3}


async def test_a_stage_is_held_until_there_is_room(bench):
    await bench.submit("a")
    await bench.begins("a", Stage.PREPARE)
    bench.engine.end("a", Outcome(held="No space left on device"))
    await bench.begins("a", Stage.PREPARE)
    bench.engine.end("a", Outcome(held="No space left on device"))
    await bench.go_through("a")

    assert (await bench.store.job("a")).record.status is JobStatus.COMPLETED
    assert (await bench.store.job("a")).record.run == 1


async def test_what_never_passes_costs_one_job(bench):
    """A row or a file that cannot be read ends its job by our fault; others go on."""
    read = bench.store.job

    async def job(job_id):
        if job_id == "a":
            raise LookupError("'Foo' is not among the defined enum values")
        return await read(job_id)

    bench.store.job = job
    await bench.submit("a")
    await bench.submit("b")
    await bench.go_through("b")
    record = (await read("a")).record

    assert record.status is JobStatus.FAILED
    assert record.reason.message == "The stage prepare could not be run: LookupError"
    assert record.usage_ms == 0


async def test_a_private_job_leaves_nothing_though_its_worker_writes_late(bench):
    """What was written when a cancel came is removed after the worker is dead, not before."""
    bench.engine = LateEngine(bench.payloads)
    bench.runner._engine = bench.engine
    await bench.submit("a", private=True)
    await bench.begins("a", Stage.PREPARE)
    bench.engine.end("a", OUTCOMES[Stage.PREPARE])
    await bench.begins("a", Stage.QUANTUM)
    await bench.cancel("a")
    await bench.ended("a")
    await bench.cleared()

    assert payloads_of(bench.payloads, "a") == {"log"}


async def test_with_real_timing_a_job_has_the_qpu_for_what_it_is_charged(bench):
    await bench.submit("a", backend="real")
    await bench.begins("a", Stage.PREPARE)
    bench.clock.advance(300)
    bench.engine.end("a", OUTCOMES[Stage.PREPARE])
    await bench.begins("a", Stage.QUANTUM)
    bench.clock.advance(400)  # the simulation
    bench.engine.end("a", OUTCOMES[Stage.QUANTUM])
    await settled()

    assert (await bench.job("a")).stage is Stage.QUANTUM
    bench.clock.advance(USAGE_MS - 400 - 1)
    await settled()
    assert (await bench.job("a")).stage is Stage.QUANTUM
    assert bench.clock.jump()
    await bench.begins("a", Stage.FINISH)
    job = await bench.job("a")
    assert (job.quantum_started_at, job.quantum_ended_at) == (START + 300, START + 300 + USAGE_MS)
    bench.engine.end("a", OUTCOMES[Stage.FINISH])
    await bench.ended("a")
    metrics = bench.store.metrics("a")
    assert (metrics["timing"], metrics["quantum_ms"], metrics["qpu_ms"]) == ("real", 70, USAGE_MS)


async def test_with_real_timing_a_longer_simulation_lasts_longer(bench):
    await bench.submit("a", backend="real")
    await bench.go_through("a", until=Stage.QUANTUM)
    bench.clock.advance(USAGE_MS + 700)
    bench.engine.end("a", OUTCOMES[Stage.QUANTUM])
    await bench.begins("a", Stage.FINISH)

    job = await bench.job("a")
    assert job.quantum_ended_at == START + USAGE_MS + 700


async def test_with_real_timing_the_others_wait_for_the_qpu_in_their_lanes(bench):
    await bench.submit("a", backend="real")
    await bench.go_through("a", until=Stage.QUANTUM)
    bench.engine.end("a", OUTCOMES[Stage.QUANTUM])
    await bench.submit("b", backend="real")
    await bench.begins("b", Stage.PREPARE)
    bench.engine.end("b", OUTCOMES[Stage.PREPARE])
    await settled()

    assert bench.engine.working == []  # both the QPU and the lanes are taken, the workers are free
    assert (await bench.job("b")).stage is Stage.READY
    bench.clock.advance(USAGE_MS)
    await bench.begins("b", Stage.QUANTUM)
    assert (await bench.job("b")).quantum_started_at == START + USAGE_MS


async def test_with_real_timing_a_job_is_cancelled_while_its_simulation_is_over(bench):
    await bench.submit("a", backend="real")
    await bench.go_through("a", until=Stage.QUANTUM)
    bench.engine.end("a", OUTCOMES[Stage.QUANTUM])
    bench.clock.advance(1_000)
    await settled()
    await bench.cancel("a")

    job = await bench.ended("a")
    assert (job.status, job.usage_ms) == (JobStatus.CANCELLED, 3_000)
    assert not bench.clock.jump()  # nobody waits for the QPU any more


async def test_with_real_timing_a_failure_is_told_at_once(bench):
    await bench.submit("a", backend="real")
    await bench.go_through("a", until=Stage.QUANTUM)
    bench.engine.fail("a", "no")

    assert (await bench.ended("a")).ended_at == START


async def test_a_job_that_is_deleted_before_it_begins_stops_nobody(bench: Bench):
    """Its cancel was saved, and a quick client deleted it before the runner had read it."""
    bench.runner.carry_out(RunStage("gone", 1, Stage.PREPARE))
    bench.runner.carry_out(StopJob("gone"))
    bench.runner.carry_out(RunStage("gone too", 1, Stage.PREPARE))
    await bench.submit("a")

    await bench.go_through("a")

    assert {task.job_id for task in bench.engine.begun} == {"a"}
