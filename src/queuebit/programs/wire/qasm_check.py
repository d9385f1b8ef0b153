"""The check of an OpenQASM 3 program before it is made into a circuit.

Nothing in it may take long to compute, and what a circuit for a QPU cannot hold is refused by its
name and its line (IBM's "OpenQASM 3 feature table").
"""

from collections.abc import Iterable
from typing import NoReturn

from openqasm3 import ast
from openqasm3.visitor import QASMVisitor

from queuebit.errors import InvalidInput
from queuebit.programs.wire.qpy_walk import BITS_MAX

INTEGER_MAX = 2**63
DIGITS_MAX = len(str(BITS_MAX))  # of a qubit's number
TURNS_MAX = 10_000  # of one loop, as in QPY
INSTRUCTIONS_MAX = 100_000  # a statement on registers is one on each of their bits
DEFINITION_MAX = 10_000  # gates that one definition stands for, those of its own gates included

_BROADCAST = (
    ast.QuantumGate,
    ast.QuantumReset,
    ast.QuantumMeasurementStatement,
    ast.DelayInstruction,
)
_UNSUPPORTED: dict[type[ast.QASMNode], str] = {
    ast.Annotation: "an annotation",
    ast.ArrayLiteral: "an array",
    ast.Box: "'box'",
    ast.CalibrationDefinition: "'defcal'",
    ast.CalibrationGrammarDeclaration: "'defcalgrammar'",
    ast.CalibrationStatement: "'cal'",
    ast.ClassicalAssignment: "an assignment to a classical variable",
    ast.CompoundStatement: "a block without 'if', 'for' or 'while'",
    ast.ConstantDeclaration: "'const'",
    ast.DurationOf: "'durationof'",
    ast.EndStatement: "'end'",
    ast.ExpressionStatement: "an expression without effect",
    ast.ExternDeclaration: "'extern'",
    ast.ImaginaryLiteral: "an imaginary number",
    ast.Pragma: "'pragma'",
    ast.ReturnStatement: "'return'",
    ast.SizeOf: "'sizeof'",
    ast.SubroutineDefinition: "'def'",
    ast.SwitchStatement: "'switch'",
}


def refuse(node: ast.QASMNode, message: str) -> NoReturn:
    """Refuses what stands at `node`, with its line."""
    line = "" if node.span is None else f", line {node.span.start_line}"
    raise InvalidInput(f"OpenQASM{line}: {message}", 1506)


def unsupported(node: ast.QASMNode, what: str) -> NoReturn:
    """Refuses `what`, which stands at `node` and is valid OpenQASM 3."""
    refuse(node, f"{what} is not supported by the target system")


def check(program: ast.Program, gates: Iterable[str]) -> None:
    """Refuses, with InvalidInput, a program that cannot or must not be made into a circuit.

    `gates` are the names of those that it may define.
    """
    _Check(gates).visit(program)


