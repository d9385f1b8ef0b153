"""One backend's waiting lines: who waits, who holds a lane, who is ready, who holds the QPU.

Lines are heaps whose entries may be out of date: `index.py` checks what an entry claims against the
records when it comes to the head, and drops a false one.
"""

from dataclasses import dataclass, field

from queuebit.core.model import Backend


@dataclass(slots=True)
class BackendQueues:
    """The lines of one backend."""

    backend: Backend
    normal: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    """For each instance: jobs in job mode, and of each workload that is not active its oldest."""
    fair: list[tuple[float, int, str]] = field(default_factory=list)
    """The instances that stand in the normal queue, by `policy.fair_order`."""
    places: dict[str, tuple[float, int, str]] = field(default_factory=dict)
    """For each of them, its entry of `fair` that counts; any other is out of date."""
    priority: list[tuple[tuple[int, int, int], str]] = field(default_factory=list)
    """Queued jobs of active batches."""
    held: list[str] = field(default_factory=list)
    """Queued jobs of active batches that came after the drain began."""
    ready: list[tuple[tuple[int, int, int], str]] = field(default_factory=list)
    """Running jobs that wait for the QPU."""
    lanes: set[str] = field(default_factory=set)
    """Running jobs."""
    qpu: set[str] = field(default_factory=set)
    """Running jobs in their quantum stage."""
    sessions: set[str] = field(default_factory=set)
    """Sessions that are not closed: without any, none is looked for."""
    session: str | None = None
    """The active session; None if none is."""
    drain: str | None = None
    """The session that is next in line and waits for the lanes to empty; None if none does."""

    @property
    def has_free_lane(self) -> bool:
        """Whether one more job may run."""
        return len(self.lanes) < self.backend.lanes

    @property
    def has_free_qpu(self) -> bool:
        """Whether one more job may be on the QPU."""
        return len(self.qpu) < self.backend.qpu_slots
