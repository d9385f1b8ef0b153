"""Jobs: list, read, cancel, tag, delete; `submit` and `results` have the rest."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, BeforeValidator, FailFast, Field

from queuebit.api.parts import AnyCall, Call, nothing
from queuebit.api.payload_answers import Piece, answer_in_parts, close, piece_size
from queuebit.api.problems import (
    JOB_NOT_CANCELLABLE,
    JOB_NOT_FINAL,
    JOB_NOT_FOUND,
    RAN_TOO_LONG,
    TAG_TOO_LONG,
    TOO_MANY_TAGS,
)
from queuebit.api.text import Text
from queuebit.api.times import Instant, from_wire_or_none, wire_time
from queuebit.api.trail import entries
from queuebit.core.events import JobCancelRequested
from queuebit.core.model import FINAL, Job, JobStatus
from queuebit.errors import Conflict, DamagedPayload, InvalidInput, NotFound, advised
from queuebit.store.database import JobQuery, StoredJob

log = logging.getLogger(__name__)

router = APIRouter(tags=["Jobs"])

PARAMS = "params"  # name of a job's input among its payloads
MAX_COST_S = 10_800  # OpenAPI, JobCost: "above is capped"; the service's own limit is 3 h
MAX_TAGS = 8  # OpenAPI, Tags
MAX_TAG_LENGTH = 86  # OpenAPI, Tags
_OFFSET_MAX = 2**63 - 1  # what a database can count to
MAX_PAGE = 200  # OpenAPI, GET /jobs: out of range means the default
PAGE_BYTES_MAX = 8 * 2**20  # of a page with parameters; one job may be larger
PAGE_FILES_MAX = 50  # that are open for one


def lower(value: object) -> object:
    """Fold the case of what IBM's schema and its client write differently."""
    return value.lower() if isinstance(value, str) else value


class Program(BaseModel):
    """Which program a job runs."""

    id: str


class State(BaseModel):
    """Where a job is, and why."""

    status: JobStatus
    reason: str | None = None
    reason_code: int | None = None
    reason_solution: str | None = None


class Usage(BaseModel):
    """QPU time that a job is charged."""

    qpu_charge_time_seconds: float
    status: Literal["pending", "complete"]


class JobAnswer(BaseModel):
    """A job as IBM's API shows it."""

    id: str
    backend: str
    program: Program
    state: State
    # The client never ends on the sixth value, so it stands here and not in `state`.
    status: JobStatus | Literal["Cancelled - Ran too long"]
    created: str
    cost: int
    tags: list[str]
    user_id: str
    usage: Usage
    session_id: str | None = None
    runtime: str | None = None
    estimated_running_time_seconds: float | None = None
    private: bool | None = None
    params: dict[str, Any] | None = None


class JobPage(BaseModel):
    """Answer of GET /jobs; `count` is the total before paging, or the client never ends."""

    jobs: list[JobAnswer]
    count: int
    limit: int
    offset: int


class TagsRequest(BaseModel):
    """Body of PUT /jobs/{id}/tags; replaces all tags."""

    tags: Annotated[list[Text], FailFast()]


class JobFilters(BaseModel):
    """Query of GET /jobs."""

    limit: int = MAX_PAGE
    offset: int = 0
    sort: Annotated[Literal["asc", "desc"], BeforeValidator(lower)] = "desc"
    pending: bool | None = None
    program: str | None = None
    backend: str | None = None
    session_id: str | None = None
    created_after: Instant | None = None
    created_before: Instant | None = None
    tags: list[str] = Field(default=[], max_length=MAX_TAGS)
    exclude_params: bool = True
    include_mocks: bool = False

    def query(self, instance: str, mocks: Sequence[str]) -> JobQuery:
        """Ask the store; pages out of range are the default ones, without an error.

        Dry runs, which are the jobs of `mocks`, are left out unless they are asked for.
        """
        return JobQuery(
            instance=instance,
            limit=self.limit if 1 <= self.limit <= MAX_PAGE else MAX_PAGE,
            offset=self.offset if 0 <= self.offset <= _OFFSET_MAX else 0,
            newest_first=self.sort == "desc",
            pending=self.pending,
            program_id=self.program,
            backend=self.backend,
            workload_id=self.session_id,
            created_after=from_wire_or_none(self.created_after),
            created_before=from_wire_or_none(self.created_before),
            tags=tuple(self.tags),
            without=() if self.include_mocks or self.backend else tuple(mocks),
        )


@router.get("/jobs", response_model=JobPage)
async def list_jobs(call: AnyCall, filters: Annotated[JobFilters, Query()]) -> Response:
    """List the instance's jobs.

    With their parameters, a page may have fewer jobs than its limit: it ends at so many bytes. The
    client asks for the next one from the number of jobs that it has.
    """
    query = filters.query(call.instance.id, call.parts.mocks)
    stored, count = await call.parts.database.jobs(query)
    page = JobPage(jobs=[], count=count, limit=query.limit, offset=query.offset)
    pieces: list[Piece] = [b'{"jobs":[']
    files = size = 0
    try:
        for job in stored:
            params = None if filters.exclude_params else await _params(call, job)
            told = _with_params(job_answer(job), params)
            size += sum(map(piece_size, told))
            files += len(told) > 1
            if len(pieces) > 1:
                if size > PAGE_BYTES_MAX or files > PAGE_FILES_MAX:
                    close(told)
                    break
                pieces.append(b",")
            pieces += told
    except BaseException:
        close(pieces)
        raise
    pieces.append(b"],%s" % page.model_dump_json(exclude={"jobs"}).encode()[1:])
    return await answer_in_parts(pieces, "application/json")


