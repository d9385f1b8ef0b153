"""Whether a record that was read can be one that the scheduler saved.

A database can be damaged, or changed by hand. The scheduler trusts its records; one that it could
not have made is set aside instead, so that it costs nobody else anything.
"""

from collections.abc import Container
from dataclasses import fields
from typing import Any

from queuebit.core.model import FINAL, Job, JobStatus, Stage, Workload, WorkloadState

# What a stage of a running job needs to have been noted before.
_NOTED = {
    Stage.PREPARE: ("started_at",),
    Stage.READY: ("started_at", "ready_at"),
    Stage.QUANTUM: ("started_at", "ready_at", "quantum_started_at"),
    Stage.FINISH: ("started_at", "ready_at", "quantum_started_at", "quantum_ended_at"),
}


def job_fault(job: Job, workloads: Container[str]) -> str | None:
    """What is wrong with an unfinished job; `workloads` are the sound ones that are not closed."""
    fault = _type_fault(job)
    if fault is not None:
        return fault
    if job.status in FINAL:
        return f"status {job.status} without ended_at"
    if (job.stage is not None) != (job.status is JobStatus.RUNNING):
        return f"status {job.status} with stage {job.stage}"
    if job.workload_id is not None and job.workload_id not in workloads:
        return f"its batch or session {job.workload_id} is closed, damaged or not there"
    noted = () if job.stage is None else _NOTED[job.stage]
    missing = [name for name in noted if getattr(job, name) is None]
    return f"stage {job.stage} without {missing[0]}" if missing else None


def workload_fault(workload: Workload) -> str | None:
    """What is wrong with a batch or session that is not closed."""
    fault = _type_fault(workload)
    if fault is not None:
        return fault
    state = workload.state
    if state is WorkloadState.CLOSED:
        return "state closed without closed_at"
    if not workload.transitions or workload.transitions[-1][0] is not state:
        return f"state {state} is not the last of its transitions"
    if (workload.started_at is None) != (state is WorkloadState.OPEN):
        return f"state {state} with started_at {workload.started_at}"
    if state is WorkloadState.ACTIVE and workload.activated_at is None:
        return "state active without activated_at"
    return None


def _type_fault(record: Job | Workload) -> str | None:
    """A field that holds something else than it says: SQLite does not mind."""
    for field in fields(record):
        value, kind = getattr(record, field.name), field.type
        plain: Any = getattr(kind, "__origin__", None) or kind  # tuple, of tuple[...]
        if not isinstance(value, plain):
            return f"{field.name} is {value!r}"
    return None
