"""Which operations are Clifford at which angles, and what they are to Stim."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import ParameterExpression

from queuebit.devices.channels import Channels
from queuebit.devices.reading import Op
from queuebit.devices.target import Wires

ROUNDING = 5e-7
"""How far from a multiple of pi/2 an angle may be, in quarter turns: infidelity is its square.

Twirls are drawn in single precision, which misses multiples of pi/2 by up to 2e-7 of it.
"""

Quarters = NDArray[np.int8]
"""Turns by pi/2, 0 to 3: one for every set of values."""

TURNS: dict[str, tuple[str, str, str]] = {
    "X": ("SQRT_X", "X", "SQRT_X_DAG"),
    "Y": ("SQRT_Y", "Y", "SQRT_Y_DAG"),
    "Z": ("S", "Z", "S_DAG"),
    "ZZ": ("SQRT_ZZ", "Z", "SQRT_ZZ_DAG"),
}
"""Stim's names of turns by 1, 2 and 3 quarters; two quarters of ZZ are a Z on either qubit."""


@dataclass(frozen=True, slots=True)
class Gate:
    """A Clifford gate of Stim."""

    name: str
    slots: Wires
    """Which of the operation's qubits."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A rotation by one of the operation's parameters."""

    axis: str
    parameter: int
    slots: Wires


_ONE = {
    "x": "X", "y": "Y", "z": "Z", "h": "H", "s": "S", "sdg": "S_DAG",
    "sx": "SQRT_X", "sxdg": "SQRT_X_DAG",
}  # fmt: skip
_TWO = {"cx": "CX", "cy": "CY", "cz": "CZ", "swap": "SWAP", "iswap": "ISWAP"}
_TURNS = {"rx": "X", "ry": "Y", "rz": "Z", "p": "Z", "u1": "Z"}
_U = (Turn("Z", 2, (0,)), Turn("Y", 0, (0,)), Turn("Z", 1, (0,)))

KNOWN: dict[str, tuple[Gate | Turn, ...]] = {
    "id": (),
    **{name: (Gate(gate, (0,)),) for name, gate in _ONE.items()},
    **{name: (Gate(gate, (0, 1)),) for name, gate in _TWO.items()},
    **{name: (Turn(axis, 0, (0,)),) for name, axis in _TURNS.items()},
    "ecr": (
        Gate("S", (0,)),
        Gate("SQRT_X", (1,)),
        Gate("CX", (0, 1)),
        Gate("X", (0,)),
    ),
    "rzz": (Turn("ZZ", 0, (0, 1)),),
    "u": _U,
    "u3": _U,
    "u2": (Turn("Z", 1, (0,)), Gate("SQRT_Y", (0,)), Turn("Z", 0, (0,))),
}
"""What makes up each gate, in order of time, up to a phase."""


def is_clifford(ops: list[Op], channels: Channels, rows: int) -> NDArray[np.bool_]:
    """For every set of values, whether all of `ops` are something that Stim can run."""
    able = np.ones(rows, dtype=bool)
    if not all(_known(op) for op in ops):
        return ~able
    for op, turn in turns(ops):
        parameter = op.params[turn.parameter]
        if isinstance(parameter, ParameterExpression):
            able &= quarters(channels.angle(parameter, {}))[1]
        elif not quarters(float(parameter))[1]:
            return np.zeros(rows, dtype=bool)
    return able


def count_not_clifford(ops: list[Op]) -> int:
    """How many operations are not Clifford, or not at every angle."""
    able = {id(op): _known(op) for op in ops}
    for op, turn in turns(ops):
        angle = op.params[turn.parameter]
        fixed = not isinstance(angle, ParameterExpression)
        able[id(op)] &= fixed and bool(quarters(float(angle))[1])
    return sum(not known for known in able.values())


def turns(ops: list[Op]) -> Iterator[tuple[Op, Turn]]:
    """Every rotation by an angle."""
    for op in ops:
        for piece in KNOWN.get(op.name, ()):
            if isinstance(piece, Turn):
                yield op, piece


def quarters(angle: float | NDArray[np.float64]) -> tuple[Quarters, NDArray[np.bool_]]:
    """The nearest number of quarter turns, and whether it is the angle."""
    turned = np.asarray(angle) / (np.pi / 2)
    nearest = np.rint(turned)
    exact = np.abs(turned - nearest) <= ROUNDING
    return (nearest % 4).astype(np.int8), exact


def _known(op: Op) -> bool:
    if op.name in KNOWN:
        return True
    if op.name == "delay":  # by a span that is known before it runs
        return not isinstance(op.params[0], ParameterExpression)
    return op.name.startswith(("measure", "reset"))
