"""Who may do what: every route, asked by everybody, as docs/security.md says."""

import re
from pathlib import Path
from typing import Any

import pytest
from tests.api.conftest import SAMPLER, Api, user

from queuebit.config import Config, InstanceConfig
from queuebit.engines.task import Outcome
from queuebit.tenancy import Grant, InstanceRecord, Role, User, new_key

PAGE = Path(__file__).parents[2] / "docs" / "security.md"
EVERYBODY = ("nobody", "stranger", "reader", "member", "manager", "administrator")
ROW = re.compile(
    r"^\| (GET|POST|PUT|PATCH|DELETE) \| `([^`]+)` \|((?: [a-z0-9]+ \|){6})$", re.MULTILINE
)
PLAIN = "grant_type=urn:ibm:params:oauth:grant-type:apikey&apikey="
WITHOUT_PREFIX = ("/identity", "/v2", "/v3", "/health", "/ready", "/metrics")

BODIES: dict[str, Any] = {
    "POST /jobs": SAMPLER,
    "PUT /jobs/{job_id}/tags": {"tags": ["x"]},
    "POST /sessions": {"mode": "batch", "backend": "fake_manila"},
    "PATCH /sessions/{session_id}": {"accepting_jobs": False},
    "PUT /instances/configuration": {"instance_limit": 100},
    "POST /queuebit/estimates": SAMPLER,
    "PATCH /queuebit/backends/{name}": {"status": "paused"},
    "POST /queuebit/instances": {"name": "new"},
    "PATCH /queuebit/instances/{name}": {"tags": ["x"]},
    "PUT /queuebit/instances/{name}/users/{user_name}": {"role": "reader"},
    "POST /queuebit/users": {"name": "new"},
    "PATCH /queuebit/users/{name}": {"admin": False},
    "POST /queuebit/users/{name}/keys": {},
    "PATCH /v2/resource_instances/{crn}": {"parameters": {"instance_limit_seconds": "100"}},
    "POST /v3/resources/search": {},
}
ESTIMATED = {
    "overhead_ms": 1,
    "circuits": 1,
    "executions": 1,
    "qubits": 1,
    "depth": 1,
    "limits": [],
}
QUERIES = {
    "GET /tags": "?type=job&search=abc",
    "GET /analytics/usage_grouped": "?group_by=backend",
    "GET /analytics/usage_grouped_by_date": "?group_by=instance",
}


@pytest.fixture
def config(config: Config) -> Config:
    """Two accounts, and a user for every role."""
    return config.model_copy(
        update={
            "instances": (
                InstanceConfig(name="lab", account="physics"),
                InstanceConfig(name="other", account="chemistry"),
            ),
            "users": (
                user("stranger", "stranger", "other"),
                *(user(role, role, "lab").model_copy(update={"role": role}) for role in Role),
                user("administrator", "administrator", admin=True),
            ),
        }
    )


async def asked(api: Api, who: str, method: str, path: str) -> int:
    """The status that `who` is answered, about things of an instance of its own."""
    identity = api.parts.identity
    config = InstanceConfig(name="extra", account="physics")
    extra = InstanceRecord(id="extra", config=config)
    for thing in (
        extra,
        User(id="grace", name="grace"),
        Grant(user="grace", instance="extra", role=Role.READER),
    ):
        await identity.put(thing)
    for role in Role:
        await identity.put(Grant(user=role, instance="extra", role=role))
    _, key = new_key("grace", "", 0)
    await identity.put(key)
    places = await things(api, extra, path)
    places["key_id"] = key.id
    headers = {"Service-CRN": extra.crn}
    if who != "nobody":
        headers["Authorization"] = f"apikey {who}"
    body = BODIES.get(f"{method} {path}")
    prefix = "" if path.startswith(WITHOUT_PREFIX) else "/api/v1"
    address = f"{prefix}{path.format(**places)}{QUERIES.get(f'{method} {path}', '')}"
    if path == "/identity/token":
        sent = {"content": PLAIN + who}
    else:
        sent = {"json": body} if body is not None else {}
    answer = await api.http.request(method, address, headers=headers, **sent)
    assert answer.status_code < 500, answer.text
    return answer.status_code


async def things(api: Api, instance: InstanceRecord, path: str) -> dict[str, str]:
    """What the names in a path stand for: a job, a batch and so on of `instance`."""
    member = {"Authorization": "apikey member", "Service-CRN": instance.crn}
    api.workers.verdict = Outcome(estimated_ms=1_000, metrics=ESTIMATED)
    names = {"/queuebit/backends": "fake_manila", "/backends": "fake_manila"}
    places = {
        "name": next((n for p, n in names.items() if path.startswith(p)), "extra"),
        "user_name": "grace",
        "crn": instance.crn,
        "account_id": instance.account_id,
        "id_of_plan": next(iter(api.parts.identity.plans)),
    }
    if path.startswith("/queuebit/users"):
        places["name"] = "grace"
    if "{job_id}" in path:
        made = await api.http.post("/api/v1/jobs", headers=member, json=SAMPLER)
        places["job_id"] = made.json()["id"]
        if path == "/jobs/{job_id}":
            await api.finish(places["job_id"])
    if "{session_id}" in path:
        wish = {"mode": "batch", "backend": "fake_manila"}
        made = await api.http.post("/api/v1/sessions", headers=member, json=wish)
        places["session_id"] = made.json()["id"]
    return places


def table() -> dict[tuple[str, str], list[str]]:
    rows = ROW.findall(PAGE.read_text("utf-8"))
    return {
        (method, path): [cell.strip() for cell in cells.strip("|").split("|")]
        for method, path, cells in rows
    }


async def test_every_route_is_in_the_table(api: Api):
    described = (await api.http.get("/openapi.json")).json()["paths"]
    routes = {
        (method.upper(), path.removeprefix("/api/v1"))
        for path, methods in described.items()
        for method in methods
    }

    assert len(routes) > 40
    assert routes == set(table())


@pytest.mark.parametrize(("method", "path"), table())
async def test_everybody_is_answered_as_the_table_says(api: Api, method: str, path: str):
    expected = dict(zip(EVERYBODY, table()[method, path], strict=True))

    found = {}
    for who in EVERYBODY:
        status = await asked(api, who, method, path)
        found[who] = "yes" if status < 300 else str(status)

    assert found == expected
