"""Circuits from QPY, Qiskit's binary format, which is read in full before Qiskit may load it.

Qiskit's reader trusts the file: it makes as many bits as a header says, and looks up and calls
whatever `qiskit.circuit.library` has under an instruction's name. So this walk over the format
(qiskit.qpy, "QPY Format") lets through only what adds up, stays within limits, and consists of
standard gates, measurements, barriers, delays, resets and control flow.
"""

import io
import math
import struct
from typing import Any

import numpy as np
from qiskit import ClassicalRegister, QuantumCircuit, qpy
from qiskit.circuit import Clbit, Operation
from qiskit.circuit.classical import expr
from qiskit.circuit.controlflow import get_control_flow_name_mapping
from qiskit.circuit.library import get_standard_gate_name_mapping

from queuebit.errors import InvalidInput
from queuebit.programs import npy

VERSIONS = range(13, 19)  # 13: Qiskit 1.3, the first whose expressions are no sympy; 18: Qiskit 2.6
BITS_MAX = 10_000  # qubits, or classical bits; the largest device has 156
NESTING_MAX = 16  # circuits inside circuits: blocks of control flow
PARAMETERS_MAX = 100_000  # elements of one ParameterVector
OPERATIONS_MAX = 1_000  # steps of one ParameterExpression: its depth is the reader's stack
ITERATIONS_MAX = 10_000  # turns of one loop: simulators unroll it

_FILE = struct.Struct("!6sBBBBQcc")
_CIRCUIT = struct.Struct("!HcHIIQIQI")
_REGISTER = struct.Struct("!c?IH?")
_CUSTOM = struct.Struct("!HcII?QIIQ")
_INSTRUCTION = struct.Struct("!HHHIIBHqII")
_VALUE = struct.Struct("!cQ")
_LAYOUT = struct.Struct("!?iiiIi")
_NO_LAYOUT = _LAYOUT.pack(False, -1, -1, -1, 0, 0)
_WIRE = struct.Struct("!cI")
_NUMBERS = (struct.Struct("<d"), struct.Struct(">d"))

# Parameters of an instruction, by the name of its class; None: whatever control flow takes.
_GATES: dict[str, int | None] = {
    instruction.base_class.__name__: len(instruction.params)
    for instruction in get_standard_gate_name_mapping().values()
}
_CONTROL_FLOW = frozenset(
    ("IfElseOp", "WhileLoopOp", "ForLoopOp", "SwitchCaseOp", "BreakLoopOp", "ContinueLoopOp")
)
ALLOWED: dict[str, int | None] = _GATES | {"Barrier": 0} | dict.fromkeys(_CONTROL_FLOW)
# Names that stand for more than themselves: nothing else may bear them.
_TAKEN = frozenset(get_standard_gate_name_mapping()) | frozenset(get_control_flow_name_mapping())
_TAKEN |= {"barrier", "store"}

_ANGLES = frozenset((b"i", b"f", b"p", b"v", b"e", b"n"))  # types of numbers and symbols
# Numbers, text, symbols, registers, nothing; and classical expressions, whose depth the reader
# itself limits.
_PLAIN = frozenset((b"i", b"f", b"c", b"s", b"p", b"R", b"x", b"z", b"d"))
_CONDITION, _EXPRESSION, _CONDITION_KIND, _ANNOTATED = 1, 2, 0b11, 0b1000_0000
_SUBSTITUTION = 15  # the step of a ParameterExpression that is longer than the others
_SENTINEL = 2**32 - 1  # of a register's bit that is not in the circuit
# The versions that brought annotations, a table of offsets, and a shorter form of much.
_ANNOTATIONS, _OFFSETS, _COMPACT = 15, 16, 18


def broken(why: str) -> InvalidInput:
    """The refusal of a circuit that cannot be read."""
    return InvalidInput(f"a circuit's QPY cannot be read: {why}", 1603)


def load(content: bytes) -> QuantumCircuit:
    """The one circuit in a QPY file, without its layout, which no program needs."""
    try:
        size, bits = _Walk(content).file()
        circuit = qpy.load(io.BytesIO(content[:size] + _NO_LAYOUT))[0]
        if (circuit.num_qubits, circuit.num_clbits) != bits:
            raise broken("its registers have more bits than it has")  # noqa: TRY301 - with the rest
        _complete(circuit)
    except (InvalidInput, KeyboardInterrupt, SystemExit):
        raise
    # Whatever a reader makes of a file that adds up and is wrong all the same: its own errors,
    # Python's, and a panic of its Rust part, which is no Exception.
    except BaseException as error:  # noqa: BLE001 - see above
        raise broken(f"{type(error).__name__}: {str(error)[:500]}") from None
    return circuit


