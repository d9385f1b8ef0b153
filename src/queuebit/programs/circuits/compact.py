"""Circuits cut down to the qubits that they use, and put back on the device's.

Passes of Qiskit and samplomatic look at every qubit of a circuit, and a device has a hundred that a
circuit of five never touches.
"""

from collections.abc import Sequence

from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Clbit, Qubit


def used_qubits(circuit: QuantumCircuit) -> list[int]:
    """Indices of the qubits that something stands on; a barrier alone is nothing."""
    used = {
        qubit
        for instruction in circuit.data
        if instruction.name != "barrier"
        for qubit in instruction.qubits
    }
    return [index for index, qubit in enumerate(circuit.qubits) if qubit in used]


def compact(circuit: QuantumCircuit, qubits: Sequence[int]) -> QuantumCircuit:
    """`circuit` on `qubits` alone, which must be all that it uses; in the order given.

    Its classical bits are one register `c` of as many, in the same order. Without control flow.
    """
    small = QuantumCircuit(
        QuantumRegister(len(qubits), "q"), global_phase=circuit.global_phase, name=circuit.name
    )
    if circuit.num_clbits:
        small.add_register(ClassicalRegister(circuit.num_clbits, "c"))
    places = {circuit.qubits[qubit]: small.qubits[at] for at, qubit in enumerate(qubits)}
    _copy(circuit, small, places, dict(zip(circuit.clbits, small.clbits, strict=True)))
    return small


def spread(small: QuantumCircuit, qubits: Sequence[int], like: QuantumCircuit) -> QuantumCircuit:
    """`small` with its qubits at the indices `qubits`, on the bits and registers of `like`."""
    whole = like.copy_empty_like()
    whole.global_phase = 0
    whole.compose(small, qubits, range(like.num_clbits), copy=False, inplace=True)
    return whole


def _copy(
    source: QuantumCircuit,
    into: QuantumCircuit,
    qubits: dict[Qubit, Qubit],
    clbits: dict[Clbit, Clbit],
) -> None:
    for instruction in source.data:
        on = [qubits[qubit] for qubit in instruction.qubits if qubit in qubits]
        if on:
            operation = instruction.operation
            if instruction.name == "barrier" and len(on) < operation.num_qubits:
                into.barrier(on)
                continue
            into.append(
                instruction.replace(qubits=on, clbits=[clbits[bit] for bit in instruction.clbits]),
                copy=False,
            )
