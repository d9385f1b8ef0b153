"""Random circuits that a device accepts, with everything in them that Qiskit can write down."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Clbit, Duration, Instruction, Parameter, ParameterVector, Qubit
from qiskit.circuit.classical import expr, types
from qiskit.circuit.library import get_standard_gate_name_mapping
from qiskit.transpiler import Target
from tests.reference.random_expressions import Expressions

STANDARD = get_standard_gate_name_mapping()
ANGLES = {"rz": 1, "rx": 1, "rzz": 1, "u1": 1, "u2": 2, "u3": 3}
"""How many each gate has."""
DIVISIONS = ("if_else", "switch_case", "for_loop", "while_loop", "box")


@dataclass(frozen=True)
class Profile:
    """What may be in a circuit."""

    qubits: int = 4
    """In all; pieces that no gate connects share them."""
    operations: int = 16
    control: frozenset[str] = frozenset()
    """Names of control-flow operations."""
    stores: bool = False
    """Real-time variables, and classical bits that are written to."""
    remeasured: bool = False
    """Measurements before the end, of the same qubits and into the same bits; resets."""
    delays: bool = False
    spans: bool = False
    """Delays that are parameters."""
    units: bool = False
    """Delays in other units than dt."""
    parameters: bool = False
    signs: bool = False
    """The sign of a parameter."""
    clifford: bool = False
    durations: bool = False
    """Delays that are classical expressions."""
    floats: bool = False
    """Classical numbers with a point, and durations."""
    plain: bool = False
    """No bit is in two registers or in none."""


@dataclass(frozen=True)
class Made:
    """A circuit and values of its parameters."""

    circuit: QuantumCircuit
    values: NDArray[np.float64]
    """Shape (distinct rows, P), columns as circuit.parameters."""


@dataclass
class _Block:
    """Where statements are written to."""

    circuit: QuantumCircuit
    wires: dict[int, Qubit]
    """By the device's qubit."""
    bits: list[Clbit]
    registers: list[ClassicalRegister]
    variables: list[expr.Var] = field(default_factory=list)
    loops: list[Parameter] = field(default_factory=list)
    locked: frozenset[Any] = frozenset()
    """Bits and variables that a loop around it counts by: not to be written."""
    depth: int = 0

    def expressions(self, rng: np.random.Generator, profile: Profile) -> Expressions:
        return Expressions(rng, self.bits, self.registers, self.variables, floats=profile.floats)

    def writable(self) -> list[Clbit]:
        return [bit for bit in self.bits if bit not in self.locked]


def random_circuit(target: Target, profile: Profile, rng: np.random.Generator) -> Made:
    """A circuit on `target`, and one to three sets of values if it has parameters."""
    return _Maker(target, profile, rng).make()


