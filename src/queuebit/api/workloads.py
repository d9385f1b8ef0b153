"""Workloads: jobs in job mode, batches and sessions in one list (docs/endpoints.md)."""

import base64
import binascii
import struct
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, FailFast, Field

from queuebit.api.jobs import MAX_TAGS, Usage, job_usage
from queuebit.api.parts import AnyCall, Call
from queuebit.api.problems import INVALID_REQUEST
from queuebit.api.times import Instant, from_wire_or_none, wire_time, wire_time_or_none
from queuebit.core.model import Mode
from queuebit.core.usage import workload_usage_ms
from queuebit.errors import InvalidInput
from queuebit.store.database import StoredJob, StoredWorkload, WorkloadPage
from queuebit.store.listing import EntryMode, EntryStatus, Place, WorkloadQuery, status_of

router = APIRouter(tags=["Workloads"])

DEFAULT_PAGE = 10  # OpenAPI, GET /workloads
MAX_PAGE = 50  # OpenAPI, GET /workloads

_CURSOR = struct.Struct(">qq")  # a place in the list


class WorkloadUsage(BaseModel):
    """QPU time that a batch or session is charged."""

    qpu_charge_time_seconds: float


class WorkloadAnswer(BaseModel):
    """A workload as IBM's API shows it; what does not apply is left out."""

    id: str
    created: str
    ended: str | None = None
    backend: str
    instance: str = Field(description="CRN")
    user_id: str
    mode: EntryMode
    status: EntryStatus
    status_reason: str | None = Field(default=None, description="Of jobs only")
    accepting_jobs: bool | None = Field(description="null for jobs")
    tags: list[str]
    usage: Usage | WorkloadUsage
    usage_seconds: float = Field(deprecated=True)
    estimated_running_time_seconds: float | None = Field(default=None, description="Of jobs only")


class Link(BaseModel):
    """Where another page is."""

    href: str


class WorkloadList(BaseModel):
    """Answer of GET /workloads; at an end of the list there is no link beyond it."""

    workloads: list[WorkloadAnswer]
    total_count: int = Field(description="Of all that were asked for, before paging")
    limit: int
    previous: Link | None = None
    next: Link | None = None


class WorkloadFilters(BaseModel):
    """Query of GET /workloads."""

    limit: int = Field(default=DEFAULT_PAGE, ge=1, le=MAX_PAGE)
    sort: Literal["createdAt", "-createdAt"] = "createdAt"
    next: str | None = None
    previous: str | None = None
    backend: str | None = None
    mode: EntryMode | None = None
    status: Annotated[list[EntryStatus], FailFast()] = []
    search: str | None = Field(default=None, description="An id of a workload, or a tag")
    tags: list[str] = Field(
        default=[], max_length=MAX_TAGS, description="The workload carries all of them"
    )
    created_after: Instant | None = None
    created_before: Instant | None = None
    user: Literal["me"] | None = None
    include_mocks: bool = False

    def query(self, call: Call) -> WorkloadQuery:
        """Ask the store."""
        if self.next and self.previous:
            raise InvalidInput("next and previous exclude each other.", INVALID_REQUEST)
        return WorkloadQuery(
            instance=call.instance.id,
            limit=self.limit,
            newest_first=self.sort == "-createdAt",
            after=_place(self.next) if self.next else None,
            before=_place(self.previous) if self.previous else None,
            backend=self.backend,
            user=call.user.id if self.user else None,
            mode=self.mode,
            statuses=frozenset(self.status),
            search=self.search or None,
            tags=tuple(self.tags),
            created_after=from_wire_or_none(self.created_after),
            created_before=from_wire_or_none(self.created_before),
            without=() if self.include_mocks or self.backend else call.parts.mocks,
        )


@router.get("/workloads", response_model=WorkloadList)
async def list_workloads(
    call: AnyCall, request: Request, filters: Annotated[WorkloadFilters, Query()]
) -> Response:
    """List the instance's workloads: jobs in job mode, batches, sessions.

    A batch or session is `pending` while it is open or inactive, `in_progress` while it is active;
    once closed it is `canceled` if its user cancelled it and `completed` otherwise, also if some of
    its jobs failed: they have statuses of their own, and are not in this list.
    """
    page = await call.parts.database.workloads(filters.query(call))
    told = WorkloadList(
        workloads=[
            WorkloadAnswer(
                **(_job(call, entry) if isinstance(entry, StoredJob) else _workload(call, entry))
            )
            for entry in page.entries
        ],
        total_count=page.count,
        limit=filters.limit,
        **_links(request, page),
    )
    # Not `answer`: a job's `accepting_jobs` is null, and what does not apply is left out.
    return Response(told.model_dump_json(exclude_unset=True), media_type="application/json")


def _job(call: Call, job: StoredJob) -> dict[str, Any]:
    record = job.record
    estimated_ms = record.estimated_ms
    return {
        **_common(call, job),
        "mode": EntryMode.JOB,
        "accepting_jobs": None,
        "tags": list(job.details.tags),
        "usage": job_usage(record),
        "usage_seconds": record.usage_ms / 1000,
        **_known("ended", wire_time_or_none(record.ended_at)),
        **_known("status_reason", record.reason and record.reason.message),
        **_known("estimated_running_time_seconds", estimated_ms and estimated_ms / 1000),
    }


def _workload(call: Call, workload: StoredWorkload) -> dict[str, Any]:
    record = workload.record
    used_s = workload_usage_ms(record, call.parts.clock.now()) / 1000
    return {
        **_common(call, workload),
        "mode": EntryMode.BATCH if record.mode is Mode.BATCH else EntryMode.SESSION,
        "accepting_jobs": record.accepting_jobs,
        "tags": [],
        "usage": WorkloadUsage(qpu_charge_time_seconds=used_s),
        "usage_seconds": used_s,
        **_known("ended", wire_time_or_none(record.closed_at)),
    }


def _common(call: Call, entry: StoredJob | StoredWorkload) -> dict[str, Any]:
    return {
        "id": entry.record.id,
        "created": wire_time(entry.record.created_at),
        "backend": entry.record.backend,
        "instance": call.instance.crn,
        "user_id": entry.record.user if isinstance(entry, StoredJob) else entry.details.user,
        "status": status_of(entry.record),
    }


def _known(name: str, value: Any) -> dict[str, Any]:
    return {} if value is None else {name: value}


def _links(request: Request, page: WorkloadPage) -> dict[str, Link]:
    """Where the pages ahead of and behind this one are; a link asks for all that was asked for."""
    here = request.url.remove_query_params(["next", "previous"])
    links = {}
    if page.more_before:
        cursor = _cursor(page.entries[0])
        links["previous"] = Link(href=str(here.include_query_params(previous=cursor)))
    if page.more_after:
        cursor = _cursor(page.entries[-1])
        links["next"] = Link(href=str(here.include_query_params(next=cursor)))
    return links


def _cursor(entry: StoredJob | StoredWorkload) -> str:
    place = _CURSOR.pack(entry.record.created_at, entry.record.seq)
    return base64.urlsafe_b64encode(place).decode().rstrip("=")


def _place(cursor: str) -> Place:
    try:
        packed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        created_at, seq = _CURSOR.unpack(packed)
    except (binascii.Error, ValueError, struct.error):
        raise InvalidInput(
            "The cursor is none of ours.", INVALID_REQUEST, "Take next and previous from an answer."
        ) from None
    return created_at, seq
