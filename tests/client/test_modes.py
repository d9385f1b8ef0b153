"""Hours of batches and sessions in seconds, as the unmodified client sees them: a fast clock.

What the clock's own instants are is told by the service, so the tests ask for them exactly; only
what the client does takes the machine's time.
"""

import time
from datetime import datetime, timedelta
from itertools import pairwise
from math import ceil

import httpx
import pytest
from qiskit import QuantumCircuit
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import Batch, SamplerV2, Session
from qiskit_ibm_runtime.api.exceptions import RequestsApiError
from qiskit_ibm_runtime.exceptions import (
    IBMRuntimeError,
    RuntimeJobFailureError,
    RuntimeJobMaxTimeoutError,
)

from queuebit import testing
from queuebit.account import NO_VERIFY_WARNING

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.filterwarnings(f"ignore:{NO_VERIFY_WARNING}"),
    # The legacy primitives are what the guide uses.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:qiskit_ibm_runtime"),
    pytest.mark.filterwarnings("ignore:.* class is deprecated as of qiskit-ibm-runtime"),
]

SPEED = 2_000  # 8 hours in 14 s, a minute in 30 ms
LONG_S = 1_000_000  # longer than any test takes
REAL = {"snapshot": "manila", "timing": "real"}
PLANS = [
    {"name": "premium", "unused_ttl_s": LONG_S},  # else half an hour is over in a second
    {"name": "open", "pricing": "free", "sessions": False, "max_ttl_s": 600, "limit_s": 600},
    {"name": "patient", "max_ttl_s": LONG_S, "interactive_ttl_s": LONG_S, "unused_ttl_s": LONG_S},
    {"name": "lenient", "sessions": "batch", "default_ttl_s": 900, "unused_ttl_s": LONG_S},
]
NAMES = ("premium", "open", "patient", "lenient")


@pytest.fixture(scope="module")
def live():
    backends = [{"name": name, **REAL} for name in ("busy", "still")]
    instances = [{"name": name, "plan": name} for name in NAMES]
    with testing.service(
        speed=SPEED, backends=backends, plans=PLANS, instances=instances
    ) as running:
        yield running


@pytest.fixture(scope="module")
def runtimes(live):
    return {name: live.connect(instance=name) for name in NAMES}


@pytest.fixture(scope="module")
def backend(runtimes):
    return runtimes["premium"].backend("busy")


@pytest.fixture(scope="module")
def bell(backend):
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure_all()
    return generate_preset_pass_manager(1, backend=backend, seed_transpiler=1).run(circuit)


@pytest.fixture(scope="module", autouse=True)
def eight_hours(live, runtimes, bell):
    """A batch whose second job cannot start for 8 hours, which go by beside the other tests."""
    batch = Batch(backend=runtimes["premium"].backend("still"))
    sampler = SamplerV2(mode=batch)
    first = sampler.run([bell])
    first.result()
    crn = runtimes["premium"].active_instance()
    paused = httpx.patch(
        f"{live.url}/api/v1/queuebit/backends/still",
        json={"status": "paused"},
        headers={"Authorization": f"apikey {live.key}", "Service-CRN": crn},
    )
    assert paused.status_code == 204, paused.text
    with pytest.warns(UserWarning, match="status of internal"):
        return batch, first, sampler.run([bell])


def wait_until(holds, what):
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def states(workload):
    return [(one["status"], instant(one["timestamp"])) for one in workload.details()["timestamps"]]


def instant(text):
    return datetime.fromisoformat(text)


def active_s(workload):
    """How long it was active, by the states that it took."""
    return sum(
        (ended - began).total_seconds()
        for (state, began), (_, ended) in pairwise(states(workload))
        if state == "active"
    )


@pytest.mark.parametrize("mode", [Batch, Session])
def test_after_an_idle_minute_it_is_pending_until_a_later_job_activates_it(backend, bell, mode):
    workload = mode(backend=backend)
    assert workload.details()["interactive_timeout"] == 60
    sampler = SamplerV2(mode=workload)
    jobs = [sampler.run([bell])]
    jobs[0].result()
    wait_until(lambda: workload.status() == "Pending", workload.status())

    ended_at = instant(workload.details()["last_job_completed"])
    assert [state for state, _ in states(workload)] == ["open", "active", "inactive"]
    assert states(workload)[-1][1] == ended_at + timedelta(seconds=60)
    assert workload.details()["accepting_jobs"]

    jobs.append(sampler.run([bell]))
    jobs[1].result()
    wait_until(lambda: len(states(workload)) == 5, states(workload))
    workload.close()

    assert [state for state, _ in states(workload)][3:5] == ["active", "inactive"]
    assert instant(workload.details()["activated_at"]) == states(workload)[3][1]
    assert workload.status() == "Closed"
    used_s = sum(job.usage() for job in jobs) if mode is Batch else active_s(workload)
    assert workload.usage() == workload.details()["usage_time"] == pytest.approx(used_s, abs=1e-3)
    assert active_s(workload) > 120  # two idle tails, which only a session pays


