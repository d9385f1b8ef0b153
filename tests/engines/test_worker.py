"""The real worker: programs on devices, payloads in a folder."""

import json
import os
import socket
from dataclasses import replace

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit_ibm_runtime import RuntimeDecoder, RuntimeEncoder
from tests.engines.conftest import threads_of

from queuebit.config import BackendConfig
from queuebit.core.model import Calibrated, Reason, Stage
from queuebit.devices.snapshot import Snapshot
from queuebit.engines.pipe import Hello, Setup, frame, receive
from queuebit.engines.pool import ProcessPool
from queuebit.engines.task import Task
from queuebit.engines.worker import Worker, main
from queuebit.errors import InvalidInput
from queuebit.store.payloads import Payloads

MANILA = BackendConfig(name="fake_manila", snapshot="manila")
SHOTS = 200
START = 1_790_000_000_000  # ms


def a_task(stage: Stage | None, *, job_id: str = "a", program_id: str = "sampler") -> Task:
    return Task(job_id=job_id, run=1, stage=stage, program_id=program_id, backend="fake_manila")


@pytest.fixture
def payloads(tmp_path):
    """With the parameters of job "a": a qubit flipped and measured."""
    circuit = QuantumCircuit(5, 1)
    circuit.x(0)
    circuit.measure(0, 0)
    params = {"pubs": [[circuit, None, SHOTS]], "version": 2, "support_qiskit": True, "options": {}}
    payloads = Payloads(tmp_path)
    payloads.write("a", "params", json.dumps(params, cls=RuntimeEncoder).encode(), durable=False)
    return payloads


@pytest.fixture
def worker(payloads):
    return Worker([MANILA], payloads)


def test_the_stages_of_a_job_lead_to_its_result(worker, payloads):
    validated = worker.run(a_task(None))
    prepared = worker.run(a_task(Stage.PREPARE))
    measured = worker.run(a_task(Stage.QUANTUM))
    finished = worker.run(a_task(Stage.FINISH))

    assert [o.error for o in (validated, prepared, measured, finished)] == [None] * 4
    assert prepared.estimated_ms is not None
    assert validated.estimated_ms == prepared.estimated_ms
    assert prepared.estimated_ms > 0
    assert measured.usage_ms > 0
    assert {"prepare_ms", "num_circuits"} <= prepared.metrics.keys()
    assert "quantum_ms" in measured.metrics
    assert "finish_ms" in finished.metrics
    result = json.loads(payloads.read("a", "result.1"), cls=RuntimeDecoder)
    counts = result[0].data.c.get_counts()
    assert sum(counts.values()) == SHOTS
    assert counts["1"] > 0.8 * SHOTS  # readout errors of a few per cent, either way


def test_a_job_is_simulated_as_its_backend_is_calibrated(worker, payloads):
    """The sampled errors are those of the set that the task names, and the metrics say which."""

    def read_wrong(calibrated: Calibrated | None) -> tuple[float, str]:
        for stage in (Stage.PREPARE, Stage.QUANTUM, Stage.FINISH):
            outcome = worker.run(replace(a_task(stage), calibrated=calibrated))
            assert outcome.error is None
            if stage is Stage.QUANTUM:
                updated = outcome.metrics["properties_updated"]
        result = json.loads(payloads.read("a", "result.1"), cls=RuntimeDecoder)
        return result[0].data.c.get_counts().get("0", 0) / SHOTS, updated

    snapshot = Snapshot(MANILA)
    sets = [Calibrated(at=START + drawn, drawn=drawn, drift=1.0) for drawn in range(1, 40)]
    sets.sort(key=lambda made: misread(snapshot.after(made)))
    best, worst = sets[0], sets[-1]
    assert misread(snapshot.after(worst)) > 10 * misread(snapshot.after(best))

    for made in (None, best, worst):
        chance = misread(snapshot.after(made))
        share, updated = read_wrong(made)
        assert abs(share - chance) < 5 * (chance * (1 - chance) / SHOTS) ** 0.5 + 0.01
        assert updated == snapshot.after(made).properties()["last_update_date"]


def misread(snapshot: Snapshot) -> float:
    """The chance to read 0 on qubit 0 in state 1."""
    qubit = snapshot.properties()["qubits"][0]
    return next(entry["value"] for entry in qubit if entry["name"] == "prob_meas0_prep1")


def test_a_worker_keeps_a_device_until_its_backend_is_calibrated_again(worker):
    first, second = (Calibrated(at=at, drawn=at, drift=0.1) for at in (1, 2))
    device = worker._device("fake_manila", first)

    assert worker._device("fake_manila", first) is device
    assert worker._device("fake_manila") is device  # of whom it does not matter for
    assert worker._device("fake_manila", second) is not device
    assert len(worker._devices) == 1


