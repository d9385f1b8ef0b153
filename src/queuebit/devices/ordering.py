"""In which order a part's operations run, and when each qubit is no longer needed.

An exact state of n qubits has 4**n numbers, so qubits should join it late and leave it early: a
chain of a hundred qubits, as in a GHZ state, then needs two at a time. Any order that keeps each
bit's own order gives the same results.
"""

from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass

from queuebit.devices.reading import CLASSICAL, Op


@dataclass(slots=True)
class Step:
    """An operation in its place."""

    op: Op
    gone: tuple[int, ...]
    """Qubits that nothing needs afterwards."""
    deferred: bool
    """A measurement that can wait and be drawn together with others at the very end."""


def steps(ops: list[Op], *, early: bool) -> list[Step]:
    """The operations in their order; `early`: measure and drop qubits as soon as possible."""
    ordered = _narrow(ops) if early else ops
    last: dict[Hashable, int] = {}
    for at, op in enumerate(ordered):
        for wire in _wires(op):
            last[wire] = at
    made = []
    for at, op in enumerate(ordered):
        gone = tuple([qubit for qubit in op.qubits if last[qubit] == at])
        closing = bool(gone) and op.name.startswith("measure") and last[~op.clbits[0]] == at
        made.append(Step(op, gone, closing and not early))
    return made


def _wires(op: Op) -> list[Hashable]:
    return [*op.qubits, *[~bit for bit in op.clbits], *op.others]


def _narrow(ops: list[Op]) -> list[Op]:
    """Greedy: whatever widens the state least, near what is already in it, comes first."""
    waiting, following = _dependencies(ops)
    neighbours: dict[int, set[int]] = defaultdict(set)
    uses: dict[int, int] = defaultdict(int)  # by operations on several qubits
    for op in filter(_joins, ops):
        for qubit in op.qubits:
            neighbours[qubit].update(op.qubits)
            uses[qubit] += 1
    free = [at for at, count in enumerate(waiting) if not count]
    wide: list[int] = []
    live: set[int] = set()
    touched: dict[int, int] = defaultdict(int)
    ordered: list[Op] = []

    def key(at: int) -> tuple[int, int, int, int]:
        qubits = ops[at].qubits
        growth = sum([qubit not in live for qubit in qubits])
        growth -= sum([uses[qubit] == 1 for qubit in qubits])
        near = sum([len(neighbours[qubit] & live) for qubit in qubits])
        return growth, -near, -max([touched[qubit] for qubit in qubits], default=0), at

    while free or wide:
        if free:
            at = free.pop()
            if _joins(ops[at]):
                wide.append(at)
                continue
        else:
            at = min(wide, key=key)
            wide.remove(at)
            live.update(ops[at].qubits)
            for qubit in ops[at].qubits:
                touched[qubit] = len(ordered)
                uses[qubit] -= 1
                if not uses[qubit]:
                    live.discard(qubit)
        ordered.append(ops[at])
        for later in following[at]:
            waiting[later] -= 1
            if not waiting[later]:
                free.append(later)
    return ordered


def _joins(op: Op) -> bool:
    return len(op.qubits) > 1 or op.name in CLASSICAL


def _dependencies(ops: list[Op]) -> tuple[list[int], list[list[int]]]:
    """How many operations each waits for, and which wait for it."""
    waiting, following = [0] * len(ops), [[] for _ in ops]  # type: tuple[list[int], list[list[int]]]
    latest: dict[Hashable, int] = {}
    for at, op in enumerate(ops):
        for before in {latest[wire] for wire in _wires(op) if wire in latest}:
            following[before].append(at)
            waiting[at] += 1
        for wire in _wires(op):
            latest[wire] = at
    return waiting, following