def test_a_sessions_usage_runs_while_it_is_active(runtimes, bell):
    runtime = runtimes["patient"]
    before = runtime.usage()["usage_consumed_seconds"]
    session = Session(backend=runtime.backend("busy"))
    job = SamplerV2(mode=session).run([bell])
    job.result()
    idle = session.usage()
    of_instance = runtime.usage()["usage_consumed_seconds"] - before

    assert session.status() == "In progress, accepting new jobs"
    assert job.usage() < idle < of_instance + 1  # each was asked for a little later
    session.close()
    usage = session.usage()
    assert of_instance - 1 < usage == session.usage() == pytest.approx(active_s(session), abs=1e-3)
    consumed = runtime.usage()["usage_consumed_seconds"] - before
    assert consumed == pytest.approx(usage, abs=1)  # told in whole seconds


def test_a_batchs_usage_is_that_of_its_jobs_however_long_it_idles(runtimes, bell):
    batch = Batch(backend=runtimes["patient"].backend("busy"))
    sampler = SamplerV2(mode=batch)
    jobs = [sampler.run([bell]) for _ in range(2)]
    for job in jobs:
        job.result()
    before = batch.usage()
    time.sleep(0.05)  # some minutes

    assert batch.usage() == before == sum(job.usage() for job in jobs)
    batch.close()
    assert active_s(batch) > before


def test_the_open_plan_refuses_sessions_and_long_batches(runtimes):
    backend = runtimes["open"].backend("busy")

    with pytest.raises(RequestsApiError) as refused:
        Session(backend=backend)
    assert "Error code: 1352" in str(refused.value)
    assert "not authorized to run a session when using the open plan" in str(refused.value)
    assert "use a different execution mode" in str(refused.value)
    with pytest.raises(RequestsApiError, match=r"max_ttl 660 s is over .* maximum of 600 s"):
        Batch(backend=backend, max_time="11m")
    assert Batch(backend=backend).details()["max_time"] == 600


def test_a_plan_may_open_a_batch_instead_of_a_session(runtimes, bell):
    with Session(backend=runtimes["lenient"].backend("busy")) as session:
        job = SamplerV2().run([bell])

    assert (session.details()["mode"], session.details()["max_time"]) == ("batch", 900)
    assert len(job.result()) == 1


def test_at_the_usage_limit_a_job_is_accepted_and_waits(runtimes, bell):
    runtime = runtimes["open"]
    sampler = SamplerV2(mode=runtime.backend("busy"))
    before = runtime.usage()
    assert (before["usage_limit_seconds"], before["usage_remaining_seconds"]) == (600, 600)
    assert before["usage_limit_reached"] is False
    first = sampler.run([bell], shots=2_500_000)
    first.result()
    assert first.usage() > 600

    with pytest.warns(UserWarning, match="has met its usage limit"):
        second = sampler.run([bell])

    told = runtime.usage()
    assert told["usage_consumed_seconds"] == ceil(first.usage())
    assert (told["usage_limit_reached"], told["usage_remaining_seconds"]) == (True, 0)
    period = [instant(told["usage_period"][key]) for key in ("start_time", "end_time")]
    assert timedelta(days=28) <= period[1] - period[0] < timedelta(days=28, hours=1)
    assert second.status() == "QUEUED"
    assert second.metrics()["queuebit"]["waiting"]["rule"] == "usage limit"
    second.cancel()


def test_a_job_over_its_time_limit_is_stopped(backend, bell):
    sampler = SamplerV2(mode=backend)
    sampler.options.max_execution_time = 40
    job = sampler.run([bell], shots=400_000)  # a QPU would take 100 s for it

    with pytest.raises(RuntimeJobMaxTimeoutError, match=r"1305.*[Rr]an too long"):
        job.result()
    assert job.status() == "ERROR"
    assert job.usage() == 40
    told = job.metrics()["queuebit"]["stages"]
    assert instant(job.metrics()["timestamps"]["finished"]) == instant(
        told["quantum_started"]
    ) + timedelta(seconds=40)


def test_a_batch_reaches_its_max_ttl_of_eight_hours(runtimes, bell, eight_hours):
    """The last test: by now most of the 8 hours are over."""
    batch, first, queued = eight_hours
    assert batch.details()["max_time"] == 28_800

    with pytest.raises(RuntimeJobFailureError, match="maximum time to live of the batch"):
        queued.result()
    assert queued.status() == "ERROR"
    assert "4001" in queued.error_message()
    details = batch.details()
    assert batch.status() == "Closed"
    assert instant(details["closed_at"]) == instant(details["started_at"]) + timedelta(hours=8)
    assert (queued.usage(), batch.usage()) == (0, first.usage())
    with pytest.raises(IBMRuntimeError, match="closed"):
        SamplerV2(mode=Batch.from_id(batch.session_id, runtimes["premium"])).run([bell])
