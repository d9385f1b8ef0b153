"""Delays in dt, the backend's unit of time: the only unit that programs and devices get."""

from collections.abc import Callable, Mapping

from qiskit import QuantumCircuit
from qiskit.circuit import CircuitInstruction, Delay, Parameter, ParameterExpression

from queuebit.devices.classical import delay_s, unit_s
from queuebit.errors import InvalidInput

LENGTH_MAX = 2**53
"""dt: beyond it not every number is a float."""


def mend(circuit: QuantumCircuit) -> QuantumCircuit:
    """`circuit`, just read from QPY, with delays that are parameters in dt.

    Qiskit's QPY reader leaves them in a unit that does not exist. Whatever unit such a delay had,
    it is read as one in "expr" (qiskit 2.3 to 2.6), and cannot be looked at. QPY keeps no units,
    and the client sends delays in dt; so they are taken for that.
    """
    return _changed(circuit, _is_parameter, lambda one: Delay(one.params[0], "dt"))


def in_dt(circuit: QuantumCircuit, dt: float | None) -> QuantumCircuit:
    """`circuit` with every delay in another unit as a whole number of `dt` seconds, the nearest.

    Duration expressions are constants in Qiskit, and become numbers. InvalidInput for such a delay
    if the backend has no dt, and for one without a length: a stretch, or less than nothing.
    """

    def rounded(one: CircuitInstruction) -> Delay:
        if dt is None:
            raise InvalidInput(
                "delays must be in dt: the backend does not say how long that is", 1517
            )
        delay = one.operation
        seconds = delay_s(delay, dt)
        if seconds is None:
            return Delay(delay.duration * (unit_s(delay.unit, dt) / dt), "dt")
        length = seconds / dt
        if not abs(length) < LENGTH_MAX or round(length) < 0:
            raise InvalidInput(f"a delay of {delay.duration} is {length:.6g} dt long", 1517)
        return Delay(round(length), "dt")

    return _changed(circuit, lambda one: bool(one.operation.unit != "dt"), rounded)


def set_aside(circuit: QuantumCircuit) -> tuple[QuantumCircuit, dict[int, ParameterExpression]]:
    """`circuit` with numbers in the place of delays that are parameters, and these by number.

    No other delay of the circuit has such a number. All are in dt.
    """
    lengths = [one.params[0] for one in circuit.data if one.name == "delay"]
    first = 1 + max((one for one in lengths if isinstance(one, int)), default=0)
    aside: dict[int, ParameterExpression] = {}

    def numbered(one: CircuitInstruction) -> Delay:
        number = first + len(aside)
        aside[number] = one.params[0]
        return Delay(number, "dt")

    return _changed(circuit, _is_parameter, numbered), aside


def put_back(circuit: QuantumCircuit, delays: Mapping[int, Parameter]) -> QuantumCircuit:
    """`circuit` with these delays in the place of their numbers."""
    return _changed(
        circuit,
        lambda one: one.params[0] in delays,
        lambda one: Delay(delays[one.params[0]], "dt"),
    )


def _is_parameter(one: CircuitInstruction) -> bool:
    return isinstance(one.params[0], ParameterExpression)


def _changed(
    circuit: QuantumCircuit,
    wanted: Callable[[CircuitInstruction], bool],
    change: Callable[[CircuitInstruction], Delay],
) -> QuantumCircuit:
    """A circuit with other delays in the place of those that are wanted; itself, if there are none.

    It is made anew: Qiskit panics when the blocks of an instruction inside a block are replaced in
    place (2.6).
    """
    if not _has(circuit, wanted):
        return circuit
    made = circuit.copy_empty_like()
    for one in circuit.data:
        changed = one
        if one.name == "delay" and wanted(one):  # whose operation may be one that cannot be made
            changed = CircuitInstruction(change(one), one.qubits)
        elif one.is_control_flow() and one.operation.blocks:
            blocks = [_changed(block, wanted, change) for block in one.operation.blocks]
            changed = one.replace(operation=one.operation.replace_blocks(blocks))
        made.append(changed, copy=False)
    return made


def _has(circuit: QuantumCircuit, wanted: Callable[[CircuitInstruction], bool]) -> bool:
    if "delay" not in circuit.count_ops() and not circuit.has_control_flow_op():
        return False  # ten times as fast as a look at every instruction
    return any(
        any(_has(block, wanted) for block in one.operation.blocks)
        if one.is_control_flow()
        else one.name == "delay" and wanted(one)
        for one in circuit.data
    )
