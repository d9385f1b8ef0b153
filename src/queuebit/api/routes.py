"""The application: every resource under both of its paths, errors, limits, documentation."""

from typing import Any

from fastapi import APIRouter, FastAPI

from queuebit import __version__
from queuebit.api import (
    administration,
    analytics,
    backends,
    estimates,
    instances,
    jobs,
    openapi,
    pages,
    platform,
    problems,
    results,
    sessions,
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
# The client takes a URL with this word as the runtime API's own, port and all (`api/utils.py`).
EXPERIMENTAL = "/experimental"
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
    platform.catalog,
)


def create_app(parts: Parts) -> FastAPI:
    """Build the ASGI application on `parts`."""
    app = FastAPI(title="Queuebit", version=__version__, redirect_slashes=False, openapi_url=None)
    app.state.parts = parts
    app.add_middleware(problems.BodyLimit, max_bytes=parts.config.max_body_mb * 2**20)
    problems.install(app)
    pages.install(app)
    runtime = APIRouter()
    for router in _RUNTIME:
        runtime.include_router(router)
    app.include_router(runtime, prefix=PREFIX)
    # 0.43.1 with channel "ibm_cloud" leaves the prefix out (docs/connecting.md).
    app.include_router(runtime, include_in_schema=False)
    app.include_router(platform.router)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign] # FastAPI's documented way
    return app


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        routers = [*((PREFIX, router) for router in _RUNTIME), ("", platform.router)]
        app.openapi_schema = openapi.describe(app, routers)
    return app.openapi_schema
