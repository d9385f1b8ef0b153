"""A walk over QPY, Qiskit's binary format, that lets through only what adds up and may be run.

It reads as Qiskit's reader does (qiskit.qpy, "QPY Format"), and makes nothing.
"""

import math
import struct
from typing import Any

import numpy as np
from qiskit.circuit.controlflow import get_control_flow_name_mapping
from qiskit.circuit.library import get_standard_gate_name_mapping

from queuebit.errors import InvalidInput
from queuebit.programs.wire import npy

VERSIONS = range(13, 19)  # 13: Qiskit 1.3, the first whose expressions are no sympy; 18: Qiskit 2.6
_RANGE = f"{VERSIONS[0]} to {VERSIONS[-1]}"
BITS_MAX = 10_000  # qubits, or classical bits; the largest device has 156
CIRCUITS_MAX = 10_000  # of one file; as many as PUBs
NESTING_MAX = 16  # circuits inside circuits: blocks of control flow
PARAMETERS_MAX = 100_000  # elements of one ParameterVector
OPERATIONS_MAX = 1_000  # steps of one ParameterExpression: its depth is the reader's stack
ITERATIONS_MAX = 10_000  # turns of one loop: simulators unroll it

FILE = struct.Struct("!6sBBBBQcc")
_CIRCUIT = struct.Struct("!HcHIIQIQI")
_REGISTER = struct.Struct("!c?IH?")
_CUSTOM = struct.Struct("!HcII?QIIQ")
_INSTRUCTION = struct.Struct("!HHHIIBHqII")
_VALUE = struct.Struct("!cQ")
_LAYOUT = struct.Struct("!?iiiIi")
NO_LAYOUT = _LAYOUT.pack(False, -1, -1, -1, 0, 0)
_WIRE = struct.Struct("!cI")
_DECLARATION = struct.Struct("!16scH")
_NUMBERS = (struct.Struct("<d"), struct.Struct(">d"))

# Parameters of an instruction, by the name of its class; None: whatever control flow takes.
_GATES: dict[str, int | None] = {
    instruction.base_class.__name__: len(instruction.params)
    for instruction in get_standard_gate_name_mapping().values()
}
_CONTROL_FLOW = frozenset(
    ("IfElseOp", "WhileLoopOp", "ForLoopOp", "SwitchCaseOp", "BreakLoopOp", "ContinueLoopOp")
)
_STORE = "Store"
ALLOWED: dict[str, int | None] = _GATES | {"Barrier": 0, _STORE: 2} | dict.fromkeys(_CONTROL_FLOW)
_BOX = "BoxOp"
NAMESPACE = b"samplomatic"  # of annotations
# Names that stand for more than themselves: nothing else may bear them.
_TAKEN = frozenset(get_standard_gate_name_mapping()) | frozenset(get_control_flow_name_mapping())
_TAKEN |= {"barrier", "store"}

_LENGTHS = frozenset((b"s", b"x"))  # of a delay, besides numbers: a unit, a duration expression
_ANGLES = frozenset((b"i", b"f", b"p", b"v", b"e", b"n"))  # types of numbers and symbols
# Numbers, text, symbols, registers, nothing; and classical expressions, whose depth the reader
# itself limits.
_PLAIN = frozenset((b"i", b"f", b"c", b"s", b"p", b"R", b"x", b"z", b"d"))
# Classical variables: inputs, those of an outer circuit, own ones; and likewise stretches.
_DECLARED, _STRETCHES = frozenset((b"I", b"C", b"L")), frozenset((b"A", b"O"))
_TYPES = frozenset((b"b", b"u", b"f", b"d"))
_CONDITION, _EXPRESSION, _CONDITION_KIND, _ANNOTATED = 1, 2, 0b11, 0b1000_0000
_SUBSTITUTION = 15  # the step of a ParameterExpression that is longer than the others
_SENTINEL = 2**32 - 1  # of a register's bit that is not in the circuit
# The versions that brought annotations, a table of offsets, and a shorter form of much.
_ANNOTATIONS, OFFSETS, _COMPACT = 15, 16, 18


def broken(why: str) -> InvalidInput:
    """The refusal of a circuit that cannot be read."""
    return InvalidInput(f"a circuit's QPY cannot be read: {why}", 1603)


