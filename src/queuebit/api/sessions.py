"""Sessions and batches: one resource, two modes (docs/endpoints.md)."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field, StrictBool

from queuebit.api.parts import AnyCall, Call, answer, nothing
from queuebit.api.problems import (
    INVALID_REQUEST,
    NO_SESSIONS,
    NOT_FOUND,
    PENDING_LIMIT,
    SESSION_CLOSED,
)
from queuebit.api.text import Text
from queuebit.api.times import wire_time, wire_time_or_none
from queuebit.config import MockConfig
from queuebit.core.events import WorkloadCancelRequested, WorkloadCloseRequested, WorkloadOpened
from queuebit.core.model import Mode, Workload, WorkloadState
from queuebit.core.usage import active_ms, workload_usage_ms
from queuebit.errors import InvalidInput, NotFound
from queuebit.store.database import StoredWorkload
from queuebit.store.details import WorkloadDetails

router = APIRouter(tags=["Sessions"])

Seconds = Annotated[int, Field(ge=1, le=2**31 - 1, strict=True)]


class SessionRequest(BaseModel):
    """Body of POST /sessions; the client may send more, which is ignored."""

    mode: Mode
    backend: Text | None = None
    backend_name: Text | None = None  # where `backend` is not given
    max_ttl: Seconds | None = None  # None: the plan's default
    interactive_ttl: Seconds | None = None  # None: the plan's
    active_ttl: Seconds | None = None  # None: as max_ttl


class SessionChange(BaseModel):
    """Body of PATCH /sessions/{id}."""

    accepting_jobs: StrictBool


class Transition(BaseModel):
    """A state that a workload took."""

    status: WorkloadState
    timestamp: str


class SessionTime(BaseModel):
    """What a session's usage is made of, in seconds: their sum is `elapsed_time`."""

    active_seconds: float = Field(description="Wall clock while it was active")
    modelled_seconds: float = Field(description="QPU time of its jobs that simulations spared")


class SessionAnswer(BaseModel):
    """A session or batch as IBM's API shows it; null is what has not happened."""

    id: str
    backend_name: str | None
    mode: Mode
    state: WorkloadState
    state_reason: str
    accepting_jobs: bool
    interactive_ttl: int
    max_ttl: int
    active_ttl: int = Field(description="What is left of it")
    started_at: str | None
    activated_at: str | None
    closed_at: str | None
    last_job_started: str | None
    last_job_completed: str | None
    timestamps: list[Transition]
    user_id: str
    elapsed_time: float | None = Field(description="Usage in seconds; null before the first job")
    queuebit: SessionTime | None = Field(description="Beside IBM's; null of a batch")


@router.post("/sessions", response_model=SessionAnswer)
async def open_session(call: AnyCall, wish: SessionRequest) -> Response:
    """Open a session or a batch."""
    parts = call.parts
    event = _opened(call, wish)
    _check_open(call)
    details = WorkloadDetails(id=event.workload_id, user=call.user.id)
    step = await parts.send(event, details)
    record = step.changed[event.workload_id]
    assert isinstance(record, Workload)
    return _answer(call, StoredWorkload(record=record, details=details))


def _check_open(call: Call) -> None:
    """Refuse one more than may be open: each costs every decision a little."""
    most = call.plan.open_sessions_max
    present = call.parts.driver.open_sessions(call.instance.id)
    if most is not None and present >= most:
        raise InvalidInput(
            f"Instance {call.instance.name} has {present} open batches and sessions; "
            f"its limit is {most}.",
            PENDING_LIMIT,
            "Close some of them.",
        )


@router.get("/sessions/{session_id}", response_model=SessionAnswer)
async def read_session(call: AnyCall, session_id: str) -> Response:
    """Read a session or a batch."""
    return _answer(call, await _owned(call, session_id))


@router.patch("/sessions/{session_id}", status_code=204)
async def change_session(call: AnyCall, session_id: str, wish: SessionChange) -> Response:
    """Close it to new jobs; those there are run to their end."""
    workload = await _owned(call, session_id)
    if not wish.accepting_jobs:
        await call.parts.send(WorkloadCloseRequested(workload_id=session_id))
    elif not workload.record.accepting_jobs:
        raise InvalidInput(
            f"Session {session_id} accepts no jobs, and never will again.",
            SESSION_CLOSED,
            "Open a new session or batch.",
        )
    return nothing()


@router.delete("/sessions/{session_id}/close", status_code=204)
async def cancel_session(call: AnyCall, session_id: str) -> Response:
    """Close it to new jobs and cancel queued ones; running ones run to their end."""
    await _owned(call, session_id)
    await call.parts.send(WorkloadCancelRequested(workload_id=session_id))
    return nothing()


