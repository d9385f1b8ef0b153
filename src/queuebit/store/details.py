"""What clients told us of their jobs and workloads that the scheduler does not need."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """A submission with an Idempotency-Key."""

    key: str
    """Digest of who submitted and the key."""
    body: str
    """Digest of the body."""
    at: int
    """When, by the service's clock, in ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDetails:
    """A job as its user described it."""

    id: str
    program_id: str
    tags: tuple[str, ...] = ()
    cost_s: int | None = None  # max_execution_time; None: the service's maximum
    private: bool = False
    log_level: str | None = None
    runtime: str | None = None  # image
    calibration_id: str | None = None
    caller: str | None = None  # header X-Qx-Client-Application
    qiskit_version: str | None = None
    input_bytes: int = 0  # of its parameters on the disk
    submitted: Submitted | None = None  # as it comes; it is not read back


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadDetails:
    """A batch or session as its user described it."""

    id: str
    user: str


Details = JobDetails | WorkloadDetails
