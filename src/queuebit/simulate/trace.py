"""What clients did, and how long the stages of their jobs last: the input of a simulation."""

from collections.abc import Iterator
from dataclasses import dataclass

from queuebit.core.events import (
    BackendStatusSet,
    JobCancelRequested,
    JobSubmitted,
    WorkloadCancelRequested,
    WorkloadCloseRequested,
    WorkloadOpened,
)
from queuebit.core.model import Backend, Instance, Stage

TraceEvent = (
    JobSubmitted
    | JobCancelRequested
    | WorkloadOpened
    | WorkloadCloseRequested
    | WorkloadCancelRequested
    | BackendStatusSet
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """How long the stages of a job last, and what it is charged."""

    prepare_ms: int = 0
    quantum_ms: int  # how long it holds the QPU
    finish_ms: int = 0
    usage_ms: int  # QPU time charged, and foretold when it is prepared
    fails_in: Stage | None = None  # it fails at the end of this stage; None: it completes
    service_fault: bool = False  # whether that is the service's fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing that a client does, or an administrator."""

    event: TraceEvent
    delay_ms: int = 0
    """Since the start of the trace; with `after`, since the last of those jobs ended."""
    after: tuple[str, ...] = ()
    """Jobs of earlier entries, by id, for whose ends the client waits before."""
    work: Work | None = None
    """Of a job that is submitted; None for everything else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A backend, or several alike: what is sent to it goes to the least busy one."""

    backend: Backend
    copies: int = 1

    @property
    def names(self) -> list[str]:
        """Of the backends that it stands for; the first has its own name."""
        name = self.backend.name
        return [name, *(f"{name}-{number}" for number in range(2, self.copies + 1))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Everything that all clients do, in the order in which it is told."""

    machines: tuple[Machine, ...]
    instances: tuple[Instance, ...] = ()
    """What they may use; one that is not named has no allocation and no limits."""
    entries: tuple[Entry, ...]

    def submissions(self) -> Iterator[tuple[JobSubmitted, Work]]:
        """Every job that is submitted, with its work."""
        for entry in self.entries:
            if isinstance(entry.event, JobSubmitted):
                assert entry.work is not None
                yield entry.event, entry.work
