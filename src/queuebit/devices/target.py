"""A snapshot as a Qiskit Target: what the client builds from our configuration, no less."""

import math
from collections.abc import Sequence
from typing import Any

from qiskit.circuit import Gate, Instruction, Parameter
from qiskit.circuit.controlflow import ForLoopOp, IfElseOp, SwitchCaseOp, WhileLoopOp
from qiskit.circuit.library import get_standard_gate_name_mapping
from qiskit.providers import QubitProperties
from qiskit.transpiler import InstructionProperties, Target

from queuebit.devices.configuration import NON_UNITARY
from queuebit.devices.snapshot import Json, Snapshot

Wires = tuple[int, ...]

CONTROL_FLOW = {
    "if_else": IfElseOp,
    "while_loop": WhileLoopOp,
    "for_loop": ForLoopOp,
    "switch_case": SwitchCaseOp,
}
RZZ_BOUNDS = (0.0, math.pi / 2)  # semantics 6.3: "rzz angle in [0, pi/2]"
_SI = {"": 1.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "GHz": 1e9, "MHz": 1e6, "Hz": 1.0}
_LISTED_MAX = 5  # qubits in a message


def listed(qubits: Sequence[int]) -> str:
    """Qubits in a message: all of a few, else the first ones and how many there are."""
    if len(qubits) <= _LISTED_MAX:
        return str(tuple(qubits))
    first = ", ".join(map(str, qubits[:_LISTED_MAX]))
    return f"({first}, ...; {len(qubits)} in all)"


def in_si(entries: list[Json]) -> dict[str, float]:
    """The {name, unit, value} entries of a qubit or a gate, in seconds and hertz."""
    return {e["name"]: float(e["value"]) * _SI[e["unit"]] for e in entries}


def build_target(snapshot: Snapshot) -> Target:
    """The device's Target: fractional gates and control flow as far as the snapshot has them.

    Not operational qubits and gates are left out, as the client does it.
    """
    configuration, properties = snapshot.configuration, snapshot.properties()
    qubits = [in_si(entries) for entries in properties["qubits"]]
    broken = {q for q, known in enumerate(qubits) if known.get("operational", 1.0) != 1.0}
    timing = configuration.get("timing_constraints") or {}
    dt = configuration.get("dt")
    target = Target(
        num_qubits=configuration["n_qubits"],
        dt=None if dt is None else dt * _SI["ns"],
        qubit_properties=[
            QubitProperties(t1=q.get("T1"), t2=q.get("T2"), frequency=q.get("frequency"))
            for q in qubits
        ],
        **timing,
    )
    supported = configuration["supported_instructions"]
    for name, instruction in _instructions(configuration).items():
        wires = _wires(name, configuration, properties, broken)
        if name == "measure":
            wires = {
                (q,): InstructionProperties(known.get("readout_length"), known.get("readout_error"))
                for q, known in enumerate(qubits)
                if q not in broken
            }
        elif wires is None and name in NON_UNITARY:
            wires = {(q,): None for q in range(len(qubits)) if q not in broken}
        bounds = [RZZ_BOUNDS] if name == "rzz" else None
        target.add_instruction(instruction, wires, name=name, angle_bounds=bounds)
    for name, control in CONTROL_FLOW.items():
        if name in supported:
            target.add_instruction(control, name=name)
    return target


def _instructions(configuration: Json) -> dict[str, Instruction]:
    """Everything but control flow that the configuration offers, by name."""
    standard: dict[str, Instruction] = get_standard_gate_name_mapping()
    described = {gate["name"]: gate for gate in configuration["gates"]}
    offered: dict[str, Instruction] = {}
    for name in configuration["basis_gates"]:
        if name in standard:
            offered[name] = standard[name]
        elif name in described:
            gate = described[name]
            size = len((gate.get("coupling_map") or [[0]])[0])
            offered[name] = Gate(name, size, [Parameter(p) for p in gate.get("parameters", [])])
    for name in NON_UNITARY:
        if name in configuration["supported_instructions"] or name == "measure":
            offered[name] = standard[name]
    for signature in configuration.get("instruction_signatures") or []:  # measure_2, reset_2
        offered[signature["name"]] = Instruction(
            name=signature["name"],
            num_qubits=signature["num_qubits"],
            num_clbits=signature["num_clbits"],
            params=[Parameter(name) for name in signature["parameters"]],
        )
    return offered


def _wires(
    name: str, configuration: Json, properties: Json, broken: set[int]
) -> dict[Wires, Any] | None:
    """Where instruction `name` may stand, with error and duration; None: anywhere."""
    wires: dict[Wires, Any] = {}
    for gate in configuration["gates"]:
        if gate["name"] == name:
            wires = dict.fromkeys(map(tuple, gate.get("coupling_map") or []))
    for gate in properties["gates"]:
        if gate["gate"] != name:
            continue
        at, known = tuple(gate["qubits"]), in_si(gate["parameters"])
        if broken.intersection(at) or known.get("operational", 1.0) != 1.0:
            wires.pop(at, None)
        else:
            wires[at] = InstructionProperties(known.get("gate_length"), known.get("gate_error"))
    return wires or None
