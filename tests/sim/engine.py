"""Workers in virtual time: they read and write payloads as real ones do, and they die."""

import asyncio
from collections import Counter
from dataclasses import replace

from tests.fakes_engine import ScriptedEngine
from tests.sim.disk import MemoryPayloads
from tests.sim.weather import Weather

from queuebit.core.model import Reason, Stage
from queuebit.engines.task import Outcome, Task

BROKEN = Reason(message="broken", code=1208)
OUR_FAULT = Reason(message="our fault", code=9999)
GONE = Outcome(error=OUR_FAULT, service_fault=True)


class SimulatedEngine:
    """The scripted engine, with a hand that ends its tasks as the weather has it."""

    def __init__(self, payloads: MemoryPayloads, weather: Weather) -> None:
        self._scripted = ScriptedEngine()
        self._payloads = payloads
        self._weather = weather
        self._backends = {backend.name: backend for backend in weather.backends}

    async def start(self) -> None:
        await self._scripted.start()

    async def close(self) -> None:
        await self._scripted.close()

    async def run(self, task: Task) -> Outcome:
        same = replace(task, calibrated=None)  # however its backend is calibrated by now
        assert same not in self._weather.begun, f"{task} runs twice"
        self._weather.begun.add(same)
        worker = asyncio.create_task(self._work(task))
        worker.add_done_callback(self._weather.watch)
        try:
            return await self._scripted.run(task)
        finally:
            worker.cancel()

    async def _work(self, task: Task) -> None:
        if task.stage is not None:
            self._check_limits(task.backend)
            self._weather.note(f"{task.job_id} run {task.run} {task.stage}")
        while True:
            await self._weather.wait("stage")
            # A job may be deleted before the command to stop it: its end was saved a moment ago.
            if task.stage is not None and self._weather.strikes("stage is held"):
                self._weather.begun.discard(replace(task, calibrated=None))
                if self._is_working(task):
                    self._scripted.end(task.job_id, Outcome(held="no room"))
                return
            deleted = task.stage is not None and not self._payloads.names(task.job_id)
            outcome = GONE if deleted else self._outcome(task)
            dies = self._weather.strikes("worker dies")
            if not dies:
                await self._weather.wait("news")  # the end of the work is not yet known
            if not self._is_working(task):
                return  # stopped in this very moment
            if dies:
                self._scripted.kill(task.job_id)
            else:
                self._scripted.end(task.job_id, outcome)
            if not self._is_working(task):
                return

    def _is_working(self, task: Task) -> bool:
        return any(working is task for working in self._scripted.working)

    def _check_limits(self, backend: str) -> None:
        at_work = [task for task in self._scripted.working if task.backend == backend]
        stages = Counter(task.stage for task in at_work)
        assert stages[Stage.QUANTUM] <= self._backends[backend].qpu_slots, "two on the QPU"
        assert len(at_work) - stages[None] <= self._backends[backend].lanes, "more than lanes"

    def _outcome(self, task: Task) -> Outcome:
        """Do the work of a task: what it reads has to be there."""
        params = self._read(task, "params")
        if task.stage is None:
            return Outcome(error=BROKEN if self._weather.strikes("validation fails") else None)
        if self._weather.strikes("stage fails"):
            return Outcome(error=BROKEN, log=("broken",))
        if self._weather.strikes("stage fails by our fault"):
            return Outcome(error=OUR_FAULT, service_fault=True)
        metrics = {f"{task.stage}": task.run}
        match task.stage:
            case Stage.PREPARE:
                self._write(task, f"prepared.{task.run}", params)
                estimated_ms = self._weather.rng.randrange(1, 100_000)
                return Outcome(estimated_ms=estimated_ms, metrics=metrics, log=("prepared",))
            case Stage.QUANTUM:
                self._read(task, f"prepared.{task.run}")
                usage_ms = self._weather.rng.randrange(1, 100_000)
                self._write(task, f"raw.{task.run}", params + b" %d" % usage_ms)
                return Outcome(usage_ms=usage_ms, metrics=metrics, log=("measured",))
            case _:
                raw = self._read(task, f"raw.{task.run}")
                self._write(task, f"result.{task.run}", raw + b" of run %d" % task.run)
                return Outcome(metrics=metrics, log=("finished",))

    def _read(self, task: Task, name: str) -> bytes:
        return self._payloads.read(task.job_id, name)

    def _write(self, task: Task, name: str, content: bytes) -> None:
        self._payloads.write(task.job_id, name, content, durable=True)