class _Check(QASMVisitor[None]):
    """Visits a whole program and refuses the first thing that it cannot have."""

    def __init__(self, gates: Iterable[str]) -> None:
        self._gates = frozenset(gates)
        self._weights: dict[str, int] = {}
        """Per defined gate, how many gates it stands for."""
        self._bits = {"qubits": 0, "bits": 0}
        self._sizes: dict[str, int] = {}
        """Per register and alias, how many bits it stands for."""
        self._instructions = 0

    def visit(self, node: ast.QASMNode, context: None = None) -> None:
        if (what := _UNSUPPORTED.get(type(node))) is not None:
            unsupported(node, what)
        for annotation in getattr(node, "annotations", ()):
            unsupported(annotation, "an annotation")
        if isinstance(node, _BROADCAST):
            self._instructions += max(map(self._width, _operands(node)), default=1)
            if self._instructions > INSTRUCTIONS_MAX:
                refuse(node, f"registers make it more than {INSTRUCTIONS_MAX} instructions")
        super().visit(node, context)

    def _width(self, operand: ast.QASMNode) -> int:
        """How many bits an operand is at most."""
        match operand:
            case ast.Identifier(name=name):
                return self._sizes.get(name, 1)
            case ast.IndexedIdentifier(
                name=name, indices=[[ast.RangeDefinition()] | ast.DiscreteSet()]
            ):
                return self._width(name)
            case ast.IndexExpression(collection=collection):
                return self._width(collection)
            case ast.Concatenation(lhs=lhs, rhs=rhs):
                return self._width(lhs) + self._width(rhs)
        return 1

    def visit_AliasStatement(self, node: ast.AliasStatement) -> None:
        size = self._width(node.value)
        if size > BITS_MAX:
            refuse(node, f"an alias of {size} bits; the limit is {BITS_MAX}")
        self._sizes[node.target.name] = size
        self.generic_visit(node)

    def visit_Include(self, node: ast.Include) -> None:
        if node.filename != "stdgates.inc":
            refuse(node, f"only stdgates.inc can be included, not {node.filename[:50]!r}")

    def visit_QubitDeclaration(self, node: ast.QubitDeclaration) -> None:
        self._declare("qubits", node.size, node)

    def visit_ClassicalDeclaration(self, node: ast.ClassicalDeclaration) -> None:
        if not isinstance(node.type, ast.BitType):
            unsupported(node, f"a variable of type {type_name(node.type)}")
        if node.init_expression is not None:
            if not isinstance(node.init_expression, ast.QuantumMeasurement):
                unsupported(node, "an initial value of a classical bit")
            self.visit(node.init_expression)
        self._declare("bits", node.type.size, node)

    def visit_IODeclaration(self, node: ast.IODeclaration) -> None:
        if node.io_identifier is ast.IOKeyword.output:
            unsupported(node, "'output'")
        if not isinstance(node.type, ast.FloatType | ast.AngleType):
            unsupported(node, f"an input of type {type_name(node.type)}")
        self.generic_visit(node)

    def visit_Identifier(self, node: ast.Identifier) -> None:
        if node.name.startswith("$") and not 0 <= _integer(node.name[1:]) < BITS_MAX:
            refuse(node, f"qubit {node.name[:20]}; the largest number is {BITS_MAX - 1}")

    def visit_IntegerLiteral(self, node: ast.IntegerLiteral) -> None:
        if abs(node.value) >= INTEGER_MAX:
            refuse(node, "an integer of more than 63 bits")

    def visit_FunctionCall(self, node: ast.FunctionCall) -> None:
        unsupported(node, f"the function {node.name.name[:50]!r}")

    def visit_QuantumGateModifier(self, node: ast.QuantumGateModifier) -> None:
        unsupported(node, f"the gate modifier '{node.modifier.name} @'")

    def visit_QuantumGateDefinition(self, node: ast.QuantumGateDefinition) -> None:
        name = node.name.name
        if name not in self._gates:
            refuse(node, f"gate {name[:50]!r} is not a standard gate. Transpile for the backend")
        weight = 0
        for statement in node.body:
            if not isinstance(statement, ast.QuantumGate | ast.QuantumPhase | ast.QuantumBarrier):
                refuse(statement, "only gates and barriers can stand in a gate's definition")
            if isinstance(statement, ast.QuantumGate):
                weight += self._weights.get(statement.name.name, 1)
        if weight > DEFINITION_MAX:
            refuse(node, f"gate {name!r} stands for {weight} gates; the limit is {DEFINITION_MAX}")
        self._weights[name] = weight
        self.generic_visit(node)

    def visit_QuantumMeasurementStatement(self, node: ast.QuantumMeasurementStatement) -> None:
        if node.target is None:
            refuse(node, "a measurement needs a classical bit for its outcome")
        self.generic_visit(node)

    def visit_DelayInstruction(self, node: ast.DelayInstruction) -> None:
        if not node.qubits:
            refuse(node, "a delay needs the qubits that wait")
        self.generic_visit(node)

    def visit_ForInLoop(self, node: ast.ForInLoop) -> None:
        if not isinstance(node.type, ast.IntType | ast.UintType):
            unsupported(node, f"a loop variable of type {type_name(node.type)}")
        turns = node.set_declaration
        if isinstance(turns, ast.RangeDefinition) and _turns(turns) > TURNS_MAX:
            refuse(node, f"a loop of more than {TURNS_MAX} turns")
        self.generic_visit(node)

    def _declare(self, what: str, size: ast.Expression | None, node: ast.QASMNode) -> None:
        if size is None:
            number = 1
        elif isinstance(size, ast.IntegerLiteral):
            number = size.value
        else:
            refuse(node, "the size of a register must be a plain number")
        self._bits[what] += number
        name: ast.Identifier = node.qubit if what == "qubits" else node.identifier  # type: ignore[attr-defined]
        self._sizes[name.name] = number
        if number < 1 or self._bits[what] > BITS_MAX:
            refuse(node, f"a register of {number} {what}; a circuit has 1 to {BITS_MAX} in all")


def _operands(node: ast.QASMNode) -> Iterable[ast.QASMNode]:
    """The bits that an instruction is on."""
    match node:
        case ast.QuantumMeasurementStatement(measure=measure, target=target):
            return [measure.qubit] if target is None else [measure.qubit, target]
        case ast.QuantumReset(qubits=one):
            return [one]
        case ast.QuantumGate(qubits=qubits) | ast.DelayInstruction(qubits=qubits):
            return qubits
    return []


def type_name(node: ast.ClassicalType) -> str:
    """What a program calls a type: 'int', 'bool'."""
    name = type(node).__name__.removesuffix("Type").removesuffix("Reference").lower()
    return f"'{name}'"


def _turns(node: ast.RangeDefinition) -> int:
    """How many values a range has; both ends count."""
    start, stop = _plain(node, node.start), _plain(node, node.end)
    step = 1 if node.step is None else _plain(node, node.step)
    if not step:
        refuse(node, "the step of a range cannot be 0")
    return max(0, (stop - start) // step + 1)


def _plain(node: ast.RangeDefinition, given: ast.Expression | None) -> int:
    match given:
        case ast.IntegerLiteral(value=value):
            return int(value)
        case ast.UnaryExpression(
            op=ast.UnaryOperator() as op, expression=ast.IntegerLiteral(value=value)
        ):
            if op.name == "-":
                return -int(value)
    refuse(node, "a loop's range must have plain numbers as start, step and end")


def _integer(digits: str) -> int:
    return int(digits) if digits.isdecimal() and len(digits) <= DIGITS_MAX else -1
