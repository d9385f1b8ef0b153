"""Submitting a job: the one request that must not be lost, doubled or slow (docs/endpoints.md)."""

import asyncio
import re
import secrets
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, ValidationError

from queuebit.api import envelope
from queuebit.api.jobs import MAX_COST_S, PARAMS, check_tags, lower
from queuebit.api.limits import too_many
from queuebit.api.parts import AnyCall, Call, Parts, answer
from queuebit.api.problems import (
    INVALID_REQUEST,
    NOT_AUTHORIZED,
    PENDING_LIMIT,
    SESSION_CLOSED,
    USAGE_LIMIT,
    invalid,
    refused,
)
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

_SPLIT_IN_THREAD = 256 * 1024  # bytes; smaller bodies are split faster than a thread starts
_MEMBERS_MAX = 65_536  # bytes of what is decoded here: all but the params
# The largest jobs that fit into a body take some seconds; the client itself waits for 900 s.
VALIDATION_MAX_S = 300

_ID_ALPHABET = "0123456789abcdefghijklmnopqrstuv"  # of xid, which IBM's ids look like
_CALLER_MAX = 2_000  # characters of the header that are kept; the client's has about 200
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
    body = await request.body()
    wish, params = await read_wish(call.parts, body)
    repeats = call.parts.repeats
    submission = await repeats.begin(request, body, call.who)
    del body
    if not submission.job_id.done():
        sent = _Sent(call, request, wish, params, submission)
        try:
            await call.parts.undertakings.see_through(_see_through(sent))
        except asyncio.CancelledError:
            sent.gone.set()
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
    params: bytes
    submission: Submission
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Nobody waits for it any more."""


async def _see_through(sent: _Sent) -> None:
    """Submit, and tell those who repeat it meanwhile what became of it."""
    try:
        _check_rate(sent.call)
        await check_wish(sent.call, sent.wish)
        job_id = await _submit(sent)
    except BaseException as error:
        sent.call.parts.repeats.failed(sent.submission, error)
        raise
    sent.submission.job_id.set_result(job_id)


def _check_rate(call: Call) -> None:
    """Count a submission of this user, or raise TooManyRequests."""
    most, parts = call.plan.submits_per_minute, call.parts
    if most is None:
        return
    who, now_s = call.who, parts.clock.now() / 1000
    wait_s = parts.submissions.take(who, most, now_s)
    if wait_s:  # a client waits by the wall clock
        raise too_many(most, f"of jobs in the {call.plan.name} plan", wait_s / parts.config.speed)


async def _submit(sent: _Sent) -> str:
    """Store, validate and submit; the job's id.

    Cut off, it would kill the worker that validates: any client could cost others their workers.
    """
    call, wish = sent.call, sent.wish
    job_id, payloads = new_job_id(), call.parts.payloads
    try:
        await asyncio.to_thread(payloads.write, job_id, PARAMS, sent.params, durable=True)
        outcome = await validate(call, wish, job_id)
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
        backend=wish.backend,
        workload_id=_workload_id(call, wish),
        limit_ms=1_000 * (MAX_COST_S if wish.cost is None else min(wish.cost, MAX_COST_S)),
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
    return job_id


def _workload_id(call: Call, wish: JobRequest) -> str | None:
    return None if is_dry_run(call, wish) else wish.session_id


def new_job_id() -> str:
    """Make an id of 20 characters, as IBM's are, that nobody can guess (100 random bits)."""
    return "".join(secrets.choice(_ID_ALPHABET) for _ in range(20))


async def read_wish(parts: Parts, body: bytes) -> tuple[JobRequest, bytes]:
    """Read the body: the checked wish without its params, and these as they came."""
    if len(body) > _SPLIT_IN_THREAD:
        async with parts.splitting:
            members = await asyncio.to_thread(envelope.split, body)
    else:
        members = envelope.split(body)
    params = members.pop(PARAMS, b"{}")
    if not params.startswith(b"{"):
        raise InvalidInput("params is not a JSON object.", INVALID_REQUEST)
    if sum(map(len, members.values())) > _MEMBERS_MAX:
        raise InvalidInput(
            f"All but params of the request body is over the limit of {_MEMBERS_MAX} bytes.",
            INVALID_REQUEST,
        )
    try:
        wish = JobRequest.model_validate(
            {key: envelope.decode(value) for key, value in members.items()}
        )
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


def is_dry_run(call: Call, wish: JobRequest) -> bool:
    """Whether it is for a mock.

    The client sends a dry run inside a batch or session with its id, though that is on the real
    backend: such a job takes nothing of it, and runs as if in job mode.
    """
    return isinstance(call.parts.backend(wish.backend), MockConfig)


async def validate(
    call: Call, wish: JobRequest, job_id: str, *, only_estimate: bool = False
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
    try:
        async with asyncio.timeout(VALIDATION_MAX_S):  # and its worker is killed
            outcome = await call.parts.engine.run(task)
    except TimeoutError:
        raise InvalidInput(
            f"The parameters could not be checked in {VALIDATION_MAX_S} s.",
            INVALID_REQUEST,
            "Send smaller or fewer circuits in one job.",
        ) from None
    if outcome.held:
        raise Unavailable(f"The parameters cannot be checked now: {outcome.held}.")
    if outcome.error is None:
        return outcome
    if outcome.service_fault:
        raise ServiceFault(outcome.error.message)
    error = outcome.error
    raise refused(outcome.status, error.message, error.code, error.solution)


async def _check_still_there(sent: _Sent) -> None:
    """Refuse for a client that went away: it would never learn the job's id."""
    if sent.gone.is_set() or await sent.request.is_disconnected():
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
    call, wish = sent.call, sent.wish
    caller = sent.request.headers.get("x-qx-client-application", "")[:_CALLER_MAX] or None
    version = _QISKIT.search(caller or "")
    return JobDetails(
        id=job_id,
        user=call.user.id,
        program_id=wish.program_id,
        tags=tuple(wish.tags),
        cost_s=None if wish.cost is None else min(wish.cost, MAX_COST_S),
        private=bool(wish.private),
        log_level=wish.log_level,
        runtime=wish.runtime,
        caller=caller,
        qiskit_version=version[1] if version else None,
        input_bytes=len(sent.params),
        submitted=sent.submission.key,
    )


def _submit_refusal(refusal: Refusal) -> RequestError:
    if refusal.rule is Rule.WORKLOAD_CLOSED:
        return _session_closed(refusal.message)
    if refusal.rule is Rule.USAGE_LIMIT:  # decisions 3
        return Conflict(refusal.message, USAGE_LIMIT, "Have the instance's limit raised.")
    if refusal.rule is Rule.PENDING_LIMIT:
        return InvalidInput(refusal.message, PENDING_LIMIT, "Wait until some of them have ended.")
    return InvalidInput(refusal.message, INVALID_REQUEST)


def _session_closed(message: str) -> InvalidInput:
    return InvalidInput(message, SESSION_CLOSED, "Open a new session or batch.")  # decisions 17
