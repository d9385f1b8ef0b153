"""Pausing backends, and what everybody sees of it."""

from typing import Any

import pytest
from tests.api.conftest import ADA, ALICE, START, Api

from queuebit.api.administration import BackendsAnswer
from queuebit.config import CalibrationConfig, Config
from queuebit.core.events import Tick
from queuebit.core.model import JobStatus

HOUR_MS = 3_600_000
MANILA = "/queuebit/backends/fake_manila"


@pytest.fixture
def config(config: Config) -> Config:
    """As elsewhere, with calibrations on one backend."""
    manila, *others = config.backends
    calibrations = (
        CalibrationConfig(kind="benchmarking", every_s=86_400, lasts_s=600),
        CalibrationConfig(kind="monitoring", every_s=3_600, lasts_s=60),
    )
    manila = manila.model_copy(update={"calibrations": calibrations})
    return config.model_copy(update={"backends": (manila, *others)})


async def set_status(api: Api, status: str, **more: str) -> None:
    answer = await api.ask("PATCH", MANILA, key=ADA, json={"status": status, **more})
    assert (answer.status_code, answer.content) == (204, b"")


async def listed(api: Api) -> dict[str, Any]:
    """What IBM's list tells of the backend's status."""
    devices = (await api.ask("GET", "/backends")).json()["devices"]
    return next(one["status"] for one in devices if one["name"] == "fake_manila")


async def in_service(api: Api) -> dict[str, Any]:
    told = (await api.ask("GET", "/backends/fake_manila/status")).json()
    assert told.pop("backend_version")
    return told


async def administered(api: Api) -> dict[str, Any]:
    answer = await api.ask("GET", "/queuebit/backends")
    BackendsAnswer.model_validate_json(answer.content)
    return next(one for one in answer.json()["backends"] if one["name"] == "fake_manila")


async def calibrations(api: Api, *, after_ms: int) -> dict[str, Any]:
    """What is told of the calibrations when time has passed and had its effect."""
    api.clock.advance(after_ms)
    for _ in range(2):  # what a sleeper tells when it wakes up is decided by the second
        await api.send(Tick())
    told: dict[str, Any] = (await administered(api))["calibration"]
    return told


async def test_an_online_backend_is_in_service(api: Api):
    assert await listed(api) == {"name": "online", "reason": "available"}
    assert await in_service(api) == {
        "state": True,
        "status": "active",
        "message": "",
        "length_queue": 0,
    }


@pytest.mark.parametrize(
    ("status", "reason", "service"),
    [
        ("paused", "paused by an administrator", {"state": True, "status": "internal"}),
        ("offline", "maintenance", {"state": False, "status": "maintenance"}),
    ],
)
async def test_a_status_is_told_wherever_clients_look(
    api: Api, status: str, reason: str, service: dict[str, Any]
):
    await set_status(api, status)
    await api.submit()

    assert await listed(api) == {"name": status, "reason": reason}
    assert await in_service(api) == {**service, "message": reason, "length_queue": 1}


async def test_the_reason_is_told_in_its_own_words(api: Api):
    await set_status(api, "paused", reason="Der Kryostat wärmt sich auf.")

    assert await listed(api) == {"name": "paused", "reason": "Der Kryostat wärmt sich auf."}
    assert (await in_service(api))["message"] == "Der Kryostat wärmt sich auf."


async def test_a_paused_backend_accepts_jobs_and_starts_none_until_it_is_resumed(api: Api):
    running = await api.submit()
    await set_status(api, "paused")
    waiting = await api.submit()
    await api.finish(running)

    assert (await api.record(running)).status is JobStatus.COMPLETED
    assert (await api.record(waiting)).status is JobStatus.QUEUED

    await set_status(api, "online")
    await api.finish(waiting)

    assert (await api.record(waiting)).status is JobStatus.COMPLETED
    assert await listed(api) == {"name": "online", "reason": "available"}


async def test_one_backend_that_is_paused_holds_back_no_other(api: Api):
    await set_status(api, "offline")
    elsewhere = await api.submit(backend="fake_lagos")
    await api.finish(elsewhere)

    assert (await api.record(elsewhere)).status is JobStatus.COMPLETED


async def test_who_is_no_administrator_may_not(api: Api):
    answer = await api.ask("PATCH", MANILA, key=ALICE, json={"status": "paused"})

    assert answer.status_code == 403
    (told,) = answer.json()["errors"]
    assert (told["code"], told["message"]) == (1200, "User alice is not an administrator.")
    assert told["solution"] == "Ask an administrator of the service."
    assert await listed(api) == {"name": "online", "reason": "available"}


