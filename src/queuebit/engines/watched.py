"""An engine whose tasks are told to the logs, the metrics and the traces."""

import asyncio
import logging
import time

from queuebit import logs
from queuebit.engines.task import Engine, Outcome, Task
from queuebit.metrics import Metrics
from queuebit.traces import Traces

UNKNOWN = "unknown"  # program of a task that was refused: users can call it anything

log = logging.getLogger(__name__)


class WatchedEngine:
    """Runs tasks on another engine, and tells of them."""

    def __init__(self, engine: Engine, metrics: Metrics, traces: Traces) -> None:
        self._engine = engine
        self._metrics = metrics
        self._traces = traces

    async def start(self) -> None:
        """Start the engine."""
        await self._engine.start()

    async def close(self) -> None:
        """Close the engine."""
        await self._engine.close()

    async def run(self, task: Task) -> Outcome:
        """Run `task` on the engine."""
        check = "split" if task.is_split else "validate"
        stage = check if task.stage is None else task.stage.value
        if task.stage is None:
            self._traces.remember(task.job_id)
            span = self._traces.span(stage, job=task.job_id, backend=task.backend)
        else:
            span = self._traces.stage(stage, task.job_id, backend=task.backend)
        with logs.about(job=task.job_id, stage=stage, backend=task.backend), span as told:
            log.debug("stage begins")
            began_s = time.perf_counter()
            try:
                outcome = await self._engine.run(task)
            except asyncio.CancelledError:
                log.info("stage stopped")
                raise
            spent_s = time.perf_counter() - began_s
            if told is not None:
                for name, value in outcome.metrics.items():
                    if isinstance(value, bool | int | float):
                        told.set_attribute(f"queuebit.{name}", value)
            self._tell(task, stage, outcome, spent_s)
            return outcome

    def _tell(self, task: Task, stage: str, outcome: Outcome, spent_s: float) -> None:
        """Tell the end of a task; an error by its number, for its message may quote the job."""
        is_known = task.stage is not None or outcome.error is None
        program = task.program_id if is_known else UNKNOWN
        self._metrics.tasks.labels(stage, program).observe(spent_s)
        extra = {"program": program, "ms": round(spent_s * 1_000, 1)}
        if outcome.held:
            log.warning("stage is held", extra={**extra, "fault": outcome.held})
            return
        if outcome.error is None:
            log.info("stage ended", extra=extra)
        elif outcome.service_fault:
            self._metrics.faults.labels(stage).inc()
            log.error("stage failed", extra={**extra, "code": outcome.error.code})
        else:
            log.info("stage failed", extra={**extra, "code": outcome.error.code})
