"""Results for users without Qiskit: JSON without the tags of its classes."""

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit.primitives.containers import BitArray, PrimitiveResult
from qiskit_ibm_runtime import RuntimeDecoder, RuntimeEncoder


def plain(result: PrimitiveResult[Any]) -> dict[str, Any]:
    """A result as objects, lists, numbers and text (docs/programs.md)."""
    return {
        "results": [
            {
                "data": {name: _field(field) for name, field in pub.data.items()},
                "metadata": _untagged(pub.metadata),
            }
            for pub in result
        ],
        "metadata": _untagged(result.metadata),
    }


def _field(field: Any) -> Any:
    """Measured bits as one number per shot, in hexadecimal; arrays as lists in lists."""
    if not isinstance(field, BitArray):
        return _lists(np.asarray(field))
    numbers = np.empty((*field.shape, field.num_shots), dtype=object)
    for index in np.ndindex(*field.shape):
        numbers[index] = [hex(int.from_bytes(shot.tobytes(), "big")) for shot in field.array[index]]
    return {"samples": numbers.tolist(), "num_bits": field.num_bits}


def _lists(array: NDArray[Any]) -> Any:
    """JSON has no number for what is not finite: null stands there. A complex one is a pair."""
    if array.dtype.kind == "c":
        return np.stack([array.real, array.imag], axis=-1).tolist()
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return np.where(np.isfinite(array), array, None).tolist()  # type: ignore[call-overload]  # None makes it an array of objects
    return array.tolist()


def _untagged(metadata: Any) -> Any:
    return _without(json.loads(json.dumps(metadata, cls=RuntimeEncoder)))


def _without(told: Any) -> Any:  # noqa: PLR0911 - one for each kind of tag
    """`told` without the client's tags; a span in time keeps its kind, which says what it holds."""
    match told:
        case {"__type__": "ndarray"}:
            return _lists(np.asarray(json.loads(json.dumps(told), cls=RuntimeDecoder)))
        case {"__type__": "ExecutionSpans", "__value__": {"spans": spans}}:
            return [_without(span) for span in spans]
        case {"__type__": str(kind), "__value__": {"data_slices": _} as span}:
            return {"kind": kind, **_without(span)}
        case {"__type__": _, "__value__": value}:
            return _without(value)
        case dict():
            return {key: _without(value) for key, value in told.items()}
        case list():
            return [_without(value) for value in told]
        case float():
            return told if np.isfinite(told) else None
    return told
