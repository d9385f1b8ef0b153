"""Submitting a job: the one request that must not be lost, doubled or slow (docs/endpoints.md)."""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, ValidationError

from queuebit.api.job_bodies import JobBody, decoded, received, split
from queuebit.api.jobs import MAX_COST_S, PARAMS, check_tags, lower
from queuebit.api.limits import too_many
from queuebit.api.parts import AnyCall, Call, answer
from queuebit.api.problems import (
    INVALID_REQUEST,
    NOT_AUTHORIZED,
    OVER_BUDGET,
    PENDING_LIMIT,
    SESSION_CLOSED,
    USAGE_LIMIT,
    invalid,
    refused,
)
from queuebit.api.quotas import check_room
from queuebit.api.repeats import Submission
from queuebit.api.sessions import unknown_session
from queuebit.config import MockConfig
from queuebit.core.events import JobSubmitted, Refusal, Rule
from queuebit.engines.task import Outcome, Task
from queuebit.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    RequestError,
    ServiceFault,
    Unavailable,
)
from queuebit.store.details import JobDetails
from queuebit.store.payloads import SUBMISSION

router = APIRouter(tags=["Jobs"])

_ID_ALPHABET = "0123456789abcdefghijklmnopqrstuv"  # of xid, which IBM's ids look like
_CALLER_MAX = 2_000  # characters of the header that are kept; the client's has about 200
_NOTHING: dict[str, Any] = {"run": 0, "stage": None, "program_id": "", "backend": ""}
_QISKIT = re.compile(r"[,/]qiskit-(\d[^,/*]*)")

LogLevel = Annotated[
    Literal["critical", "error", "warning", "info", "debug"],
    BeforeValidator(lower),  # the client sends upper case, though IBM's schema has lower
]


class JobRequest(BaseModel):
    """Body of POST /jobs. What is not named here is refused by name."""

    model_config = ConfigDict(extra="forbid")

    program_id: str = Field(max_length=100, examples=["sampler"])
    backend: str = Field(max_length=100)
    params: dict[str, Any] = Field(default_factory=dict)  # by program; a worker validates it
    session_id: str | None = Field(default=None, max_length=36)
    tags: list[str] = []
    cost: int | None = Field(default=None, ge=0, strict=True)  # seconds of QPU time
    log_level: LogLevel | None = None
    private: StrictBool | None = None
    runtime: str | None = Field(default=None, max_length=200)


class JobCreated(BaseModel):
    """Answer of POST /jobs; the client needs both `id` and `backend`."""

    id: str
    backend: str
    session_id: str | None = None
    private: StrictBool | None = None


_CONTENT = {"application/json": {"schema": JobRequest.model_json_schema()}}
JOB_BODY = {"requestBody": {"required": True, "content": _CONTENT}}  # for the documentation


@router.post("/jobs", response_model=JobCreated, openapi_extra=JOB_BODY)
async def submit_job(call: AnyCall, request: Request) -> Response:
    """Submit a job; on the answer it is stored for good.

    The same again, because the first answer was lost, is answered with the job that it made
    (docs/decisions.md).
    """
    check_room(call.parts.reserve, request)
    repeats, job_id = call.parts.repeats, new_job_id()
    async with received(request, call.parts.payloads, job_id) as body, watched(request) as left:
        wish, params = await read_wish(call, body, left)
        submission = await repeats.begin(request, body.digest, call.who)
        if not submission.job_id.done():
            body.is_taken = True
            sent = _Sent(call, request, wish, job_id, params, body.params_bytes, submission, left)
            try:
                await call.parts.undertakings.see_through(_see_through(sent))
            except asyncio.CancelledError:
                left.set()
                repeats.gone(submission)
                raise
    await repeats.answered(submission, request)
    return answer(
        JobCreated(
            id=submission.job_id.result(),
            backend=wish.backend,
            session_id=_workload_id(call, wish),
            private=wish.private or None,
        )
    )


@dataclass(slots=True)
class _Sent:
    """A submission under way."""

    call: Call
    request: Request
    wish: JobRequest
    job_id: str
    params: bytes | None
    """None: they are stored already."""
    params_bytes: int
    submission: Submission
    left: asyncio.Event
    """Nobody waits for it any more."""


async def _see_through(sent: _Sent) -> None:
    """Submit, and tell those who repeat it meanwhile what became of it."""
    try:
        await _submit(sent)
    except BaseException as error:
        sent.call.parts.repeats.failed(sent.submission, error)
        raise
    sent.submission.job_id.set_result(sent.job_id)