@router.get("/jobs/{job_id}", response_model=JobAnswer)
async def read_job(call: AnyCall, job_id: str, *, exclude_params: bool = False) -> Response:
    """Read a job; the answer about a running one waits a moment for its end.

    The client asks every 0.5 s, which would hide the end of a job for so long. A queued job is
    never waited for: its user wants to see it start.
    """
    job = await owned_job(call, job_id)
    if job.record.status is JobStatus.RUNNING and call.parts.config.hold_ms:
        await call.parts.driver.wait_for_end(job_id, call.parts.config.hold_ms / 1000)
        job = await owned_job(call, job_id)
    params = None if exclude_params else await _params(call, job)
    return await answer_in_parts(_with_params(job_answer(job), params), "application/json")


@router.delete("/jobs/{job_id}", status_code=204)
async def delete_job(call: AnyCall, job_id: str) -> Response:
    """Forget a job that has ended, with its inputs and results."""
    job = await owned_job(call, job_id)
    if job.record.status not in FINAL:
        raise InvalidInput(
            f"Job {job_id} is {job.record.status}; only a job that has ended can be deleted.",
            JOB_NOT_FINAL,
            "Cancel it, or wait for its end.",
        )
    # In this order: the next start deletes a marked payload without a record, not the reverse.
    await asyncio.to_thread(call.parts.payloads.mark, job_id)
    await call.parts.database.delete_job(job_id, entries("job.delete", job_id))
    await asyncio.to_thread(call.parts.payloads.delete, job_id)
    return nothing()


@router.post("/jobs/{job_id}/cancel", status_code=204)
async def cancel_job(call: AnyCall, job_id: str) -> Response:
    """Cancel a queued or running job."""
    await owned_job(call, job_id)
    step = await call.parts.send(JobCancelRequested(job_id=job_id))
    if step.refusal is not None:
        raise Conflict(
            "Job is in non cancellable status.",
            JOB_NOT_CANCELLABLE,
            "It has ended; there is nothing to cancel.",
        )
    return nothing()


@router.put("/jobs/{job_id}/tags", status_code=204)
async def replace_tags(call: AnyCall, job_id: str, wish: TagsRequest) -> Response:
    """Replace the job's tags."""
    await owned_job(call, job_id)
    check_tags(wish.tags)
    told = entries("job.tags", job_id, f"tags={len(wish.tags)}")
    await call.parts.database.set_tags(job_id, wish.tags, told)
    return nothing()


async def owned_job(call: Call, job_id: str) -> StoredJob:
    """Find the job among those of the caller's instance."""
    job = await call.parts.database.job(job_id)
    if job is None or job.record.instance != call.instance.id:
        raise NotFound(
            f"Job not found. Job ID: {job_id}",
            JOB_NOT_FOUND,
            "Check the job id and the instance.",
        )
    return job


def job_answer(job: StoredJob) -> JobAnswer:
    """Tell a job as IBM's API does."""
    record, details, reason = job.record, job.details, job.record.reason
    ran_too_long = reason is not None and reason.code == RAN_TOO_LONG
    estimated_ms = record.estimated_ms
    return JobAnswer(
        id=record.id,
        backend=record.backend,
        program=Program(id=details.program_id),
        state=State(
            status=record.status,
            # All that the client shows of it.
            reason=advised(reason.message, reason.solution) if reason else None,
            reason_code=reason.code if reason else None,
            reason_solution=(reason.solution or None) if reason else None,
        ),
        status="Cancelled - Ran too long" if ran_too_long else record.status,
        created=wire_time(record.created_at),
        cost=MAX_COST_S if details.cost_s is None else details.cost_s,
        tags=list(details.tags),
        user_id=record.user,
        usage=job_usage(record),
        session_id=record.workload_id,
        runtime=details.runtime,
        estimated_running_time_seconds=None if estimated_ms is None else estimated_ms / 1000,
        private=details.private or None,
    )


def job_usage(job: Job) -> Usage:
    """Tell what a job is charged."""
    return Usage(
        qpu_charge_time_seconds=job.usage_ms / 1000,
        status="complete" if job.status in FINAL else "pending",
    )


def check_tags(tags: list[str]) -> None:
    """Refuse too many tags, and tags that are too long."""
    if len(tags) > MAX_TAGS:
        raise InvalidInput(
            f"{len(tags)} tags are over the limit of {MAX_TAGS}.", TOO_MANY_TAGS, "Use fewer tags."
        )
    for tag in tags:
        if len(tag) > MAX_TAG_LENGTH:
            raise InvalidInput(
                f"Tag {tag[:20]!r}... has {len(tag)} characters, over the limit of "
                f"{MAX_TAG_LENGTH}.",
                TAG_TOO_LONG,
                "Use shorter tags.",
            )


async def _params(call: Call, job: StoredJob) -> Piece:
    """Open what the job was sent with; of a private one nobody learns it.

    Damaged inputs are answered as none: the rest of the job, and other jobs, are to be read.
    """
    if job.details.private:
        return b"{}"
    try:
        return await asyncio.to_thread(call.parts.payloads.open, job.record.id, PARAMS)
    except DamagedPayload as error:
        log.warning("inputs cannot be read", extra={"job": job.record.id, "fault": str(error)})
        return b"{}"


def _with_params(told: JobAnswer, params: Piece | None) -> list[Piece]:
    """Encode `told` with `params` as they are stored."""
    content = told.model_dump_json(exclude_none=True).encode()
    return [content] if params is None else [content[:-1] + b',"params":', params, b"}"]
