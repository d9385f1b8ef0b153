"""Dynamical decoupling: pulses on waiting qubits, by Qiskit's own passes.

What runs is the circuit with its schedule made explicit: every wait is a delay, with pulses in it
where they fit. The device charges noise for delays, so a decoupled circuit suffers all its waiting,
of which the same circuit without decoupling is spared. And the noise has no memory (Markovian), so
pulses cannot undo it: here decoupling is exercised, and costs; it does not help (docs/programs.md).

Sequences as the client has them (0.51, executor.dynamical_decoupling).
"""

from collections.abc import Sequence
from math import pi

from qiskit import QuantumCircuit
from qiskit.circuit import Gate
from qiskit.circuit.library import RZGate, XGate
from qiskit.transpiler import InstructionProperties, PassManager, Target, TranspilerError
from qiskit.transpiler.passes import (
    ALAPScheduleAnalysis,
    ASAPScheduleAnalysis,
    PadDelay,
    PadDynamicalDecoupling,
    TimeUnitConversion,
)

from queuebit.devices.protocol import Qpu
from queuebit.devices.reading import is_dynamic
from queuebit.devices.target import CONTROL_FLOW
from queuebit.errors import InvalidInput
from queuebit.programs.circuits.compact import compact, spread, used_qubits
from queuebit.programs.options import DynamicalDecoupling

NEEDED = ("x", "rz", "delay")


def _turned(angle: float) -> list[Gate]:
    """A pulse about the axis that lies at `angle` from x."""
    return [RZGate(angle), XGate(), RZGate(-angle)] if angle else [XGate()]


SEQUENCES = {
    "XX": [_turned(0), _turned(0)],
    "XpXm": [_turned(0), _turned(pi)],
    "XY4": [_turned(0), _turned(pi / 2), _turned(pi), _turned(-pi / 2)],
}
"""Pulses of one sequence, each a list of gates that follow at once."""


def decouple(circuit: QuantumCircuit, options: DynamicalDecoupling, device: Qpu) -> QuantumCircuit:
    """`circuit`, on the device's qubits, scheduled, with pulses and delays where a qubit waits.

    Only qubits that it uses are padded: what the others do changes nothing. Bits, registers and
    parameters stay. InvalidInput if it cannot be scheduled: dynamic circuits have no one schedule
    (client 0.51, validate_no_dd_with_dynamic_circuits), delays that are parameters have no length
    yet, and delays off the device's time grid no place in one.
    """
    if is_dynamic(circuit):
        raise InvalidInput(
            "Dynamical decoupling currently cannot be used with dynamic circuits.",
            1208,
            "Set dynamical_decoupling.enable to false.",
        )
    target = device.target
    missing = [name for name in NEEDED if name not in target.operation_names]
    if missing or target.dt is None:
        lack = " and ".join(missing) or "a time unit dt"
        raise InvalidInput(
            f"{device.name} has no {lack}, which dynamical decoupling needs.",
            1208,
            "Set dynamical_decoupling.enable to false.",
        )
    for one in circuit.data:
        if one.name == "delay" and not isinstance(one.params[0], int | float):
            raise InvalidInput(
                "Dynamical decoupling cannot schedule a delay that is a parameter: its length "
                "is not known.",
                1208,
                "Give delays as numbers, or set dynamical_decoupling.enable to false.",
            )
    qubits = used_qubits(circuit)
    if not qubits:
        return circuit
    try:
        padded = _passes(options, _target(target, qubits)).run(compact(circuit, qubits))
    except TranspilerError as error:
        raise InvalidInput(
            f"Dynamical decoupling cannot schedule the circuit: {_said(error)}",
            1208,
            "Give delays in multiples of the backend's timing constraints.",
        ) from None
    return spread(padded, qubits, circuit)


def _said(error: TranspilerError) -> str:
    return str(error.message).rstrip(".") + "."


def _passes(options: DynamicalDecoupling, target: Target) -> PassManager:
    pulses = SEQUENCES[options.sequence_type]
    wait = 1 / len(pulses)
    spacing = [wait / 2]
    for pulse in pulses:
        spacing += [0.0] * (len(pulse) - 1) + [wait]
    spacing[-1] = wait / 2
    analysis = ALAPScheduleAnalysis if options.scheduling_method == "alap" else ASAPScheduleAnalysis
    return PassManager(
        [
            TimeUnitConversion(target=target),
            analysis(target=target),
            PadDynamicalDecoupling(
                dd_sequence=[gate.copy() for pulse in pulses for gate in pulse],
                spacing=spacing,
                skip_reset_qubits=options.skip_reset_qubits,
                extra_slack_distribution=options.extra_slack_distribution,
                target=target,
            ),
            PadDelay(target=target),
        ]
    )


def _target(whole: Target, qubits: Sequence[int]) -> Target:
    """The target on `qubits` alone, numbered anew.

    Durations that it does not tell are 0, as they are when usage is charged.
    """
    small = Target(
        num_qubits=len(qubits),
        dt=whole.dt,
        granularity=whole.granularity,
        min_length=whole.min_length,
        pulse_alignment=whole.pulse_alignment,
        acquire_alignment=whole.acquire_alignment,
    )
    places = {qubit: at for at, qubit in enumerate(qubits)}
    for name in whole.operation_names:
        if name in CONTROL_FLOW:
            continue
        known = whole[name] or {}
        wires = {
            tuple(places[qubit] for qubit in at): None
            if name == "delay"
            else InstructionProperties(duration=(told and told.duration) or 0.0)
            for at, told in known.items()
            if at is not None and places.keys() >= set(at)
        }
        if wires:
            small.add_instruction(whole.operation_from_name(name), wires, name=name)
    return small
