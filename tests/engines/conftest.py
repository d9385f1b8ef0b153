"""The engines under test, and a way to end their tasks by hand."""

import asyncio
import os
import pickle
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.fakes_engine import ScriptedEngine

from queuebit.core.model import Stage
from queuebit.engines.pool import ProcessPool
from queuebit.engines.task import Engine, Outcome, Task

HERE = Path(__file__).parent


class ScriptedPool(ProcessPool):
    """A pool whose workers run scripts: `scripted_worker.py`."""

    worker_module = "scripted_worker"


def a_task(job_id: str, what: str = "echo", *, stage: Stage | None = Stage.PREPARE) -> Task:
    return Task(job_id=job_id, run=1, stage=stage, program_id=what, backend="b")


async def until(claim: Callable[[], bool], within_s: float = 10) -> None:
    """Wait until `claim()`; fail after `within_s`."""
    end = time.monotonic() + within_s
    while not claim():
        assert time.monotonic() < end, "it did not become true in time"
        await asyncio.sleep(0.002)


def is_running(pid: int) -> bool:
    """Whether process `pid` exists and is no zombie."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def threads_of(pid: int) -> int:
    """How many threads process `pid` has."""
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


class ScriptedBench:
    """The fake, as the conformance suite drives it."""

    workers_max = 3

    def __init__(self) -> None:
        self.engine: Engine = ScriptedEngine()
        self._scripted = self.engine

    async def begun(self, job_id: str, times: int = 1) -> None:
        await until(lambda: [t.job_id for t in self._scripted.begun].count(job_id) == times)

    def end(self, job_id: str, outcome: Outcome) -> None:
        self._scripted.end(job_id, outcome)

    def kill(self, job_id: str) -> None:
        self._scripted.kill(job_id)

    def is_working(self, job_id: str) -> bool:
        return job_id in {task.job_id for task in self._scripted.working}


class PoolBench:
    """Real processes, whose tasks end when a file appears."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.engine: Engine = ScriptedPool(backends=(), payloads=folder, workers=3)

    def pids(self, job_id: str) -> list[int]:
        """Every worker that began the job's task, latest last."""
        path = self.folder / f"{job_id}.begun"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    async def begun(self, job_id: str, times: int = 1) -> None:
        await until(lambda: len(self.pids(job_id)) == times)

    def end(self, job_id: str, outcome: Outcome) -> None:
        part = self.folder / f"{job_id}.part"
        part.write_bytes(pickle.dumps(outcome))
        part.rename(self.folder / f"{job_id}.outcome")

    def kill(self, job_id: str) -> None:
        os.kill(self.pids(job_id)[-1], signal.SIGKILL)

    def is_working(self, job_id: str) -> bool:
        return is_running(self.pids(job_id)[-1])


Bench = ScriptedBench | PoolBench


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    """Let the fork server find the scripted worker."""
    monkeypatch.syspath_prepend(str(HERE))


@pytest.fixture(params=["scripted", "pool"])
async def bench(request, tmp_path):
    bench = ScriptedBench() if request.param == "scripted" else PoolBench(tmp_path)
    await bench.engine.start()
    yield bench
    await bench.engine.close()


@pytest.fixture
async def pool_bench(tmp_path):
    bench = PoolBench(tmp_path)
    await bench.engine.start()
    yield bench
    await bench.engine.close()
