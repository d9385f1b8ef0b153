"""Shot by shot in Aer, against the exact state with the same twirled noise."""

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter

from queuebit.devices.device import Experiment
from queuebit.devices.reading import read_whole, split
from queuebit.devices.trajectories import chain_order


def entangled() -> QuantumCircuit:
    circuit = QuantumCircuit(5, 4)
    for qubit in (1, 2, 3, 4):
        circuit.sx(qubit)
        circuit.rz(0.3 * qubit, qubit)
        circuit.sx(qubit)
    circuit.cx(2, 3)
    circuit.cx(1, 2)
    circuit.delay(20, 2, unit="us")
    circuit.sx(2)
    circuit.cx(3, 4)
    circuit.measure([1, 2, 3, 4], [2, 0, 3, 1])
    return circuit


def test_static_circuits_agree(twirled, one, forced, same_distribution):
    circuit = entangled()
    exact = one(twirled, circuit, 50_000)
    method = forced()
    experiment = Experiment(circuit, np.zeros((1, 0)), 3000)
    samples = twirled.sample([experiment], seed=4)

    same_distribution(samples.bits[0][0], exact)
    assert samples.metadata["method"] == method
    assert samples.metadata["noise"] == "twirled"
    cut = samples.metadata.get("truncation", {})
    assert (cut.get("bond_dimension"), cut.get("bond_dimension_max")) == (
        (2, 64) if method == "matrix_product_state" else (None, None)
    )
    assert np.array_equal(twirled.sample([experiment], seed=4).bits[0], samples.bits[0])


@pytest.mark.parametrize("forced", ["matrix_product_state"], indirect=True)
def test_what_bonds_lose_is_told(twirled, forced, monkeypatch):
    monkeypatch.setattr("queuebit.devices.trajectories.BOND_MAX", 1)
    forced()
    truncation = twirled.sample([Experiment(entangled(), np.zeros((1, 0)), 64)], seed=4).metadata[
        "truncation"
    ]

    assert truncation["bond_dimension"] == truncation["bond_dimension_max"] == 1
    assert truncation["discarded_weight"] > 0.01


def test_sweeps_and_several_circuits_agree(twirled, forced, same_distribution):
    theta = Parameter("theta")
    swept = QuantumCircuit(2, 2)
    swept.sx(0)
    swept.rz(2 * theta, 0)
    swept.sx(0)
    swept.cx(0, 1)
    swept.measure([0, 1], [1, 0])
    plain = entangled()
    work = [
        Experiment(plain, np.zeros((1, 0)), 2000),
        Experiment(swept, np.array([[0.2], [0.9]]), 2000),
        Experiment(plain, np.zeros((2, 0)), 1000),
    ]
    exact = twirled.sample(work, seed=1).bits
    forced()
    found = twirled.sample(work, seed=2).bits

    for ours, theirs in zip(exact, found, strict=True):
        assert ours.shape == theirs.shape
        for row, other in zip(ours, theirs, strict=True):
            same_distribution(row, other)


def test_dynamic_circuits_agree(twirled, one, forced, same_distribution):
    circuit = QuantumCircuit(3, 3)
    circuit.sx(0)
    circuit.cx(0, 1)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(1)
        circuit.delay(10, 2, unit="us")
    circuit.sx(2)
    circuit.cx(1, 2)
    circuit.reset(0)
    circuit.measure([1, 2], [1, 2])
    exact = one(twirled, circuit, 50_000)
    forced()

    same_distribution(one(twirled, circuit, 4000), exact)


def test_a_line_of_qubits_becomes_a_chain_in_that_order():
    circuit = QuantumCircuit(10, 1)
    line = [7, 2, 9, 0, 4]
    for low, high in [(9, 0), (7, 2), (0, 4), (2, 9)]:
        circuit.cz(low, high)
    circuit.measure(4, 0)
    order = chain_order(split(read_whole(circuit)))

    assert order in (line, line[::-1])
