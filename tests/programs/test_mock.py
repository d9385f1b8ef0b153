"""Every program on coins."""

import json

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit_ibm_runtime import RuntimeDecoder

from queuebit.config import BackendConfig
from queuebit.devices.device import Device
from queuebit.devices.mock import Mock, mocked
from queuebit.devices.planning import Limits
from queuebit.devices.protocol import Experiment
from queuebit.programs import program

LEARNED = ("estimator_pec", "estimator_pea", "noise_learner", "noise_learner_v3")
ONCE = np.zeros((1, 0))
OTHERS = ("estimator_zne_dd_twirl", "sampler_dynamic", "sampler_kerneled", "executor_mixed")


@pytest.fixture(scope="module")
def mock(torino) -> Mock:
    return mocked("mock_torino", torino)


@pytest.mark.parametrize("name", LEARNED + OTHERS)
def test_a_dry_run_of_anything_has_a_result(golden, run_bytes, mock, name):
    """Coins say that layers lose everything: no fit of it, and no overhead, may break a job."""
    program_id, params = golden(f"{name}-0.51.0.json")

    told = run_bytes(program_id, params, mock)

    assert json.loads(told, cls=RuntimeDecoder)


def test_what_a_second_round_came_to_is_told(golden, mock, torino):
    """Of coins PEC learns the largest overhead; the estimate guesses from the errors reported."""
    program_id, params = golden("estimator_pec-0.51.0.json")
    guessed = program.validate(program_id, params, torino)

    prepared = program.prepare(program_id, params, mock)
    measured = program.quantum(program_id, prepared.work, mock)

    assert prepared.metrics["executions"] == guessed.executions
    assert measured.metrics["executions"] > 1.1 * guessed.executions
    assert measured.metrics["num_circuits"] > 1.1 * guessed.circuits
    assert len(measured.metrics["num_qubits"]) == len(measured.metrics["circuit_depths"])


def test_a_mock_takes_what_its_device_only_propagates(run, encode):
    """Values of coins; the readout is perfect, so that it can be mitigated."""
    little = Limits(memory_bytes=2**23, seconds=2.0)
    device = Device(BackendConfig(name="torino", snapshot="torino"), little)
    circuit = QuantumCircuit(133)
    for _ in range(8):
        for qubit in range(15):
            circuit.sx(qubit)
            circuit.rz(0.4, qubit)
            circuit.sx(qubit)
        for qubit in range(14):
            circuit.cz(qubit, qubit + 1)
    zs = [{"I" * (132 - qubit) + "Z" + "I" * qubit: 1.0} for qubit in (0, 7, 20)]
    options = {"seed_estimator": 1}

    assert "too big" in str(
        device.fits([Experiment(circuit.measure_all(inplace=False), ONCE, 4096)])
    )
    (pub,) = run("estimator", mocked("m", device), [(circuit, zs)], options, resilience_level=1)

    assert np.abs(pub.data.evs - [0, 0, 1]).max() < 0.1
    assert pub.metadata["simulation"]["bound"] == 0