def _opened(call: Call, wish: SessionRequest) -> WorkloadOpened:
    """Check the wish against the plan, and fill in what is not said."""
    plan, mode = call.plan, wish.mode
    if mode is Mode.SESSION and plan.sessions == "batch":  # decisions 10
        mode = Mode.BATCH
    elif mode is Mode.SESSION and not plan.sessions:
        raise InvalidInput(
            f"You are not authorized to run a session when using the {plan.name} plan.",
            NO_SESSIONS,
            "Create an instance of a different plan type or use a different execution mode.",
        )
    backend = wish.backend or wish.backend_name
    if backend is None or call.parts.backend(backend) is None:
        names = ", ".join(known.name for known in call.parts.config.backends)
        raise InvalidInput(
            f"There is no backend {backend!r}." if backend else "A backend is needed.",
            INVALID_REQUEST,
            f"Use one of {names}.",
        )
    if isinstance(call.parts.backend(backend), MockConfig):
        raise InvalidInput(
            f"{backend} is a mock, on which jobs run by themselves.",
            INVALID_REQUEST,
            "Open it on the real backend, and run its jobs with dry_run=True.",
        )
    max_ttl_s = wish.max_ttl or plan.default_ttl_s or plan.max_ttl_s
    _check_ttl("max_ttl", max_ttl_s, plan.max_ttl_s, f"the {plan.name} plan's maximum")
    active_ttl_s = wish.active_ttl or max_ttl_s
    _check_ttl("active_ttl", active_ttl_s, max_ttl_s, "its max_ttl")
    # The plan's own may be more than a short max_ttl, and then never falls due.
    interactive_ttl_s = wish.interactive_ttl or plan.interactive_ttl_s
    if wish.interactive_ttl is not None:
        _check_ttl("interactive_ttl", interactive_ttl_s, active_ttl_s, "its active_ttl")
    return WorkloadOpened(
        workload_id=str(uuid.uuid4()),
        instance=call.instance.id,
        backend=backend,
        mode=mode,
        max_ttl_ms=max_ttl_s * 1000,
        interactive_ttl_ms=interactive_ttl_s * 1000,
        active_ttl_ms=active_ttl_s * 1000,
        unused_ttl_ms=plan.unused_ttl_s * 1000,
        ends_idle=plan.idle_batches == "close" and mode is Mode.BATCH,
    )


def _check_ttl(name: str, wished_s: int, limit_s: int, what: str) -> None:
    if wished_s > limit_s:  # decisions 11
        raise InvalidInput(
            f"{name} {wished_s} s is over {what} of {limit_s} s.",
            INVALID_REQUEST,
            f"Ask for {limit_s} s or less.",
        )


async def _owned(call: Call, session_id: str) -> StoredWorkload:
    """Find the session or batch among those of the caller's instance."""
    workload = await call.parts.database.workload(session_id)
    if workload is None or workload.record.instance != call.instance.id:
        raise unknown_session(session_id)
    return workload


def unknown_session(session_id: str) -> NotFound:
    """Make the error for a session or batch that the caller's instance does not have."""
    return NotFound(
        f"Session not found. Session ID: {session_id}", NOT_FOUND, "Check the id and the instance."
    )


def _answer(call: Call, workload: StoredWorkload) -> Response:
    record, now = workload.record, call.parts.clock.now()
    active_left_ms = record.active_ttl_ms - active_ms(record, now) - record.modelled_ms
    told = SessionAnswer(
        id=record.id,
        backend_name=record.backend,
        mode=record.mode,
        state=record.state,
        state_reason=record.state_reason,
        accepting_jobs=record.accepting_jobs,
        interactive_ttl=record.interactive_ttl_ms // 1000,
        max_ttl=record.max_ttl_ms // 1000,
        active_ttl=max(0, active_left_ms) // 1000,  # decisions 19
        started_at=wire_time_or_none(record.started_at),
        activated_at=wire_time_or_none(record.activated_at),
        closed_at=wire_time_or_none(record.closed_at),
        last_job_started=wire_time_or_none(record.last_job_started_at),
        last_job_completed=wire_time_or_none(record.last_job_completed_at),
        timestamps=[
            Transition(status=state, timestamp=wire_time(at)) for state, at in record.transitions
        ],
        user_id=workload.details.user,
        elapsed_time=_elapsed_s(record, now),
        queuebit=_time(record, now) if record.mode is Mode.SESSION else None,
    )
    return answer(told, unset=True)


def _elapsed_s(workload: Workload, now: int) -> float | None:
    """Usage in seconds; null before the first job starts (as IBM's samples), 0 if none ever did."""
    if workload.state is WorkloadState.OPEN:
        return None
    return workload_usage_ms(workload, now) / 1000


def _time(session: Workload, now: int) -> SessionTime:
    return SessionTime(
        active_seconds=active_ms(session, now) / 1000,
        modelled_seconds=session.modelled_ms / 1000,
    )
