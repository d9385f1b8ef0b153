"""The application: every resource under both of its paths, errors, limits, documentation."""

from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from queuebit import __version__
from queuebit.account import EXPERIMENTAL
from queuebit.api import (
    administration,
    analytics,
    audit,
    backends,
    estimates,
    health,
    instances,
    jobs,
    limits,
    observing,
    openapi,
    pages,
    platform,
    problems,
    results,
    sessions,
    slashes,
    submit,
    tags,
    tenants,
    usage,
    users,
    versions,
    why,
    workloads,
)
from queuebit.api.parts import Parts

PREFIX = "/api/v1"
_RUNTIME = (
    submit.router,
    jobs.router,
    results.router,
    sessions.router,
    workloads.router,
    backends.router,
    usage.router,
    instances.router,
    analytics.router,
    tags.router,
    versions.router,
    estimates.router,
    why.router,
    administration.router,
    tenants.router,
    users.router,
    audit.router,
    platform.catalog,
)


def create_app(parts: Parts) -> FastAPI:
    """Build the ASGI application on `parts`."""
    app = FastAPI(title="Queuebit", version=__version__, redirect_slashes=False, openapi_url=None)
    app.state.parts = parts
    app.add_middleware(problems.BodyLimit, max_bytes=parts.config.max_body_mb * 2**20)
    app.add_middleware(limits.Limits, config=parts.config)
    app.add_middleware(observing.Observing)
    app.add_middleware(slashes.Slashes)  # the last is the outermost
    problems.install(app, _methods)
    pages.install(app)
    app.include_router(health.router)  # before the runtime's, one of whose paths is any one word
    runtime = APIRouter()
    for router in _RUNTIME:
        runtime.include_router(router)
    app.include_router(runtime, prefix=PREFIX)
    # 0.43.1 with channel "ibm_cloud" leaves the prefix out (docs/connecting.md).
    app.include_router(runtime, include_in_schema=False)
    # The client takes a URL with this word as it is, port and all (docs/connecting.md).
    app.include_router(runtime, prefix=EXPERIMENTAL, include_in_schema=False)
    app.include_router(platform.router)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign] # FastAPI's documented way
    return app


def _methods(path: str) -> set[str]:
    """Every method that `path` has: the framework tells only those of the first route that fits."""
    if path in pages.PATHS:
        return {"GET"}
    for prefix in (PREFIX, EXPERIMENTAL):
        if path.startswith(f"{prefix}/"):
            path = path.removeprefix(prefix)
            break
    found: set[str] = set()
    for router in (*_RUNTIME, platform.router, health.router):
        for route in router.routes:
            assert isinstance(route, APIRoute)
            if route.path_regex.match(path):
                found |= route.methods or set()
    return found


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        routers = [
            *((PREFIX, router) for router in _RUNTIME),
            ("", platform.router),
            ("", health.router),
        ]
        app.openapi_schema = openapi.describe(app, routers)
    return app.openapi_schema
