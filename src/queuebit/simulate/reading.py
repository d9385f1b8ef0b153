"""Reads traces. A mistake is told with its line and field."""

from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from pydantic import ValidationError

from queuebit.core.events import (
    BackendStatusSet,
    JobCancelRequested,
    JobSubmitted,
    WorkloadCancelRequested,
    WorkloadCloseRequested,
    WorkloadOpened,
)
from queuebit.core.model import (
    Backend,
    BackendStatus,
    Calibration,
    Instance,
    Mode,
    OnLimit,
    Stage,
)
from queuebit.errors import QueuebitError
from queuebit.simulate.lines import (
    BACKEND,
    INSTANCE,
    EntryLine,
    HeadLine,
    InstanceLine,
    MachineLine,
    OpenLine,
    StatusLine,
    SubmitLine,
    TraceLine,
)
from queuebit.simulate.trace import Entry, Machine, Trace, TraceEvent, Work


def read(file: Path) -> Trace:
    """Read a trace. QueuebitError names the line and the field of a mistake."""
    try:
        with file.open("rb") as lines:
            return parse(lines, str(file))
    except OSError as error:
        raise QueuebitError(f"trace {file} cannot be read: {error.strerror}") from None


def parse(lines: Iterable[str | bytes], name: str = "trace") -> Trace:
    """Parse the lines of a trace; `name` is what a mistake calls it."""
    reader = _Reader(name)
    for number, line in enumerate(lines, 1):
        if line.strip():
            reader.take(number, line)
    return reader.trace()


