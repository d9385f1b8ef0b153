import asyncio

import pytest
from tests.api.conftest import ADA, SAMPLER, Api

from queuebit.api.results import MetricsAnswer
from queuebit.core.model import Reason, Stage
from queuebit.engines.task import Outcome
from queuebit.tenancy import Grant, Role


async def test_results_are_the_bytes_that_the_program_wrote(api: Api):
    job_id = await api.submit()
    await api.finish(job_id)

    answer = await api.ask("GET", f"/jobs/{job_id}/results")

    assert (answer.status_code, answer.content) == (200, b'{"value": Infinity}')
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize("accept", ["*/*", "text/plain", "application/json", "application/xml"])
async def test_results_are_text_whatever_is_accepted(api: Api, accept: str):
    """QRMI asks for application/json with every request, and reads results as text alone."""
    job_id = await api.submit()
    await api.finish(job_id)

    answer = await api.ask("GET", f"/jobs/{job_id}/results", headers={"Accept": accept})

    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.content == b'{"value": Infinity}'


async def test_there_are_no_results_before_the_end_nor_after_a_cancel(api: Api):
    running, _, queued = [await api.submit() for _ in range(3)]
    answers = [await api.ask("GET", f"/jobs/{one}/results") for one in (running, queued)]
    await api.ask("POST", f"/jobs/{queued}/cancel")
    answers.append(await api.ask("GET", f"/jobs/{queued}/results"))

    assert [(answer.status_code, answer.content) for answer in answers] == [(204, b"")] * 3


async def test_results_of_a_failed_job_are_its_reason_as_text(api: Api):
    api.workers.outcomes[Stage.PREPARE] = Outcome(error=Reason(message="Tönt falsch.", code=3211))
    job_id = await api.submit()
    await api.finish(job_id)

    answer = await api.ask("GET", f"/jobs/{job_id}/results")

    assert (answer.status_code, answer.text) == (200, "Tönt falsch.")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


async def test_results_of_a_private_job_are_read_once(api: Api):
    job_id = await api.submit(private=True)
    await api.finish(job_id)
    path = f"/jobs/{job_id}/results"

    both = await asyncio.gather(api.ask("GET", path), api.ask("GET", path))
    third = await api.ask("GET", path)

    assert sorted(answer.status_code for answer in both) == [200, 204]
    assert (third.status_code, third.content) == (204, b"")
    assert not (api.config.data / "payloads" / job_id).exists()


async def test_a_reader_cannot_use_up_the_results_of_a_private_job(api: Api):
    job_id = await api.submit(private=True)
    await api.finish(job_id)
    await api.parts.identity.put(Grant(user="ada", instance="lab", role=Role.READER))

    refused = await api.ask("GET", f"/jobs/{job_id}/results", key=ADA)

    assert refused.status_code == 403
    assert (await api.ask("GET", f"/jobs/{job_id}/results")).status_code == 200


async def test_inputs_of_a_private_job_are_never_told(api: Api):
    job_id = await api.submit(private=True, params={"pubs": ["secret"]})

    before = (await api.ask("GET", f"/jobs/{job_id}")).json()
    await api.finish(job_id)
    after = (await api.ask("GET", f"/jobs/{job_id}")).json()

    assert (before["params"], after["params"], after["private"]) == ({}, {}, True)


async def test_metrics_hold_every_versions_keys_and_the_stages(api: Api):
    header = "qiskit-version-2/qiskit_ibm_runtime-0.51.0,qiskit-2.6.2/qiskit"
    answer = await api.ask(
        "POST", "/jobs", json=SAMPLER, headers={"X-Qx-Client-Application": header}
    )
    job_id = answer.json()["id"]
    await api.finish(job_id)

    told = (await api.ask("GET", f"/jobs/{job_id}/metrics")).json()
    now = "2026-09-21T14:13:20.000Z"

    MetricsAnswer.model_validate(told)
    assert told == {
        "timestamps": {"created": now, "running": now, "finished": now},
        "usage": {
            "qpu_charge_time_seconds": 2.1,
            "quantum_seconds": 2.1,
            "seconds": 2.1,
            "status": "complete",
        },
        "bss": {"seconds": 2.1},
        "caller": header,
        "qiskit_version": "2.6.2",
        "circuits_execution_time_ns": 123,
        "queuebit": {
            "stages": {
                "stage": None,
                "runs": 1,
                "prepare_started": now,
                "ready": now,
                "quantum_started": now,
                "quantum_ended": now,
                "finished": now,
            },
            "workers": {"method": "statevector"},
        },
    }


async def test_metrics_of_a_queued_job_are_there_and_pending(api: Api):
    _, _, job_id = [await api.submit() for _ in range(3)]

    told = (await api.ask("GET", f"/jobs/{job_id}/metrics")).json()

    assert told["usage"]["status"] == "pending"
    assert told["usage"]["quantum_seconds"] == 0
    assert told["timestamps"]["running"] is None
    assert told["queuebit"]["stages"]["quantum_started"] is None


async def test_logs_are_text_once_there_are_any(api: Api):
    job_id = await api.submit()
    before = await api.ask("GET", f"/jobs/{job_id}/logs")
    api.parts.payloads.write(job_id, "log", "3 Stufen für 1 µs\n".encode(), durable=False)
    after = await api.ask("GET", f"/jobs/{job_id}/logs")

    assert (before.status_code, before.content) == (204, b"")
    assert (after.status_code, after.text) == (200, "3 Stufen für 1 µs\n")
    assert after.headers["content-type"] == "text/plain; charset=utf-8"
