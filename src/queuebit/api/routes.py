"""The application: every resource under both of its paths, errors, limits, documentation."""

from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi

from queuebit import __version__
from queuebit.api import (
    administration,
    backends,
    estimates,
    jobs,
    platform,
    problems,
    results,
    sessions,
    submit,
    usage,
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
    versions.router,
    estimates.router,
    why.router,
    administration.router,
    platform.catalog,
)
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": problems.Problem, "description": "The request breaks a rule"},
    "5XX": {"model": problems.Problem, "description": "The service failed; nothing was stored"},
}


def create_app(parts: Parts) -> FastAPI:
    """Build the ASGI application on `parts`."""
    app = FastAPI(title="Queuebit", version=__version__, redirect_slashes=False, redoc_url=None)
    app.state.parts = parts
    app.add_middleware(problems.BodyLimit, max_bytes=parts.config.max_body_mb * 2**20)
    problems.install(app)
    runtime = APIRouter(responses=_PROBLEMS)
    for router in _RUNTIME:
        runtime.include_router(router)
    app.include_router(runtime, prefix=PREFIX)
    # 0.43.1 with channel "ibm_cloud" leaves the prefix out (docs/connecting.md).
    app.include_router(runtime, include_in_schema=False)
    app.include_router(platform.router)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign] # FastAPI's documented way
    return app


def _openapi(app: FastAPI) -> dict[str, Any]:
    """Describe the API, with how to identify oneself, which no route declares."""
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, routes=app.routes)
        schema["components"]["securitySchemes"] = {
            "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            "apikey": {
                "type": "apiKey",
                "in": "header",
                "name": "Authorization",
                "description": "The word apikey, a space, the API key",
            },
            "instance": {
                "type": "apiKey",
                "in": "header",
                "name": "Service-CRN",
                "description": "The CRN of the instance that is charged",
            },
        }
        schema["security"] = [{"token": [], "instance": []}, {"apikey": [], "instance": []}]
        app.openapi_schema = schema
    return app.openapi_schema
