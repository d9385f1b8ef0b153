"""What outlives a process: records and payloads; with all that its readers ever saw of them."""

from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path

from tests.fakes import MemoryStore

from queuebit.core.model import (
    FINAL,
    BackendState,
    Charge,
    Job,
    Mode,
    Record,
    Stage,
    Workload,
    WorkloadState,
)
from queuebit.core.moves import JOB_MOVES
from queuebit.store.audit import Entry
from queuebit.store.details import Details
from queuebit.store.payloads import Payloads


class MemoryPayloads(Payloads):
    """Payloads in a dict; it passes the tests that it shares with the real ones."""

    def __init__(self) -> None:
        super().__init__(Path("/nowhere"))
        self.files: dict[tuple[str, str], bytes] = {}
        self._marked: dict[str, None] = {}

    def write(self, job_id: str, name: str, content: bytes, *, durable: bool) -> None:
        self._path(job_id, name)  # refuses what is no name
        self.files[job_id, name] = bytes(content)
        self.mark(job_id)

    def read(self, job_id: str, name: str) -> bytes:
        self._path(job_id, name)
        try:
            return self.files[job_id, name]
        except KeyError:
            raise FileNotFoundError(f"{job_id}/{name}") from None

    def size(self, job_id: str, name: str) -> int:
        return len(self.read(job_id, name))

    def discard(self, job_id: str, names: Iterable[str]) -> None:
        for name in names:
            self._path(job_id, name)
            self.files.pop((job_id, name), None)

    def delete(self, job_id: str) -> None:
        self._path(job_id, "params")
        self.discard(job_id, self.names(job_id))
        self._marked.pop(job_id, None)

    def mark(self, job_id: str) -> None:
        self._marked[job_id] = None

    def marked(self) -> list[str]:
        return list(self._marked)

    def empty_work(self, job_id: str) -> None:
        self.discard(job_id, [n for n in self.names(job_id) if n.startswith(("prepared", "raw"))])

    def settle(self, job_id: str) -> None:
        self.empty_work(job_id)
        self._marked.pop(job_id, None)

    def names(self, job_id: str) -> list[str]:
        """What is stored of a job."""
        return sorted(name for owner, name in self.files if owner == job_id)


class WatchedStore(MemoryStore):
    """Notes what its readers see, and that no reader ever sees a thing undone."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, Record] = {}
        """The latest of every record, also of those deleted since."""
        self.saves = 0
        self._seqs: dict[int, str] = {}

    async def save(
        self,
        records: Sequence[Record],
        details: Sequence[Details],
        entries: Sequence[Entry] = (),
        charges: Sequence[Charge] = (),
    ) -> None:
        await super().save(records, details, entries, charges)
        self.saves += 1
        for record in records:
            check_change(self.seen.get(record.id), record)
            if not isinstance(record, BackendState):
                assert self._seqs.setdefault(record.seq, record.id) == record.id, "one seq for two"
            self.seen[record.id] = record

    @property
    def every_job(self) -> list[Job]:
        """Every job that ever was."""
        return [record for record in self.seen.values() if isinstance(record, Job)]

    @property
    def every_workload(self) -> list[Workload]:
        """Every workload that ever was."""
        return [record for record in self.seen.values() if isinstance(record, Workload)]

    def in_session(self, job: Job) -> bool:
        """Whether the job is charged with a session's time."""
        workload = self.seen.get(job.workload_id or "")
        return isinstance(workload, Workload) and workload.mode is Mode.SESSION


def check_change(old: Record | None, new: Record) -> None:
    """Assert that `new` is what may have become of `old`."""
    match new:
        case Job():
            assert old is None or isinstance(old, Job)
            _check_job(old, new)
        case Workload():
            assert old is None or isinstance(old, Workload)
            _check_workload(old, new)
        case BackendState():
            assert old is None or isinstance(old, BackendState)
            assert old is None or old.run <= new.run


def _check_job(old: Job | None, new: Job) -> None:
    assert (new.ended_at is not None) == (new.status in FINAL)
    assert new.usage_ms >= 0
    assert not new.usage_ms or new.status in FINAL or new.stage is Stage.FINISH
    times = [new.created_at, new.started_at, new.ready_at, new.quantum_started_at]
    _check_order([*times, new.quantum_ended_at, new.ended_at])
    if old is None:
        return
    assert old.status not in FINAL, f"{old} is final, but becomes {new}"
    assert old.status is new.status or (old.status, new.status) in JOB_MOVES
    assert new.run >= old.run
    assert old.started_at in (None, new.started_at)
    kept = ("seq", "instance", "backend", "workload_id", "created_at")
    assert [getattr(old, name) for name in kept] == [getattr(new, name) for name in kept]


def _check_workload(old: Workload | None, new: Workload) -> None:
    assert (new.closed_at is not None) == (new.state is WorkloadState.CLOSED)
    _check_order([at for _, at in new.transitions])
    _check_order([new.created_at, new.started_at, new.closed_at])
    assert new.active_ms >= 0
    if old is None:
        return
    assert old.state is not WorkloadState.CLOSED, f"{old} is closed, but becomes {new}"
    assert old.accepting_jobs or not new.accepting_jobs
    assert old.active_ms <= new.active_ms
    assert old.jobs_ms <= new.jobs_ms
    assert old.modelled_ms <= new.modelled_ms
    assert new.transitions[: len(old.transitions)] == old.transitions
    kept = [field.name for field in fields(new) if field.name.endswith("_ttl_ms")]
    kept += ["seq", "instance", "backend", "mode", "created_at"]
    assert [getattr(old, name) for name in kept] == [getattr(new, name) for name in kept]


def _check_order(instants: Iterable[int | None]) -> None:
    known = [at for at in instants if at is not None]
    assert known == sorted(known), f"time runs backwards: {known}"
