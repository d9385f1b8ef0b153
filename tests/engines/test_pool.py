"""The process pool: what dies, what waits, and what is left behind."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import uvloop
from tests.engines.conftest import HERE, PoolBench, ScriptedPool, a_task, is_running, until

from queuebit.core.model import Stage
from queuebit.engines.pool import ProcessPool
from queuebit.engines.task import Outcome
from queuebit.errors import ServiceFault


def children(pid: int) -> list[int]:
    """Every process below `pid`."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    direct = [int(child) for child in path.read_text().split()] if path.exists() else []
    return [*direct, *(below for child in direct for below in children(child))]


def workers_of(pool: ProcessPool) -> list[int]:
    """The workers that the pool's fork server has."""
    assert pool._server is not None
    return children(pool._server.pid)


def begin(bench: PoolBench, job_id: str, what: str, *, stage: Stage | None = Stage.PREPARE):
    return asyncio.create_task(bench.engine.run(a_task(job_id, what, stage=stage)))


@pytest.mark.timeout(40)
async def test_no_task_is_lost_or_done_twice_when_workers_are_killed(
    pool_bench: PoolBench, tmp_path
):
    """Twenty kills at any moment: while they start, work, answer, or wait."""
    rng = random.Random(1)
    ends: list[str] = []

    async def one(job_id: str) -> Outcome:
        outcome = await pool_bench.engine.run(a_task(job_id, "nap:0.03"))
        ends.append(job_id)
        return outcome

    async def killer() -> None:
        for _ in range(20):
            await asyncio.sleep(rng.uniform(0.01, 0.06))
            os.kill(rng.choice(await some_workers(pool_bench)), signal.SIGKILL)

    jobs = [f"j{i}" for i in range(60)]
    outcomes, _ = await asyncio.gather(asyncio.gather(*map(one, jobs)), killer())

    # A job that lost three workers by chance is told so; none is lost or told twice.
    assert sorted(ends) == sorted(jobs)
    for job_id, outcome in zip(jobs, outcomes, strict=True):
        if outcome.error is None:
            assert outcome.metrics == {"job": job_id}
        else:
            assert len(pool_bench.pids(job_id)) <= 3
            assert outcome.error.code == 9707
    assert sum(outcome.error is None for outcome in outcomes) >= 55
    assert (await pool_bench.engine.run(a_task("after"))).error is None
    await until(lambda: len(workers_of(pool_bench.engine)) == 3)


async def some_workers(bench: PoolBench) -> list[int]:
    await until(lambda: bool(workers_of(bench.engine)))
    return workers_of(bench.engine)


@pytest.mark.parametrize(
    ("what", "end"),
    [
        ("signal:SIGKILL", "signal 9"),
        ("signal:SIGTERM", "signal 15"),
        ("segfault", "signal 11"),
        ("exit:3", "exit status 1"),
        ("answer:500", "killed while it answered"),
        ("answer:-5", "killed while it answered"),  # shorter than the news of the death
    ],
)
async def test_every_kind_of_death_is_noticed_and_named(pool_bench: PoolBench, what: str, end: str):
    outcome = await pool_bench.engine.run(a_task("a", what, stage=None))

    assert outcome.error is not None
    assert outcome.error.message == (
        f"The validation ended its worker process 3 times ({end}, {end}, {end})"
    )
    assert len(set(pool_bench.pids("a"))) == 3


async def test_a_worker_that_died_idle_is_replaced(pool_bench: PoolBench):
    await until(lambda: len(workers_of(pool_bench.engine)) == 3)
    before = workers_of(pool_bench.engine)

    for pid in before:
        os.kill(pid, signal.SIGKILL)
    outcome = await pool_bench.engine.run(a_task("a"))

    assert outcome.error is None
    await until(lambda: len(workers_of(pool_bench.engine)) == 3)
    assert not set(before) & set(workers_of(pool_bench.engine))


