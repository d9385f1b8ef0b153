"""Circuits from OpenQASM 3, for users without Qiskit."""

import re
from typing import Any

from qiskit import QuantumCircuit, qasm3
from qiskit.circuit import ControlFlowOp, Gate
from qiskit.circuit.library import get_standard_gate_name_mapping
from qiskit.quantum_info import Operator

from queuebit.errors import InvalidInput
from queuebit.programs.wire.qpy_walk import BITS_MAX

# The parser is pure Python and takes some milliseconds per line: what is larger comes as QPY.
CHARACTERS_MAX = 100_000
NESTING_MAX = 50  # brackets in brackets; the parser recurses

_COMMENTS = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
# Registers, and all qubits up to a physical one ($7), are made at once: small, plain numbers only.
_SIZE = re.compile(r"\b(?:qubit|bit|creg\s+\w+|qreg\s+\w+)\s*\[([^\]]*)\]|\$(\d+)")
_INCLUDE = re.compile(r"\binclude\b\s*([^;]*)")
# Loops are unrolled into their values: plain, small numbers only, no arithmetic.
_RANGE = re.compile(r"\bfor\b[^\[{]*\bin\b\s*\[([^\]]*)\]")
_PLAIN_RANGE = re.compile(r"\s*-?\d{1,9}\s*(:\s*-?\d{1,9}\s*){1,2}")
_LOOP_MAX = 10_000  # turns of one loop, as in QPY
# What the parser or the simulator would compute at length, and no backend runs.
_REFUSED = re.compile(r"\b(pow|def|ctrl|negctrl|inv|extern|cal|defcal|array|const)\b")
# `qasm3.dumps` defines the gates of a QPU that stdgates.inc lacks: ecr, rzz.
_GATE = re.compile(r"\bgate\s+(\w*)")
_STANDARD = get_standard_gate_name_mapping()


def load(source: str) -> QuantumCircuit:
    """The circuit that `source` describes."""
    if len(source) > CHARACTERS_MAX:
        raise InvalidInput(
            f"an OpenQASM circuit of {len(source)} characters; the limit is {CHARACTERS_MAX}",
            1506,
            "Send the circuit as QPY.",
        )
    text = _COMMENTS.sub(" ", source)
    if not re.match(r"\s*OPENQASM\s+3(\.\d+)?\s*;", text):
        raise InvalidInput("a circuit given as text must be OpenQASM 3", 1506)
    for included in (match[1] for match in _INCLUDE.finditer(text)):
        if included.strip() not in ('"stdgates.inc"', "'stdgates.inc'"):
            raise InvalidInput("OpenQASM: only stdgates.inc can be included", 1506)
    if refused := _REFUSED.search(text):
        raise InvalidInput(f"OpenQASM: {refused[1]!r} is not supported by the target system", 1506)
    for name in (match[1] for match in _GATE.finditer(text)):
        if name not in _STANDARD:
            raise InvalidInput(f"OpenQASM: gate {name[:50]!r} is not a standard gate", 1506)
    for size in (match[1] or match[2] for match in _SIZE.finditer(text)):
        if not size.strip().isdecimal() or len(size) > len(str(BITS_MAX)):
            raise InvalidInput(f"OpenQASM: a register of size {size[:20]!r} is not accepted", 1506)
    for turns in (match[1] for match in _RANGE.finditer(text)):
        if not _PLAIN_RANGE.fullmatch(turns) or _turns(turns) > _LOOP_MAX:
            raise InvalidInput(
                f"OpenQASM: a loop over [{turns[:50]}]; ranges are of plain numbers and of at most "
                f"{_LOOP_MAX} turns",
                1506,
            )
    if arithmetic := re.search(r"\*\*|<<|\d{19}", text):
        raise InvalidInput(f"OpenQASM: {arithmetic[0]!r} is not accepted", 1506)
    if _nesting(text) > NESTING_MAX:
        raise InvalidInput(f"OpenQASM: brackets are nested more than {NESTING_MAX} deep", 1506)
    try:
        circuit = qasm3.loads(text)
    except Exception as error:  # noqa: BLE001 - the parser raises what it likes on bad text
        told = str(error)[:500] or "the text breaks its grammar; is a keyword used as a name?"
        raise InvalidInput(f"OpenQASM: {told}", 1506) from None
    _check_delays(circuit)
    circuit._layout = None  # noqa: SLF001 - of qubits that nothing had to be laid out on
    return _standardized(circuit, set())


def _turns(text: str) -> int:
    """How many values the range `start:stop` or `start:step:stop` has; both ends count."""
    start, *step, stop = (int(part) for part in text.split(":"))
    width = step[0] if step and step[0] else 1
    return max(0, (stop - start) // width + 1)


def _check_delays(circuit: QuantumCircuit) -> None:
    for instruction in circuit.data:
        operation = instruction.operation
        if operation.name == "delay" and operation.unit != "dt":
            raise InvalidInput("OpenQASM: delays must be in dt", 1506)
        if isinstance(operation, ControlFlowOp):
            for block in operation.blocks:
                _check_delays(block)


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
