"""The unmodified client against the whole service, but for its workers: it finds its way."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from qiskit.providers.exceptions import QiskitBackendNotFoundError
from qiskit_ibm_runtime import Batch, IBMBackend, QiskitRuntimeService, Session
from qiskit_ibm_runtime.accounts.exceptions import InvalidAccountError
from qiskit_ibm_runtime.api.exceptions import RequestsApiError
from qiskit_ibm_runtime.exceptions import (
    IBMInputValueError,
    IBMRuntimeError,
    RuntimeJobNotFound,
)
from tests.api.doubles import Workers
from tests.fakes_tenants import crn_of

from queuebit.account import NO_VERIFY_WARNING, account
from queuebit.app import Service, run
from queuebit.config import BackendConfig, Config, InstanceConfig

pytestmark = pytest.mark.filterwarnings(f"ignore:{NO_VERIFY_WARNING}")

BACKENDS = ("manila", "torino")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    config = Config(
        data=tmp_path_factory.mktemp("data"),
        port=0,
        backends=tuple(BackendConfig(name=f"fake_{one}", snapshot=one) for one in BACKENDS),
        instances=(InstanceConfig(name="local"), InstanceConfig(name="class", plan="open")),
    )
    workers = Workers()
    made = Service(config, engine=workers)
    answers = threading.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def live() -> None:
        workers.going_on.set()
        async with made:
            loops.append(asyncio.get_running_loop())
            answers.set()
            await made.serve_forever()

    thread = threading.Thread(target=lambda: run(live()))
    thread.start()
    assert answers.wait(10)
    yield made
    loops[0].call_soon_threadsafe(made.stop)
    thread.join(5)
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def connect(
    service: Service, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., QiskitRuntimeService]]:
    def connecting(instance: str = "local", **changes) -> QiskitRuntimeService:
        assert service.key is not None
        given = account(service.url, token=service.key, instance=instance) | changes
        return QiskitRuntimeService(**given)

    with pytest.MonkeyPatch.context() as patch:
        home: Path = tmp_path_factory.mktemp("home")
        patch.setenv("HOME", str(home))  # no account of the developer's
        # A site's own proxies, where nobody answers, must not come in between.
        patch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        patch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
        yield connecting


@pytest.fixture(scope="module")
def runtime(connect: Callable[..., QiskitRuntimeService]) -> QiskitRuntimeService:
    return connect()


@pytest.fixture(scope="module")
def backend(runtime: QiskitRuntimeService) -> IBMBackend:
    return runtime.backend("fake_torino")


def test_it_lists_the_backends(runtime: QiskitRuntimeService):
    assert [one.name for one in runtime.backends()] == ["fake_manila", "fake_torino"]
    assert runtime.least_busy().name in {"fake_manila", "fake_torino"}


def test_it_reads_what_a_backend_is(backend: IBMBackend):
    assert backend.num_qubits == 133
    assert {"cz", "rz", "sx", "x", "measure", "if_else"} <= set(backend.target.operation_names)
    assert backend.target["cz"][0, 1].error < 0.1
    assert backend.target["sx"][(0,)].duration < 1e-6
    assert not backend.simulator
    assert "Simulated QPU" in backend.configuration().description


def test_it_reads_calibration_and_status(backend: IBMBackend):
    properties = backend.properties()

    assert properties.t1(0) > 1e-6
    assert properties.last_update_date.utcoffset().total_seconds() == 0
    assert (backend.status().operational, backend.status().status_msg) == (True, "active")


@pytest.mark.parametrize("how", ["name", "crn", "none"])
def test_it_finds_the_instance(
    connect: Callable[..., QiskitRuntimeService], service: Service, how: str
):
    crn = crn_of(service.config.instances[0])
    runtime = connect(instance={"name": "local", "crn": crn, "none": None}[how])

    assert [one["name"] for one in runtime.instances()] == ["local", "class"]
    assert [one["plan"] for one in runtime.instances()] == ["premium", "open"]
    assert runtime.backend("fake_manila").num_qubits == 5


def test_a_wrong_key_is_refused_at_once(connect: Callable[..., QiskitRuntimeService]):
    with pytest.raises(InvalidAccountError, match="Unable to retrieve instances"):
        connect(token="wrong")


def test_a_wrong_instance_is_refused(connect: Callable[..., QiskitRuntimeService]):
    with pytest.raises((IBMInputValueError, InvalidAccountError)):
        connect(instance="elsewhere")


def test_it_opens_and_closes_batches_and_sessions(
    runtime: QiskitRuntimeService, backend: IBMBackend
):
    with Batch(backend, max_time="10m") as batch:
        assert batch.status() == "Pending"
        assert batch.details()["max_time"] == 600
    with Session(backend) as session:
        found = Session.from_id(session.session_id, runtime)
        assert found.details()["mode"] == "dedicated"
    session.cancel()

    assert (batch.status(), session.status()) == ("Closed", "Closed")
    assert session.usage() == 0


def test_it_reads_jobs_and_changes_them(runtime: QiskitRuntimeService):
    job = runtime._run(
        program_id="sampler",
        inputs={"pubs": [], "version": 2},
        options={"backend": runtime.backend("fake_manila")},
    )
    while not job.in_final_state():
        pass  # each question is held until there is news
    job.update_tags(["one", "two"])
    job = runtime.job(job.job_id())

    assert (job.status(), set(job.tags), job.inputs) == (  # the client sends a set
        "DONE",
        {"one", "two"},
        {"pubs": [], "version": 2},
    )
    assert job.usage() == 2.1
    assert job.metrics()["usage"]["quantum_seconds"] == 2.1
    assert [one.job_id() for one in runtime.jobs(job_tags=["two", "one"])] == [job.job_id()]
    assert job.creation_date.utcoffset() is not None

    runtime.delete_job(job.job_id())
    with pytest.raises(RuntimeJobNotFound):
        runtime.job(job.job_id())


def test_it_goes_through_all_pages(runtime: QiskitRuntimeService):
    for _ in range(21):  # the client's page is 20
        runtime._run(
            program_id="sampler",
            inputs={"pubs": []},
            options={"backend": runtime.backend("fake_manila"), "job_tags": ["pages"]},
        )

    assert len(runtime.jobs(limit=None, job_tags=["pages"])) == 21
    assert len(runtime.jobs(limit=3, job_tags=["pages"])) == 3


def test_it_shows_our_errors_as_sentences(
    connect: Callable[..., QiskitRuntimeService], backend: IBMBackend
):
    with pytest.raises(RequestsApiError) as too_long:
        Session(backend, max_time="9h")
    with pytest.raises(RequestsApiError) as no_sessions:
        Session(connect(instance="class").backend("fake_manila"))
    with pytest.raises(IBMRuntimeError) as no_such_option:
        backend.service._run(
            program_id="sampler",
            inputs={},
            options={"backend": backend},
            calibration_id="slow_gates",
        )

    assert too_long.value.message.endswith(
        "/api/v1/sessions. max_ttl 32400 s is over the premium plan's maximum of 28800 s. "
        "Ask for 28800 s or less, Error code: 1208."
    )
    assert no_sessions.value.message.endswith(
        "You are not authorized to run a session when using the open plan. Create an instance of "
        "a different plan type or use a different execution mode, Error code: 1352."
    )
    assert "calibration_id: is not supported by this service" in no_such_option.value.message


def test_usage_is_told(runtime: QiskitRuntimeService):
    job = runtime._run(
        program_id="sampler",
        inputs={"pubs": []},
        options={"backend": runtime.backend("fake_manila")},
    )
    while not job.in_final_state():
        pass  # each question is held until there is news
    told = runtime.usage()

    assert told["usage_consumed_seconds"] > 0
    # There is no limit, so nothing that the client could take for what is left.
    assert told.keys().isdisjoint({"usage_limit_seconds", "usage_allocation_seconds"})


@contextlib.contextmanager
def set_aside(service: Service, name: str, status: str) -> Iterator[None]:
    """Have a backend be paused or offline."""
    headers = {
        "Authorization": f"apikey {service.key}",
        "Service-CRN": crn_of(service.config.instances[0]),
    }
    url = f"{service.url}/api/v1/queuebit/backends/{name}"
    with httpx.Client(headers=headers, trust_env=False) as http:
        http.patch(url, json={"status": status}).raise_for_status()
        yield
        http.patch(url, json={"status": "online"}).raise_for_status()


@pytest.mark.parametrize("status", ["paused", "offline"])
@pytest.mark.parametrize("name", ["fake_manila", "fake_torino"])
def test_the_least_busy_backend_is_one_that_starts_jobs(
    connect: Callable[..., QiskitRuntimeService], service: Service, name: str, status: str
):
    (other,) = {"fake_manila", "fake_torino"} - {name}

    with set_aside(service, name, status):
        runtime = connect()  # a client asks but once

        assert runtime.least_busy().name == other
        assert runtime.least_busy(operational=True).name == other
        assert runtime.backend(name).name == name


def test_no_backend_is_the_least_busy_if_none_starts_jobs(
    connect: Callable[..., QiskitRuntimeService], service: Service
):
    with set_aside(service, "fake_manila", "paused"), set_aside(service, "fake_torino", "offline"):
        runtime = connect()

        with pytest.raises(QiskitBackendNotFoundError, match="No backend matches"):
            runtime.least_busy()


def test_a_job_for_a_paused_backend_waits_and_its_user_is_warned(
    connect: Callable[..., QiskitRuntimeService], service: Service
):
    runtime = connect()
    backend = runtime.backend("fake_manila")
    wish = {"program_id": "sampler", "inputs": {"pubs": []}, "options": {"backend": backend}}

    with set_aside(service, "fake_manila", "paused"):
        with pytest.warns(UserWarning, match="fake_manila currently has a status of internal"):
            job = runtime._run(**wish)
        status = backend.status()
        waiting = job.status()
    while not job.in_final_state():
        pass  # each question is held until there is news

    assert (status.operational, status.status_msg, status.pending_jobs) == (True, "internal", 1)
    assert (waiting, job.status()) == ("QUEUED", "DONE")


def test_a_backend_in_maintenance_is_not_operational(backend: IBMBackend, service: Service):
    with set_aside(service, "fake_torino", "offline"):
        status = backend.status()

    assert (status.operational, status.status_msg) == (False, "maintenance")
    assert backend.status().operational