class _Maker:
    def __init__(self, target: Target, profile: Profile, rng: np.random.Generator) -> None:
        self._target = target
        self._profile = profile
        self._rng = rng
        self._left = profile.operations
        self._dt = target.dt is not None
        self._delays = profile.delays and (self._dt or profile.units or profile.durations)
        # A coin that ends a loop is tossed again.
        self._control = profile.control - (
            set() if "reset" in target.operation_names else {"while_loop"}
        )
        self._angles: list[Parameter] = []
        self._spans: list[Parameter] = []
        names = target.operation_names
        ones = ("x", "sx", "id", "rz", "rx", "u1", "u2", "u3")
        self._ones = [name for name in ones if name in names]
        self._turn = "sx" if "sx" in names else "u3"
        self._pairs = [name for name in ("cx", "cz", "ecr", "rzz") if name in names]
        self._measures = [name for name in names if name.startswith("measure")]
        self._neighbours: dict[int, list[int]] = {}
        for name in self._pairs:
            for first, second in target[name]:
                self._neighbours.setdefault(first, []).append(second)
                self._neighbours.setdefault(second, []).append(first)

    def make(self) -> Made:
        self._make_parameters()
        block = self._outermost()
        self._statements(block)
        self._finish(block)
        circuit = block.circuit
        if self._angles and self._chance(0.2):
            circuit.global_phase = self._one(self._angles)
        return Made(circuit, self._values(circuit))

    def _of(self, block: _Block) -> Expressions:
        return block.expressions(self._rng, self._profile)

    # What there is.

    def _one(self, choices: Any) -> Any:
        return choices[int(self._rng.integers(len(choices)))]

    def _chance(self, chance: float) -> bool:
        return bool(self._rng.random() < chance)

    def _int(self, low: int, high: int) -> int:
        """From low to high, both included."""
        return int(self._rng.integers(low, high + 1))

    def _make_parameters(self) -> None:
        if not self._profile.parameters:
            return
        if self._chance(0.3):  # its elements are ordered by their numbers, not as text
            self._angles = self._rng.permutation(list(ParameterVector("v", 12)))[:4].tolist()
        else:
            self._angles = [Parameter(name) for name in self._rng.permutation(list("dbca"))[:3]]
        self._spans = [Parameter("span")] if self._profile.spans else []

    def _outermost(self) -> _Block:
        qubits = self._choose_qubits()
        size = self._target.num_qubits if self._chance(0.3) else max(qubits) + 1
        loose = [Clbit() for _ in range(0 if self._profile.plain else self._int(0, 2))]
        widths = [self._int(1, 3) for _ in range(self._int(1, 2))]
        registers = [ClassicalRegister(width, f"c{at}") for at, width in enumerate(widths)]
        bits = [*loose, *[bit for register in registers for bit in register]]
        circuit = QuantumCircuit(QuantumRegister(size, "q"))
        circuit.add_bits(loose)
        for register in self._rng.permutation(len(registers)):
            circuit.add_register(registers[register])
        if not self._profile.plain and self._chance(0.4):  # shares its bits with the others
            chosen = self._rng.permutation(len(bits))[: self._int(1, min(3, len(bits)))]
            registers.append(ClassicalRegister(bits=[bits[at] for at in chosen], name="shared"))
            circuit.add_register(registers[-1])
        wires = {qubit: circuit.qubits[qubit] for qubit in qubits}
        block = _Block(circuit, wires, bits, registers)
        if self._profile.stores:
            for _ in range(self._int(0, 2)):
                self._declare(block)
        return block

    def _choose_qubits(self) -> list[int]:
        """Connected ones, most of the time."""
        start = self._one(sorted(self._neighbours))
        found = [start]
        while len(found) < self._profile.qubits:
            around = {n for q in found for n in self._neighbours[q]} - set(found)
            if self._chance(0.15) or not around:
                around = set(self._neighbours) - set(found)
            if not around:
                break
            found.append(self._one(sorted(around)))
        return found

    def _values(self, circuit: QuantumCircuit) -> NDArray[np.float64]:
        rows = self._int(1, 3) if circuit.num_parameters else 1
        values = np.zeros((rows, circuit.num_parameters))
        for column, parameter in enumerate(circuit.parameters):
            if parameter in self._spans:
                values[:, column] = self._rng.integers(0, 4, rows) * self._span() // 4
            else:
                values[:, column] = self._rng.integers(-3, 4, rows) * np.pi / 2
                if not self._profile.clifford:
                    values[:, column] += self._rng.normal(size=rows) * self._rng.integers(
                        0, 2, rows
                    )
        return values

    def _span(self) -> int:
        """A delay in dt that is a good part of T1; its quarters are multiples of 16."""
        return int(2e-4 / (self._target.dt or 1e-9)) // 64 * 64

    # Statements.

    def _statements(self, block: _Block) -> None:
        count = self._left if not block.depth else min(self._left, self._int(1, 4))
        for _ in range(count):
            if self._left <= 0:
                return
            self._left -= 1
            self._statement(block)

    def _statement(self, block: _Block) -> None:
        profile = self._profile
        kinds = {"one": 6.0, "pair": 4.0, "barrier": 0.3}
        if self._delays:
            kinds["delay"] = 1.0
        if profile.remeasured and block.writable():
            kinds |= {"measure": 2.5}
            kinds |= {"reset": 0.7} if "reset" in self._target.operation_names else {}
        if profile.stores:
            kinds |= {"store": 1.5, "declare": 0.4}
        if block.depth < 3:
            kinds |= dict.fromkeys(sorted(self._control), 1.2)
        chances = np.array(list(kinds.values()))
        kind = list(kinds)[int(self._rng.choice(len(kinds), p=chances / chances.sum()))]
        getattr(self, f"_add_{kind}")(block)

    def _add_one(self, block: _Block) -> None:
        self._add_gate(block, self._one([*self._ones, self._turn]), (self._qubit(block),))

    def _add_pair(self, block: _Block) -> None:
        name = self._one(self._pairs)
        places = [(a, b) for a, b in self._target[name] if a in block.wires and b in block.wires]
        if not places:
            return self._add_one(block)
        return self._add_gate(block, name, self._one(places))

    def _add_gate(self, block: _Block, name: str, qubits: tuple[int, ...]) -> None:
        given = [self._angle(block, name) for _ in range(ANGLES.get(name, 0))]
        self._append(block, name, qubits, given)

    @staticmethod
    def _append(block: _Block, name: str, qubits: tuple[int, ...], angles: list[Any]) -> None:
        wires = [block.wires[qubit] for qubit in qubits]
        block.circuit.append(STANDARD[name].base_class(*angles), wires)

    def _add_barrier(self, block: _Block) -> None:
        block.circuit.barrier([block.wires[self._qubit(block)]])

    def _add_delay(self, block: _Block) -> None:
        wire = block.wires[self._qubit(block)]
        if self._dt and self._spans and self._chance(0.4):
            span = self._one([self._spans[0], 2 * self._spans[0] + 16])
            block.circuit.delay(span, wire, "dt")
        elif self._dt and block.loops and self._profile.spans and self._chance(0.3):
            block.circuit.delay(block.loops[-1] * block.loops[-1] * 1000, wire, "dt")
        elif self._profile.durations and (self._chance(0.4) or not self._dt):
            span = expr.lift(Duration.us(self._int(1, 30)))
            block.circuit.delay(self._one([span, expr.mul(span, 3)]), wire)
        elif self._profile.units and (self._chance(0.6) or not self._dt):
            unit, scale = self._one(
                [("s", 1e-6), ("us", 1), ("ns", 1000), ("ps", 1e6), ("ms", 1e-3)]
            )
            block.circuit.delay(self._int(0, 150) * scale, wire, unit)
        else:
            block.circuit.delay(16 * self._int(0, self._span() // 16), wire, "dt")

    def _add_measure(self, block: _Block) -> None:
        name, qubit, bit = (
            self._one(self._measures),
            self._qubit(block),
            self._one(block.writable()),
        )
        self._measure(block, name, qubit, bit)

    def _measure(self, block: _Block, name: str, qubit: int, bit: Clbit) -> None:
        made = STANDARD["measure"] if name == "measure" else Instruction(name, 1, 1, [])
        block.circuit.append(made, [block.wires[qubit]], [bit])

    def _add_reset(self, block: _Block) -> None:
        block.circuit.reset(block.wires[self._qubit(block)])

    def _finish(self, block: _Block) -> None:
        """Measurements at the end, of different qubits into different bits."""
        qubits = self._rng.permutation(list(block.wires)).tolist()
        bits = [block.bits[at] for at in self._rng.permutation(len(block.bits))]
        last = [(qubit, bit) for qubit, bit in zip(qubits, bits, strict=False)]
        for qubit, bit in last[: self._int(1, len(last))]:
            self._measure(block, self._one(self._measures), qubit, bit)

    def _qubit(self, block: _Block) -> int:
        return int(self._one(sorted(block.wires)))

    # Numbers of gates.

    def _angle(self, block: _Block, name: str) -> Any:
        if self._profile.clifford:
            return self._quarters(block, name)
        names = [*self._angles, *block.loops]
        if not names or self._chance(0.4):
            return float(self._rng.random() * (np.pi / 2 if name == "rzz" else 2 * np.pi))
        written = self._expression(names, 2)
        # rzz takes angles from 0 to pi/2 only.
        return np.pi / 4 * (1 + written.sin()) if name == "rzz" else written

    def _quarters(self, block: _Block, name: str) -> Any:
        if name == "rzz":
            return self._int(0, 1) * np.pi / 2
        if self._angles and self._chance(0.5):
            return self._int(1, 3) * self._one(self._angles) + self._int(0, 3) * np.pi / 2
        return self._int(-3, 4) * np.pi / 2

    def _expression(self, names: list[Parameter], depth: int) -> Any:
        """Of parameters; finite and real at all their values."""
        if not depth or self._chance(0.3):
            return self._one(names)
        x = self._expression(names, depth - 1)
        if self._chance(0.4):
            y = self._expression(names, depth - 1) if self._chance(0.6) else self._int(1, 5) / 2
            two = [
                lambda: x + y,
                lambda: x - y,
                lambda: y - x,
                lambda: x * y,
                lambda: x / (x.cos() + 2),
                lambda: x**2,
            ]
            return self._one(two)()
        one = [
            x.sin,
            x.cos,
            x.arctan,
            x.abs,
            x.conjugate,
            lambda: -x,
            lambda: x.sin().exp(),
            (x.abs() + 1.5).log,
            (0.3 * x.sin()).tan,
            (0.9 * x.sin()).arcsin,
            (0.9 * x.cos()).arccos,
            *([x.sign] if self._profile.signs else []),
        ]
        return self._one(one)()

    # Variables.

    def _add_declare(self, block: _Block) -> None:
        self._declare(block)

    def _declare(self, block: _Block) -> None:
        kinds: list[types.Type] = [types.Bool(), types.Uint(self._int(1, 5))]
        if self._profile.floats:
            kinds.append(types.Float())
        kind = self._one(kinds)
        name = f"v{block.depth}_{self._left}_{self._int(0, 10**6)}"
        block.variables.append(block.circuit.add_var(name, self._of(block).of_type(kind, 1)))

    def _add_store(self, block: _Block) -> None:
        targets = [self._lvalue(block, where) for where in self._places(block)]
        if targets:
            target = self._one(targets)
            block.circuit.store(target, self._of(block).of_type(target.type, 2))

    def _places(self, block: _Block) -> list[Any]:
        """Variables twice, so that they are about as frequent as bits."""
        whole = [one for one in block.registers if block.locked.isdisjoint(one)]
        free = [one for one in block.variables if one not in block.locked]
        return [*free, *free, *whole, *block.writable()]

    def _lvalue(self, block: _Block, where: Any) -> expr.Expr:
        node = expr.lift(where)
        if isinstance(node.type, types.Uint) and self._chance(0.4):
            return expr.index(node, self._of(block).index(node.type.width))
        return node

    # Control flow.

    def _condition(self, block: _Block) -> Any:
        if self._profile.stores or self._chance(0.6):
            return self._of(block).boolean(2)
        if block.registers and self._chance(0.5):
            register = self._one(block.registers)
            return (register, self._int(0, 2 ** len(register) - 1))
        return (self._one(block.bits), self._one([0, 1, True, False]))

    def _inside(self, block: _Block, **changes: Any) -> _Block:
        return replace(
            block,
            variables=list(block.variables),
            loops=list(block.loops),
            depth=block.depth + 1,
            **changes,
        )

    def _fill(self, block: _Block, **changes: Any) -> None:
        """One to four statements inside of a block that is being written."""
        self._statements(self._inside(block, **changes))

    def _add_if_else(self, block: _Block) -> None:
        circuit = block.circuit
        if self._chance(0.2):
            return self._add_separate_if(block)
        with circuit.if_test(self._condition(block)) as otherwise:
            self._fill(block)
        if self._chance(0.5):
            with otherwise:
                self._fill(block)
        return None

    def _add_separate_if(self, block: _Block) -> None:
        """With a body that has bits of its own, in another order."""
        bits = [block.writable()[at] for at in self._rng.permutation(len(block.writable()))]
        if not bits:
            return
        qubits = self._rng.permutation(sorted(block.wires)).tolist()
        own = ClassicalRegister(len(bits), "own")
        body = QuantumCircuit(QuantumRegister(len(qubits), "p"), own, captures=block.variables)
        inner = self._inside(
            block,
            circuit=body,
            wires=dict(zip(qubits, body.qubits, strict=True)),
            bits=list(own),
            registers=[own],
        )
        self._statements(inner)
        outer = [block.wires[qubit] for qubit in qubits]
        block.circuit.if_else(self._condition(block), body, None, outer, bits)

    def _add_switch_case(self, block: _Block) -> None:
        kind = self._int(0, 3)
        target: Any = self._one(block.bits)
        if kind == 1:
            target = self._one(block.registers)
        elif kind == 2:
            target = self._of(block).uint(2)
        elif kind == 3:
            target = self._of(block).boolean(2)
        most = 1 if isinstance(expr.lift(target).type, types.Bool) else expr.lift(target).type.width
        most = min(2**most - 1, 7)
        labels = self._rng.permutation(most + 1).tolist()
        with block.circuit.switch(target) as case:
            with case(labels.pop()):
                self._fill(block)
            while labels and self._chance(0.6):
                taken, labels = labels[: self._int(1, 2)], labels[2:]
                with case(*taken):
                    self._fill(block)
            if self._chance(0.6):
                with case(case.DEFAULT):
                    self._fill(block)

    def _add_for_loop(self, block: _Block) -> None:
        indices = self._one(
            [range(self._int(1, 3)), range(2, -2, -2), (1, 1), (3, -1, 0), range(0), (0,)]
        )
        name = self._one(["i", "j"]) + str(self._left)
        turn: Any = self._one([None, Parameter(name), Parameter(name)])
        if self._profile.stores and min(indices, default=0) >= 0 and self._chance(0.3):
            turn = expr.Var.new(name, types.Uint(3))
        with block.circuit.for_loop(indices, turn):
            inner = self._inside(block)
            if isinstance(turn, Parameter):
                inner.loops.append(turn)
            elif turn is not None:
                inner.variables = [turn]  # a block with a variable of its own captures no others
            self._statements(inner)

    def _add_while_loop(self, block: _Block) -> None:
        """By a counter, or as long as a coin shows 1."""
        bits = block.writable()
        if self._profile.stores and self._chance(0.5):
            count = block.circuit.add_var(
                f"n{self._left}_{self._int(0, 10**6)}", expr.lift(0, types.Uint(3))
            )
            limit = expr.less(count, expr.lift(self._int(1, 3), types.Uint(3)))
            with block.circuit.while_loop(limit):
                inner = self._inside(block, locked=block.locked | {count})
                inner.variables.append(count)
                self._statements(inner)
                block.circuit.store(count, expr.add(count, expr.lift(1, types.Uint(3))))
        elif bits:
            bit, qubit = self._one(bits), self._qubit(block)
            with block.circuit.while_loop((bit, 1)):
                self._fill(block, locked=block.locked | {bit})
                block.circuit.reset(block.wires[qubit])
                angles = [np.pi / 2, 0.0, 0.0] if self._turn == "u3" else []
                self._append(block, self._turn, (qubit,), angles)
                self._measure(block, "measure", qubit, bit)

    def _add_box(self, block: _Block) -> None:
        with block.circuit.box():
            self._fill(block)
