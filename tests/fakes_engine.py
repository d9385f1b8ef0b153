"""An engine without processes, whose tasks end when a test says so."""

import asyncio
from dataclasses import dataclass, field

from queuebit.core.model import Reason
from queuebit.engines.task import Outcome, Task

DEATHS_MAX = 3


@dataclass(slots=True)
class _Work:
    task: Task
    outcome: asyncio.Future[Outcome]
    deaths: int = 0


@dataclass(slots=True)
class ScriptedEngine:
    """Begins every task at once; `end`, `fail` and `kill` say what becomes of it."""

    begun: list[Task] = field(default_factory=list)
    """In order, and again for each time that a worker died."""
    cancelled: list[Task] = field(default_factory=list)
    _works: dict[str, _Work] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self) -> None:
        """Nothing to start."""

    async def close(self) -> None:
        """Stop all work."""
        self._works.clear()

    async def run(self, task: Task) -> Outcome:
        assert task.job_id not in self._works, f"{task.job_id} has work already"
        work = _Work(task, asyncio.get_running_loop().create_future())
        self._works[task.job_id] = work
        self._begin(task)
        try:
            return await work.outcome
        except asyncio.CancelledError:
            self.cancelled.append(task)
            raise
        finally:
            self._works.pop(task.job_id, None)

    @property
    def working(self) -> list[Task]:
        """What is being worked on, oldest first."""
        return [work.task for work in self._works.values() if not work.outcome.done()]

    async def begins(self, job_id: str) -> Task:
        """Wait until there is work for the job; returns its task."""
        while job_id not in self._works or self._works[job_id].outcome.done():
            self._changed.clear()
            await self._changed.wait()
        return self._works[job_id].task

    def end(self, job_id: str, outcome: Outcome | None = None) -> None:
        """Have the job's task end with `outcome`; None: well, with nothing to tell."""
        self._works[job_id].outcome.set_result(outcome or Outcome())

    def fail(self, job_id: str, message: str, *, service_fault: bool = False) -> None:
        """Have the job's task fail."""
        error = Reason(message=message, code=9999 if service_fault else 1208)
        self.end(job_id, Outcome(error=error, service_fault=service_fault))

    def kill(self, job_id: str) -> None:
        """Have the worker of the job's task die."""
        work = self._works[job_id]
        work.deaths += 1
        if work.deaths < DEATHS_MAX:
            self._begin(work.task)
            return
        stage = "validation" if work.task.stage is None else f"stage {work.task.stage}"
        error = Reason(message=f"The {stage} ended its worker process 3 times", code=9707)
        self.end(job_id, Outcome(error=error, service_fault=True))

    def _begin(self, task: Task) -> None:
        self.begun.append(task)
        self._changed.set()
