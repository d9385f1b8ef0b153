"""Makes a device run circuits by a chosen method, and tells by which it ran them."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from tests.reference.noise import Method

from queuebit.devices import device as device_module
from queuebit.devices import planning

AS_PLANNED = "as planned"
METHODS = (
    AS_PLANNED,
    "exact",
    "exact, measured early",
    "exact, in slices",
    "stabilizer",
    "statevector",
    "matrix_product_state",
)
"""By Stim run only sets of values that are Clifford; the others then run as state vectors."""

_NOISE: dict[str, Method] = {
    "density_matrix": "exact",
    "stabilizer": "stabilizer",
    "statevector": "trajectories",
    "matrix_product_state": "trajectories",
}


class Used:
    """By which method the qubits of each experiment were simulated."""

    def __init__(self) -> None:
        self._pieces: dict[int, list[Any]] = {}

    def record(self, experiment: int, pieces: list[Any]) -> None:
        """The pieces that the experiment was cut into."""
        self._pieces[experiment] = pieces

    def by_qubit(self, experiment: int, row: int) -> dict[int, Method]:
        """Of one set of values. Qubits on their own are exact, and not named."""
        found: dict[int, Method] = {}
        for piece in self._pieces[experiment]:
            if piece.plan is not None and (piece.repeated or row in piece.plan.rows):
                found |= dict.fromkeys(piece.part.qubits, _NOISE[piece.plan.method])
        return found

    def names(self) -> set[str]:
        """All methods that were used."""
        return {
            "single" if one.plan is None else one.plan.method
            for pieces in self._pieces.values()
            for one in pieces
        }


@contextmanager
def forced(method: str) -> Iterator[Used]:
    """Everything inside runs by this method, as far as it can."""
    used, cut = Used(), device_module.cut
    exact, trajectories = planning._exact, planning._trajectories

    def recording(index: int, *others: Any) -> list[Any]:
        pieces = cut(index, *others)
        used.record(index, pieces)
        return pieces

    def sliced(*given: Any) -> Any:
        found = exact(*given)
        return found and replace(found, rows_at_once=2, shots_at_once=3)

    def none(*given: Any) -> None:
        return None

    def one_of(*given: Any) -> dict[str, Any]:
        kind = "statevector" if method == "stabilizer" else method
        return {name: cost for name, cost in trajectories(*given).items() if name == kind}

    changes: dict[str, Any] = {}
    if method.startswith("exact"):
        changes |= {"EXACT_PATIENCE_S": float("inf")}
        changes |= {"EARLY_QUBITS": 1 if method == "exact, measured early" else 100}
        changes |= {"_exact": sliced} if method == "exact, in slices" else {}
    elif method != AS_PLANNED:
        changes |= {"_exact": none, "_trajectories": one_of}
        changes |= {} if method == "stabilizer" else {"_stabilizer": none}
    with ExitStack() as stack:
        stack.enter_context(patch.object(device_module, "cut", recording))
        for name, value in changes.items():
            stack.enter_context(patch.object(planning, name, value))
        yield used
