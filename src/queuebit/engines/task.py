"""What a worker is given, and what it gives back."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from queuebit.core.model import Calibrated, Reason, Stage

CODE_TEMPORARY = 9707  # IBM: temporary internal error
CODE_INVALID = 1208  # IBM: invalid request
CODE_TOO_BIG = 3248  # IBM: the job is too large for the system


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One piece of work for one worker.

    `stage` None means: only validate the parameters, before the job is accepted. A worker reads
    and writes the payload store itself; nothing large passes through the service.

    `calibrated` is how the latest calibration left the backend; None: there was none. None goes on
    beside a quantum stage, so what that is given holds to its end.

    `only_estimate`, of a validation: there will be no job. Limits that it would break are told in
    the metrics, and are no error.

    `is_split`, of a validation: only take apart the body of the submission (`job_bodies`).
    """

    job_id: str
    run: int
    stage: Stage | None
    program_id: str
    backend: str
    calibrated: Calibrated | None = None
    only_estimate: bool = False
    is_split: bool = False

    @property
    def what(self) -> str:
        """Its name for users."""
        return "validation" if self.stage is None else f"stage {self.stage}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a task. `error` None means that it went well."""

    estimated_ms: int | None = None  # of validation and prepare: QPU time it should take
    usage_ms: int = 0  # of quantum: QPU time to charge
    metrics: Mapping[str, Any] = field(default_factory=dict)  # JSON values, for the job's metrics
    log: tuple[str, ...] = ()  # lines for the job's log
    error: Reason | None = None
    held: str = ""  # by what the system lacks, as it says it; the task is to run again
    status: int = 400  # HTTP status of `error`, where a validation is answered
    service_fault: bool = False  # `error` is ours


@dataclass(frozen=True, slots=True, kw_only=True)
class Staff:
    """How an engine's workers are."""

    wanted: int
    pids: tuple[int, ...]
    """Process ids of those that can work."""
    deaths: int
    """Since the start, but for those that we wanted."""


LACK_OF_MEMORY = re.compile(
    r"bad_alloc|memory allocation of \d+ bytes failed|[Ii]nsufficient memory|[Oo]ut of memory"
    r"|[Cc]annot allocate memory|Memory allocation still failed"
)
"""What C++, Rust, Aer, CUDA, the C library and OpenBLAS say when they get none."""


def out_of_memory(task: Task, limit_bytes: int) -> Outcome:
    """What becomes of a task for which a worker's memory is too small; not charged."""
    return Outcome(
        error=Reason(
            message=f"The {task.what} needed more memory than its limit of "
            f"{limit_bytes / 2**20:.0f} MiB.",
            code=CODE_TOO_BIG,
            solution="Use fewer shots, parameter sets or qubits in one job, or have the service's "
            "worker_memory_mb raised.",
        ),
        service_fault=True,
    )


CHECK_CPU_S = 60
"""Seconds of processor time that a check may take, from its start; then its worker is killed."""


def took_too_long(task: Task) -> Outcome:
    """What becomes of a check that is over its budget."""
    return Outcome(
        error=Reason(
            message=f"The {task.what} took more than {CHECK_CPU_S} s of processor time.",
            code=CODE_INVALID,
            solution="Send smaller or fewer circuits in one job.",
        )
    )


class Engine(Protocol):
    """Runs tasks on workers. Cancelling the awaiting task stops the work at once."""

    async def start(self) -> None:
        """Have warm workers; returns when the first can work."""

    async def close(self) -> None:
        """Stop all work and leave no process behind."""

    async def run(self, task: Task) -> Outcome:
        """Run `task`; never raises for what the task does.

        A task whose worker dies runs again on another; after three deaths the outcome is a
        service fault that says so. One that died for lack of memory would do so again: it fails at
        once.
        """
