"""Metrics, health and traces of a whole service, whose workers a test commands."""

import asyncio
import subprocess
import sys
import uuid
from pathlib import Path

import httpx
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families
from tests.api.conftest import ADA, ALICE, SAMPLER, Api, user
from tests.api.doubles import Workers
from tests.fakes_tenants import crn_of

from queuebit import app
from queuebit.api.health import Gate
from queuebit.api.storage import Storage
from queuebit.app import Service
from queuebit.config import BackendConfig, Config, InstanceConfig
from queuebit.core.events import JobSubmitted, Restarted
from queuebit.core.model import Backend, Reason, Stage
from queuebit.core.scheduler import Scheduler
from queuebit.engines.task import Outcome, Staff
from queuebit.metrics import INSTANCES_MAX, Metrics
from queuebit.store.payloads import Payloads
from queuebit.traces import Traces, open_traces

BROKEN = Reason(message="planted", code=9999)


def config_of(data: Path, **settings) -> Config:
    return Config(
        data=data,
        port=0,
        backends=(BackendConfig(name="fake_manila", snapshot="manila", lanes=1),),
        instances=(InstanceConfig(name="lab"),),
        users=(user("alice", ALICE, "lab"), user("ada", ADA, admin=True)),
        **settings,
    )


def asking(service: Service, key: str = ALICE) -> httpx.AsyncClient:
    headers = {
        "Authorization": f"apikey {key}",
        "Service-CRN": crn_of(service.config.instances[0]),
    }
    return httpx.AsyncClient(base_url=service.url, headers=headers, timeout=30)


def workers_of(data: Path) -> Workers:
    workers = Workers()
    workers.on_finish = lambda task: Payloads(data / "payloads").write(
        task.job_id, f"result.{task.run}", b"{}", durable=True
    )
    return workers


