"""What one job may ask for (semantics 6.1): told before it is queued.

Each function yields the rules that a job breaks, as the errors that refuse it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from qiskit import QuantumCircuit
from qiskit.circuit import ControlFlowOp, ForLoopOp, Operation

from queuebit.errors import InvalidInput

EXECUTIONS_MAX = 10_000_000  # "circuits after broadcast x shots", sampler
# Expectation values of one job, after broadcasting; each takes a microsecond to plan.
EXPECTATIONS_MAX = 2_000_000
# Measured bits of one job. They are bytes in a worker's memory until they are packed.
BITS_MAX = 2_000_000_000
# Points of kerneled measurements of one job: they are 16 bytes each in its result.
POINTS_MAX = 5_000_000
# Rows of parameter values that are twirled, of one job: drawing takes some milliseconds each.
TWIRLED_MAX = 5_000
VALUES_MAX = 2**27  # of all circuits of one job that are drawn at random: 1 GiB
# "26.8 M control-system instructions per qubit", each weighed by what it costs the control system.
QUBIT_WEIGHT_MAX = 26_800_000
WEIGHTS = {"rz": 1, "delay": 1, "sx": 2, "x": 2, "measure": 10, "reset": 17}
TWO_QUBIT_GATES = ("cx", "cz", "ecr", "rzz")
TWO_QUBIT_WEIGHT = 5
GATES_MAX = {"rz": 30_000_000, "sx": 20_000_000}  # per circuit
TWO_QUBIT_GATES_MAX = 5_000_000  # per circuit
UNROLLED_MAX = 1_000_000  # instructions of a circuit, loops unrolled, as a simulator runs them


def executions(runs: Iterable[tuple[int, int]]) -> Iterator[InvalidInput]:
    """A job's circuits x shots may be too many."""
    asked = sum(circuits * shots for circuits, shots in runs)
    if asked > EXECUTIONS_MAX:
        yield InvalidInput(
            f"the job asks for {asked} executions (circuits x shots); "
            f"the limit is {EXECUTIONS_MAX}.",
            1208,
            "Split the job, or use fewer shots.",
        )


def check_values(wanted: int) -> None:
    """Refuse a job that asks for more expectation values than can be planned, before it is."""
    if wanted > EXPECTATIONS_MAX:
        raise InvalidInput(
            f"the job asks for {wanted} expectation values (observables x parameter values); "
            f"the limit is {EXPECTATIONS_MAX}.",
            1208,
            "Split the job.",
        )


def bits(runs: Iterable[tuple[int, int, int]]) -> Iterator[InvalidInput]:
    """A job may measure more than a worker can hold: circuits x shots x bits."""
    measured = sum(circuits * shots * size for circuits, shots, size in runs)
    if measured > BITS_MAX:
        yield InvalidInput(
            f"the job measures {measured} bits (circuits x shots x bits); the limit is {BITS_MAX}.",
            5302,
            "Split the job, or use fewer shots.",
        )


def points(runs: Iterable[tuple[int, int, int]]) -> Iterator[InvalidInput]:
    """A job's kerneled result may be too large to send: circuits x shots x bits."""
    measured = sum(circuits * shots * size for circuits, shots, size in runs)
    if measured > POINTS_MAX:
        yield InvalidInput(
            f"the job asks for {measured} kerneled points (circuits x shots x bits); "
            f"the limit is {POINTS_MAX}.",
            5302,
            "Split the job, use fewer shots, or set execution.meas_type to avg_kerneled.",
        )


def twirled(rows: int) -> Iterator[InvalidInput]:
    """A job may twirl too many sets of parameter values."""
    if rows > TWIRLED_MAX:
        yield InvalidInput(
            f"the job twirls circuits at {rows} sets of parameter values; "
            f"the limit is {TWIRLED_MAX}.",
            1208,
            "Split the job.",
        )


def values(runs: Iterable[tuple[int, int]]) -> Iterator[InvalidInput]:
    """A job's random circuits may have more parameter values than a worker can hold."""
    asked = sum(circuits * parameters for circuits, parameters in runs)
    if asked > VALUES_MAX:
        yield InvalidInput(
            f"the job's random circuits have {asked} parameter values; the limit is {VALUES_MAX}.",
            5302,
            "Split the job, or use fewer randomizations.",
        )


def sizes(circuits: Sequence[QuantumCircuit], what: str = "PUB") -> Iterator[InvalidInput]:
    """Circuits may be of too many instructions, alone or together on one qubit.

    `what` is what the job has of them.
    """
    counts = [_count(circuit) for circuit in circuits]
    for number, (circuit, count) in enumerate(zip(circuits, counts, strict=True)):
        if count.total() > UNROLLED_MAX and circuit.has_control_flow_op():
            yield InvalidInput(
                f"{what} {number}: {count.total()} instructions with its loops unrolled; "
                f"the limit is {UNROLLED_MAX}.",
                8031,
            )
        two_qubit = sum(count[name] for name in TWO_QUBIT_GATES)
        sums = {name: count[name] for name in GATES_MAX} | {"two-qubit": two_qubit}
        for name, limit in (GATES_MAX | {"two-qubit": TWO_QUBIT_GATES_MAX}).items():
            if sums[name] > limit:
                yield InvalidInput(
                    f"{what} {number}: {sums[name]} {name} gates; the limit is {limit}.", 8031
                )
    # No qubit can have more than all together; only a giant needs the slow look.
    if sum(_weight(name) * n for count in counts for name, n in count.items()) <= QUBIT_WEIGHT_MAX:
        return
    weights: Counter[int] = Counter()
    for circuit in circuits:
        _weigh(circuit, range(circuit.num_qubits), 1, weights)
    qubit, weight = max(weights.items(), key=lambda item: item[1])
    if weight > QUBIT_WEIGHT_MAX:
        yield InvalidInput(
            f"the job puts {weight} control-system instructions on qubit {qubit}; "
            f"the limit is {QUBIT_WEIGHT_MAX}.",
            8031,
            "Split the job, or use shorter circuits.",
        )


def _count(circuit: QuantumCircuit) -> Counter[str]:
    """Instructions by name, loops unrolled."""
    count: Counter[str] = Counter(circuit.count_ops())
    if circuit.has_control_flow_op():
        for instruction in circuit.data:
            for block in _blocks(instruction.operation):
                inner, turns = _count(block), _turns(instruction.operation)
                count.update({name: n * turns for name, n in inner.items()})
    return count


def _weigh(
    circuit: QuantumCircuit, qubits: Sequence[int], turns: int, weights: Counter[int]
) -> None:
    """Adds what `circuit`, on `qubits` and run `turns` times, costs on each qubit."""
    place = dict(zip(circuit.qubits, qubits, strict=True))
    for instruction in circuit.data:
        operation = instruction.operation
        where = [place[qubit] for qubit in instruction.qubits]
        for qubit in where:
            weights[qubit] += turns * _weight(operation.name)
        for block in _blocks(operation):
            _weigh(block, where, turns * _turns(operation), weights)


def _weight(name: str) -> int:
    return TWO_QUBIT_WEIGHT if name in TWO_QUBIT_GATES else WEIGHTS.get(name, 0)


def _blocks(operation: Operation) -> Sequence[QuantumCircuit]:
    return operation.blocks if isinstance(operation, ControlFlowOp) else ()


def _turns(operation: Operation) -> int:
    """How often a loop's block runs; a while loop's is not known, and counted once."""
    return len(operation.params[0]) if isinstance(operation, ForLoopOp) else 1
