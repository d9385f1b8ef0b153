"""How errors are told: IBM's two forms in one body, with IBM's numbers (decisions 21).

The client parses only `error`, other users of the API read `errors` and `trace`; with the header
`uber-trace-id` the client shows the message alone.
"""

import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, TypeAlias

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from queuebit.errors import (
    Busy,
    InvalidInput,
    RequestError,
    ServiceFault,
    StorageFull,
    TooManyRequests,
    Unavailable,
    advised,
)
from queuebit.logs import SEEN
from queuebit.store.faults import is_full, is_passing, said

log = logging.getLogger(__name__)

# IBM's numbers (docs/endpoints.md; semantics 6.4) ...
INTERNAL = 1000
PAYLOAD_TOO_LARGE = 1001
NOT_AUTHORIZED = 1200
INVALID_CREDENTIALS = 1201
TOO_MANY_REQUESTS = 1202
TOO_MANY_TAGS = 1204
TAG_TOO_LONG = 1205
INVALID_REQUEST = 1208
SESSION_CLOSED = 1217
BAD_CRN = 1241
UNKNOWN_INSTANCE = 1279
RAN_TOO_LONG = 1305
NO_SESSIONS = 1352
PENDING_LIMIT = 3458
USAGE_LIMIT = 4317
OVER_BUDGET = "Give the job less to do, cancel one that waits, or have the limit raised."
JOB_NOT_CANCELLABLE = 3209
JOB_NOT_FINAL = 3211
JOB_NOT_FOUND = 3250
# ... and ours, where none of IBM's is known.
NOT_FOUND = 1404
METHOD_NOT_ALLOWED = 1405
CONFLICT = 1409
GONE = 1410
STORAGE_FULL = 1507

MORE_INFO = "https://cloud.ibm.com/apidocs/quantum-computing#error-handling"
TRACE_HEADER = "uber-trace-id"
SMALL_BODY = 2**20  # bytes; limit of all bodies but a job's
# Commas, colons and ampersands of such a body: each may begin a member, which may be an error.
SMALL_MARKS = 500
RETRY_AFTER_S = 2  # of what passes by itself
_TOLD_MAX = 10  # errors of one request: a body may hold a hundred thousand
_MARKS = (b",", b":", b"&")
_LARGE = ("/jobs", "/queuebit/estimates")  # paths that take a job


class OneProblem(BaseModel):
    """One broken rule."""

    code: int
    message: str
    solution: str
    more_info: str


class ShortProblem(BaseModel):
    """The form that qiskit-ibm-runtime parses."""

    code: int
    message: str


class Problem(BaseModel):
    """The body of every 4xx and 5xx answer."""

    errors: list[OneProblem]
    error: ShortProblem
    trace: str


def problem(status: int, code: int, message: str, *, solution: str = "") -> Response:
    """Answer an error; its trace is the request's id in logs and the audit trail."""
    seen = SEEN.get()
    if seen is not None:
        seen.code = code
    message = message.encode(errors="backslashreplace").decode()  # what half of a character is in
    told = Problem(
        errors=[OneProblem(code=code, message=message, solution=solution, more_info=MORE_INFO)],
        error=ShortProblem(
            # The client shows nothing else, so what to do instead belongs to the message there; and
            # it goes on behind it with ", Error code: 1208." (client 0.51, api/session.py).
            code=code,
            message=advised(message, solution).removesuffix("."),
        ),
        trace=_trace(),
    )
    headers = {TRACE_HEADER: told.trace}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(told.model_dump(), status, headers)


def invalid(error: ValidationError | RequestValidationError, what: str) -> InvalidInput:
    """Tell every field that breaks a rule of its model, by name."""
    errors = error.errors()
    told = "; ".join(_told(detail) for detail in errors[:_TOLD_MAX])
    if len(errors) > _TOLD_MAX:
        told += f"; and {len(errors) - _TOLD_MAX} more"
    return InvalidInput(f"Request validation of {what} failed: {told}.", INVALID_REQUEST)


def refusal(error: RequestError) -> Response:
    """Answer one of our errors."""
    answer = problem(error.status, error.code, error.message, solution=error.solution)
    if isinstance(error, TooManyRequests):
        answer.headers["Retry-After"] = str(error.retry_after_s)
    return answer


def refused(status: int, message: str, code: int, solution: str) -> RequestError:
    """Make the error of our tree that has this HTTP status; 400 if none has."""
    all_kinds: list[type[RequestError]] = [*RequestError.__subclasses__(), Busy]
    kinds = {kind.status: kind for kind in all_kinds}
    return kinds.get(status, InvalidInput)(message, code, solution)


