import json

import pytest
from tests.api.conftest import ADA, SAMPLER, START, Api

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


@pytest.mark.parametrize("query", ["", "?include_mocks=false", "?fields=wait_time_seconds"])
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


async def test_mocks_are_listed_and_their_jobs_told_of_on_demand(api: Api):
    dry = await api.submit(backend="mock_lagos")
    real = await api.submit(backend="fake_lagos")
    opened = await api.ask("POST", "/sessions", json={"mode": "batch", "backend": "mock_lagos"})

    devices = (await api.ask("GET", "/backends?include_mocks=True")).json()["devices"]
    classes = {one["name"]: one.get("class") for one in devices}
    assert classes == {
        "fake_manila": None,
        "fake_lagos": None,
        "mock_manila": "mock",
        "mock_lagos": "mock",
    }
    assert opened.status_code == 400
    assert "mock_lagos is a mock" in opened.json()["errors"][0]["message"]
    for path, kind in (("/jobs", "jobs"), ("/workloads", "workloads")):
        for query, ids in (
            ("", {real}),
            ("?include_mocks=True", {real, dry}),
            ("?backend=mock_lagos", {dry}),
        ):
            told = (await api.ask("GET", f"{path}{query}")).json()
            assert {one["id"] for one in told[kind]} == ids, (path, query)
    for query, count in (("", 2), ("?include_mocks=true", 4)):
        told = (await api.ask("GET", f"/queuebit/backends{query}", key=ADA)).json()
        assert len(told["backends"]) == count


async def test_a_job_goes_to_the_backend_of_its_session_or_runs_dry_by_itself(api: Api):
    wish = {"mode": "batch", "backend": "fake_manila"}
    batch = (await api.ask("POST", "/sessions", json=wish)).json()["id"]

    refused = await api.ask(
        "POST", "/jobs", json=SAMPLER | {"backend": "fake_lagos", "session_id": batch}
    )
    dry = await api.submit(backend="mock_manila", session_id=batch)

    assert refused.status_code == 400
    assert f"Batch {batch} is on backend fake_manila" in refused.json()["errors"][0]["message"]
    assert (await api.record(dry)).workload_id is None


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
            "start_time": "2026-08-24T14:00:00.000Z",
            "end_time": "2026-09-21T14:13:20.000Z",
        },
        "usage_consumed_seconds": 3,  # 2.1
    }
    assert api.clock.now() == START


async def test_usage_of_an_instance_counts_a_session_while_it_is_active(api: Api):
    wish = {"mode": "dedicated", "backend": "fake_manila"}
    session = (await api.ask("POST", "/sessions", json=wish)).json()
    await api.finish(await api.submit(session_id=session["id"]))
    api.clock.advance(30_000)

    told = (await api.ask("GET", "/instances/usage")).json()
    session = (await api.ask("GET", f"/sessions/{session['id']}")).json()

    assert session["elapsed_time"] == 32.1
    assert told["usage_consumed_seconds"] == 33


async def test_versions_need_no_credentials(api: Api):
    told = (await api.http.get("/api/v1/versions")).json()

    assert {"version": "2026-04-15", "status": "live"} in told["versions"]


@pytest.mark.parametrize("version", [None, "2024-01-01", "2025-05-01", "2026-04-15", "nonsense"])
async def test_every_api_version_gets_the_same_answer(api: Api, version: str | None):
    headers = {"IBM-API-Version": version} if version else {}

    answer = await api.ask("GET", "/backends", headers=headers)

    assert isinstance(answer.json()["devices"][0], dict)


async def test_the_openapi_document_refers_only_to_what_it_holds(api: Api):
    text = (await api.http.get("/openapi.json")).text
    schemas = json.loads(text)["components"]["schemas"]
    referred = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}

    assert referred <= set(schemas)
    assert "#/$defs" not in text
    assert {"JobAnswer", "SessionAnswer", "DevicesAnswer", "Problem"} <= referred


async def test_usage_without_a_window_begins_with_the_instance(api: Api):
    owned = next(iter(api.parts.identity.directory.instances.values()))
    plan = api.config.plans[0].model_copy(update={"window_days": "none"})
    api.parts.identity._plans[plan.name] = plan

    told = (await api.ask("GET", "/instances/usage")).json()["usage_period"]

    assert owned.created_at > api.clock.now()  # by the wall clock, and this one is behind it
    assert told["start_time"] == told["end_time"] == "2026-09-21T14:13:20.000Z"
