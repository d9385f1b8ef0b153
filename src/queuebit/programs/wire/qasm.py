"""Circuits from OpenQASM 3, for users without Qiskit.

`openqasm3` parses the text, `qasm_check` looks through its tree, `qiskit-qasm3-import` makes the
circuit.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from typing import Any

import openqasm3
from openqasm3 import ast
from openqasm3.parser import QASM3ParsingError
from qiskit import QuantumCircuit
from qiskit.circuit import ClassicalRegister, Clbit, ControlFlowOp, Gate, Qubit
from qiskit.circuit.exceptions import CircuitError
from qiskit.circuit.library import IGate, get_standard_gate_name_mapping
from qiskit.quantum_info import Operator
from qiskit_qasm3_import import types
from qiskit_qasm3_import.converter import ConvertVisitor
from qiskit_qasm3_import.data import Symbol
from qiskit_qasm3_import.exceptions import ConversionError
from qiskit_qasm3_import.state import State

from queuebit.errors import InvalidInput
from queuebit.programs.circuits.delays import in_dt
from queuebit.programs.wire.qasm_check import check, refuse
from queuebit.programs.wire.qasm_conditions import condition

# The parser is pure Python and takes some milliseconds per line: what is larger comes as QPY.
CHARACTERS_MAX = 100_000
NESTING_MAX = 50  # brackets in brackets; the parser recurses ...
OPERATORS_MAX = 200  # ... and so it does for each operator of an expression

_COMMENTS = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_STATEMENT = re.compile(r"[;{}]")
_OPERATOR = re.compile(r"[-+*/%^&|~!<>=]+?")
_VERSION = re.compile(r"OPENQASM\s+(\d+)")
# The grammar knows the micro sign; keyboards write the Greek letter, which looks the same.
_GREEK_MU = re.compile("(?<=[0-9.])([ \t]*)\u03bcs\\b")
_PLACED = re.compile(r"(\d+),\d+: (.*)", re.DOTALL)  # a ConversionError's line, column and message
_TAKEN = re.compile(r"Symbol '(.*?)' already inserted")
_UNRESOLVED = "cannot be resolved into a Qiskit value"
# `qasm3.dumps` defines the gates of a QPU that stdgates.inc lacks: ecr, rzz.
_STANDARD = get_standard_gate_name_mapping()


def load(source: str, dt: float | None = None) -> QuantumCircuit:
    """The circuit that `source` describes; InvalidInput says at which line it cannot be read.

    `dt` is the backend's unit of time in seconds: delays in other units become the nearest whole
    numbers of it. A scalar bit is a register of one bit, so that results hold it.
    """
    if len(source) > CHARACTERS_MAX:
        raise InvalidInput(
            f"an OpenQASM circuit of {len(source)} characters; the limit is {CHARACTERS_MAX}",
            1506,
            "Send the circuit as QPY.",
        )
    text = _COMMENTS.sub(" ", source).strip()
    if not text or ((version := _VERSION.match(text)) and version[1] != "3"):
        raise InvalidInput("a circuit given as text must be OpenQASM 3", 1506)
    if _nesting(text) > NESTING_MAX:
        raise InvalidInput(f"OpenQASM: brackets are nested more than {NESTING_MAX} deep", 1506)
    if max(map(len, map(_OPERATOR.findall, _STATEMENT.split(text)))) > OPERATORS_MAX:
        raise InvalidInput(f"OpenQASM: an expression has more than {OPERATORS_MAX} operators", 1506)
    program = _parsed(_GREEK_MU.sub("\\1\u00b5s", source))
    with _placed(program):
        check(program, _STANDARD)
        circuit = _Converter().convert(program).circuit
        circuit._layout = None  # noqa: SLF001 - of qubits that nothing had to be laid out on
        circuit = _standardized(circuit, set())
    return in_dt(circuit, dt)


def _parsed(source: str) -> ast.Program:
    try:
        with redirect_stderr(io.StringIO()):  # where the parser quotes what it cannot read
            return openqasm3.parse(source)
    except QASM3ParsingError as error:
        raise InvalidInput(_syntax(error), 1506) from None
    except RecursionError:
        raise InvalidInput("OpenQASM: an expression is nested too deep", 1506) from None
    except Exception:  # noqa: BLE001 - the parser raises what it likes on bad text
        raise InvalidInput("OpenQASM: the text is not OpenQASM 3", 1506) from None


def _syntax(error: QASM3ParsingError) -> str:
    """Where and at what the parser stopped: in its own words, or in what caused the error."""
    if found := re.match(r"L(\d+):C\d+: token recognition error at: (.*)", str(error), re.DOTALL):
        told = found[2].strip("'")[:50]
        return f"OpenQASM, line {found[1]}: {told!r} is not allowed here"
    if found := re.match(r"L(\d+):C\d+: (.*)", str(error), re.DOTALL):
        return f"OpenQASM, line {found[1]}: {found[2][:200]}"
    cause: Any = error.__cause__
    while cause is not None and not hasattr(cause, "offendingToken"):
        cause = cause.args[0] if cause.args and isinstance(cause.args[0], Exception) else None
    token = getattr(cause, "offendingToken", None)
    if token is None:
        return f"OpenQASM: {str(error)[:200] or 'the text is not OpenQASM 3'}"
    if token.text == "<EOF>":
        return f"OpenQASM, line {token.line}: the text ends within a statement"
    return f"OpenQASM, line {token.line}: {token.text[:50]!r} is not allowed here"


@contextmanager
def _placed(node: ast.QASMNode) -> Iterator[None]:
    """What the libraries raise inside becomes a refusal at the line of `node`, or at their own."""
    try:
        yield
    except (InvalidInput, MemoryError):
        raise
    except ConversionError as error:
        if not (found := _PLACED.fullmatch(error.message)):
            refuse(node, error.message[:200])
        told = found[2][:200]
        if taken := _TAKEN.match(told):
            told = f"the name {taken[1][:50]!r} is already taken"
        elif told.endswith(_UNRESOLVED):
            told = "this kind of value is not supported by the target system"
        raise InvalidInput(f"OpenQASM, line {found[1]}: {told}", 1506) from None
    except RecursionError:
        refuse(node, "it is nested too deep")
    except (IndexError, CircuitError) as error:
        told = "an index is out of range" if isinstance(error, IndexError) else error.message
        refuse(node, told[:200])
    except Exception:  # noqa: BLE001 - Qiskit raises what it likes on arguments that do not fit
        refuse(node, "the operands do not fit")


class _Converter(ConvertVisitor):
    """Makes the circuit; each bit is in a register, under the name that the program gives it."""

    def visit(self, node: ast.QASMNode, context: State | None = None) -> Any:
        with _placed(node):
            return super().visit(node, context)

    def visit_Include(self, node: ast.Include, context: State) -> State:
        context = super().visit_Include(node, context)
        # The library's own `id` is a U gate, which no backend has.
        context.symbol_table.get("id").data = IGate
        return context

    def visit_ClassicalDeclaration(self, node: Any, context: State) -> State:
        name, size = node.identifier.name, node.type.size
        register = ClassicalRegister(1 if size is None else size.value, name)
        data = register[0] if size is None else register
        kind = types.Bit() if size is None else types.BitArray(register.size)
        symbol = Symbol(name, data, kind, context.scope, node)
        context.symbol_table.insert(symbol)  # type: ignore[no-untyped-call]
        context.circuit.add_register(register)
        if node.init_expression is not None:
            self._measure(node.init_expression, data, context)
        return context

    def visit_QuantumMeasurementStatement(self, node: Any, context: State) -> State:
        self._measure(node.measure, self._resolve_carg(node.target, context), context)
        return context

    def _measure(self, node: Any, target: Any, context: State) -> None:
        measured = self._resolve_qarg(node.qubit, context)
        qubits = 1 if isinstance(measured, Qubit) else len(measured)
        bits = 1 if isinstance(target, Clbit) else len(target)
        if qubits != bits:
            refuse(node, f"a measurement with qubits: {qubits}, classical bits: {bits}")
        context.circuit.measure(measured, target)

    def visit_AliasStatement(self, node: ast.AliasStatement, context: State) -> State:
        _, kind = self._resolve_generic(node.value, context, strict=True)
        if isinstance(kind, types.BitArray):
            refuse(node, "'let' for classical bits is not supported by the target system")
        return super().visit_AliasStatement(node, context)

    def _resolve_condition(self, node: ast.Expression, context: State) -> Any:
        return condition(node, lambda name: self._resolve_carg(name, context))


def _standardized(circuit: QuantumCircuit, checked: set[str]) -> QuantumCircuit:
    """With Qiskit's own gates in place of definitions of the same; `checked` are their names."""
    if not _has_definitions(circuit):
        return circuit
    made = circuit.copy_empty_like()
    for instruction in circuit.data:
        operation = instruction.operation
        if isinstance(operation, ControlFlowOp):
            blocks = [_standardized(block, checked) for block in operation.blocks]
            operation = operation.replace_blocks(blocks)
        elif _is_definition(operation):
            standard = _STANDARD[operation.name].base_class(*operation.params)
            if operation.name not in checked and not _same(operation, standard):
                raise InvalidInput(
                    f"OpenQASM: {operation.name!r} is defined as another gate than the standard "
                    "one of that name",
                    1506,
                )
            checked.add(operation.name)
            operation = standard
        made.append(instruction.replace(operation=operation), copy=False)
    return made


def _has_definitions(circuit: QuantumCircuit) -> bool:
    return any(
        any(map(_has_definitions, instruction.operation.blocks))
        if instruction.is_control_flow()
        else _is_definition(instruction.operation)
        for instruction in circuit.data
    )


def _is_definition(operation: Any) -> bool:
    return type(operation) is Gate and operation.name in _STANDARD


def _same(defined: Gate, standard: Gate) -> bool:
    """Whether both do the same, but for a global phase; tried at numbers of no meaning."""
    if defined.num_qubits != standard.num_qubits:
        return False
    one, other = (QuantumCircuit(standard.num_qubits) for _ in range(2))
    for circuit, gate in ((one, defined), (other, standard)):
        circuit.append(gate, circuit.qubits)
    values = [0.3 + 0.7 * number for number in range(len(one.parameters))]
    return bool(
        Operator(one.assign_parameters(values)).equiv(Operator(other.assign_parameters(values)))
    )


def _nesting(text: str) -> int:
    deepest = depth = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        deepest = max(deepest, depth)
    return deepest
