"""What a worker is given, and what it gives back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from queuebit.core.model import Reason, Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One piece of work for one worker.

    `stage` None means: only validate the parameters, before the job is accepted. A worker reads
    and writes the payload store itself; nothing large passes through the service.

    `only_estimate`, of a validation: there will be no job. Limits that it would break are told in
    the metrics, and are no error.
    """

    job_id: str
    run: int
    stage: Stage | None
    program_id: str
    backend: str
    only_estimate: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a task. `error` None means that it went well."""

    estimated_ms: int | None = None  # of validation and prepare: QPU time it should take
    usage_ms: int = 0  # of quantum: QPU time to charge
    metrics: Mapping[str, Any] = field(default_factory=dict)  # JSON values, for the job's metrics
    log: tuple[str, ...] = ()  # lines for the job's log
    error: Reason | None = None
    status: int = 400  # HTTP status of `error`, where a validation is answered
    service_fault: bool = False  # `error` is ours


class Engine(Protocol):
    """Runs tasks on workers. Cancelling the awaiting task stops the work at once."""

    async def start(self) -> None:
        """Have warm workers; returns when the first can work."""

    async def close(self) -> None:
        """Stop all work and leave no process behind."""

    async def run(self, task: Task) -> Outcome:
        """Run `task`; never raises for what the task does.

        A task whose worker dies runs again on another; after three deaths the outcome is a
        service fault that says so.
        """