def test_the_users_mistake_is_told_and_is_not_our_fault(worker):
    outcome = worker.run(a_task(None, program_id="no-such-program"))

    assert outcome.error is not None
    assert "no-such-program" in outcome.error.message
    assert (outcome.status, outcome.service_fault) == (404, False)


@pytest.mark.parametrize("stage", ["prepare", "quantum", "finish"])
def test_a_job_that_was_let_in_is_not_charged_for_our_refusal(worker, monkeypatch, stage):
    def refuse(*_: object) -> None:
        raise InvalidInput("It takes too many circuits.")

    monkeypatch.setattr(f"queuebit.programs.program.{stage}", refuse)
    monkeypatch.setattr(worker, "_load", lambda *_: None)
    monkeypatch.setattr(worker, "_read", lambda *_: b"{}")

    outcome = worker.run(a_task(Stage(stage)))

    assert outcome.error == Reason(message="It takes too many circuits.", code=1208)
    assert outcome.service_fault


def test_our_own_failure_is_a_service_fault_whose_traceback_only_the_log_has(worker, caplog):
    outcome = worker.run(a_task(Stage.QUANTUM))  # nothing was prepared

    assert outcome.service_fault
    what = "The file prepared.1 of job a is missing."
    assert outcome.error == Reason(message=f"The stage quantum failed: {what}", code=9999)
    assert "prepared.1" in caplog.text


def test_a_lack_of_memory_is_a_service_fault(tmp_path):
    class Full(Payloads):
        def read(self, job_id: str, name: str) -> bytes:
            raise MemoryError

    outcome = Worker([MANILA], Full(tmp_path), 512 * 2**20).run(a_task(None))

    assert outcome.service_fault
    assert outcome.error is not None
    assert outcome.error.message == "The validation needed more memory than its limit of 512 MiB."
    assert outcome.status == 400


def test_a_worker_makes_its_devices_in_idle_time(payloads, caplog):
    broken = BackendConfig(name="broken", snapshot="no_such_snapshot")
    worker = Worker([MANILA, broken], payloads)

    steps = [worker.warm_up() for _ in range(3)]

    assert steps == [True, True, False]
    assert set(worker._devices) == {"fake_manila"}
    assert caplog.records[-1].backend == "broken"  # and the worker lives on


@pytest.mark.timeout(60)
async def test_a_job_runs_on_real_workers(payloads, tmp_path):
    pool = ProcessPool(backends=[MANILA], payloads=tmp_path, workers=2)
    await pool.start()
    server = pool._server
    assert server is not None
    threads = threads_of(server.pid)

    stages = (None, Stage.PREPARE, Stage.QUANTUM, Stage.FINISH)
    outcomes = [await pool.run(a_task(stage)) for stage in stages]
    await pool.close()

    assert threads == 1  # a fork of a process with threads may hang
    assert [outcome.error for outcome in outcomes] == [None] * 4
    assert (
        json.loads(payloads.read("a", "result.1"), cls=RuntimeDecoder)[0].data.c.num_shots == SHOTS
    )


def test_a_worker_ends_with_its_service_and_draws_its_own_numbers(tmp_path, monkeypatch):
    """A fork copies NumPy's global generator: all workers would draw the same seeds."""
    limits = []  # it lives in this process, which later tests need without a limit
    monkeypatch.setattr("queuebit.engines.worker.memory.limit_to", limits.append)
    ours, theirs = socket.socketpair()
    np.random.seed(0)  # noqa: NPY002 - that generator is what this is about
    common = np.random.RandomState(0).random()
    with ours, theirs:
        ours.sendall(frame(Setup(backends=(MANILA,), payloads=tmp_path, memory_bytes=2**30)))
        ours.shutdown(socket.SHUT_WR)
        main(theirs)

        assert receive(ours) == Hello(os.getpid())

    assert limits == [2**30]
    assert np.random.random() != common  # noqa: NPY002 - likewise


def test_an_estimate_tells_limits_and_writes_nothing(worker, payloads, tmp_path):
    params = json.loads(payloads.read("a", "params"))
    params["pubs"][0][2] = 10_000_001
    payloads.write("a", "params", json.dumps(params).encode(), durable=False)

    refused = worker.run(a_task(None))
    told = worker.run(replace(a_task(None), only_estimate=True))

    assert refused.error is not None
    assert told.error is None
    assert told.metrics["limits"] == [
        {
            "code": refused.error.code,
            "message": refused.error.message,
            "solution": refused.error.solution,
        }
    ]
    assert (told.metrics["executions"], told.metrics["circuits"]) == (10_000_001, 1)
    assert (told.metrics["qubits"], told.metrics["depth"]) == (1, 2)
    assert told.estimated_ms is not None
    assert told.estimated_ms > 1_000 * told.metrics["overhead_ms"]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["params"]
