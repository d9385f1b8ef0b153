"""Delays in dt, the backend's unit of time: the only unit that programs and devices get.

Delays that are parameters Qiskit's QPY reader leaves in a unit that does not exist. Whatever unit
such a delay had, it is read as one in "expr" (qiskit 2.3 to 2.6), and cannot be looked at. QPY
keeps no units, and the client sends delays in dt; so they are taken for that.
"""

from qiskit import QuantumCircuit
from qiskit.circuit import CircuitInstruction, Delay, ParameterExpression

from queuebit.devices.target import unit_s
from queuebit.errors import InvalidInput


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


def in_dt(circuit: QuantumCircuit, dt: float | None) -> QuantumCircuit:
    """`circuit` with every delay as a whole number of `dt` seconds, the nearest; in place.

    InvalidInput for a delay in another unit if the backend has no dt.
    """
    for at, one in enumerate(circuit.data):
        if one.name == "delay" and one.operation.unit != "dt":
            if dt is None:
                raise InvalidInput(
                    "delays must be in dt: the backend does not say how long that is"
                )
            seconds = one.operation.duration * unit_s(one.operation.unit, None)
            circuit.data[at] = CircuitInstruction(Delay(round(seconds / dt), "dt"), one.qubits)
        elif one.is_control_flow():
            blocks = [in_dt(block.copy(), dt) for block in one.operation.blocks]
            circuit.data[at] = one.replace(operation=one.operation.replace_blocks(blocks))
    return circuit