def install(app: FastAPI, methods: Callable[[str], set[str]]) -> None:
    """Have every error of `app` answered in this form; `methods` are those that a path has."""

    async def on_http(request: Request, error: HTTPException) -> Response:
        answer = await _on_http(request, error)
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            answer.headers["Allow"] = ", ".join(sorted(methods(request.url.path)))
        return answer

    handlers: Mapping[Any, _Handler] = {
        RequestError: _on_refusal,
        ClientDisconnect: _on_gone,
        RequestValidationError: _on_invalid,
        HTTPException: on_http,
        Unavailable: _on_passing,
        ServiceFault: _on_fault,
        OSError: _on_io,
        SQLAlchemyError: _on_io,
        Exception: _on_bug,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


class BodyLimit:
    """ASGI middleware that refuses bodies over a limit while they arrive.

    Only submitting a job, or asking what it would take, may send `max_bytes`; both look at the
    credentials first.

    The rest of a refused body is read and dropped by the server: a connection closed in the middle
    of its request would hide the answer from the client.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass `scope` on, with a counting `receive`."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._max_bytes if scope["path"].endswith(_LARGE) else SMALL_BODY
        told = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        announced, received, marks = int(told), 0, 0  # the server has checked that it is a number

        async def counted() -> Message:
            nonlocal received, marks
            if announced > limit:
                raise _too_large(limit)
            message = await receive()
            body = message.get("body", b"")
            received += len(body)
            if received > limit:
                raise _too_large(limit)
            if (
                limit == SMALL_BODY
                and (marks := marks + sum(map(body.count, _MARKS))) > SMALL_MARKS
            ):
                raise _too_many(SMALL_MARKS)
            return message

        await self._app(scope, counted, send)


_Handler: TypeAlias = Callable[[Request, Any], Awaitable[Response]]

_HTTP_CODES = {
    HTTPStatus.NOT_FOUND: (NOT_FOUND, "See /openapi.json for what there is."),
    HTTPStatus.METHOD_NOT_ALLOWED: (METHOD_NOT_ALLOWED, "See /openapi.json for what there is."),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: (
        PAYLOAD_TOO_LARGE,
        "Split the job, or have the operator raise max_body_mb.",
    ),
}


def _too_many(limit: int) -> HTTPException:
    return HTTPException(
        HTTPStatus.BAD_REQUEST, f"The request body has more than {limit} members or items."
    )


def _too_large(limit: int) -> HTTPException:
    # FastAPI turns everything but an HTTPException into a 400 while it reads a body.
    return HTTPException(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"The request body is over the limit of {limit / 2**20:g} MiB.",
    )


async def _on_refusal(_request: Request, error: RequestError) -> Response:
    return refusal(error)


async def _on_gone(_request: Request, _error: ClientDisconnect) -> Response:
    """Answer nobody: the client went away while it sent its body."""
    return problem(HTTPStatus.BAD_REQUEST, INVALID_REQUEST, "The client went away.")


async def _on_invalid(request: Request, error: RequestValidationError) -> Response:
    told = invalid(error, "the request")
    return await _on_refusal(request, told)


async def _on_http(request: Request, error: HTTPException) -> Response:
    code, solution = _HTTP_CODES.get(HTTPStatus(error.status_code), (INVALID_REQUEST, ""))
    message = error.detail
    if code in {NOT_FOUND, METHOD_NOT_ALLOWED}:
        message = f"{message}: {request.method} {request.url.path}."
    answer = problem(error.status_code, code, message, solution=solution)
    answer.headers.update(error.headers or {})
    return answer


async def _on_fault(_request: Request, error: ServiceFault) -> Response:
    """Answer 503, which the client repeats: raised only where nothing was stored."""
    log.error("request failed", exc_info=error)
    solution = f"Try again; if it persists, tell the operator the trace {_trace()}."
    return problem(503, INTERNAL, str(error), solution=solution)


async def _on_passing(_request: Request, error: Unavailable) -> Response:
    """Answer 503, which the client repeats, and when that makes sense."""
    answer = problem(503, INTERNAL, str(error), solution="Try again in a moment.")
    answer.headers["Retry-After"] = str(RETRY_AFTER_S)
    return answer


async def _on_io(request: Request, error: OSError | SQLAlchemyError) -> Response:
    """Answer a fault of the disk or the database: one that passes is no bug of ours."""
    if not is_passing(error):
        return await _on_bug(request, error)
    log.warning("request failed", extra={"fault": said(error)})
    if is_full(error):
        return refusal(no_room())
    return await _on_passing(request, Unavailable("The service's storage does not answer."))


def no_room() -> StorageFull:
    """Make the error for what the disk has no room for."""
    return StorageFull(
        "The service's disk is full.", STORAGE_FULL, "Have the operator make room; then try again."
    )


async def _on_bug(_request: Request, error: Exception) -> Response:
    """Answer 500 without a word about our insides; the log tells where it was."""
    log.error("request failed", exc_info=error)
    solution = f"Tell the operator the trace {_trace()}."
    answer = problem(500, INTERNAL, "Internal server error.", solution=solution)
    answer.headers["Connection"] = "close"  # the server does, once it has seen the error
    return answer


def _trace() -> str:
    """Id of the request under way."""
    seen = SEEN.get()
    return str(uuid.uuid4()) if seen is None else seen.request


def _told(detail: ErrorDetails | dict[str, Any]) -> str:
    path = [str(step) for step in detail["loc"] if step not in {"body", "query", "path"}]
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "extra_forbidden":
        message = "is not supported by this service"
    return f"{'.'.join(path)}: {message}" if path else message
