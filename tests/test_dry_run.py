"""Dry runs by the real client: checked and estimated as the backend would, never run or charged."""

import pytest
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp
from qiskit_ibm_runtime import Batch, EstimatorV2, SamplerV2

from queuebit import testing
from queuebit.config import Config
from queuebit.errors import ConfigError
from queuebit.sources import load

MANILA = {"name": "fake_manila", "snapshot": "manila"}
pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.filterwarnings(f"ignore:{testing.NO_VERIFY_WARNING}"),
    pytest.mark.filterwarnings("ignore:The (Sampler|Estimator)V2 class is deprecated"),
]


def ghz(width: int, *, measured: bool = True) -> QuantumCircuit:
    """On the backend's qubits and gates as it stands, which is not what is looked at here."""
    circuit = QuantumCircuit(5, width if measured else 0)
    circuit.x(0)
    for qubit in range(width - 1):
        circuit.cx(qubit, qubit + 1)
    if measured:
        circuit.measure(range(width), range(width))
    return circuit


@pytest.fixture(scope="module")
def runtime():
    with testing.service(backends=[MANILA]) as running:
        yield running.connect()


def test_the_client_finds_the_mock_only_when_it_looks_for_it(runtime):
    assert [backend.name for backend in runtime.backends()] == ["fake_manila"]
    assert runtime.least_busy().name == "fake_manila"
    mock = runtime.backend("mock_manila")
    assert mock.is_mock
    assert mock.target.operation_names == runtime.backend("fake_manila").target.operation_names


def test_a_dry_run_is_estimated_as_the_job_and_costs_nothing(runtime):
    backend = runtime.backend("fake_manila")
    sampler = SamplerV2(mode=backend, options={"simulator": {"seed_simulator": 5}})
    circuit = ghz(2)

    real = sampler.run([circuit], shots=4000)
    dry = [sampler.run([circuit], shots=4000, dry_run=True) for _ in range(2)]
    counts = [job.result()[0].data.c.get_counts() for job in (real, *dry)]

    assert counts[0]["11"] > 3000
    assert sorted(counts[1]) == ["00", "01", "10", "11"]
    assert all(abs(count - 1000) < 150 for count in counts[1].values())  # five deviations
    assert counts[1] == counts[2]  # the seed is honoured
    assert dry[0].backend().name == "mock_manila"
    assert dry[0].usage_estimation == real.usage_estimation
    assert (dry[0].usage(), real.usage() > 0) == (0, True)
    assert dry[0].job_id() not in {job.job_id() for job in runtime.jobs()}
    assert dry[0].job_id() in {job.job_id() for job in runtime.jobs(include_mocks=True)}


def test_a_dry_run_of_an_estimator_keeps_the_form_of_its_result(runtime):
    backend = runtime.backend("fake_manila")
    observables = [[SparsePauliOp("IIIZZ")], [SparsePauliOp("IIIXX")]]
    for level in (0, 1):  # level 1 divides by what calibrations of the readout measure
        estimator = EstimatorV2(mode=backend, options={"resilience_level": level})
        job = estimator.run([(ghz(2, measured=False), observables)], dry_run=True)

        (pub,) = job.result()

        assert pub.data.evs.shape == (2, 1)
        assert abs(pub.data.evs).max() < 0.3
        assert job.usage() == 0


def test_a_dry_run_in_a_batch_takes_nothing_of_it(runtime):
    with Batch(backend=runtime.backend("fake_manila")) as batch:
        job = SamplerV2(mode=batch).run([ghz(2)], shots=10, dry_run=True)
        assert job.result()[0].data.c.num_shots == 10
        details = batch.details()

    assert details["state"] == "open"  # nothing has started in it
    assert details["last_job_started"] is None


def test_what_the_backend_would_refuse_its_mock_refuses(runtime):
    sampler = SamplerV2(mode=runtime.backend("fake_manila"))
    told = []
    for dry_run in (False, True):
        with pytest.raises(Exception, match=r"executions|shots") as refusal:
            sampler.run([ghz(2)], shots=20_000_000, dry_run=dry_run)
        told.append(str(refusal.value))

    assert told[0] == told[1]


def test_mocks_stand_beside_backends_and_can_be_left_out():
    alike = [MANILA, {"name": "lab_manila", "snapshot": "manila"}]
    unlike = [{"name": "fake_qpu", "snapshot": "fez"}, {"name": "lab_qpu", "snapshot": "manila"}]

    assert names()[3:] == ["mock_torino", "mock_fez", "mock_manila"]
    assert names(backends=alike)[2:] == ["mock_manila"]
    assert names(backends=unlike)[2:] == []  # it would be one of them, and checked for the other
    assert names(mocks=False, backends=[{"name": "mock_x", "snapshot": "fez"}]) == ["mock_x"]
    with pytest.raises(ConfigError, match="'mock_x' would be taken for a mock"):
        names(backends=[{"name": "mock_x", "snapshot": "fez"}])


def names(**settings) -> list[str]:
    config: Config = load(None, {}, **settings)
    return [backend.name for backend in config.offered]