async def test_a_backend_that_there_is_not_is_a_404(api: Api):
    answer = await api.ask(
        "PATCH", "/queuebit/backends/fake_osaka", key=ADA, json={"status": "paused"}
    )

    assert answer.status_code == 404
    (told,) = answer.json()["errors"]
    assert (told["code"], told["message"]) == (1404, "device not found: fake_osaka")
    assert told["solution"] == "Use one of fake_manila, fake_lagos."


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"status": "broken"},
        {"status": "paused", "until": "noon"},
        {"status": "paused", "reason": ""},
        {"status": "paused", "reason": "x" * 201},
        {"status": "paused", "reason": "two\nlines"},
        {"status": "paused", "reason": "\0"},
    ],
)
async def test_a_wish_that_breaks_a_rule_changes_nothing(api: Api, body: dict[str, str]):
    answer = await api.ask("PATCH", MANILA, key=ADA, json=body)

    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, 1208)
    assert await listed(api) == {"name": "online", "reason": "available"}


async def test_half_a_character_is_no_reason(api: Api):
    body = rb'{"status": "paused", "reason": "\ud83d"}'
    headers = {"Content-Type": "application/json"}

    answer = await api.ask("PATCH", MANILA, key=ADA, content=body, headers=headers)

    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, 1208)
    assert await listed(api) == {"name": "online", "reason": "available"}


async def test_who_runs_backends_sees_their_jobs(api: Api):
    for _ in range(5):
        await api.submit()  # two lanes
    told = await administered(api)
    del told["calibration"]

    assert told == {
        "name": "fake_manila",
        "qubits": 5,
        "status": "online",
        "reason": "available",
        "lanes": 2,
        "running": 2,
        "queued": 3,
    }


async def test_calibrations_are_told_from_scheduled_to_ended(api: Api):
    scheduled = await calibrations(api, after_ms=0)
    running = await calibrations(api, after_ms=HOUR_MS)
    status, service = await listed(api), await in_service(api)
    ended = await calibrations(api, after_ms=60_000)

    assert START == 1_790_000_000_000  # 2026-09-21 14:13:20
    benchmarking = {"kind": "benchmarking", "at": "2026-09-22T14:13:20.000Z"}
    assert scheduled == {
        "running": None,
        "due": [],
        "scheduled": [{"kind": "monitoring", "at": "2026-09-21T15:13:20.000Z"}, benchmarking],
        "last_ended": None,
    }
    assert running == {
        "running": "monitoring",
        "due": [],
        "scheduled": [benchmarking],
        "last_ended": None,
    }
    assert ended == {
        "running": None,
        "due": [],
        "scheduled": [{"kind": "monitoring", "at": "2026-09-21T16:14:20.000Z"}, benchmarking],
        "last_ended": "2026-09-21T15:14:20.000Z",
    }
    # A backend that is calibrated stays online: its jobs wait a moment longer.
    assert status == {"name": "online", "reason": "available"}
    assert (service["state"], service["status"]) == (True, "active")


async def test_a_calibration_that_waits_for_an_active_session_is_due(api: Api):
    wish = {"mode": "dedicated", "backend": "fake_manila"}
    session_id = (await api.ask("POST", "/sessions", json=wish)).json()["id"]
    await api.submit(session_id=session_id)

    told = await calibrations(api, after_ms=HOUR_MS)

    assert (told["running"], told["due"]) == (None, ["monitoring"])
    assert [one["kind"] for one in told["scheduled"]] == ["benchmarking"]
    assert await listed(api) == {"name": "online", "reason": "available"}


async def test_waits_of_recent_jobs_are_told_on_request(api: Api):
    for wait_ms in range(1_000, 21_000, 1_000):
        await set_status(api, "paused")
        job_id = await api.submit()
        api.clock.advance(wait_ms)
        await set_status(api, "online")
        await api.finish(job_id)

    answer = await api.ask("GET", "/backends?fields=wait_time_seconds")
    devices = {one["name"]: one for one in answer.json()["devices"]}
    plain = (await api.ask("GET", "/backends")).json()["devices"][0]

    assert devices["fake_manila"]["wait_time_seconds"] == {
        "average": 10.5,
        "p50": 10.0,
        "p95": 19.0,
    }
    assert "wait_time_seconds" not in devices["fake_lagos"]  # no job of it has ever started
    assert "wait_time_seconds" not in plain
