"""When each instruction of a circuit runs, in the text that the client's drawing of it reads.

A line per instruction and qubit: "branch,instruction,channel,start,duration,pulse", in units of the
device's dt; see qiskit_ibm_runtime.visualization.draw_circuit_schedule_timing. Every instruction
begins as soon as its qubits and bits are free. There is no controller here to broadcast results or
to choose a branch, so that takes no time.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from qiskit import QuantumCircuit
from qiskit.circuit import Bit, CircuitInstruction, IfElseOp

from queuebit.devices.classical import delay_s
from queuebit.devices.protocol import Qpu
from queuebit.errors import InvalidInput

_BRANCHES = ("then", "else")


@dataclass(frozen=True, slots=True)
class Timing:
    """A circuit's schedule."""

    text: str
    duration: int
    """Of the whole circuit, in dt."""


def timing(circuit: QuantumCircuit, device: Qpu) -> Timing:
    """The schedule of one shot of `circuit`; InvalidInput if it has no fixed one."""
    if device.dt is None:
        raise InvalidInput(f"option scheduler_timing: {device.name} has no unit of time (dt)", 1208)
    schedule = _Schedule(device, device.dt)
    wires = {qubit: index for index, qubit in enumerate(circuit.qubits)}
    schedule.add(circuit, wires, {bit: bit for bit in circuit.clbits}, "main")
    return Timing("\n".join(schedule.lines), max(schedule.free.values(), default=0))


@dataclass(slots=True)
class _Schedule:
    """What has been scheduled so far."""

    device: Qpu
    dt: float
    lines: list[str] = field(default_factory=list)
    free: dict[object, int] = field(default_factory=dict)
    """When each qubit and bit is free again."""

    def add(
        self,
        circuit: QuantumCircuit,
        qubits: Mapping[Bit, int],
        clbits: Mapping[Bit, Bit],
        branch: str,
    ) -> None:
        """Everything in `circuit`, or in a block, whose bits are mapped to the outermost ones."""
        for one in circuit.data:
            at = [qubits[bit] for bit in one.qubits]
            busy = [*at, *(clbits[bit] for bit in one.clbits)]
            start = max([self.free.get(wire, 0) for wire in busy], default=0)
            self.free.update(dict.fromkeys(busy, start))
            if isinstance(one.operation, IfElseOp):
                self._branches(one, at, clbits, busy)
                continue
            length = self._length(one, at)
            self.lines.extend(_lines(one, at, branch, start, length))
            self.free.update(dict.fromkeys(busy, start + length))

    def _branches(
        self,
        one: CircuitInstruction,
        at: Sequence[int],
        clbits: Mapping[Bit, Bit],
        busy: Sequence[object],
    ) -> None:
        """Both blocks begin at once; what comes after waits for the longer."""
        before, ends = dict(self.free), dict(self.free)
        outer = [clbits[bit] for bit in one.clbits]
        for block, branch in zip(one.operation.blocks, _BRANCHES, strict=False):
            self.free = dict(before)
            inner = dict(zip(block.clbits, outer, strict=True))
            self.add(block, dict(zip(block.qubits, at, strict=True)), inner, branch)
            ends = {wire: max(end, ends.get(wire, 0)) for wire, end in self.free.items()}
        end = max([ends[wire] for wire in busy], default=0)
        self.free = ends | dict.fromkeys(busy, end)

    def _length(self, one: CircuitInstruction, at: Sequence[int]) -> int:
        name = one.name
        if name == "barrier":
            return 0
        if one.is_control_flow():
            raise InvalidInput(
                f"option scheduler_timing: a circuit with {name} has no fixed schedule", 1208
            )
        if name == "delay":
            span_s = delay_s(one.operation, self.dt)
            if span_s is None:
                raise InvalidInput(
                    "option scheduler_timing: a delay is a parameter, so there is no fixed "
                    "schedule",
                    1208,
                )
            return round(span_s / self.dt)
        known = self.device.target[name]
        told = (known or {}).get(tuple(at))
        return 0 if told is None or told.duration is None else round(told.duration / self.dt)


def _lines(
    one: CircuitInstruction, at: Sequence[int], branch: str, start: int, length: int
) -> Iterator[str]:
    name, pulse = "_".join([one.name, *map(str, at)]), "play"
    if one.name == "barrier":
        name = pulse = "barrier"
    elif one.name == "delay":
        pulse = "delay"
    elif not length:
        pulse = "shift_phase"  # a virtual gate
    for qubit in at:
        if one.name.startswith("measure"):
            yield f"{branch},{name},AWGR{qubit},{start},{length},capture"
        yield f"{branch},{name},Qubit {qubit},{start},{length},{pulse}"
