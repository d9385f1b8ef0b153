"""The API told in OpenAPI: what FastAPI finds out, and what every route answers beside.

Who may ask, and so how a request can be refused, follows from what a handler depends on. Only what
no signature tells stands in tables here. `docs/openapi.json` is this (`scripts/openapi`).
"""

from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, get_args

from fastapi import APIRouter, FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from queuebit.api.parts import AnyAdmin, AnyCall, AnyKey, AnyUser
from queuebit.api.platform import KEY_GRANT, IamProblem
from queuebit.api.problems import Problem

Schema = dict[str, Any]
Operation = tuple[str, str]
"""Method and path without /api/v1."""

_REF = "#/components/schemas/{model}"
_ADMIN, _CALL, _KEY, _USER = (
    get_args(kind)[1].dependency for kind in (AnyAdmin, AnyCall, AnyKey, AnyUser)
)

_WHY = {
    400: "A value breaks a rule; the message names both",
    401: "No credentials, or none that are valid",
    403: "The caller's role does not allow it",
    404: "There is no such thing, or it is not the caller's",
    408: "The request came too slowly",
    409: "The present state does not allow it",
    410: "It was there, and is no more",
    413: "The body is over the limit",
    429: "Over a rate limit",
    500: "Our own failure",
    503: "Our own failure, or too many connections; nothing was stored",
    507: "There is no room for what would be stored",
}

_OF_MANAGERS = {
    ("PATCH", "/v2/resource_instances/{crn}"),
    ("PUT", "/queuebit/instances/{name}/users/{user_name}"),
    ("DELETE", "/queuebit/instances/{name}/users/{user_name}"),
}
_CONFLICTS = {
    ("POST", "/jobs"),
    ("POST", "/jobs/{job_id}/cancel"),
    ("PUT", "/instances/configuration"),
    ("POST", "/queuebit/instances"),
    ("PATCH", "/queuebit/instances/{name}"),
    ("DELETE", "/queuebit/instances/{name}"),
    ("PUT", "/queuebit/instances/{name}/users/{user_name}"),
    ("DELETE", "/queuebit/instances/{name}/users/{user_name}"),
    ("POST", "/queuebit/users"),
    ("PATCH", "/queuebit/users/{name}"),
    ("DELETE", "/queuebit/users/{name}"),
    ("POST", "/queuebit/users/{name}/keys"),
    ("DELETE", "/queuebit/users/{name}/keys/{key_id}"),
    ("PATCH", "/v2/resource_instances/{crn}"),
}

_CIRCUIT = (
    'OPENQASM 3.0; include "stdgates.inc"; bit[1] c; x $0; c[0] = measure $0;'  # one is measured
)
_JOB = {
    "program_id": "sampler",
    "backend": "fake_manila",
    "params": {"version": 2, "pubs": [[_CIRCUIT, None, 100]]},
    "tags": ["example"],
}
_BODIES: Mapping[Operation, Any] = {
    ("POST", "/jobs"): _JOB,
    ("PUT", "/jobs/{job_id}/tags"): {"tags": ["example"]},
    ("POST", "/sessions"): {"mode": "batch", "backend": "fake_manila", "max_ttl": 3600},
    ("PATCH", "/sessions/{session_id}"): {"accepting_jobs": False},
    ("PUT", "/instances/configuration"): {"instance_limit": 3600},
    ("PATCH", "/v2/resource_instances/{crn}"): {
        "parameters": {"instance_limit_seconds": "3600", "usage_allocation_seconds": "7200"}
    },
    ("POST", "/queuebit/estimates"): _JOB,
    ("PATCH", "/queuebit/backends/{name}"): {"status": "paused", "reason": "cooling down"},
    ("POST", "/queuebit/instances"): {"name": "chemistry", "plan": "premium"},
    ("PATCH", "/queuebit/instances/{name}"): {"allocation_seconds": 7200},
    ("PUT", "/queuebit/instances/{name}/users/{user_name}"): {"role": "member"},
    ("POST", "/queuebit/users"): {"name": "grace"},
    ("PATCH", "/queuebit/users/{name}"): {"admin": False},
    ("POST", "/queuebit/users/{name}/keys"): {"label": "laptop"},
    ("POST", "/identity/token"): {"grant_type": KEY_GRANT, "apikey": "KEY"},
    ("POST", "/v3/resources/search"): {"query": "service_name:quantum-computing"},
}

