"""Whether the service lives, whether it can work, and its numbers: for machines that watch it."""

import asyncio
import ipaddress
from typing import Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, Field
from starlette.types import ASGIApp, Receive, Scope, Send

from queuebit.api.parts import AnyParts, Parts, admin_of
from queuebit.api.problems import NOT_AUTHORIZED, NOT_FOUND, Problem
from queuebit.api.storage import Reason
from queuebit.errors import Forbidden, NotFound

router = APIRouter(tags=["Queuebit"])

_FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-real-ip")


class Gate:
    """The application once there is one; until then, whether the process lives.

    Requests that come meanwhile wait: a client is not told an error because it was early.
    """

    def __init__(self) -> None:
        self._app: ASGIApp | None = None
        self._opened = asyncio.Event()

    def open(self, app: ASGIApp) -> None:
        """Pass all requests on to `app` from now on."""
        self._app = app
        self._opened.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass `scope` on, or answer."""
        if self._app is None and scope.get("path") == "/health":
            return await (await health())(scope, receive, send)
        if self._app is None and scope.get("path") == "/ready":
            return await _told(503, "starting")(scope, receive, send)
        await self._opened.wait()
        assert self._app is not None
        return await self._app(scope, receive, send)


class HealthAnswer(BaseModel):
    """Answer of GET /health."""

    status: Literal["ok"] = "ok"


class ReadyAnswer(BaseModel):
    """Answer of GET /ready."""

    ready: bool
    reason: Reason | None = Field(description="Null: it is ready")


@router.get("/health", response_model=HealthAnswer)
async def health() -> Response:
    """Whether the process answers; needs no credentials."""
    return Response(HealthAnswer().model_dump_json(), media_type="application/json")


@router.get("/ready", response_model=ReadyAnswer, responses={503: {"model": ReadyAnswer}})
async def ready(parts: AnyParts) -> Response:
    """Whether jobs are taken and run: 200, or 503 with one word why not; needs no credentials."""
    reason = await _reason(parts)
    return _told(503 if reason else 200, reason)


def _told(status: int, reason: Reason | None) -> Response:
    told = ReadyAnswer(ready=reason is None, reason=reason)
    return JSONResponse(told.model_dump(), status, {"Cache-Control": "no-store"})


async def _reason(parts: Parts) -> Reason | None:
    """Why it is not ready; None: it is."""
    if not parts.driver.is_running:
        return "stopped"
    staff = parts.watch.staff() if parts.watch.staff is not None else None
    if staff is not None and not staff.pids:
        return "no workers"
    if parts.driver.is_stalled:
        return "database"
    return await parts.watch.storage.look(parts.database, parts.config, parts.reserve)


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
        **{status: {"model": Problem} for status in (401, 403, 404)},
    },
)
async def metrics(parts: AnyParts, request: Request) -> Response:
    """Numbers for Prometheus; the setting `metrics` says who may read them."""
    match parts.config.metrics:
        case "off":
            raise NotFound("This service tells no metrics.", NOT_FOUND)
        case "loopback" if not _is_near(request):
            raise Forbidden(
                "Metrics are for this machine only.", NOT_AUTHORIZED, "See the setting metrics."
            )
        case "admin":
            await admin_of(request)
        case _:
            pass
    staff = parts.watch.staff() if parts.watch.staff is not None else None
    lanes = {backend.name: backend.lanes for backend in parts.config.offered}
    parts.watch.metrics.look(lanes, staff)
    if parts.reserve is not None:
        parts.watch.metrics.disk(parts.reserve.free, is_reserved=parts.reserve.is_there)
    parts.watch.metrics.stored(await parts.database.stored_by_instance())
    content = await asyncio.to_thread(parts.watch.metrics.text)
    return Response(content, media_type=CONTENT_TYPE_LATEST)


def _is_near(request: Request) -> bool:
    """From this machine, and not passed on by a proxy on it, whatever the setting believes."""
    if request.client is None or any(name in request.headers for name in _FORWARDED):
        return False
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False