def _check_rate(call: Call) -> None:
    """Count a submission of this user, or raise TooManyRequests."""
    most, parts = call.plan.submits_per_minute, call.parts
    if most is None:
        return
    who, now_s = call.who, parts.clock.now() / 1000
    wait_s = parts.submissions.take(who, most, now_s)
    if wait_s:  # a client waits by the wall clock
        raise too_many(most, f"of jobs in the {call.plan.name} plan", wait_s / parts.config.speed)


async def _submit(sent: _Sent) -> None:
    """Store, validate and submit.

    Cut off, it would kill the worker that validates: any client could cost others their workers.
    """
    call, wish, job_id = sent.call, sent.wish, sent.job_id
    payloads = call.parts.payloads
    try:
        _check_rate(call)
        await check_wish(call, wish)
        await call.parts.quotas.check(
            call.parts.database, call.instance, call.plan, sent.params_bytes
        )
        if sent.params is not None:
            await asyncio.to_thread(payloads.write, job_id, PARAMS, sent.params, durable=True)
            sent.params = None
        outcome = await validate(call, wish, job_id, sent.left)
        await _check_still_there(sent)
        if sent.submission.key is None:  # else the database keeps it
            mark = sent.submission.mark()
            await asyncio.to_thread(payloads.write, job_id, SUBMISSION, mark, durable=False)
        _check_authority(call)  # the last thing before the decision, with nothing awaited between
    except BaseException:  # also when we are stopped: nobody knows of this job
        await asyncio.shield(asyncio.to_thread(payloads.delete, job_id))
        raise
    event = JobSubmitted(
        job_id=job_id,
        instance=call.instance.id,
        user=call.user.id,
        backend=wish.backend,
        workload_id=_workload_id(call, wish),
        limit_ms=limit_ms(wish),
        estimated_ms=outcome.estimated_ms,
    )
    # From here on the driver may have stored the job, whatever becomes of this request.
    try:
        step = await call.parts.send(event, _details(sent, job_id))
    except Unavailable:  # not even looked at
        await asyncio.to_thread(payloads.delete, job_id)
        raise
    if step.refusal is not None:
        await asyncio.to_thread(payloads.delete, job_id)
        raise _submit_refusal(step.refusal)
    call.parts.quotas.took(call.instance.id, sent.params_bytes)


def _workload_id(call: Call, wish: JobRequest) -> str | None:
    return None if is_dry_run(call, wish) else wish.session_id


def new_job_id() -> str:
    """Make an id of 20 characters, as IBM's are, that nobody can guess (100 random bits)."""
    return "".join(secrets.choice(_ID_ALPHABET) for _ in range(20))


async def read_wish(
    call: Call, body: JobBody, left: asyncio.Event
) -> tuple[JobRequest, bytes | None]:
    """The checked wish in a body, and its params in JSON; None: they are stored."""
    params: bytes | None = None
    if body.content is None:
        outcome = await _check(call, Task(**_NOTHING, job_id=body.job_id, is_split=True), left)
        members = decoded(outcome.metrics["members"])
        body.params_bytes = outcome.metrics["params_bytes"]
    else:
        members, params = split(body.content)
        body.params_bytes = len(params)
    try:
        wish = JobRequest.model_validate(members)
    except ValidationError as error:
        raise invalid(error, "the request body") from None
    check_tags(wish.tags)
    return wish, params


async def check_wish(call: Call, wish: JobRequest) -> None:
    """Refuse early what would be refused anyway, before anything is stored."""
    if call.parts.backend(wish.backend) is None:
        names = ", ".join(backend.name for backend in call.parts.config.backends)
        raise InvalidInput(
            f"There is no backend {wish.backend!r}.", INVALID_REQUEST, f"Use one of {names}."
        )
    if wish.session_id is None:
        return
    workload = await call.parts.database.workload(wish.session_id)
    if workload is None or workload.record.instance != call.instance.id:
        raise unknown_session(wish.session_id)
    if not workload.record.accepting_jobs:
        raise _session_closed(f"Session {wish.session_id} has been closed.")
    if workload.record.backend != wish.backend and not is_dry_run(call, wish):
        raise InvalidInput(
            f"{workload.record.mode.capitalize()} {wish.session_id} is on backend "
            f"{workload.record.backend}; the job is for {wish.backend}.",
            INVALID_REQUEST,
            "Send it without session_id, or to that backend.",
        )
    max_ttl_s = workload.record.max_ttl_ms / 1000
    if wish.cost is not None and min(wish.cost, MAX_COST_S) > max_ttl_s:
        raise InvalidInput(  # decisions 9
            f"The job's maximum execution time, {min(wish.cost, MAX_COST_S)} s, is over the "
            f"maximum time to live of its {workload.record.mode}, {max_ttl_s:g} s.",
            INVALID_REQUEST,
            "Ask for less, or open the workload with a larger max_time.",
        )