async def test_workers_that_cannot_start_are_retried_ever_more_slowly(pool_bench, tmp_path):
    await until(lambda: len(workers_of(pool_bench.engine)) == 3)
    (tmp_path / "broken").touch()
    (tmp_path / "starts").write_text("")

    for pid in workers_of(pool_bench.engine):
        os.kill(pid, signal.SIGKILL)
    await asyncio.sleep(0.5)
    starts = (tmp_path / "starts").read_text().split()
    (tmp_path / "broken").unlink()

    # Each of three after 0.05, 0.15 and 0.35 s.
    assert 3 <= len(starts) <= 9
    assert (await pool_bench.engine.run(a_task("a"))).error is None


async def test_the_worker_that_worked_last_works_next(pool_bench: PoolBench):
    """Its devices, noise models and decoded circuits are warm."""
    await until(lambda: pool_bench.engine._idle.qsize() == 3)

    for _ in range(5):
        await pool_bench.engine.run(a_task("a"))

    assert len(set(pool_bench.pids("a"))) == 1


async def test_cancelling_ends_native_code_at_once(pool_bench: PoolBench):
    task = begin(pool_bench, "a", "busy", stage=Stage.QUANTUM)
    await pool_bench.begun("a")
    (pid,) = pool_bench.pids("a")

    began = time.monotonic()
    task.cancel()
    await asyncio.wait([task])

    assert not is_running(pid)
    assert time.monotonic() - began < 1
    await until(lambda: len(workers_of(pool_bench.engine)) == 3)


async def test_a_waiting_task_can_be_cancelled_and_harms_none(pool_bench: PoolBench):
    busy = [begin(pool_bench, job_id, "by-hand") for job_id in "abc"]
    for job_id in "abc":
        await pool_bench.begun(job_id)
    before = workers_of(pool_bench.engine)
    waiting, after = begin(pool_bench, "d", "echo"), begin(pool_bench, "e", "echo")
    await asyncio.sleep(0)

    waiting.cancel()
    for job_id in "abc":
        pool_bench.end(job_id, Outcome())
    await asyncio.gather(*busy, after)

    assert waiting.cancelled()
    assert pool_bench.pids("d") == []
    assert workers_of(pool_bench.engine) == before


async def test_tasks_wait_in_order_of_arrival(tmp_path):
    bench = PoolBench(tmp_path)
    bench.engine = ScriptedPool(backends=(), payloads=tmp_path, workers=1)
    await bench.engine.start()
    ends: list[str] = []
    for job_id in "abcde":
        task = begin(bench, job_id, "echo")
        task.add_done_callback(lambda _, job_id=job_id: ends.append(job_id))

    await until(lambda: len(ends) == 5)
    await bench.engine.close()

    assert ends == ["a", "b", "c", "d", "e"]


async def test_quantum_stages_leave_one_worker_to_short_tasks(pool_bench: PoolBench):
    quantum = [begin(pool_bench, job_id, "by-hand", stage=Stage.QUANTUM) for job_id in "abc"]
    await pool_bench.begun("a")
    await pool_bench.begun("b")

    outcome = await pool_bench.engine.run(a_task("short", stage=None))

    assert outcome.error is None
    assert pool_bench.pids("c") == []
    for job_id in "abc":
        pool_bench.end(job_id, Outcome())
    await asyncio.gather(*quantum)
    assert len(pool_bench.pids("c")) == 1


async def test_a_single_worker_runs_quantum_stages_too(tmp_path):
    pool = ScriptedPool(backends=(), payloads=tmp_path, workers=1)
    await pool.start()

    outcome = await pool.run(a_task("a", stage=Stage.QUANTUM))
    await pool.close()

    assert outcome.error is None


async def test_a_killed_fork_server_is_replaced_and_its_work_runs_again(pool_bench: PoolBench):
    task = begin(pool_bench, "a", "by-hand")
    await pool_bench.begun("a")
    (first,) = pool_bench.pids("a")

    assert pool_bench.engine._server is not None
    pool_bench.engine._server.kill()
    await pool_bench.begun("a", times=2)
    pool_bench.end("a", Outcome(log=("done",)))

    assert (await task).log == ("done",)
    assert not is_running(first)
    await until(lambda: len(workers_of(pool_bench.engine)) == 3)


