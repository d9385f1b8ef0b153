"""What came of a job: results, metrics, logs (docs/endpoints.md)."""

import asyncio
import logging
from typing import Any, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from queuebit.api.jobs import owned_job
from queuebit.api.parts import AnyCall, Call, check_role, nothing
from queuebit.api.payload_answers import answer_in_parts
from queuebit.api.problems import GONE
from queuebit.api.times import wire_time, wire_time_or_none
from queuebit.api.why import Waiting, foreseen_times, waiting
from queuebit.core.model import FINAL, JobStatus, Stage
from queuebit.errors import DamagedPayload, Gone
from queuebit.store.database import StoredJob
from queuebit.tenancy import Role

log = logging.getLogger(__name__)

router = APIRouter(tags=["Jobs"])

# With a charset, or the client's HTTP library reads it as ISO-8859-1.
_TEXT = "text/plain; charset=utf-8"
# What workers report under IBM's own names stands where IBM has it.
_IBM_METRICS = (
    "circuits_execution_time_ns",
    "executions",
    "num_circuits",
    "num_qubits",
    "circuit_depths",
)


class MetricsTimestamps(BaseModel):
    """Instants of a job; null until they come."""

    created: str
    running: str | None
    finished: str | None


class MetricsUsage(BaseModel):
    """Usage under the key of API 2026-03-15 and under those before, which 0.43.1 reads."""

    qpu_charge_time_seconds: float
    quantum_seconds: float
    seconds: float
    status: Literal["pending", "complete"]


class Bss(BaseModel):
    """The billed time under its name before API 2026-03-15."""

    seconds: float


class Stages(BaseModel):
    """When a job waited for, took and left the QPU; null until then."""

    stage: Stage | None
    runs: int  # more than one after a restart of the service
    prepare_started: str | None
    ready: str | None
    quantum_started: str | None
    quantum_ended: str | None
    finished: str | None


class OwnMetrics(BaseModel):
    """What IBM does not tell."""

    stages: Stages
    workers: dict[str, Any]  # as the job's stages reported it
    waiting: Waiting | None = None  # left out unless the job waits


class MetricsAnswer(BaseModel):
    """Answer of GET /jobs/{id}/metrics: what every API version since 2024 has (decisions 22)."""

    model_config = ConfigDict(extra="allow")

    timestamps: MetricsTimestamps
    usage: MetricsUsage
    bss: Bss
    caller: str | None = None
    qiskit_version: str | None = None
    queuebit: OwnMetrics = Field(description="Beyond IBM's metrics")


@router.get(
    "/jobs/{job_id}/results",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {}}},
        204: {"description": "None, or none yet"},
    },
)
async def read_results(call: AnyCall, job_id: str) -> Response:
    """Read a job's result as its program wrote it; of a failed job, the reason as text.

    The JSON is text/plain, which IBM's document names first, whatever the header Accept says: QRMI
    asks for application/json and can read text alone. Never 4xx for a job that exists: the client
    could not tell its status then (docs/endpoints.md).
    """
    job = await owned_job(call, job_id)
    match job.record.status:
        case JobStatus.COMPLETED:
            return await _result(call, job)
        case JobStatus.FAILED if job.record.reason is not None:
            return Response(job.record.reason.message, media_type=_TEXT)
        case _:
            return nothing()


@router.get("/jobs/{job_id}/metrics", response_model=MetricsAnswer)
async def read_metrics(call: AnyCall, job_id: str) -> Response:
    """Read a job's times and usage."""
    job = await owned_job(call, job_id)
    told = _metrics(job)
    why = call.parts.driver.explain(job_id)
    if why is not None and why.hold is not None:
        told.queuebit.waiting = waiting(why)
        if job.record.status is JobStatus.QUEUED:
            told = told.model_copy(update=await _place_in_queue(call, job_id, why.position))
    # Not `answer`: nulls are told, and what does not apply is left out.
    return Response(told.model_dump_json(exclude_unset=True), media_type="application/json")


@router.get(
    "/jobs/{job_id}/logs",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}, 204: {"description": "There are none"}},
)
async def read_logs(call: AnyCall, job_id: str) -> Response:
    """Read what the job's stages logged."""
    job = await owned_job(call, job_id)
    try:
        file = await asyncio.to_thread(call.parts.payloads.open, job.record.id, "log")
    except FileNotFoundError:
        return nothing()
    except DamagedPayload as error:
        return Response(f"{error}\n", media_type=_TEXT)
    return await answer_in_parts([file], _TEXT)


async def _result(call: Call, job: StoredJob) -> Response:
    """Answer the result; that of a private job once, and then never again (decisions 24)."""
    payloads, job_id = call.parts.payloads, job.record.id
    if not job.details.private:
        try:
            file = await asyncio.to_thread(payloads.open, job_id, f"result.{job.record.run}")
        except DamagedPayload as error:
            raise _damaged(job_id, error) from None
        return await answer_in_parts([file], _TEXT)
    check_role(call.tenant, Role.MEMBER)  # to read it is to delete it
    if job_id in call.parts.being_read:
        return nothing()
    call.parts.being_read.add(job_id)
    try:
        file = await asyncio.to_thread(payloads.open, job_id, f"result.{job.record.run}")
        await asyncio.to_thread(payloads.delete, job_id)
    except FileNotFoundError:
        return nothing()
    except DamagedPayload as error:
        raise _damaged(job_id, error) from None
    finally:
        call.parts.being_read.discard(job_id)
    return await answer_in_parts([file], _TEXT)


def _damaged(job_id: str, error: DamagedPayload) -> Gone:
    log.error("result cannot be read", extra={"job": job_id, "fault": str(error)})
    return Gone(
        f"The result of job {job_id} is no longer there: it was kept for some time only, or it is "
        "damaged on the service's disk.",
        GONE,
        "Run the job again, or have the operator restore the file from a backup.",
    )


async def _place_in_queue(call: Call, job_id: str, position: int | None) -> dict[str, Any]:
    """What IBM's API told of a queued job before API 2026-03-15 (docs/endpoints.md)."""
    start, end = foreseen_times(await call.parts.driver.foresee(job_id))
    return {
        "position_in_queue": position,
        "estimated_start_time": start,
        "estimated_completion_time": end,
    }


def _metrics(job: StoredJob) -> MetricsAnswer:
    record, seconds = job.record, job.record.usage_ms / 1000
    lifted = {key: job.metrics[key] for key in _IBM_METRICS if key in job.metrics}
    return MetricsAnswer(
        timestamps=MetricsTimestamps(
            created=wire_time(record.created_at),
            running=wire_time_or_none(record.started_at),
            finished=wire_time_or_none(record.ended_at),
        ),
        usage=MetricsUsage(
            qpu_charge_time_seconds=seconds,
            quantum_seconds=seconds,
            seconds=seconds,
            status="complete" if record.status in FINAL else "pending",
        ),
        bss=Bss(seconds=seconds),
        caller=job.details.caller,
        qiskit_version=job.details.qiskit_version,
        queuebit=OwnMetrics(
            stages=Stages(
                stage=record.stage,
                runs=record.run,
                prepare_started=wire_time_or_none(record.started_at),
                ready=wire_time_or_none(record.ready_at),
                quantum_started=wire_time_or_none(record.quantum_started_at),
                quantum_ended=wire_time_or_none(record.quantum_ended_at),
                finished=wire_time_or_none(record.ended_at),
            ),
            workers={key: value for key, value in job.metrics.items() if key not in lifted},
        ),
        **lifted,
    )
