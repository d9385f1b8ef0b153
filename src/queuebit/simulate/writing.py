"""Writes traces."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from queuebit.core.events import (
    BackendStatusSet,
    JobCancelRequested,
    JobSubmitted,
    WorkloadCancelRequested,
    WorkloadCloseRequested,
    WorkloadOpened,
)
from queuebit.core.model import Instance, Mode
from queuebit.errors import QueuebitError
from queuebit.simulate.lines import (
    VERSION,
    CalibrationLine,
    CancelLine,
    CloseLine,
    EntryLine,
    HeadLine,
    InstanceLine,
    MachineLine,
    OpenLine,
    StatusLine,
    SubmitLine,
    TraceLine,
)
from queuebit.simulate.trace import Entry, Machine, Trace, Work


def write(trace: Trace, file: Path) -> None:
    """Write a trace so that `read` gives an equal one."""
    try:
        with file.open("w", encoding="utf-8") as lines:
            lines.writelines(f"{line}\n" for line in dump(trace))
    except OSError as error:
        raise QueuebitError(f"trace {file} cannot be written: {error.strerror}") from None


def dump(trace: Trace) -> Iterator[str]:
    """The lines of a trace."""
    head = TraceLine(
        version=VERSION,
        backends=tuple(_machine_line(machine) for machine in trace.machines),
        instances=tuple(_instance_line(instance) for instance in trace.instances),
    )
    yield HeadLine(trace=head).model_dump_json()
    for entry in trace.entries:
        yield _entry_line(entry).model_dump_json(exclude_defaults=True)


def _machine_line(machine: Machine) -> MachineLine:
    backend = machine.backend
    return MachineLine(
        name=backend.name,
        lanes=backend.lanes,
        qpu_slots=backend.qpu_slots,
        copies=machine.copies,
        calibrations=tuple(
            CalibrationLine(
                kind=each.kind, every_s=each.every_ms / 1_000, lasts_s=each.lasts_ms / 1_000
            )
            for each in backend.calibrations
        ),
    )


def _instance_line(instance: Instance) -> InstanceLine:
    return InstanceLine(
        name=instance.id,
        allocation_s=_seconds(instance.allocation_ms),
        limit_s=_seconds(instance.limit_ms),
        window_s=_seconds(instance.window_ms),
        since_s=instance.since / 1_000,
        on_limit=instance.on_limit.value,
        pending_max=instance.pending_max,
    )


def _seconds(ms: int | None) -> float | None:
    return None if ms is None else ms / 1_000


def _entry_line(entry: Entry) -> EntryLine:
    seconds = entry.delay_ms / 1_000
    when: dict[str, Any] = {"at": seconds}
    if entry.after:
        names = list(entry.after) if len(entry.after) > 1 else entry.after[0]
        when = {"after": names, "delay_s": seconds}
    event = entry.event
    match event:
        case JobSubmitted():
            assert entry.work is not None
            return EntryLine(**when, submit=_submit_line(event, entry.work))
        case WorkloadOpened():
            return EntryLine(**when, open=_open_line(event))
        case WorkloadCloseRequested(workload_id=workload_id):
            return EntryLine(**when, close=CloseLine(workload=workload_id))
        case WorkloadCancelRequested(workload_id=workload_id):
            return EntryLine(**when, cancel=CancelLine(workload=workload_id))
        case JobCancelRequested(job_id=job_id):
            return EntryLine(**when, cancel=CancelLine(job=job_id))
        case BackendStatusSet(backend=backend, status=status, reason=reason):
            line = StatusLine(backend=backend, status=status.value, reason=reason)
            return EntryLine(**when, status=line)


def _submit_line(event: JobSubmitted, work: Work) -> SubmitLine:
    return SubmitLine(
        job=event.job_id,
        workload=event.workload_id,
        instance=event.instance,
        backend=event.backend,
        prepare_s=work.prepare_ms / 1_000,
        quantum_s=work.quantum_ms / 1_000,
        finish_s=work.finish_ms / 1_000,
        usage_s=work.usage_ms / 1_000,
        limit_s=_seconds(event.limit_ms),
        fails_in=None if work.fails_in is None else work.fails_in.value,  # type: ignore[arg-type]  # a stage that workers run
        service_fault=work.service_fault,
    )


def _open_line(event: WorkloadOpened) -> OpenLine:
    return OpenLine(
        workload=event.workload_id,
        mode="session" if event.mode is Mode.SESSION else "batch",
        instance=event.instance,
        backend=event.backend,
        max_ttl_s=event.max_ttl_ms / 1_000,
        interactive_ttl_s=event.interactive_ttl_ms / 1_000,
        active_ttl_s=event.active_ttl_ms / 1_000,
        unused_ttl_s=event.unused_ttl_ms / 1_000,
        ends_idle=event.ends_idle,
    )
