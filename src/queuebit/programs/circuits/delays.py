"""Delays that are parameters, which Qiskit's QPY reader leaves in a unit that does not exist.

Whatever unit such a delay had, it is read as one in "expr" (qiskit 2.3 to 2.6), and cannot be
looked at. QPY keeps no units, and the client sends delays in dt; so they are taken for that.
"""

from qiskit import QuantumCircuit
from qiskit.circuit import CircuitInstruction, Delay, ParameterExpression


def mend(circuit: QuantumCircuit) -> QuantumCircuit:
    """`circuit`, just read from QPY, with such delays in dt; in place where it can be."""
    for at, one in enumerate(circuit.data):
        if one.name == "delay" and isinstance(one.params[0], ParameterExpression):
            mended = Delay(one.params[0], unit="dt")
            circuit.data[at] = CircuitInstruction(mended, one.qubits)
        elif one.is_control_flow():
            operation = one.operation
            if any(_broken(block) for block in operation.blocks):
                blocks = [mend(block) for block in operation.blocks]
                circuit.data[at] = one.replace(operation=operation.replace_blocks(blocks))
    return circuit


def _broken(circuit: QuantumCircuit) -> bool:
    return any(
        any(_broken(block) for block in one.operation.blocks)
        if one.is_control_flow()
        else one.name == "delay" and isinstance(one.params[0], ParameterExpression)
        for one in circuit.data
    )
