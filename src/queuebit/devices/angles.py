"""Parameters of gates, with the values of a sweep filled in."""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import Parameter, ParameterExpression

from queuebit.errors import InvalidInput

# What Qiskit's expressions raise for values outside of a function's domain, and for derivatives
# that they do not know. CircuitError and the like are no subclasses of one of ours.
_UNDEFINED = (ArithmeticError, RuntimeError, TypeError, ValueError)


def at_rows(
    written: ParameterExpression,
    columns: Mapping[Parameter, int],
    rows: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The values of an expression, shape (n,), at `rows` of parameter values, shape (n, P).

    `columns` says where each parameter stands. InvalidInput, which names the expression and the
    parameters' values, where it is no finite real number.
    """
    if isinstance(written, Parameter):
        return rows[:, columns[written]]
    used = list(written.parameters)
    chosen = rows[:, [columns[parameter] for parameter in used]]
    slopes = _slopes(written, used)
    if slopes is not None:
        # Transpilers write theta / 2 + pi and the like: no need to go through row by row.
        start = float(written.bind(dict.fromkeys(used, 0.0)))
        linear: NDArray[np.float64] = start + chosen @ np.array(slopes)
        return linear
    return np.array([_value(written, dict(zip(used, row, strict=True))) for row in chosen.tolist()])


def is_linear(written: ParameterExpression) -> bool:
    """Whether it is a real number wherever its parameters are."""
    return _slopes(written, list(written.parameters)) is not None


def _slopes(written: ParameterExpression, used: list[Parameter]) -> list[float] | None:
    """Its derivatives, if all are constants."""
    found = []
    for parameter in used:
        try:
            slope = written.gradient(parameter)
        except _UNDEFINED:
            return None
        if not isinstance(slope, float | int):
            return None
        found.append(float(slope))
    return found


def _value(written: ParameterExpression, values: dict[Parameter, float]) -> float:
    try:
        value = float(written.bind(values))
    except _UNDEFINED:
        value = math.nan
    if not math.isfinite(value):
        told = ", ".join(f"{parameter.name}={value}" for parameter, value in values.items())
        raise InvalidInput(f"{written} is not a real number at {told}", 1517)
    return value
