"""Workers that a test commands, for tests of the API alone."""

import asyncio
from collections.abc import Callable

from queuebit.core.model import Stage
from queuebit.engines.task import Outcome, Task


class Workers:
    """Stages end when the test says so; validation answers what the test set."""

    def __init__(self) -> None:
        self.verdict = Outcome()
        self.on_finish: Callable[[Task], None] = lambda task: None
        self.outcomes: dict[Stage, Outcome] = {
            Stage.PREPARE: Outcome(estimated_ms=2_500),
            Stage.QUANTUM: Outcome(
                usage_ms=2_100,
                metrics={"circuits_execution_time_ns": 123, "method": "statevector"},
            ),
            Stage.FINISH: Outcome(),
        }
        self.going_on = asyncio.Event()  # set: stages end at once
        self.validated: list[Task] = []
        self.validating = asyncio.Event()
        self.may_validate = asyncio.Event()
        self.may_validate.set()

    async def start(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def run(self, task: Task) -> Outcome:
        if task.stage is None:
            self.validated.append(task)
            self.validating.set()
            await self.may_validate.wait()
            return self.verdict
        await self.going_on.wait()
        if task.stage is Stage.FINISH:
            self.on_finish(task)
        return self.outcomes[task.stage]
