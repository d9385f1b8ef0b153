"""Workers that a test commands, for tests of the API alone."""

import asyncio
from collections.abc import Callable

from queuebit.core.model import Reason, Stage
from queuebit.engines.job_bodies import split_body
from queuebit.engines.task import Outcome, Task
from queuebit.errors import InvalidInput
from queuebit.store.payloads import Payloads


class Workers:
    """Stages end when the test says so; validation answers what the test set."""

    def __init__(self, payloads: Payloads | None = None) -> None:
        """Without `payloads`, for small bodies only."""
        self._payloads = payloads
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
        if task.is_split:
            assert self._payloads is not None
            try:
                return split_body(self._payloads, task.job_id)
            except InvalidInput as error:
                return Outcome(error=Reason(message=str(error), code=error.code))
        if task.stage is None:
            self.validated.append(task)
            self.validating.set()
            await self.may_validate.wait()
            return self.verdict
        await self.going_on.wait()
        if task.stage is Stage.FINISH:
            self.on_finish(task)
        return self.outcomes[task.stage]
