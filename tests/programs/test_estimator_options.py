"""The estimator's options on a device without errors, where all of them must tell the truth."""

from itertools import product

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from tests.programs.test_estimator_mitigation import SEEDED, exact, zne

from queuebit.errors import InvalidInput
from queuebit.programs import program


def ansatz() -> QuantumCircuit:
    """Three qubits, of two parameters whose names are not in the order of their use."""
    a, b = Parameter("z"), Parameter("b")
    circuit = QuantumCircuit(5)
    for qubit in range(3):
        circuit.sx(qubit)
        circuit.rz(a + 0.4 * qubit, qubit)
        circuit.sx(qubit)
    circuit.cx(0, 1)
    circuit.rz(b, 1)
    circuit.barrier()
    circuit.cx(1, 2)
    circuit.sx(0)
    circuit.cx(1, 0)
    return circuit


@pytest.mark.parametrize(
    "options",
    [
        {"twirling": {"enable_gates": True, "strategy": "active"}},
        {"twirling": {"enable_gates": True, "strategy": "active-accum"}},
        {"twirling": {"enable_gates": True, "strategy": "active-circuit"}},
        {"twirling": {"enable_gates": True, "strategy": "all", "num_randomizations": 5}},
        {"twirling": {"enable_gates": True}, "dynamical_decoupling": {"enable": True}},
        {"dynamical_decoupling": {"enable": True, "sequence_type": "XY4"}},
        zne("gate_folding_front", [1, 1.6, 2], "linear"),
        zne("gate_folding_back", [1, 3], "fallback"),
        {"resilience_level": 2},
    ],
    ids=str,
)
def test_a_perfect_device_gives_the_exact_values_whatever_the_options(run, perfect, options):
    """3x2 values: parameters of shape (2,), observables of shape (3, 1)."""
    others = (
        {"resilience_level": options["resilience_level"]} if "resilience_level" in options else {}
    )
    given = {name: value for name, value in options.items() if name not in others} | SEEDED
    observables = [["IIIZZ"], [{"IIXIZ": 0.5, "IIYYI": 1.5}], ["II+1r"]]
    values = [[0.3, 0.8], [1.2, -0.5]]

    (result,) = run("estimator", perfect, [(ansatz(), observables, values)], given, **others)

    letters = product({"I": 1, "X": 1}.items(), {"I": 1, "Z": -1}.items(), {"I": 1, "Y": 1}.items())
    projector = {f"II{x}{z}{y}": a * b * c / 8 for (x, a), (z, b), (y, c) in letters}
    expected = exact(ansatz(), [*observables[:2], [projector]], values)
    data = dict(result.data.items())
    means = data.get("evs_noise_factors", result.data.evs[..., np.newaxis])
    stds = data.get("ensemble_stds_noise_factors", data.get("ensemble_standard_error"))
    deviation = (means - expected[..., np.newaxis]) / stds.reshape(means.shape)
    assert np.abs(deviation).max() < 4.7
    assert (deviation**2).mean() < 2.2
    assert np.abs(result.data.evs - expected).max() < 0.25


def test_a_measurement_before_the_end_can_stand_between_twirled_gates(run, perfect):
    circuit = QuantumCircuit(5, 1)
    circuit.x(0)
    circuit.cx(0, 1)
    circuit.measure(0, 0)
    circuit.cx(1, 2)
    circuit.reset(1)
    circuit.cx(1, 0)

    options = {"twirling": {"enable_gates": True}}
    (result,) = run("estimator", perfect, [(circuit, ["IIIIZ", "IIIZI", "IIZII"])], options)

    assert result.data.evs == pytest.approx([-1, 1, -1])


def test_a_dynamic_circuit_cannot_be_extrapolated(encode, manila):
    circuit = QuantumCircuit(5, 1)
    circuit.measure(0, 0)
    with circuit.if_test((0, 1)):
        circuit.x(1)

    for options in (zne("gate_folding", [1, 3]), {"twirling": {"enable_gates": True}}):
        with pytest.raises(InvalidInput, match=r"PUB 0: .*dynamic circuits"):
            program.validate("estimator", encode([(circuit, "IIIIZ")], options), manila)
