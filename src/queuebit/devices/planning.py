"""By which method a part of a circuit runs: predicted seconds and bytes, limits, refusals."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from queuebit import memory
from queuebit.devices.clifford import count_not_clifford
from queuebit.devices.ordering import Step, steps
from queuebit.devices.reading import CLASSICAL, Part
from queuebit.errors import InvalidInput

# Measured on one core of a small server; good to a factor of about 3, which is enough to choose.
STEP_S = 3e-5  # any operation on an exact state
NUMBER_S = 4e-9  # each of its numbers that the operation touches, while they fit in the cache
FAR_NUMBER_S = 1e-8  # and when they do not
CACHED_NUMBERS = 2**20
SHOT_STEP_S = 2e-6  # one operation of one trajectory
AMPLITUDE_S = 2e-9  # each amplitude of a state vector that it touches
BOND_S = 1e-5  # one two-qubit operation on a matrix product state, times its bond dimension squared
TEXT_S = 2e-5  # one operation of a stabilizer circuit, while it is built
TABLEAU_S = 4e-6  # and once for every set of values
FRAME_S = 1e-9  # and for every shot
FLIP_S = 1e-8  # each bit, while readout errors are drawn

EARLY_QUBITS = 7
"""Parts from this size on measure and drop qubits early; smaller ones draw all bits at the end."""
EXACT_PATIENCE_S = 5.0
"""An exact run may take this long even where trajectories with twirled noise were faster."""
VECTOR_QUBITS = 40
"""A state vector of so many is beyond any memory."""
BOND_BITS = 6
BOND_MAX = 2**BOND_BITS
TRUNCATION = 1e-6
"""Weight of a bond's smallest parts that may be cut off."""
TRAJECTORIES = ("statevector", "matrix_product_state")
DRAWING_BYTES = 5
"""For each bit while it is drawn: a random number of 4 bytes and the outcome."""
COPIES = 4
"""Arrays of a state's size that exist at once while an operation is applied."""
SHOT_BYTES = 24
"""For each shot while its bits are drawn from an exact state."""
TEXT_BYTES = 1_500
"""For each operation of a stabilizer circuit: itself, its noise as text and as Stim holds it."""
FRAME_BYTES = 16
"""For each measured bit of a stabilizer circuit while its readout error is drawn."""
FRAMES_MAX = 2**14
"""Shots of a stabilizer circuit at once; more are not faster."""
SHOTS_MAX = 1024
"""Shots of a dynamic part at once; more are not faster."""
OUTCOME_BYTES = 800
"""For each trajectory: its outcome as Aer gives it, a text in a dictionary."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one job's simulation may use."""

    memory_bytes: int
    seconds: float = 3600.0


@dataclass(frozen=True, slots=True)
class Cost:
    """Prediction for one method."""

    seconds: float
    memory_bytes: int


@dataclass(slots=True)
class Plan:
    """How one part runs."""

    method: str
    """"density_matrix" (exact), "stabilizer" (Clifford), "statevector" or "matrix_product_state"
    (trajectories)."""
    rows: NDArray[np.intp]
    """Which sets of values run so."""
    steps: list[Step]
    cost: Cost
    rows_at_once: int
    shots_at_once: int


@dataclass(frozen=True, slots=True)
class Task:
    """One part to plan."""

    part: Part
    rows: int
    """Sets of values."""
    shots: int
    """Of each set."""
    label: str
    """The circuit that it belongs to, for refusals."""
    clifford: Callable[[], NDArray[np.bool_]]
    """At which sets of values it is Clifford; asked only where it matters, for that takes time."""


