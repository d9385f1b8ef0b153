"""Circuits that are too wide to be sampled."""

import numpy as np
import pytest
from qiskit import QuantumCircuit

from queuebit.config import BackendConfig
from queuebit.devices.device import Device
from queuebit.devices.planning import Limits
from queuebit.errors import InvalidInput
from queuebit.programs import program

CHAIN = range(15)
SEEDED = {"seed_estimator": 3}


@pytest.fixture(scope="module")
def small() -> Device:
    """Torino, on a machine that has hardly any time."""
    config = BackendConfig(name="torino", snapshot="torino")
    return Device(config, Limits(memory_bytes=2**23, seconds=2.0))


def brickwork(chain=CHAIN) -> QuantumCircuit:
    """One component of all the chain's qubits, with angles of no Clifford circuit."""
    circuit = QuantumCircuit(133)
    for layer in range(8):
        for qubit in chain:
            circuit.sx(qubit)
            circuit.rz(0.4 + 0.05 * qubit, qubit)
            circuit.sx(qubit)
        for one, other in zip(chain[layer % 2 :: 2], chain[layer % 2 + 1 :: 2], strict=False):
            circuit.cz(one, other)
    for qubit in chain:
        circuit.sx(qubit)
    return circuit


def pauli(letters: str, *qubits: int) -> dict[str, float]:
    label = ["I"] * 133
    for letter, qubit in zip(letters, qubits, strict=True):
        label[132 - qubit] = letter
    return {"".join(label): 1.0}


OBSERVABLES = [
    pauli("Z", 0),
    pauli("YZ", 0, 1),
    pauli("XX", 0, 1),
    {**pauli("X", 1), "I" * 133: 2.0},
]


@pytest.mark.parametrize("level", [0, 1])
def test_what_cannot_be_sampled_is_propagated(run, encode, small, torino, level):
    """A few qubits' values do not depend on what is far from them; so much can be sampled."""
    options = {**SEEDED, "default_precision": 0.02}
    (result,) = run(
        "estimator", small, [(brickwork(), OBSERVABLES)], options, resilience_level=level
    )
    (near,) = run(
        "estimator",
        torino,
        [(brickwork(CHAIN[:10]), OBSERVABLES)],
        {**SEEDED, "default_precision": 0.01, "twirling": {"num_randomizations": 3}},
        resilience_level=level,
    )

    told = result.metadata["simulation"]
    assert (told["method"], told["noise"]) == ("pauli_propagation", "twirled")
    assert told["bound"] > 0
    difference = result.data.evs - near.data.evs
    # Three flips do not quite make the readout's errors symmetric; and what is twirled differs.
    assert (np.abs(difference) < 4 * result.data.stds + 0.02).all()
    assert result.data.stds == pytest.approx(result.data.ensemble_standard_error)
    assert (np.abs(result.data.stds - 0.02) < 0.016).all()
    assert result.metadata["target_precision"] == 0.02


def test_it_is_seeded_and_charged_as_what_it_stands_for(run_bytes, encode, small, torino):
    def params(seed: int) -> bytes:
        return encode([(brickwork(), OBSERVABLES)], {"seed_estimator": seed})

    assert run_bytes("estimator", params(1), small) == run_bytes("estimator", params(1), small)
    assert run_bytes("estimator", params(1), small) != run_bytes("estimator", params(2), small)
    estimated = program.validate("estimator", params(1), small).estimated_ms
    prepared = program.prepare("estimator", params(1), small)
    measured = program.quantum("estimator", prepared.work, small)
    assert (prepared.estimated_ms, measured.usage_ms) == (estimated, estimated)
    assert measured.metrics["method"] == "pauli_propagation"


@pytest.mark.parametrize("level", [1, 2])
def test_what_can_be_neither_is_refused(encode, small, level):
    """With ZNE values are compared with each other, and here nothing is sampled."""
    circuit = brickwork()
    if level == 1:
        circuit.reset(0)
        circuit.cz(0, 1)
    params = encode([(circuit, OBSERVABLES)], resilience_level=level)

    with pytest.raises(InvalidInput, match="too big for this simulated QPU"):
        program.validate("estimator", params, small)


def test_heavy_observables_have_values_with_honest_errors(run, small):
    """A product of all qubits, in a job that another PUB makes too wide to be sampled."""
    pubs = [(brickwork(), pauli("Z", 0)), (QuantumCircuit(133), "Z" * 133)]
    _, heavy = run("estimator", small, pubs, SEEDED)

    assert heavy.metadata["simulation"]["method"] == "pauli_propagation"
    assert heavy.data.stds > 0.5
    assert abs(heavy.data.evs - 1) < 4 * heavy.data.stds