class _Reader:
    """Takes lines in order; what one names must have come before."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._number = 0
        self._entries: list[Entry] = []
        self._jobs: set[str] = set()
        self._workloads: dict[str, OpenLine] = {}
        self._machines: dict[str, Machine] = {}
        self._instances: tuple[Instance, ...] = ()
        self._is_declared = False  # are the backends

    def take(self, number: int, line: str | bytes) -> None:
        """One line that is not blank."""
        self._number = number
        is_head = not self._entries and not self._is_declared and _holds_trace(line)
        try:
            if is_head:
                self._declare(HeadLine.model_validate_json(line).trace)
            else:
                self._enter(EntryLine.model_validate_json(line))
        except ValidationError as error:
            self._refuse(_told(error))

    def trace(self) -> Trace:
        """All that was taken."""
        if not self._entries:
            raise QueuebitError(f"{self._name} holds nothing to simulate")
        return Trace(
            machines=tuple(self._machines.values()),
            instances=self._instances,
            entries=tuple(self._entries),
        )

    def _declare(self, head: TraceLine) -> None:
        self._is_declared = bool(head.backends)
        self._machines = {line.name: _machine(line) for line in head.backends}
        names = [name for machine in self._machines.values() for name in machine.names]
        if len(self._machines) < len(head.backends) or len(set(names)) < len(names):
            self._refuse("trace.backends: a name is given twice")
        self._instances = tuple(_instance(line) for line in head.instances)
        if len({instance.id for instance in self._instances}) < len(self._instances):
            self._refuse("trace.instances: a name is given twice")

    def _enter(self, line: EntryLine) -> None:
        for job_id in line.after or ():
            self._assert_known("after", "job", job_id, self._jobs)
        event, work = self._event(line)
        delay_s = line.at if line.at is not None else line.delay_s or 0
        entry = Entry(event=event, delay_ms=_ms(delay_s), after=line.after or (), work=work)
        self._entries.append(entry)

    def _event(self, line: EntryLine) -> tuple[TraceEvent, Work | None]:
        if line.submit is not None:
            return self._submitted(line.submit), _work(line.submit)
        if line.open is not None:
            return self._opened(line.open), None
        if line.close is not None:
            self._assert_known("close.workload", "workload", line.close.workload, self._workloads)
            return WorkloadCloseRequested(workload_id=line.close.workload), None
        if line.status is not None:
            self._assert_backend("status.backend", line.status.backend)
            return _status_set(line.status), None
        assert line.cancel is not None
        if line.cancel.job is not None:
            self._assert_known("cancel.job", "job", line.cancel.job, self._jobs)
            return JobCancelRequested(job_id=line.cancel.job), None
        assert line.cancel.workload is not None
        self._assert_known("cancel.workload", "workload", line.cancel.workload, self._workloads)
        return WorkloadCancelRequested(workload_id=line.cancel.workload), None

    def _submitted(self, line: SubmitLine) -> JobSubmitted:
        """A job; what it leaves out it has from its workload."""
        if line.job in self._jobs:
            self._refuse(f"submit.job: there is a job {line.job!r} already")
        self._jobs.add(line.job)
        of: OpenLine | None = None
        if line.workload is not None:
            self._assert_known("submit.workload", "workload", line.workload, self._workloads)
            of = self._workloads[line.workload]
        backend = line.backend or (of.backend if of else BACKEND)
        self._assert_backend("submit.backend", backend)
        return JobSubmitted(
            job_id=line.job,
            instance=line.instance or (of.instance if of else INSTANCE),
            backend=backend,
            workload_id=line.workload,
            limit_ms=None if line.limit_s is None else _ms(line.limit_s),
        )

    def _opened(self, line: OpenLine) -> WorkloadOpened:
        if line.workload in self._workloads:
            self._refuse(f"open.workload: there is a workload {line.workload!r} already")
        self._workloads[line.workload] = line
        self._assert_backend("open.backend", line.backend)
        active_ttl_s = line.max_ttl_s if line.active_ttl_s is None else line.active_ttl_s
        return WorkloadOpened(
            workload_id=line.workload,
            instance=line.instance,
            backend=line.backend,
            mode=Mode.SESSION if line.mode == "session" else Mode.BATCH,
            max_ttl_ms=_ms(line.max_ttl_s),
            interactive_ttl_ms=_ms(line.interactive_ttl_s),
            active_ttl_ms=_ms(active_ttl_s),
            unused_ttl_ms=_ms(line.unused_ttl_s),
            ends_idle=line.ends_idle,
        )

    def _assert_backend(self, field: str, name: str) -> None:
        """Without a list of backends, every name is one with the usual lanes."""
        if self._is_declared:
            self._assert_known(field, "backend", name, self._machines)
        elif name not in self._machines:
            self._machines[name] = Machine(backend=Backend(name=name))

    def _assert_known(self, field: str, kind: str, name: str, known: Iterable[str]) -> None:
        if name not in known:
            where = "the first line" if kind == "backend" else "the lines above"
            self._refuse(f"{field}: there is no {kind} {name!r} in {where}")

    def _refuse(self, told: str) -> NoReturn:
        raise QueuebitError(f"{self._name} line {self._number}: {told}") from None


def _holds_trace(line: str | bytes) -> bool:
    text = line if isinstance(line, str) else line.decode(errors="replace")
    return text.lstrip().removeprefix("{").lstrip().startswith('"trace"')


def _told(error: ValidationError) -> str:
    """The first broken rule: which field, which rule, what was given."""
    detail = error.errors()[0]
    path = ".".join(str(step) for step in detail["loc"])
    if detail["type"] == "json_invalid":
        return f"is not JSON: {detail['msg'].removeprefix('Invalid JSON: ')}"
    if detail["type"] == "value_error":
        return f"{path or 'the object'} {detail['msg'].removeprefix('Value error, ')}"
    if not path:
        return "is not a JSON object"
    if detail["type"] == "extra_forbidden":
        return f"{path}: there is no such field"
    if detail["type"] == "missing":
        return f"{path}: is missing"
    return f"{path}: {detail['msg'].lower()}, not {detail['input']!r}"


def _ms(seconds: float) -> int:
    return round(seconds * 1_000)


def _machine(line: MachineLine) -> Machine:
    calibrations = tuple(
        Calibration(kind=each.kind, every_ms=_ms(each.every_s), lasts_ms=_ms(each.lasts_s))
        for each in line.calibrations
    )
    backend = Backend(
        name=line.name, lanes=line.lanes, qpu_slots=line.qpu_slots, calibrations=calibrations
    )
    return Machine(backend=backend, copies=line.copies)


def _instance(line: InstanceLine) -> Instance:
    return Instance(
        id=line.name,
        allocation_ms=None if line.allocation_s is None else _ms(line.allocation_s),
        limit_ms=None if line.limit_s is None else _ms(line.limit_s),
        window_ms=None if line.window_s is None else _ms(line.window_s),
        since=_ms(line.since_s),
        on_limit=OnLimit(line.on_limit),
        pending_max=line.pending_max,
    )


def _status_set(line: StatusLine) -> BackendStatusSet:
    return BackendStatusSet(
        backend=line.backend, status=BackendStatus(line.status), reason=line.reason
    )


def _work(line: SubmitLine) -> Work:
    return Work(
        prepare_ms=_ms(line.prepare_s),
        quantum_ms=_ms(line.quantum_s),
        finish_ms=_ms(line.finish_s),
        usage_ms=_ms(line.quantum_s if line.usage_s is None else line.usage_s),
        fails_in=None if line.fails_in is None else Stage(line.fails_in),
        service_fault=line.service_fault,
    )
