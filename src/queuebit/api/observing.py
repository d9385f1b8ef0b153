"""What is told of every request: to the logs, the metrics, the traces and the audit trail."""

import asyncio
import logging
import re
import time
import uuid
from dataclasses import replace

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from queuebit.account import EXPERIMENTAL
from queuebit.api.problems import TRACE_HEADER
from queuebit.api.trail import Watch, entry
from queuebit.logs import SEEN, Seen
from queuebit.store.audit import REFUSED

log = logging.getLogger(__name__)

NO_ROUTE = "none"  # of paths that lead nowhere: users can make up any
DROPPED = "dropped"  # status of a request that got no answer: the client went, or we stop
PREFIXES = ("/api/v1", EXPERIMENTAL)
LOGIN = "/identity/token"
QUIET = frozenset({"/health", "/ready", "/metrics"})  # asked every few seconds, by machines
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_FAULT = 500
# Ids as we make them. What else stands in their place is a user's, and may be anything.
_ID = re.compile(r"[0-9a-v]{20}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_HEADER = TRACE_HEADER.encode()


class Observing:
    """ASGI middleware, around all others of ours.

    It gives a request its id, which the answer carries as `uber-trace-id`, and tells its end. Paths
    stand nowhere, only routes; no query, no header, no body.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass `scope` on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        watch: Watch = scope["app"].state.parts.watch
        client = scope.get("client")
        with watch.traces.request("request") as span:
            trace = (
                uuid.uuid4() if span is None else uuid.UUID(int=span.get_span_context().trace_id)
            )
            seen = Seen(
                request=str(trace),
                at=time.time_ns() // 1_000_000,
                address=client[0] if client else "",
            )
            # Never taken back: the answer to a bug of ours is made outside of this, and is its own.
            SEEN.set(seen)
            began_s, status = time.perf_counter(), DROPPED

            async def noting(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = str(message["status"])
                    headers = message.setdefault("headers", [])
                    if not any(name == _HEADER for name, _ in headers):
                        headers.append((_HEADER, seen.request.encode()))
                await send(message)

            try:
                await self._app(scope, receive, noting)
            except asyncio.CancelledError:
                raise
            except Exception:
                status = str(_FAULT)
                raise
            finally:
                _tell(watch, scope, seen, status, time.perf_counter() - began_s)
                if span is not None:
                    span.update_name(f"{_method(scope)} {_route(scope)}")
                    span.set_attribute("http.response.status_code", status)
                    span.set_attribute("queuebit.request", seen.request)


def _tell(watch: Watch, scope: Scope, seen: Seen, status: str, spent_s: float) -> None:
    """Tell the end of a request."""
    route, method = _route(scope), _method(scope)
    watch.metrics.requests.labels(method, route, status).inc()
    watch.metrics.latency.labels(method, route).observe(spent_s)
    if seen.code is not None:
        watch.metrics.errors.labels(str(seen.code)).inc()
    if status in ("401", "403") or (route == LOGIN and status.startswith("4")):
        refused = entry(f"{method} {route}")
        assert refused is not None
        watch.trail.note(replace(refused, outcome=REFUSED, detail=f"status={status}"))
    level = logging.DEBUG if route in QUIET else logging.INFO
    if status.startswith("5") and route not in QUIET:
        level = logging.ERROR
    if log.isEnabledFor(level):
        told: dict[str, object] = {"method": method, "route": route, "status": status}
        told |= {"ms": round(spent_s * 1_000, 1), "address": seen.address, "code": seen.code}
        told |= {
            name.removesuffix("_id"): value
            for name, value in scope.get("path_params", {}).items()
            if name in ("job_id", "session_id") and _ID.fullmatch(str(value))
        }
        log.log(level, "request", extra=told)


def _method(scope: Scope) -> str:
    method: str = scope["method"]
    return method if method in _METHODS else "other"


def _route(scope: Scope) -> str:
    """The route's path with its names for what varies, the same under every prefix."""
    path: str = getattr(scope.get("route"), "path", NO_ROUTE)
    for prefix in PREFIXES:
        if path.startswith(f"{prefix}/"):
            return path.removeprefix(prefix)
    return path