def default_limits() -> Limits:
    """Half of the memory that is available now, because other workers need some too.

    And no more than most of what this process may still take: predictions are not exact.
    """
    left = memory.left_bytes()
    half = memory.available_bytes() // 2
    return Limits(half if left is None else min(half, left * 3 // 4))


def check_output(shapes: Sequence[tuple[int, int, int]], limits: Limits) -> Limits:
    """What results leave of the limits: (sets of values, shots, bits) of every experiment.

    Refuses results that do not fit.
    """
    total = sum(prod(shape) for shape in shapes)
    largest = max([prod(shape) for shape in shapes], default=0)
    needed = total + largest * DRAWING_BYTES
    if needed > limits.memory_bytes:
        raise InvalidInput(
            f"{total:.3g} measured bits need {needed / 2**30:.3g} GiB of memory "
            f"(limit {limits.memory_bytes / 2**30:.3g} GiB).",
            code=3248,
            solution="Use fewer shots, fewer parameter sets or fewer measured qubits in one job.",
        )
    return replace(limits, memory_bytes=limits.memory_bytes - needed)


def surely_fits(*, qubits: int, operations: int, runs: int, bits: int, limits: Limits) -> bool:
    """Whether `plan` refuses no part of a circuit, judged by its size; False: perhaps it does.

    No part has more than these `qubits`, `operations` and `bits`, none of them control flow. `runs`
    are sets of values times shots. A part may then run as a state vector, at the worst.
    """
    if qubits >= VECTOR_QUBITS:
        return False
    cost = _vector_cost(qubits, operations, runs, bits)
    return cost.memory_bytes <= limits.memory_bytes and cost.seconds <= limits.seconds


def plan(task: Task, limits: Limits) -> list[Plan]:
    """The best ways to run a part, each for some of its sets of values.

    Refuses what none can run within `limits`.
    """
    every = np.arange(task.rows)
    best = _exact(task, every, limits)
    if best is not None and best.cost.seconds <= EXACT_PATIENCE_S:
        return [best]
    able = task.clifford()
    quick = _stabilizer(task, every[able], limits)
    if quick is None:
        return [_general(task, every, limits)]
    if able.all():
        return [quick]
    rest = _general(task, every[~able], limits)
    if rest.method == "density_matrix":
        # Exact noise at some values and twirled noise at others would bend a curve over them.
        return [_general(task, every, limits)]
    return [quick, rest]


def _general(task: Task, rows: NDArray[np.intp], limits: Limits) -> Plan:
    """The fastest of the methods that can run any part."""
    best = _exact(task, rows, limits)
    found = [] if best is None else [best]
    for method, (cost, each) in _trajectories(task.part, len(rows), task.shots).items():
        # One shot at a time in memory, or, where each goes its own way, as many as there is room.
        room = limits.memory_bytes - cost.memory_bytes
        at_once = max(1, min(len(rows) * task.shots, SHOTS_MAX, room // each + 1))
        if room >= 0:
            found.append(Plan(method, rows, [], cost, len(rows), at_once))
    found = [one for one in found if one.cost.seconds <= limits.seconds]
    if not found:
        raise _refusal(task, len(rows), limits)
    return min(found, key=lambda one: one.cost.seconds)


def _stabilizer(task: Task, rows: NDArray[np.intp], limits: Limits) -> Plan | None:
    """By Stim, in as many rounds as memory asks for; None if there is nothing or too much to do."""
    part, shots = task.part, task.shots
    count = len(part.ops)
    measured = sum(op.name.startswith("measure") for op in part.ops)
    seconds = count * TEXT_S + len(rows) * (
        count * TABLEAU_S + shots * (count * FRAME_S + measured * FLIP_S)
    )
    fixed = count * (TEXT_BYTES + len(rows))
    each = max(1, measured * FRAME_BYTES + len(part.qubits))  # a part may have bits alone
    at_once = min(shots, FRAMES_MAX, (limits.memory_bytes - fixed) // each)
    if not len(rows) or at_once < 1 or seconds > limits.seconds:
        return None
    cost = Cost(seconds, fixed + at_once * each)
    return Plan("stabilizer", rows, [], cost, 1, at_once)


def _exact(task: Task, rows: NDArray[np.intp], limits: Limits) -> Plan | None:
    """Exact, in as many rounds as memory asks for; None if not even one branch fits."""
    part, shots = task.part, task.shots
    ordered = steps(part.ops, early=len(part.qubits) >= EARLY_QUBITS)
    at_once = shots
    while True:
        cost = _exact_cost(ordered, 1, at_once)
        if cost.memory_bytes <= limits.memory_bytes:
            break
        if at_once == 1:
            return None
        at_once = (at_once + 1) // 2
    rows_at_once = max(1, min(len(rows), limits.memory_bytes // max(cost.memory_bytes, 1)))
    rounds = -(-len(rows) // rows_at_once) * -(-shots // at_once)
    one = cost if rows_at_once == 1 else _exact_cost(ordered, rows_at_once, at_once)
    total = Cost(one.seconds * rounds, one.memory_bytes)
    return Plan("density_matrix", rows, ordered, total, rows_at_once, at_once)


def _exact_cost(ordered: list[Step], rows: int, shots: int) -> Cost:
    live: set[int] = set()
    branches, most, seconds = rows, rows, 0.0
    for step in ordered:
        op = step.op
        if len(op.qubits) == 1 and op.operation is None and not op.name.startswith("measure"):
            seconds += STEP_S
            live.difference_update(step.gone)
            continue
        count = 1
        if len(op.qubits) > 1 or op.name in CLASSICAL:
            live.update(op.qubits)
        if op.operation is not None and op.name in CLASSICAL:
            count, measured = _inside(op.operation)
            branches = min(branches << min(measured, 40), rows * shots)
        elif op.name.startswith("measure") and not step.deferred:
            branches = min(2 * branches, rows * shots)
        numbers = branches << 2 * len(live)
        touched = numbers if len(op.qubits) > 1 or op.name.startswith("measure") else branches
        each = NUMBER_S if numbers <= CACHED_NUMBERS else FAR_NUMBER_S
        seconds += count * (STEP_S + each * touched)
        most = max(most, numbers)
        if not step.deferred:
            live.difference_update(step.gone)
    seconds += 1e-7 * rows * shots
    return Cost(seconds, most * 8 * COPIES + rows * shots * SHOT_BYTES)


def _inside(operation: Any) -> tuple[int, int]:
    """Operations and measurements in the blocks of a control-flow operation, loops unrolled."""
    count, measured = 1, 0
    for block in getattr(operation, "blocks", ()):
        for one in block.data:
            if one.is_control_flow():
                more = _inside(one.operation)
                count, measured = count + more[0], measured + more[1]
            else:
                count, measured = count + 1, measured + one.name.startswith("measure")
    rounds = 1
    if operation.name == "for_loop" and hasattr(operation.params[0], "__len__"):
        rounds = len(operation.params[0])
    elif operation.name == "while_loop":
        rounds = 10  # a guess
    return count * rounds, measured * rounds


def _trajectories(part: Part, rows: int, shots: int) -> dict[str, tuple[Cost, int]]:
    """By method what all shots cost, one after the other, and the bytes of the state of one."""
    qubits = max(1, len(part.qubits))
    pairs = 0
    count = 0
    for op in part.ops:
        inside = _inside(op.operation)[0] if op.operation is not None else 1
        count += inside
        pairs += inside if len(op.qubits) > 1 else 0
    runs = rows * shots
    # Each gate across a bond may double it, and a bond has half of its qubits' gates.
    bond = 2.0 ** min(qubits // 2, pairs / qubits, BOND_BITS)
    chain = (runs + 1) * (count * SHOT_STEP_S * 2 + pairs * BOND_S * bond**2)
    outcomes = _outcome_bytes(runs, len(part.clbits))
    each = int(64 * qubits * bond**2)
    found = {"matrix_product_state": (Cost(chain, each + outcomes), each)}
    if qubits < VECTOR_QUBITS:
        vector = _vector_cost(qubits, count, runs, len(part.clbits))
        found["statevector"] = (vector, 16 << qubits)
    return found


def _vector_cost(qubits: int, operations: int, runs: int, bits: int) -> Cost:
    """Of trajectories as state vectors; grows with each of these."""
    seconds = runs * operations * (SHOT_STEP_S + AMPLITUDE_S * 2.0**qubits)
    return Cost(seconds, (16 << qubits) + _outcome_bytes(runs, bits))


def _outcome_bytes(runs: int, bits: int) -> int:
    """Of what Aer counts: at the worst every shot has its own outcome."""
    different = min(runs, 1 << min(bits, VECTOR_QUBITS))
    return different * (OUTCOME_BYTES + 2 * bits) + runs * bits


def _refusal(task: Task, rows: int, limits: Limits) -> InvalidInput:
    part = task.part
    exact = _exact_cost(steps(part.ops, early=True), 1, 1)
    found = [cost for cost, _ in _trajectories(part, rows, task.shots).values()]
    fitting = [one for one in found if one.memory_bytes <= limits.memory_bytes]
    fastest = min(fitting or found, key=lambda one: one.seconds)
    some = f" {rows} of its" if rows < task.rows else ""
    where = f" (at{some} {task.rows} sets of values)" if task.rows > 1 else ""
    joined = sum(len(op.qubits) > 1 for op in part.ops)
    return InvalidInput(
        f"{task.label} is too big for this simulated QPU: it connects {len(part.qubits)} qubits by "
        f"{joined} operations, and {count_not_clifford(part.ops)} of all are not Clifford{where}. "
        f"With exact noise it needs {_gib(exact.memory_bytes)} GiB of memory and about "
        f"{exact.seconds:.3g} s; trajectories need {_gib(fastest.memory_bytes)} GiB and about "
        f"{fastest.seconds:.3g} s for {rows * task.shots} shots (limit "
        f"{_gib(limits.memory_bytes)} GiB, {limits.seconds:.0f} s).",
        code=3248,
        solution="Use fewer shots or parameter sets, fewer qubits that are connected by gates, a "
        "shallower circuit, or angles that are multiples of pi/2, which make circuits of any size "
        "easy. The estimator can do without sampling where this is too much.",
    )


def _gib(size: float) -> str:
    return f"{size / 2**30:.3g}"


def slices(total: int, at_once: int) -> Iterator[tuple[int, int]]:
    """(start, stop) of slices of at most `at_once`."""
    for start in range(0, total, at_once):
        yield start, min(total, start + at_once)
