"""Rows, randomizations and replications of every program get their own bits, one shot each too."""

import json

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit_ibm_runtime import QuantumProgram
from qiskit_ibm_runtime.decoders.executor.decoder import ExecutorResultDecoder
from tests.programs.conftest import Perfect
from tests.programs.quantum_programs import seeded

from queuebit.config import BackendConfig
from queuebit.devices.device import Device

WIDTH = 8
"""Connected qubits: so many that each is measured and dropped as soon as it can be."""


@pytest.fixture(scope="module")
def faultless() -> Device:
    device = Device(BackendConfig(name="fake_fez", snapshot="fez"))
    device.noise = Perfect(device.target, device.snapshot)
    return device


def line(*turned: int, angle: Parameter | None = None) -> QuantumCircuit:
    """`turned` qubits of a line are 1; with an angle they are 0 where it is pi."""
    circuit = QuantumCircuit(WIDTH, WIDTH)
    for qubit in turned:
        circuit.sx(qubit)
        if angle is not None:
            circuit.rz(angle, qubit)
        circuit.sx(qubit)
    for low in range(WIDTH - 1):
        circuit.cz(low, low + 1)
    return circuit


def measured(circuit: QuantumCircuit) -> QuantumCircuit:
    circuit.measure(range(WIDTH), range(WIDTH))
    return circuit


SWEEP = np.array([0.0, np.pi, np.pi, 0.0, 0.0, np.pi])
WANTED = np.repeat((SWEEP == 0)[:, None], WIDTH, axis=1)


@pytest.mark.parametrize("shots", [1, 3])
def test_rows_of_a_sampler_job(run, faultless, shots):
    circuit = measured(line(*range(WIDTH), angle=Parameter("a")))

    (pub,) = run("sampler", faultless, [(circuit, SWEEP[:, None], shots)])

    assert (pub.data.c.to_bool_array() == WANTED[:, None]).all()


@pytest.mark.parametrize("twirled", [{"enable_measure": True}, {"enable_gates": True}])
def test_randomizations_of_one_shot(run, faultless, twirled):
    options = {"twirling": {**twirled, "num_randomizations": 60, "shots_per_randomization": 1}}
    circuit = measured(line(*range(0, WIDTH, 2)))

    (pub,) = run("sampler", faultless, [(circuit, None, 60)], options)

    assert pub.data.c.get_counts() == {"01010101": 60}


def test_randomizations_of_rows(run, faultless):
    options = {
        "twirling": {"enable_measure": True, "num_randomizations": 4, "shots_per_randomization": 1}
    }
    circuit = measured(line(*range(WIDTH), angle=Parameter("a")))

    (pub,) = run("sampler", faultless, [(circuit, SWEEP[:, None], 4)], options)

    assert (pub.data.c.to_bool_array() == WANTED[:, None]).all()


def test_randomizations_of_an_estimate(run, faultless):
    options = {"twirling": {"num_randomizations": 64, "shots_per_randomization": 1}}
    observables = ["I" * 7 + "Z", "I" * 6 + "ZZ", "Z" * WIDTH]
    circuit = line(*range(0, WIDTH, 2))
    circuit.remove_final_measurements()

    (pub,) = run(
        "estimator", faultless, [(circuit, observables, None, 1 / 8)], options, resilience_level=1
    )

    assert pub.data.evs == pytest.approx([-1, -1, 1])


def test_rows_of_an_executor_job(run_bytes, faultless):
    made = QuantumProgram(shots=1)
    circuit = measured(line(*range(WIDTH), angle=Parameter("a")))
    made.append_circuit_item(circuit, circuit_arguments=SWEEP.reshape(3, 2, 1))

    text = run_bytes("executor", json.dumps(seeded(made, 1)).encode(), faultless)

    (item,) = ExecutorResultDecoder.decode(text.decode())
    assert (item["c"].reshape(6, WIDTH) == WANTED).all()