class Walk:
    """One pass over a QPY file, or over a circuit inside it."""

    def __init__(self, content: bytes, *, boxes: bool = False) -> None:
        """Of a whole file; `boxes` says whether boxes and their annotations may be in it."""
        self.content = content
        self.at = self.version = self.depth = 0
        self.vectors: tuple[int, ...] = ()
        self.namespaces = 0
        self.boxes = boxes

    def inside(self, content: bytes, depth: int) -> "Walk":
        """A walk over a part of this one's file."""
        inner = Walk(content, boxes=self.boxes)
        inner.version, inner.depth, inner.vectors = self.version, depth, self.vectors
        return inner

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        end = self.at + size
        if end > len(self.content):
            raise broken(f"{size} bytes are announced, {len(self.content) - self.at} are left")
        taken = self.content[self.at : end]
        self.at = end
        return taken

    def unpack(self, layout: struct.Struct) -> tuple[Any, ...]:
        """The next values, of a fixed layout."""
        return layout.unpack(self.take(layout.size))

    def number(self, code: str) -> int:
        """One integer, of a `struct` code."""
        return int(self.unpack(struct.Struct("!" + code))[0])

    def end(self) -> None:
        """Refuses what is left."""
        if self.at != len(self.content):
            raise broken(f"{len(self.content) - self.at} bytes too many")

    def file(self) -> list[tuple[slice, tuple[int, int]]]:
        """The whole file: where each circuit is, without the layout at its end, and its bits."""
        if len(self.content) < FILE.size or not self.content.startswith(b"QISKIT"):
            raise broken("it does not start with a QPY header")
        _, self.version, *_, programs, encoding, kind = self.unpack(FILE)
        if self.version not in VERSIONS:
            raise InvalidInput(
                f"QPY version {self.version} is not supported, only {_RANGE}",
                1603,
                "Save the circuit with Qiskit 1.3 or newer, up to 2.6.",
            )
        if encoding != b"p":
            raise broken(f"symbolic encoding {encoding!r} is not accepted, only 'p' (sympy)")
        if kind != b"q" or not 1 <= programs <= CIRCUITS_MAX:
            raise broken(f"{programs} programs of type {kind!r}")
        offsets = [self.number("Q") for _ in range(programs)] if self.version >= OFFSETS else []
        found = []
        for i in range(programs):
            start = self.at
            if offsets and offsets[i] != start:
                raise broken("a circuit is not where its table says")
            bits = self.circuit()
            found.append((slice(start, self.at), bits))
            self.layout()
        self.end()
        return found

    def circuit(self) -> tuple[int, int]:
        """One circuit up to its layout; returns its numbers of qubits and classical bits."""
        if self.depth > NESTING_MAX:
            raise broken(f"circuits are nested more than {NESTING_MAX} deep")
        name, phase, phase_size, qubits, clbits, metadata, registers, instructions, variables = (
            self.unpack(_CIRCUIT)
        )
        if max(qubits, clbits) > BITS_MAX:
            raise broken(f"{qubits} qubits and {clbits} bits; the limit is {BITS_MAX} of each")
        if variables > BITS_MAX:
            raise broken(f"{variables} classical variables; the limit is {BITS_MAX}")
        self.take(name)
        phase_value = self.take(phase_size)
        self.take(metadata)
        for _ in range(registers):
            self.register(qubits, clbits)
        for _ in range(variables):
            self.variable()
        self.namespaces = self.number("I") if self.version >= _ANNOTATIONS else 0
        for _ in range(self.namespaces):
            self.namespace()
        if self.version >= _COMPACT:
            self.vectors = tuple(self.vector() for _ in range(self.number("H")))
        self.value(phase, phase_value)
        customs = {self.custom() for _ in range(self.number("Q"))}
        for _ in range(instructions):
            self.instruction(qubits, clbits, customs)
        if self.version < _COMPACT and self.number("H"):
            raise InvalidInput("pulse gates are not supported by the target system", 1517)
        return qubits, clbits

    def namespace(self) -> None:
        """A namespace of annotations: only samplomatic's, whose reader keeps nothing between."""
        if not self.boxes:
            raise InvalidInput("annotated boxes are not supported by this program", 1517)
        name, state = self.unpack(struct.Struct("!IQ"))
        if self.take(name) != NAMESPACE or state:
            raise broken("its annotations are not samplomatic's")

    def register(self, qubits: int, clbits: int, *, checked: bool = True) -> None:
        """A register and where its bits are in the circuit."""
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

    def variable(self) -> None:
        """The declaration of a classical variable."""
        _, usage, size = self.unpack(_DECLARATION)
        kind = self.take(1)
        width = self.number("L") if kind == b"u" else 1
        name = self.take(size).decode()
        if usage in _STRETCHES:
            raise InvalidInput(
                f"the stretch {name[:50]!r} is not supported: nothing here decides how long it is",
                1517,
                "Give the delay its length.",
            )
        if usage not in _DECLARED or kind not in _TYPES or not 1 <= width <= BITS_MAX:
            raise broken(f"a classical variable of type {kind!r} and {width} bits")

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
        """One instruction, with its parameters, on bits that are there."""
        name_size, label, parameters, qargs, cargs, extras, condition, value, controls, _ = (
            self.unpack(_INSTRUCTION)
        )
        name = self.take(name_size).decode()
        self.take(label)
        boxed = name == _BOX and self.boxes
        if not boxed and name not in ALLOWED and name not in customs:
            raise _unsupported(name)
        kind = extras & _CONDITION_KIND
        annotated = bool(extras & _ANNOTATED)
        odd = controls > NESTING_MAX or value < 0 or (annotated and not boxed)
        if odd or kind == _CONDITION_KIND or (boxed and extras & _CONDITION_KIND):
            raise broken(f"the instruction {name} has extras that it cannot have")
        if kind == _CONDITION:
            self.take(condition)
        elif condition:
            raise broken(f"the instruction {name} has half a condition")
        elif kind == _EXPRESSION:
            self.value(*self.typed())
        if name not in _CONTROL_FLOW and not boxed and cargs != name.lower().startswith("measure"):
            raise broken(f"the instruction {name} writes {cargs} bits")
        self.wires(name, qargs, cargs, (qubits, clbits))
        count = ALLOWED.get(name, parameters)
        if boxed:
            self.box((qargs, cargs), parameters, annotated=annotated)
        elif count is None:
            for _ in range(parameters):
                self.value(*self.typed(), (qargs, cargs))
        elif parameters == count or (name == "Delay" and parameters == count + 1):
            for _ in range(parameters):
                self.parameter(name, *self.typed())
        else:
            raise broken(f"the instruction {name} has {parameters} parameters instead of {count}")

    def box(self, wires: tuple[int, int], parameters: int, *, annotated: bool) -> None:
        """What a box holds: its block, no duration, a unit; and annotations."""
        kinds = []
        for _ in range(parameters):
            kind, content = self.typed()
            self.value(kind, content, wires)
            kinds.append(kind)
        if kinds != [b"q", b"z", b"s"]:
            raise InvalidInput("a box with a duration is not supported by this program", 1517)
        for _ in range(self.number("I") if annotated else 0):
            namespace, size = self.unpack(struct.Struct("!IQ"))
            self.take(size)
            if namespace >= self.namespaces:
                raise broken("an annotation is of a namespace that the circuit has not")

    def parameter(self, name: str, kind: bytes, content: bytes) -> None:
        """A parameter of the instruction `name`, which is no control flow: a number or a symbol."""
        if name == "Delay" and kind == b"f":  # all units but dt; the reader takes it for dt
            raise InvalidInput(
                "a delay that is no whole number: its unit is not dt, and QPY keeps no units",
                1603,
                "Transpile the circuit for the backend, which gives delays in dt.",
            )
        if kind == b"f":
            # Little-endian by mistake up to version 17.
            number = _NUMBERS[self.version >= _COMPACT]
            if len(content) != number.size or not math.isfinite(number.unpack(content)[0]):
                raise broken(f"the instruction {name} has a parameter that is not finite")
        elif (kind in _ANGLES if name != _STORE else kind == b"x") or (
            name == "Delay" and kind in _LENGTHS
        ):
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
        inner = self.inside(content, self.depth + 1)
        if inner.depth > 2 * NESTING_MAX:
            raise broken("values are nested too deep")
        match kind:
            case b"q":
                if inner.circuit() != wires:
                    raise broken("a block is not of the size of its instruction")
                if inner.take(_LAYOUT.size) != NO_LAYOUT:
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
        """A number that is written as an array."""
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
        steps = self.inside(self.take(size), self.depth)
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
        """A symbol of an expression."""
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
        inner = self.inside(self.take(size), self.depth)
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