class _Walk:
    """One pass over a QPY file, or over a circuit inside it."""

    def __init__(
        self, content: bytes, version: int = 0, depth: int = 0, vectors: tuple[int, ...] = ()
    ) -> None:
        self.content = content
        self.at = 0
        self.version = version
        self.depth = depth
        self.vectors = vectors

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        end = self.at + size
        if end > len(self.content):
            raise broken(f"{size} bytes are announced, {len(self.content) - self.at} are left")
        taken = self.content[self.at : end]
        self.at = end
        return taken

    def unpack(self, layout: struct.Struct) -> tuple[Any, ...]:
        return layout.unpack(self.take(layout.size))

    def number(self, code: str) -> int:
        """One integer, of a `struct` code."""
        return int(self.unpack(struct.Struct("!" + code))[0])

    def end(self) -> None:
        if self.at != len(self.content):
            raise broken(f"{len(self.content) - self.at} bytes too many")

    def file(self) -> tuple[int, tuple[int, int]]:
        """The whole file; returns its size without the layout, which ends it, and the bits."""
        if len(self.content) < _FILE.size or not self.content.startswith(b"QISKIT"):
            raise broken("it does not start with a QPY header")
        _, version, *_, programs, encoding, kind = self.unpack(_FILE)
        if version not in VERSIONS:
            raise InvalidInput(
                f"QPY version {version} is not supported, only {VERSIONS[0]} to {VERSIONS[-1]}",
                1603,
                "Save the circuit with Qiskit 1.3 or newer, up to 2.6.",
            )
        if encoding != b"p":
            raise broken(f"symbolic encoding {encoding!r} is not accepted, only 'p' (sympy)")
        if kind != b"q" or programs != 1:
            raise broken("it does not hold exactly one circuit")
        self.version = version
        if version >= _OFFSETS and self.number("Q") != self.at:
            raise broken("its circuit is not where its table says")
        bits = self.circuit()
        size = self.at
        self.layout()
        self.end()
        return size, bits

    def circuit(self) -> tuple[int, int]:
        """One circuit up to its layout; returns its numbers of qubits and classical bits."""
        if self.depth > NESTING_MAX:
            raise broken(f"circuits are nested more than {NESTING_MAX} deep")
        name, phase, phase_size, qubits, clbits, metadata, registers, instructions, variables = (
            self.unpack(_CIRCUIT)
        )
        if max(qubits, clbits) > BITS_MAX:
            raise broken(f"{qubits} qubits and {clbits} bits; the limit is {BITS_MAX} of each")
        if variables:
            raise InvalidInput("classical variables are not supported by the target system", 1517)
        self.take(name)
        phase_value = self.take(phase_size)
        self.take(metadata)
        for _ in range(registers):
            self.register(qubits, clbits)
        if self.version >= _ANNOTATIONS and self.number("I"):
            raise InvalidInput("annotated boxes are not supported by this program", 1517)
        if self.version >= _COMPACT:
            self.vectors = tuple(self.vector() for _ in range(self.number("H")))
        self.value(phase, phase_value)
        customs = {self.custom() for _ in range(self.number("Q"))}
        for _ in range(instructions):
            self.instruction(qubits, clbits, customs)
        if self.version < _COMPACT and self.number("H"):
            raise InvalidInput("pulse gates are not supported by the target system", 1517)
        return qubits, clbits

    def register(self, qubits: int, clbits: int, *, checked: bool = True) -> None:
        kind, _, size, name, in_circuit = self.unpack(_REGISTER)
        attached = self.version >= _COMPACT and self.number("B")
        if kind not in (b"q", b"c", b"a") or size > BITS_MAX:
            raise broken(f"a register of kind {kind!r} and size {size}")
        self.take(name)
        known = clbits if kind == b"c" else qubits
        if self.version >= _COMPACT:
            indices = np.frombuffer(self.take(4 * (1 if attached else size)), ">u4").astype(int)
            indices[indices == _SENTINEL] = -1
        else:
            indices = np.frombuffer(self.take(8 * size), ">i8")
        last = indices.max(initial=-1) + (size - 1 if attached else 0)
        least = 0 if in_circuit else -1
        if checked and (last >= known or indices.min(initial=0) < least):
            raise broken("a register has bits that the circuit has not")

    def vector(self) -> int:
        """An entry of the table of vectors; returns the vector's size."""
        name, size, _ = self.unpack(struct.Struct("!HQ16s"))
        self.take(name)
        if size > PARAMETERS_MAX:
            raise broken(f"a vector of {size} parameters; the limit is {PARAMETERS_MAX}")
        return int(size)

    def custom(self) -> str:
        """A custom instruction; returns its name.

        Opaque ones may be the device's own (measure_2). One that brings a definition is none of
        the target's, and so not looked into.
        """
        name_size, kind, _, _, defined, size, _, _, base = self.unpack(_CUSTOM)
        name = self.take(name_size).decode()
        shown = name.removeprefix("###").rsplit("_", 1)[0]
        if kind not in (b"i", b"g") or defined or size or base or shown in _TAKEN:
            raise _unsupported(shown)
        return name

    def instruction(self, qubits: int, clbits: int, customs: set[str]) -> None:
        name_size, label, parameters, qargs, cargs, extras, condition, value, controls, _ = (
            self.unpack(_INSTRUCTION)
        )
        name = self.take(name_size).decode()
        self.take(label)
        if name not in ALLOWED and name not in customs:
            raise _unsupported(name)
        kind = extras & _CONDITION_KIND
        if extras & _ANNOTATED or kind == _CONDITION_KIND or controls > NESTING_MAX or value < 0:
            raise broken(f"the instruction {name} has extras that it cannot have")
        if kind == _CONDITION:
            self.take(condition)
        elif condition:
            raise broken(f"the instruction {name} has half a condition")
        elif kind == _EXPRESSION:
            self.value(*self.typed())
        if name not in _CONTROL_FLOW and cargs != name.lower().startswith("measure"):
            raise broken(f"the instruction {name} writes {cargs} bits")
        self.wires(name, qargs, cargs, (qubits, clbits))
        count = ALLOWED.get(name, parameters)
        if count is None:
            for _ in range(parameters):
                self.value(*self.typed(), (qargs, cargs))
        elif parameters == count or (name == "Delay" and parameters == count + 1):
            for _ in range(parameters):
                self.parameter(name, *self.typed())
        else:
            raise broken(f"the instruction {name} has {parameters} parameters instead of {count}")

    def parameter(self, name: str, kind: bytes, content: bytes) -> None:
        """A parameter of the instruction `name`, which is no control flow: a number or a symbol."""
        if name == "Delay" and kind == b"f":  # all units but dt; the reader takes it for dt
            raise InvalidInput(
                "a delay in seconds: QPY does not keep the unit", 1603, "Give delays in dt."
            )
        if kind == b"f":
            # Little-endian by mistake up to version 17.
            number = _NUMBERS[self.version >= _COMPACT]
            if len(content) != number.size or not math.isfinite(number.unpack(content)[0]):
                raise broken(f"the instruction {name} has a parameter that is not finite")
        elif kind in _ANGLES or (name == "Delay" and kind == b"s"):
            self.value(kind, content)
        else:
            raise broken(f"the instruction {name} has a parameter of type {kind!r}")

    def wires(self, name: str, qargs: int, cargs: int, known: tuple[int, int]) -> None:
        """The bits of the instruction `name`: first qubits, then classical ones."""
        content = self.take((qargs + cargs) * _WIRE.size)
        for i, (kind, index) in enumerate(_WIRE.iter_unpack(content)):
            if kind != (b"q" if i < qargs else b"c") or index >= known[i >= qargs]:
                raise broken(f"the instruction {name} is on bits that the circuit has not")

    def typed(self) -> tuple[bytes, bytes]:
        """A value with its type and size in front."""
        kind, size = self.unpack(_VALUE)
        return kind, self.take(size)

    def value(self, kind: bytes, content: bytes, wires: tuple[int, int] = (0, 0)) -> None:
        """A value of type `kind`; `wires` are those of the instruction that has it."""
        inner = _Walk(content, self.version, self.depth + 1, self.vectors)
        if inner.depth > 2 * NESTING_MAX:
            raise broken("values are nested too deep")
        match kind:
            case b"q":
                if inner.circuit() != wires:
                    raise broken("a block is not of the size of its instruction")
                if inner.take(_LAYOUT.size) != _NO_LAYOUT:
                    raise broken("a block has a layout of its own")
                inner.end()
            case b"t":
                for _ in range(inner.number("Q")):
                    inner.value(*inner.typed(), wires)
                inner.end()
            case b"r":
                _limit_range(*inner.unpack(struct.Struct("!qqq")))
            case b"n":
                inner.array()
            case b"v":
                inner.element()
            case b"e":
                inner.expression()
            case _ if kind not in _PLAIN:
                raise broken(f"values of type {kind!r} are not accepted")

    def array(self) -> None:
        try:
            shape, _ = npy.check(self.content)
        except (ValueError, TypeError, OverflowError) as error:
            raise broken(str(error)) from None
        if shape:
            raise broken("a parameter is an array")

    def element(self) -> None:
        """An element of a vector of parameters."""
        if self.version >= _COMPACT:
            number, index = self.unpack(struct.Struct("!HQ"))
            if number >= len(self.vectors) or index >= self.vectors[number]:
                raise broken("a parameter is of a vector that the circuit has not")
            return
        name, size, _, index = self.unpack(struct.Struct("!HQ16sQ"))
        self.take(name)
        if not index < size <= PARAMETERS_MAX:
            raise broken(f"element {index} of a vector of {size} parameters")

    def expression(self) -> None:
        """A ParameterExpression: the steps that make it, then its symbols."""
        symbols, size = self.unpack(struct.Struct("!QQ"))
        steps = _Walk(self.take(size), self.version, self.depth, self.vectors)
        count = 0
        while steps.at < size:
            step, _, left, _, _ = steps.unpack(struct.Struct("!Bc16sc16s"))
            if step == _SUBSTITUTION:
                steps.mapping(int.from_bytes(left[:8], "big"))
            count += 1
            if count > OPERATIONS_MAX:
                raise broken(f"an expression of more than {OPERATIONS_MAX} steps")
        for _ in range(symbols):
            symbol, kind, size = self.unpack(struct.Struct("!ccQ"))
            self.symbol(symbol)
            if size:  # a symbol that stands for itself has none
                self.value(kind, self.take(size))

    def symbol(self, kind: bytes) -> None:
        if kind == b"p":
            self.take(int(self.unpack(struct.Struct("!H16s"))[0]))
        elif kind == b"v":
            self.element()
        elif kind == b"e" and self.depth < NESTING_MAX:
            self.depth += 1
            self.expression()
            self.depth -= 1
        else:
            raise broken(f"a symbol of type {kind!r}")

    def mapping(self, size: int) -> None:
        """What a substitution puts in the place of symbols."""
        inner = _Walk(self.take(size), self.version, self.depth, self.vectors)
        for _ in range(inner.number("Q")):
            key, kind, length = inner.unpack(struct.Struct("!HcH"))
            inner.take(key)
            inner.value(kind, inner.take(length))

    def layout(self) -> None:
        """A layout; it is not read, so only its length counts."""
        _, initial, mapping, final, extra, _ = self.unpack(_LAYOUT)
        for _ in range(extra):
            self.register(BITS_MAX, BITS_MAX, checked=False)
        for _ in range(max(initial, 0)):
            _, name = self.unpack(struct.Struct("!ii"))
            self.take(max(name, 0))
        self.take(4 * (max(mapping, 0) + max(final, 0)))