def samples(text: str) -> dict[tuple[str, ...], float]:
    """Every sample by its name and the values of its labels, in the order of their names."""
    return {
        (one.name, *(value for _, value in sorted(one.labels.items()))): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


async def test_the_numbers_tell_what_happened(tmp_path: Path):
    workers = workers_of(tmp_path)
    async with (
        Service(config_of(tmp_path), engine=workers) as service,
        asking(service) as http,
        asking(service, ADA) as ada,
    ):
        opened = await http.post(
            "/api/v1/sessions", json={"mode": "batch", "backend": "fake_manila"}
        )
        alone = (await http.post("/api/v1/jobs", json=SAMPLER)).json()["id"]
        in_batch = SAMPLER | {"session_id": opened.json()["id"]}
        second = (await http.post("/api/v1/jobs", json=in_batch)).json()["id"]
        before = samples((await ada.get("/metrics")).text)
        workers.going_on.set()
        for job_id in (alone, second):
            await service.driver.wait_for_end(job_id, 10)
        await http.get(f"/api/v1/jobs/{alone}")
        await http.get(f"/jobs/{alone}")
        await http.get("/api/v1/jobs/made-up-by-a-user")
        text = (await ada.get("/metrics")).text

    after = samples(text)
    queued = {key[1:]: value for key, value in before.items() if key[0] == "queuebit_jobs_queued"}
    assert queued["fake_manila", "batch"] == 1
    assert sum(queued.values()) == 1
    assert before["queuebit_lanes_used", "fake_manila"] == 1
    assert before["queuebit_lanes", "fake_manila"] == 1
    assert after["queuebit_lanes_used", "fake_manila"] == 0
    assert after["queuebit_workloads_open", "fake_manila", "batch"] == 1
    for mode in ("job", "batch"):
        assert after["queuebit_jobs_total", "fake_manila", mode, "Completed"] == 1
        assert after["queuebit_job_wait_seconds_count", "fake_manila", mode] == 1
    assert after["queuebit_usage_seconds_total", "lab"] == pytest.approx(4.2)  # 2 x 2.1 s
    assert after["queuebit_qpu_busy_seconds_total", "fake_manila"] >= 0
    for stage in ("validate", "prepare", "quantum", "finish"):
        assert after["queuebit_stage_seconds_count", "sampler", stage] == 2
    assert after["queuebit_http_requests_total", "GET", "/jobs/{job_id}", "200"] == 2
    assert after["queuebit_http_requests_total", "GET", "/jobs/{job_id}", "404"] == 1
    assert after["queuebit_errors_total", "3250"] == 1
    assert after["queuebit_save_seconds_count",] > 4
    assert after["queuebit_events_total",] > before["queuebit_events_total",] > 3
    assert "made-up" not in text


async def test_failures_and_dry_runs_are_counted_and_not_charged(tmp_path: Path):
    workers = workers_of(tmp_path)
    workers.going_on.set()
    async with (
        Service(config_of(tmp_path), engine=workers) as service,
        asking(service) as http,
        asking(service, ADA) as ada,
    ):
        mock = SAMPLER | {"backend": "mock_manila"}
        job_id = (await http.post("/api/v1/jobs", json=mock)).json()["id"]
        await service.driver.wait_for_end(job_id, 10)
        workers.outcomes[Stage.PREPARE] = Outcome(error=BROKEN, service_fault=True)
        job_id = (await http.post("/api/v1/jobs", json=SAMPLER)).json()["id"]
        await service.driver.wait_for_end(job_id, 10)
        workers.verdict = Outcome(error=BROKEN)
        made_up = await http.post("/api/v1/jobs", json=SAMPLER | {"program_id": "made up"})
        after = samples((await ada.get("/metrics")).text)

    assert made_up.status_code == 400
    assert after["queuebit_jobs_total", "mock_manila", "job", "Completed"] == 1
    assert after["queuebit_jobs_total", "fake_manila", "job", "Failed"] == 1
    assert after["queuebit_task_faults_total", "prepare"] == 1
    assert after["queuebit_stage_seconds_count", "unknown", "validate"] == 1
    assert after.get(("queuebit_usage_seconds_total", "lab"), 0) == 0


def test_what_can_be_made_without_end_makes_no_labels_without_end():
    metrics = Metrics()
    for number in range(INSTANCES_MAX + 50):
        metrics._charge(f"instance {number}", 1_000)

    found = [key for key in samples(metrics.text().decode()) if key[0].startswith("queuebit_usage")]

    assert len(found) == INSTANCES_MAX + 1
    assert samples(metrics.text().decode())["queuebit_usage_seconds_total", "other"] == 50


@pytest.mark.parametrize(
    ("setting", "answers"),
    [
        ("off", [404, 404, 404, 404]),
        ("loopback", [200, 403, 200, 200]),
        ("admin", [401, 401, 403, 200]),
        ("open", [200, 200, 200, 200]),
    ],
)
async def test_who_may_read_them(api: Api, setting: str, answers: list[int]):
    object.__setattr__(api.parts, "config", api.config.model_copy(update={"metrics": setting}))
    asked = {
        "nobody": {},
        "passed on": {"X-Forwarded-For": "10.1.2.3"},
        "alice": {"Authorization": f"apikey {ALICE}"},
        "ada": {"Authorization": f"apikey {ADA}"},
    }

    found = [
        (await api.http.get("/metrics", headers=headers)).status_code for headers in asked.values()
    ]

    assert found == answers


class Stuck:
    async def check(self) -> None:
        raise OSError("read-only")


@pytest.mark.parametrize("reason", ["stopped", "no workers", "database", "disk", None])
async def test_it_is_ready_or_says_in_a_word_why_not(api: Api, reason: str | None):
    staff = Staff(wanted=2, pids=() if reason == "no workers" else (1,), deaths=0)
    object.__setattr__(api.parts.watch, "staff", lambda: staff)
    if reason == "stopped":
        api.driver._stop([])
    if reason == "database":
        api.store.audit = Stuck()
    if reason == "disk":
        full = api.config.model_copy(update={"max_body_mb": 2**40})
        object.__setattr__(api.parts, "config", full)

    answer = await api.http.get("/ready")

    assert answer.status_code == (503 if reason else 200)
    assert answer.json() == {"ready": reason is None, "reason": reason}
    assert (await api.http.get("/health")).status_code == 200


async def test_the_database_is_not_asked_more_than_once_a_second(api: Api):
    asked = 0

    class Counting:
        async def check(self) -> None:
            nonlocal asked
            asked += 1

    api.store.audit = Counting()
    storage = Storage()

    found = await asyncio.gather(*(storage.look(api.store, api.config) for _ in range(50)))

    assert (set(found), asked) == ({None}, 1)


async def test_while_it_starts_it_says_so_and_others_wait():
    gate = Gate()

    async def application(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 201, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    transport = httpx.ASGITransport(gate)
    async with httpx.AsyncClient(transport=transport, base_url="http://queuebit") as http:
        alive, ready = await http.get("/health"), await http.get("/ready")
        early = asyncio.create_task(http.get("/api/v1/jobs"))
        await asyncio.sleep(0.01)
        waited = not early.done()
        gate.open(application)

        assert (alive.status_code, alive.json()) == (200, {"status": "ok"})
        assert (ready.status_code, ready.json()["reason"]) == (503, "starting")
        assert waited
        assert (await early).status_code == 201


async def test_a_trace_holds_the_request_and_the_stages_of_its_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(app, "open_traces", lambda: Traces(provider))
    workers = workers_of(tmp_path)
    workers.going_on.set()
    async with Service(config_of(tmp_path), engine=workers) as service, asking(service) as http:
        own = {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"}  # a client's, which is not believed
        answer = await http.post("/api/v1/jobs", json=SAMPLER, headers=own)
        await service.driver.wait_for_end(answer.json()["id"], 10)

    spans = {span.name: span for span in exporter.get_finished_spans()}
    root = spans["POST /jobs"]
    assert uuid.UUID(answer.headers["uber-trace-id"]).int == root.context.trace_id
    assert root.parent is None
    for name in ("validate", "decide and save", "prepare", "quantum", "finish"):
        assert spans[name].context.trace_id == root.context.trace_id, name
    assert spans["prepare"].parent.span_id == spans["validate"].parent.span_id
    assert spans["quantum"].attributes["job"] == answer.json()["id"]
    assert spans["quantum"].attributes["queuebit.circuits_execution_time_ns"] == 123


def test_without_the_variables_nothing_of_it_is_loaded():
    program = (
        "import sys, queuebit.app\n"
        "from queuebit.traces import open_traces\n"
        "assert not open_traces({}).on\n"
        "assert not open_traces({'OTEL_EXPORTER_OTLP_ENDPOINT': 'http://x',"
        " 'OTEL_SDK_DISABLED': 'true'}).on\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry.sdk')]\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=50)


def test_with_a_variable_it_is_there():
    traces = open_traces({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"})

    assert traces.on
    traces.close()


def test_a_job_that_a_restart_began_again_has_waited_once():
    before = Scheduler([Backend(name="q")])
    before.handle(JobSubmitted(job_id="a", instance="i", backend="q"), 1_000)
    metrics, after = Metrics(), Scheduler([Backend(name="q")], before.jobs.values(), 1)
    metrics.watch(after)

    step = after.handle(Restarted(1_000), 60_000)
    metrics.decided(1, step.changed, step.commands, None)

    assert step.commands
    assert ("queuebit_job_wait_seconds_count", "q", "job") not in samples(metrics.text().decode())
