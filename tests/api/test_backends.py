import json

import pytest
from tests.api.conftest import START, Api

from queuebit.api.backends import ConfigurationAnswer, DevicesAnswer, PropertiesAnswer
from queuebit.api.identity import plan_id

# Without any of these the client drops the backend.
CLIENT_NEEDS = {
    "backend_name",
    "backend_version",
    "basis_gates",
    "conditional",
    "coupling_map",
    "gates",
    "local",
    "memory",
    "n_qubits",
    "online_date",
    "open_pulse",
    "simulator",
}


@pytest.mark.parametrize("query", ["", "?include_mocks=True", "?fields=wait_time_seconds"])
async def test_backends_are_listed_with_their_queues(api: Api, query: str):
    for _ in range(5):
        await api.submit()  # two lanes

    answer = await api.ask("GET", f"/backends{query}")
    listed = DevicesAnswer.model_validate_json(answer.content).devices

    assert [(one.name, one.queue_length, one.qubits) for one in listed] == [
        ("fake_manila", 3, 5),
        ("fake_lagos", 0, 7),
    ]
    assert {one.status.name for one in listed} == {"online"}
    assert not any(one.is_simulator for one in listed)


async def test_a_configuration_has_all_that_the_client_needs(api: Api):
    answer = await api.ask("GET", "/backends/fake_manila/configuration")

    assert set(answer.json()) >= CLIENT_NEEDS
    assert ConfigurationAnswer.model_validate_json(answer.content).backend_name == "fake_manila"


@pytest.mark.parametrize("query", ["", "?updated_before=2026-01-01T00:00:00.000Z"])
async def test_properties_are_calibration_data(api: Api, query: str):
    answer = await api.ask("GET", f"/backends/fake_manila/properties{query}")
    told = PropertiesAnswer.model_validate_json(answer.content)

    assert (told.backend_name, len(told.qubits)) == ("fake_manila", 5)
    assert {entry["name"] for entry in told.qubits[0]} >= {"T1", "T2", "readout_error"}


async def test_properties_of_no_date_are_a_400(api: Api):
    answer = await api.ask("GET", "/backends/fake_manila/properties?updated_before=soon")

    assert answer.status_code == 400


async def test_a_backends_status_is_active(api: Api):
    for _ in range(3):
        await api.submit()
    told = (await api.ask("GET", "/backends/fake_manila/status")).json()

    assert told.pop("backend_version")
    assert told == {"state": True, "status": "active", "message": "", "length_queue": 1}


async def test_usage_of_an_instance_is_of_28_days(api: Api):
    await api.finish(await api.submit())
    told = (await api.ask("GET", "/instances/usage")).json()

    assert told == {
        "instance_id": api.headers()["Service-CRN"],
        "plan_id": plan_id(api.config.plans[0]),
        "usage_period": {
            "start_time": "2026-08-24T14:13:20.000Z",
            "end_time": "2026-09-21T14:13:20.000Z",
        },
        "usage_consumed_seconds": 2.1,
    }
    assert api.clock.now() == START


async def test_versions_need_no_credentials(api: Api):
    told = (await api.http.get("/api/v1/versions")).json()

    assert {"version": "2026-04-15", "status": "live"} in told["versions"]


@pytest.mark.parametrize("version", [None, "2024-01-01", "2025-05-01", "2026-04-15", "nonsense"])
async def test_every_api_version_gets_the_same_answer(api: Api, version: str | None):
    headers = {"IBM-API-Version": version} if version else {}

    answer = await api.ask("GET", "/backends", headers=headers)

    assert isinstance(answer.json()["devices"][0], dict)


async def test_the_openapi_document_describes_the_routes(api: Api):
    document = (await api.http.get("/openapi.json")).json()
    served = {
        f"{method.upper()} {path}" for path, one in document["paths"].items() for method in one
    }

    assert served == {
        "DELETE /api/v1/jobs/{job_id}",
        "DELETE /api/v1/sessions/{session_id}/close",
        "GET /api/v1/backends",
        "GET /api/v1/backends/{name}/configuration",
        "GET /api/v1/backends/{name}/properties",
        "GET /api/v1/backends/{name}/status",
        "GET /api/v1/instances/usage",
        "GET /api/v1/jobs",
        "GET /api/v1/queuebit/backends",
        "GET /api/v1/queuebit/jobs/{job_id}/why",
        "GET /api/v1/queuebit/sessions/{session_id}/why",
        "GET /api/v1/jobs/{job_id}",
        "GET /api/v1/jobs/{job_id}/logs",
        "GET /api/v1/jobs/{job_id}/metrics",
        "GET /api/v1/jobs/{job_id}/results",
        "GET /api/v1/sessions/{session_id}",
        "GET /api/v1/versions",
        "GET /api/v1/workloads",
        "GET /api/v1/{id_of_plan}",
        "GET /v2/resource_instances",
        "GET /v2/resource_instances/{crn}",
        "PATCH /api/v1/queuebit/backends/{name}",
        "PATCH /api/v1/sessions/{session_id}",
        "POST /api/v1/jobs",
        "POST /api/v1/jobs/{job_id}/cancel",
        "POST /api/v1/queuebit/estimates",
        "POST /api/v1/sessions",
        "POST /identity/token",
        "POST /v3/resources/search",
        "PUT /api/v1/jobs/{job_id}/tags",
    }


async def test_the_openapi_document_refers_only_to_what_it_holds(api: Api):
    text = (await api.http.get("/openapi.json")).text
    schemas = json.loads(text)["components"]["schemas"]
    referred = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}

    assert referred <= set(schemas)
    assert "#/$defs" not in text
    assert {"JobAnswer", "SessionAnswer", "DevicesAnswer", "Problem"} <= referred
