"""Circuits from QPY, Qiskit's binary format, which is read in full before Qiskit may load it.

Qiskit's reader trusts the file: it makes as many bits as a header says, and looks up and calls
whatever `qiskit.circuit.library` has under an instruction's name. So a walk over the format comes
first, and only circuits of standard gates, measurements, barriers, delays, resets and control flow
get past it; and, where a program takes them, boxes with samplomatic's annotations.
"""

import io

from ibm_quantum_schemas.common.annotation_serializer import AnnotationSerializer
from qiskit import ClassicalRegister, QuantumCircuit, qpy
from qiskit.circuit.classical import expr
from qiskit.exceptions import QiskitError

from queuebit.devices.reading import is_dynamic, reads
from queuebit.errors import InvalidInput
from queuebit.programs.circuits.delays import mend
from queuebit.programs.wire.qpy_walk import FILE, NAMESPACE, NO_LAYOUT, OFFSETS, Walk, broken

_FACTORIES = {NAMESPACE.decode(): AnnotationSerializer}


def load(content: bytes, *, boxes: bool = False) -> QuantumCircuit:
    """The one circuit in a QPY file, without its layout, which no program needs.

    `boxes` says whether boxes and their annotations may be in it.
    """
    circuits = load_all(content, boxes=boxes)
    if len(circuits) != 1:
        raise broken("it does not hold exactly one circuit")
    return circuits[0]


def load_all(content: bytes, *, boxes: bool = False) -> list[QuantumCircuit]:
    """All circuits in a QPY file, without their layouts."""
    try:
        walk = Walk(content, boxes=boxes)
        return [_loaded(_alone(content, walk.version, where), bits) for where, bits in walk.file()]
    except (InvalidInput, KeyboardInterrupt, SystemExit):
        raise
    # Whatever a reader makes of a file that adds up and is wrong all the same: its own errors,
    # Python's, and a panic of its Rust part, which is no Exception.
    except BaseException as error:  # noqa: BLE001 - see above
        said = str(error).strip()[:500] if isinstance(error, QiskitError) else ""
        raise broken(said or "what it holds does not make a circuit") from None


def check(content: bytes) -> None:
    """Refuses, with InvalidInput, a QPY file that somebody else will load."""
    Walk(content).file()


def _alone(content: bytes, version: int, where: slice) -> bytes:
    """A file of one of the circuits in `content`."""
    head = bytearray(content[: FILE.size])
    head[10:18] = (1).to_bytes(8)
    if version >= OFFSETS:
        head += (FILE.size + 8).to_bytes(8)
    return bytes(head) + content[where] + NO_LAYOUT


def _loaded(file: bytes, bits: tuple[int, int]) -> QuantumCircuit:
    circuit = qpy.load(io.BytesIO(file), annotation_factories=_FACTORIES)[0]
    if (circuit.num_qubits, circuit.num_clbits) != bits:
        raise broken("its registers have more bits than it has")
    _complete(circuit)
    return mend(circuit)


def _complete(circuit: QuantumCircuit) -> None:
    """Checks what Qiskit's reader leaves to the first use of an instruction.

    A condition may be on any bits of the circuit that its instruction is in, whether these are
    among the instruction's own or not.
    """
    if not is_dynamic(circuit):
        return
    known = set(circuit.clbits)
    for instruction in circuit.data:
        control = instruction.is_control_flow()
        if not control and instruction.name != "store":
            continue
        operation = instruction.operation
        for where in reads(operation):
            bits = where if isinstance(where, ClassicalRegister) else [where]
            if not isinstance(where, expr.Var) and not known.issuperset(bits):
                raise broken("a condition reads bits that its circuit has not")
        for block in operation.blocks if control else ():
            _complete(block)
