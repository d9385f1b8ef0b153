"""What `queuebit.api` does for its clients, in the same order, without HTTP."""

import asyncio

from tests.sim.process import ServiceProcess

from queuebit.core.events import (
    BackendStatusSet,
    JobCancelRequested,
    JobSubmitted,
    Refusal,
    WorkloadCancelRequested,
    WorkloadCloseRequested,
    WorkloadOpened,
)
from queuebit.core.model import FINAL, BackendStatus, Job, JobStatus
from queuebit.engines.task import Outcome, Task
from queuebit.store.details import JobDetails, WorkloadDetails


async def submit(process: ServiceProcess, event: JobSubmitted, *, private: bool) -> Refusal | None:
    """POST /jobs; None: it is accepted."""
    job_id = event.job_id
    payloads = process.payloads
    params = job_id.encode()
    try:
        await asyncio.to_thread(payloads.write, job_id, "params", params, durable=True)
        task = Task(job_id=job_id, run=0, stage=None, program_id="p", backend=event.backend)
        outcome = await process.engine.run(task)
        _refuse(outcome)
    except BaseException:
        await asyncio.shield(asyncio.to_thread(payloads.delete, job_id))
        raise
    details = JobDetails(id=job_id, program_id="p", private=private)
    step = await process.driver.send(event, details)
    if step.refusal is not None:
        await asyncio.to_thread(payloads.delete, job_id)
    return step.refusal


class InvalidParams(Exception):
    """A worker found a mistake in the job."""


def _refuse(outcome: Outcome) -> None:
    if outcome.error is not None:
        raise InvalidParams


async def open_workload(process: ServiceProcess, event: WorkloadOpened) -> Refusal | None:
    """POST /sessions."""
    details = WorkloadDetails(id=event.workload_id, user="u")
    return (await process.driver.send(event, details)).refusal


async def close_workload(process: ServiceProcess, workload_id: str) -> None:
    """PATCH /sessions/ID with accepting_jobs false."""
    step = await process.driver.send(WorkloadCloseRequested(workload_id=workload_id))
    assert step.refusal is None


async def cancel_workload(process: ServiceProcess, workload_id: str) -> None:
    """DELETE /sessions/ID/close."""
    step = await process.driver.send(WorkloadCancelRequested(workload_id=workload_id))
    assert step.refusal is None


async def cancel_job(process: ServiceProcess, job_id: str) -> bool:
    """POST /jobs/ID/cancel; False: it has ended already."""
    step = await process.driver.send(JobCancelRequested(job_id=job_id))
    return step.refusal is None


async def set_status(process: ServiceProcess, backend: str, status: BackendStatus) -> None:
    """PATCH of a backend, by an administrator."""
    await process.driver.send(BackendStatusSet(backend=backend, status=status, reason="because"))


async def read_job(process: ServiceProcess, job_id: str, *, hold_s: float) -> Job | None:
    """GET /jobs/ID, which waits for the end of a running job, `hold_s` at most."""
    stored = await process.store.job(job_id)
    if stored is None:
        return None
    if stored.record.status is not JobStatus.RUNNING:
        return stored.record
    loop = asyncio.get_running_loop()
    until = loop.time() + hold_s
    await process.driver.wait_for_end(job_id, hold_s)
    waited = loop.time() >= until
    assert process.runner.ended_s.get(job_id, until) >= loop.time(), "slept through the end"
    stored = await process.store.job(job_id)
    if stored is None:
        return None
    assert waited or stored.record.status in FINAL, "waited for an end that no reader sees"
    return stored.record


async def delete_job(process: ServiceProcess, job_id: str) -> bool:
    """DELETE /jobs/ID; False: it has not ended."""
    stored = await process.store.job(job_id)
    if stored is None:
        return True
    if stored.record.status not in FINAL:
        return False
    await asyncio.to_thread(process.payloads.mark, job_id)
    await process.store.delete_job(job_id)
    await asyncio.to_thread(process.payloads.delete, job_id)
    return True