async def test_closing_leaves_no_process_behind(tmp_path):
    bench = PoolBench(tmp_path)
    await bench.engine.start()
    work = begin(bench, "a", "busy")
    await bench.begun("a")
    await until(lambda: len(workers_of(bench.engine)) == 3)
    pids = [bench.engine._server.pid, *workers_of(bench.engine)]

    began = time.monotonic()
    await bench.engine.close()

    assert time.monotonic() - began < 1
    assert not any(map(is_running, pids))
    work.cancel()
    await asyncio.wait([work])
    await bench.engine.close()  # a second time does no harm


async def test_large_answers_arrive_whole(pool_bench: PoolBench):
    text = "x" * 3_000_000

    outcome = await pool_bench.engine.run(a_task("a", f"echo:{text}"))

    assert outcome.log == (text,)


async def test_ctrl_c_is_not_for_workers(pool_bench: PoolBench, capfd):
    task = begin(pool_bench, "a", "by-hand")
    await pool_bench.begun("a")
    assert pool_bench.engine._server is not None

    for pid in (pool_bench.engine._server.pid, *workers_of(pool_bench.engine)):
        assert os.getsid(pid) != os.getsid(0)  # the terminal's Ctrl-C does not even reach it
        os.kill(pid, signal.SIGINT)
    pool_bench.end("a", Outcome())

    assert (await task).error is None
    assert len(pool_bench.pids("a")) == 1
    assert capfd.readouterr().err == ""


async def test_what_libraries_of_a_worker_write_is_counted_and_not_passed_on(tmp_path, capfd):
    pool = ScriptedPool(backends=(), payloads=tmp_path, workers=1)
    await pool.start()
    try:
        for _ in range(3):
            assert (await pool.run(a_task("a", "chatter:SECRET\nforged"))).error is None
    finally:
        await pool.close()

    written = capfd.readouterr()
    assert "SECRET" not in written.out + written.err
    assert "forged" not in written.out + written.err
    assert written.err.count("our own line") == 3
    assert "a library wrote" in written.err
    assert "panicked at crates/qpy/src/lib.rs:7" in written.err


async def test_a_worker_module_that_cannot_be_imported_fails_the_start(tmp_path, capfd):
    class Broken(ProcessPool):
        worker_module = "no_such_module"

    pool = Broken(backends=(), payloads=tmp_path, workers=2)

    with pytest.raises(ServiceFault, match="no worker process could start"):
        await pool.start()

    assert "No module named 'no_such_module'" in capfd.readouterr().err
    assert pool._server is None


def test_it_works_on_uvloop(tmp_path):
    async def story() -> Outcome:
        bench = PoolBench(tmp_path)
        await bench.engine.start()
        await bench.engine.run(a_task("a", "signal:SIGKILL"))
        stopped = begin(bench, "b", "busy")
        await bench.begun("b")
        stopped.cancel()
        await asyncio.wait([stopped])
        outcome = await bench.engine.run(a_task("c"))
        await bench.engine.close()
        return outcome

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        outcome = runner.run(story())

    assert outcome.error is None


# A user's script: no `if __name__ == "__main__"`.
SCRIPT = """
    import asyncio, sys
    from pathlib import Path
    from conftest import ScriptedPool, a_task

    async def main():
        pool = ScriptedPool(backends=(), payloads=Path(sys.argv[1]), workers=3)
        await pool.start()
        print("started", flush=True)
        await asyncio.gather(*(pool.run(a_task(job, "busy")) for job in "abc"))

    asyncio.run(main())
"""


async def test_no_process_outlives_a_killed_service(tmp_path):
    """Also of a service that an unguarded script started: its workers do not run the script."""
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    path = os.pathsep.join([str(HERE), str(HERE.parent.parent)])
    service = subprocess.Popen(  # noqa: ASYNC220 - a fork, milliseconds
        [sys.executable, script, tmp_path],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        begun = [tmp_path / f"{job}.begun" for job in "abc"]
        await until(lambda: all(path.exists() for path in begun))
        pids = children(service.pid)
        assert len(pids) == 4  # the fork server and three workers, all in native code
    finally:
        service.kill()
        output, _ = service.communicate()

    await until(lambda: not any(map(is_running, pids)), within_s=2)
    assert output == "started\n"


def test_the_service_does_not_import_qiskit():
    code = "import sys, queuebit.engines.pool; sys.exit('qiskit' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
