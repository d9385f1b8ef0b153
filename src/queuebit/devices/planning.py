"""By which method a part of a circuit runs: predicted seconds and bytes, limits, refusals."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

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

EARLY_QUBITS = 7
"""Parts from this size on measure and drop qubits early; smaller ones draw all bits at the end."""
EXACT_PATIENCE_S = 5.0
"""An exact run may take this long even where trajectories with twirled noise were faster."""
VECTOR_QUBITS = 40
"""A state vector of so many is beyond any memory."""
BOND_BITS = 6
BOND_MAX = 2**BOND_BITS
DRAWING_BYTES = 5
"""For each bit while it is drawn: a random number of 4 bytes and the outcome."""
COPIES = 4
"""Arrays of a state's size that exist at once while an operation is applied."""


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
    """"density_matrix" (exact), "statevector" or "matrix_product_state" (trajectories)."""
    steps: list[Step]
    cost: Cost
    rows_at_once: int
    shots_at_once: int


def default_limits() -> Limits:
    """Half of the memory that is available now, because other workers need some too."""
    return Limits(_available_bytes() // 2)


def check_output(shapes: Sequence[tuple[int, int, int]], limits: Limits) -> None:
    """Refuse results that do not fit: (sets of values, shots, bits) of every experiment."""
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


def surely_fits(*, qubits: int, operations: int, runs: int, limits: Limits) -> bool:
    """Whether `plan` refuses no part of a circuit, judged by its size; False: perhaps it does.

    No part has more than these `qubits` and `operations`, none of them control flow. `runs` are
    sets of values times shots. A part may then run as a state vector, at the worst.
    """
    if qubits >= VECTOR_QUBITS:
        return False
    cost = _vector_cost(qubits, operations, runs)
    return cost.memory_bytes <= limits.memory_bytes and cost.seconds <= limits.seconds


def plan(part: Part, rows: int, shots: int, limits: Limits, label: str) -> Plan:
    """The best way to run `part`; refuses what none can run within `limits`."""
    best = _exact(part, rows, shots, limits)
    if best is not None and best.cost.seconds <= EXACT_PATIENCE_S:
        return best
    found = [] if best is None else [best]
    found += [
        Plan(method, [], cost, rows, shots)
        for method, cost in _trajectories(part, rows, shots).items()
        if cost.memory_bytes <= limits.memory_bytes
    ]
    found = [one for one in found if one.cost.seconds <= limits.seconds]
    if not found:
        raise _refusal(part, rows, shots, limits, label)
    return min(found, key=lambda one: one.cost.seconds)


def _exact(part: Part, rows: int, shots: int, limits: Limits) -> Plan | None:
    """Exact, in as many rounds as memory asks for; None if not even one branch fits."""
    ordered = steps(part.ops, early=len(part.qubits) >= EARLY_QUBITS)
    at_once = shots
    while True:
        cost = _exact_cost(ordered, 1, at_once)
        if cost.memory_bytes <= limits.memory_bytes:
            break
        if at_once == 1:
            return None
        at_once = (at_once + 1) // 2
    rows_at_once = max(1, min(rows, limits.memory_bytes // max(cost.memory_bytes, 1)))
    rounds = -(-rows // rows_at_once) * -(-shots // at_once)
    one = cost if rows_at_once == 1 else _exact_cost(ordered, rows_at_once, at_once)
    total = Cost(one.seconds * rounds, one.memory_bytes)
    return Plan("density_matrix", ordered, total, rows_at_once, at_once)


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
    return Cost(seconds, most * 8 * COPIES)


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


def _trajectories(part: Part, rows: int, shots: int) -> dict[str, Cost]:
    qubits = len(part.qubits)
    pairs = 0
    count = 0
    for op in part.ops:
        inside = _inside(op.operation)[0] if op.operation is not None else 1
        count += inside
        pairs += inside if len(op.qubits) > 1 else 0
    runs = rows * shots
    # Each gate across a bond may double it, and a bond has half of its qubits' gates.
    bond = 2.0 ** min(qubits // 2, pairs / qubits, BOND_BITS)
    chain = runs * (count * SHOT_STEP_S * 2 + pairs * BOND_S * bond**2)
    found = {"matrix_product_state": Cost(chain, int(64 * qubits * bond**2))}
    if qubits < VECTOR_QUBITS:
        found["statevector"] = _vector_cost(qubits, count, runs)
    return found


def _vector_cost(qubits: int, operations: int, runs: int) -> Cost:
    """Of trajectories as state vectors; grows with each of these."""
    seconds = runs * operations * (SHOT_STEP_S + AMPLITUDE_S * 2.0**qubits)
    return Cost(seconds, 16 << qubits)


def _refusal(part: Part, rows: int, shots: int, limits: Limits, label: str) -> InvalidInput:
    exact = _exact_cost(steps(part.ops, early=True), 1, 1)
    fastest = min(cost.seconds for cost in _trajectories(part, rows, shots).values())
    return InvalidInput(
        f"{label} is too big for this simulated QPU: it connects {len(part.qubits)} qubits by "
        f"{sum(len(op.qubits) > 1 for op in part.ops)} operations. With exact noise it needs "
        f"{exact.memory_bytes / 2**30:.3g} GiB of memory (limit {limits.memory_bytes / 2**30:.3g} "
        f"GiB); trajectories take about {fastest:.3g} s for {rows * shots} shots "
        f"(limit {limits.seconds:.0f} s).",
        code=3248,
        solution="Use fewer shots or parameter sets, fewer qubits that are connected by gates, "
        "or a shallower circuit.",
    )


def pieces(total: int, at_once: int) -> Iterator[tuple[int, int]]:
    """(start, stop) of slices of at most `at_once`."""
    for start in range(0, total, at_once):
        yield start, min(total, start + at_once)


def _available_bytes() -> int:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