def _complete(circuit: QuantumCircuit) -> None:
    """Checks what Qiskit's reader leaves to the first use of a block."""
    for instruction in circuit.data:
        if instruction.is_control_flow():
            operation = instruction.operation
            if not _reads(operation) <= set(instruction.clbits):
                raise broken("a condition reads bits that its instruction has not")
            for block in operation.blocks:
                _complete(block)


def _reads(operation: Operation) -> set[Clbit]:
    """The classical bits that a condition or a switch's target depends on."""
    what = getattr(operation, "condition", getattr(operation, "target", None))
    if isinstance(what, tuple):
        what = what[0]
    parts = [var.var for var in expr.iter_vars(what)] if isinstance(what, expr.Expr) else [what]
    bits: set[Clbit] = set()
    for part in parts:
        bits.update(part if isinstance(part, ClassicalRegister) else [part])
    return bits - {None}


def _limit_range(start: int, stop: int, step: int) -> None:
    if step == 0 or len(range(start, stop, step)) > ITERATIONS_MAX:
        raise InvalidInput(
            f"a loop over range({start}, {stop}, {step}); the limit is {ITERATIONS_MAX} turns", 1517
        )


def _unsupported(name: str) -> InvalidInput:
    return InvalidInput(
        f"the instruction {name[:100]} is not supported by the target system",
        1517,
        "Transpile the circuit for the backend.",
    )