def limit_ms(wish: JobRequest) -> int:
    """Most QPU time that the job may take (semantics 3.5)."""
    return 1_000 * (MAX_COST_S if wish.cost is None else min(wish.cost, MAX_COST_S))


def is_dry_run(call: Call, wish: JobRequest) -> bool:
    """Whether it is for a mock.

    The client sends a dry run inside a batch or session with its id, though that is on the real
    backend: such a job takes nothing of it, and runs as if in job mode.
    """
    return isinstance(call.parts.backend(wish.backend), MockConfig)


async def validate(
    call: Call, wish: JobRequest, job_id: str, left: asyncio.Event, *, only_estimate: bool = False
) -> Outcome:
    """Have a worker check the parameters, and tell what they will take."""
    task = Task(
        job_id=job_id,
        run=0,
        stage=None,
        program_id=wish.program_id,
        backend=wish.backend,
        calibrated=call.parts.driver.calibrated(wish.backend),
        only_estimate=only_estimate,
    )
    return await _check(call, task, left)


async def _check(call: Call, task: Task, left: asyncio.Event) -> Outcome:
    """Run a check in its turn; what it refuses is raised."""
    outcome = await call.parts.checks.run(task, call.instance.id, call.user.name, left)
    if outcome.held:
        raise Unavailable(f"The parameters cannot be checked now: {outcome.held}.")
    if outcome.error is None:
        return outcome
    if outcome.service_fault:
        raise ServiceFault(outcome.error.message)
    error = outcome.error
    raise refused(outcome.status, error.message, error.code, error.solution)


@asynccontextmanager
async def watched(request: Request) -> AsyncIterator[asyncio.Event]:
    """An event that is set when the client goes away, for as long as this lasts."""
    left = asyncio.Event()

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        left.set()

    watching = asyncio.create_task(watch())
    try:
        yield left
    finally:
        watching.cancel()


async def _check_still_there(sent: _Sent) -> None:
    """Refuse for a client that went away: it would never learn the job's id."""
    if sent.left.is_set() or await sent.request.is_disconnected():
        raise InvalidInput("The client went away.", INVALID_REQUEST)


def _check_authority(call: Call) -> None:
    """Refuse a user or an instance that was removed while the parameters were validated."""
    if not call.parts.identity.may_submit(call.user, call.instance):
        raise Forbidden(
            f"User {call.user.name} may no longer submit jobs to instance {call.instance.name}.",
            NOT_AUTHORIZED,
            "Ask a manager of the instance for the role.",
        )


def _details(sent: _Sent, job_id: str) -> JobDetails:
    wish = sent.wish
    caller = sent.request.headers.get("x-qx-client-application", "")[:_CALLER_MAX] or None
    version = _QISKIT.search(caller or "")
    return JobDetails(
        id=job_id,
        program_id=wish.program_id,
        tags=tuple(wish.tags),
        cost_s=None if wish.cost is None else min(wish.cost, MAX_COST_S),
        private=bool(wish.private),
        log_level=wish.log_level,
        runtime=wish.runtime,
        caller=caller,
        qiskit_version=version[1] if version else None,
        input_bytes=sent.params_bytes,
        submitted=sent.submission.key,
    )


def _submit_refusal(refusal: Refusal) -> RequestError:
    if refusal.rule is Rule.WORKLOAD_CLOSED:
        return _session_closed(refusal.message)
    if refusal.rule is Rule.USAGE_LIMIT:  # decisions 3
        return Conflict(refusal.message, USAGE_LIMIT, "Have the instance's limit raised.")
    if refusal.rule is Rule.BUDGET:
        return Conflict(refusal.message, USAGE_LIMIT, OVER_BUDGET)
    if refusal.rule is Rule.PENDING_LIMIT:
        return InvalidInput(refusal.message, PENDING_LIMIT, "Wait until some of them have ended.")
    return InvalidInput(refusal.message, INVALID_REQUEST)


def _session_closed(message: str) -> InvalidInput:
    return InvalidInput(message, SESSION_CLOSED, "Open a new session or batch.")  # decisions 17
