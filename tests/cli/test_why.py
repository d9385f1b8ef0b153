"""`queuebit why` and `watch` against a live service on which jobs take their time."""

import contextlib
import json
import os
import signal
from datetime import datetime

import pytest
from qiskit import QuantumCircuit
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import Batch, SamplerV2
from qiskit_ibm_runtime.exceptions import RuntimeInvalidStateError

from queuebit import testing
from queuebit.account import NO_VERIFY_WARNING, quiet_client

SOON_S = 20  # what busy machines may add to a job

pytestmark = pytest.mark.filterwarnings(f"ignore:{NO_VERIFY_WARNING}")


@pytest.fixture(scope="module")
def service():
    """One lane, and jobs that have the QPU for the two seconds that they are charged."""
    backend = {"name": "slow", "snapshot": "manila", "lanes": 1, "timing": "real"}
    with testing.service(backends=[backend]) as running:
        yield running


@pytest.fixture(scope="module")
def backend(service):
    return service.connect().backend("slow")


@pytest.fixture
def ask(queuebit, service):
    """Runs a command as the service's user."""
    login = queuebit("login", "--url", service.url, "--data", service.data)
    assert login.code == 0
    return queuebit


@pytest.fixture
def submit(backend):
    """Submits Bell jobs; those that have not ended are cancelled after the test."""
    bell = QuantumCircuit(2)
    bell.h(0)
    bell.cx(0, 1)
    bell.measure_all()
    circuit = generate_preset_pass_manager(0, backend=backend).run(bell)
    jobs = []

    def submitted(count, mode=backend):
        with quiet_client():
            sampler = SamplerV2(mode=mode)
            jobs.extend(sampler.run([circuit]) for _ in range(count))
        return jobs

    yield submitted
    for job in jobs:
        with contextlib.suppress(RuntimeInvalidStateError):  # it has ended
            job.cancel()


def fields(text):
    pairs = (line.split("  ", 1) for line in text.splitlines() if "  " in line)
    return {name.strip(): value.strip() for name, value in pairs}


def told(outcome):
    assert (outcome.code, outcome.err) == (0, "")
    return json.loads(outcome.out)


def test_a_queued_job_is_told_why_it_waits_and_when_it_starts(ask, submit):
    first, second, third = submit(3)

    shown = fields(ask("why", third.job_id()).out)
    foretold = told(ask("why", third.job_id(), "--json"))
    metrics = third.metrics()
    third.result()
    happened = told(ask("why", third.job_id(), "--json"))

    assert shown["Status"] == "Queued"
    assert shown["Rule"] == "lanes busy (semantics 2.1)"
    assert shown["Why"].startswith("The only lane of slow is busy, 1 with jobs of your instance.")
    assert (shown["Position"], shown["Ahead"]) == ("2", "1 in the queue")
    assert (foretold["position"], foretold["ahead"]["jobs"]) == (2, [second.job_id()])
    assert metrics["queuebit"]["waiting"]["rule"] == "lanes busy"
    assert metrics["position_in_queue"] in (1, 2)
    assert happened["reason"] == "It has ended: Completed."
    for instant in ("estimated_start", "estimated_completion"):
        off = seconds_between(foretold[instant], happened[instant])
        assert abs(off) < SOON_S
    first.result()


def seconds_between(one, other):
    return (datetime.fromisoformat(other) - datetime.fromisoformat(one)).total_seconds()


def test_a_batch_is_told_what_its_next_job_waits_for(ask, submit, backend):
    with Batch(backend=backend) as batch:
        submit(3, mode=batch)
        shown = fields(ask("why", batch.session_id).out)
    batch.cancel()

    assert shown["Status"] == "active"
    assert shown["Why"].startswith("Its next job is ")


def test_watching_ends_with_the_job_and_tells_each_change_once(ask, submit):
    *_, last = submit(2)

    outcome = ask("watch", last.job_id(), "--every", 0.1)

    lines = outcome.out.splitlines()
    assert outcome.code == 0
    assert lines[0].startswith("Queued: The only lane of slow is busy")
    assert "Running: It has the QPU." in lines
    assert lines[-1] == "Completed: It has ended: Completed."
    assert len(lines) == len(set(lines))


def test_watching_in_a_terminal_redraws_a_table(ask, submit, monkeypatch):
    (job,) = submit(1)
    monkeypatch.setenv("FORCE_COLOR", "1")

    outcome = ask("watch", job.job_id(), "--every", 0.2)

    assert outcome.code == 0
    assert "It has the QPU." in outcome.out
    assert "It has ended: Completed." in outcome.out


def test_ctrl_c_leaves_the_job_and_no_traceback(ask, submit, started):
    *_, job = submit(9)  # it stays queued however long the command takes to start

    with started("watch", job.job_id(), "--every", 0.1) as process:
        assert process.stdout.readline().startswith("Queued: ")
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=10)

    assert (process.returncode, errors) == (130, "")
    assert job.status() == "QUEUED"


def test_what_is_not_there_is_told(ask, refused):
    assert refused("why", "none") == "there is no job or workload none"
    assert refused("watch", "none") == "there is no job or workload none"