_PARAMETERS = {
    "account_id": "Id of an account: 32 hexadecimal digits",
    "action": "What was done: `job.submit`, or `job` for all that is done to jobs",
    "backend": "Name of a backend",
    "before": "Only older entries: `next` of the page before",
    "created_after": "The earliest instant",
    "created_before": "The latest instant",
    "crn": "CRN of an instance",
    "exclude_params": "Leave out what the job was sent with",
    "fields": "`wait_time_seconds` adds how long jobs waited",
    "group_by": "What usage is summed up by",
    "id_of_plan": "Id of a plan",
    "include_mocks": "Mock backends too, or their jobs, which are dry runs",
    "instance": "CRNs of instances",
    "interval_end": "The latest instant of creation",
    "interval_start": "The earliest instant of creation",
    "job_id": "Id of a job",
    "key_id": "Id of an API key, which is not the key itself",
    "limit": "Most entries of one page",
    "mode": "Only such workloads",
    "name": "Name of a backend, an instance or a user",
    "next": "Where the last page ended",
    "offset": "How many to leave out",
    "outcome": "`done`, or `refused`",
    "pending": "true: queued or running; false: ended",
    "plan": "Names or ids of plans",
    "plan_id": "Only this plan",
    "previous": "Where the last page began",
    "program": "Id of a program",
    "resource_id": "Only instances of this service, by IBM Cloud's id",
    "resource_plan_id": "Only instances of this plan, by its id",
    "search": "What to look for",
    "session_id": "Id of a batch or session",
    "since": "The earliest instant",
    "simulators": "Without effect: no backend is a simulator",
    "sort": "The order, by the instant of creation",
    "status": "Only such workloads; repeatable",
    "subscription_id": "Ids of subscriptions, of which there are none here",
    "tags": "It carries all of them; repeatable",
    "target": "Id or name of what was changed",
    "type": "What the tags are of",
    "until": "The instant before which",
    "updated_before": "As it was known at this instant",
    "user": "`me`: only one's own",
    "keep_made": "Whether the keys that were made with it stay valid",
    "user_id": "Names of users",
    "user_name": "Name of a user",
}
_IDEMPOTENCY: Schema = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Submissions with the same key are one, whenever they come",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}

_SCHEMES = {
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


def describe(app: FastAPI, routers: Sequence[tuple[str, APIRouter]]) -> Schema:
    """Tell the routes of `routers`, each with its prefix, in OpenAPI 3.1."""
    schema = get_openapi(
        title=app.title,
        version=app.version,
        summary="IBM's Qiskit Runtime REST API, and what Queuebit has beside it",
        routes=app.routes,
    )
    components = schema["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's own, which we never send
        components.pop(name, None)
    for model in (Problem, IamProblem):
        told = model.model_json_schema(ref_template=_REF)
        components |= told.pop("$defs", {}) | {model.__name__: told}
    schema["components"]["securitySchemes"] = _SCHEMES
    for prefix, route in _routes(routers):
        for method in route.methods or ():
            operation = schema["paths"][prefix + route.path_format][method.lower()]
            _complete(operation, (method, route.path_format), route)
    return schema


def _routes(routers: Sequence[tuple[str, APIRouter]]) -> Iterator[tuple[str, APIRoute]]:
    for prefix, router in routers:
        for route in router.routes:
            assert isinstance(route, APIRoute)
            yield prefix, route


def _complete(operation: Schema, which: Operation, route: APIRoute) -> None:
    """Add to what FastAPI says: who may ask, all answers, examples, descriptions."""
    calls = set(_calls(route.dependant))
    method, path = which
    operation["security"] = _security(calls)
    operation["description"] = " ".join(operation["description"].split("\n")).replace("  ", "\n\n")
    for parameter in operation.get("parameters", []):
        parameter.setdefault("description", _PARAMETERS[parameter["name"]])
    if which == ("POST", "/jobs"):
        operation.setdefault("parameters", []).append(_IDEMPOTENCY)
    has_body = "requestBody" in operation
    if has_body:
        for content in operation["requestBody"]["content"].values():
            content["example"] = _BODIES[which]
    operation["responses"].pop("422", None)
    refusals = {429, 500, 503}
    if calls or has_body:
        refusals.add(400)
    if has_body:
        refusals |= {408, 413}
    if calls:
        refusals.add(401)
    if _ADMIN in calls or (_CALL in calls and method != "GET") or which in _OF_MANAGERS:
        refusals.add(403)
    if _CALL in calls or "{" in path:
        refusals.add(404)
    if which in _CONFLICTS:
        refusals.add(409)
    if which == ("GET", "/jobs/{job_id}/results"):
        refusals.add(410)
    if _CALL in calls and method != "GET":
        refusals.add(507)
    for status in sorted(refusals):
        model = IamProblem if (path, status) == ("/identity/token", 400) else Problem
        operation["responses"].setdefault(str(status), _refusal(status, model.__name__))


def _refusal(status: int, model: str) -> Schema:
    told: Schema = {
        "description": _WHY[status],
        "content": {"application/json": {"schema": {"$ref": _REF.format(model=model)}}},
    }
    if status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
        told["headers"] = {
            "Retry-After": {
                "description": "Seconds to wait",
                "schema": {"type": "integer", "minimum": 1},
            }
        }
    return told


def _security(calls: set[Any]) -> list[dict[str, list[str]]]:
    if not calls:
        return []
    instance: dict[str, list[str]] = {"instance": []} if _CALL in calls else {}
    return [{"token": [], **instance}, {"apikey": [], **instance}]


def _calls(dependant: Dependant) -> Iterator[Any]:
    """Which of our ways to know the caller it depends on."""
    for one in dependant.dependencies:
        if one.call in (_ADMIN, _CALL, _KEY, _USER):
            yield one.call
        yield from _calls(one)
