"""What is told of the noise of layers: LayerErrors, as the client knows them."""

from collections.abc import Sequence
from typing import Any

from qiskit import QuantumCircuit, qasm3
from qiskit_ibm_runtime.results import LayerError, PauliLindbladError
from samplomatic.utils import undress_box

from queuebit.programs.learner.learning import Layer, Noise


def gates_of(layer: Layer) -> QuantumCircuit:
    """The layer's gates on qubits that are numbered as the layer's are, from 0, ascending."""
    place = {qubit: i for i, qubit in enumerate(sorted(layer.qubits))}
    circuit = QuantumCircuit(len(place), name="layer")  # not numbered: same seed, same text
    order = [place[qubit] for qubit in layer.qubits]
    circuit.compose(undress_box(layer.box).body, order, inplace=True)
    return circuit


def layer_errors(gates: Sequence[QuantumCircuit], noise: Sequence[Noise]) -> list[LayerError]:
    """The learned noise of layers, whose gates are as `gates_of` makes them."""
    return [
        LayerError(
            circuit,
            list(one.qubits),
            PauliLindbladError(one.pauli_map.generators().to_pauli_list(), one.pauli_map.rates),
        )
        for circuit, one in zip(gates, noise, strict=True)
    ]


def plain(layer: LayerError) -> dict[str, Any]:
    """For users without Qiskit."""
    error = layer.error
    return {
        "circuit": qasm3.dumps(layer.circuit),
        "qubits": layer.qubits,
        "error": None
        if error is None
        else {"generators": error.generators.to_labels(), "rates": error.rates.tolist()},
    }
