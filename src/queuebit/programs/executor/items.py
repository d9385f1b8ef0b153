"""The items of a quantum program: circuits with arguments, or with a samplex that draws them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from ibm_quantum_schemas.common import PauliLindbladMapModel, TensorModel
from numpy.typing import NDArray
from qiskit import QuantumCircuit

from queuebit.errors import InvalidInput
from queuebit.programs.executor import samplexes
from queuebit.programs.executor.samplexes import Arrays, Drawing
from queuebit.programs.wire.untrusted import untrusted

AXES_MAX = 30  # of an item's shape; arrays have at most 64, and outputs axes of their own
# All values of parameters of a job; a worker holds them three times.
VALUES_MAX = 2**26
# Outputs of samplexes that go into the result, flips of measurements for the most part.
OUTPUT_BYTES_MAX = 256 * 2**20
# Steps of all draws, nodes of a samplex times sets of arguments: 50 to 100 us each.
STEPS_MAX = 20_000_000


@dataclass(frozen=True, slots=True)
class Item:
    """One item; its circuit runs once per element of its shape."""

    circuit: QuantumCircuit
    shape: tuple[int, ...]
    chunk: int | None
    """Elements per chunk at most; None: as many as there are."""
    arguments: NDArray[np.float64] | None
    """Shape (size, P), columns as in circuit.parameters; None: the samplex draws them."""
    drawing: Drawing | None

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def fields(self) -> dict[str, list[int]]:
        """Positions in circuit.clbits of each classical register's bits."""
        index = {bit: at for at, bit in enumerate(self.circuit.clbits)}
        return {register.name: [index[b] for b in register] for register in self.circuit.cregs}

    def values(self, rng: np.random.Generator) -> tuple[NDArray[np.float64], Arrays]:
        """A row of parameter values per element, and what else the samplex draws."""
        if self.drawing is None:
            assert self.arguments is not None
            return self.arguments, {}
        drawn = self.drawing.draw(rng)
        values = drawn.pop(samplexes.VALUES, np.zeros((*self.shape, 0)))
        rows = values.reshape(self.size, -1).astype(np.float64)
        if not np.isfinite(rows).all():
            raise InvalidInput("its samplex draws a parameter value that is not finite", 1208)
        return rows, drawn


def read(circuit: QuantumCircuit, model: Any) -> Item:
    """The item in one of IBM's models of it, of whatever version."""
    chunk = None if model.chunk_size == "auto" else int(model.chunk_size)
    given = list(getattr(model, "shape", []))
    if len(given) > AXES_MAX:
        raise InvalidInput(f"its shape has {len(given)} axes; the limit is {AXES_MAX}", 1208)
    if model.item_type == "circuit":
        rows, shape = _arguments(circuit, model.circuit_arguments, given)
        return Item(circuit, shape, chunk, rows, None)
    samplex = samplexes.load(model.samplex.samplex_json)
    if (drawn := samplexes.num_values(samplex)) != circuit.num_parameters:
        raise InvalidInput(
            f"its samplex draws {drawn} values; its circuit has "
            f"{circuit.num_parameters} parameters",
            1208,
        )
    if undrawn := samplexes.num_undrawn(samplex):
        raise InvalidInput(
            f"its samplex draws no value for {undrawn} of its circuit's parameters",
            1208,
            "Give delays as numbers: a samplex draws none for delays that are parameters.",
        )
    names = {register.name for register in circuit.cregs}
    if clash := names & {spec.name for spec in samplex.outputs().specs}:
        raise InvalidInput(f"{min(clash)!r} is a register, and an output of its samplex", 1208)
    arguments = {name: _argument(value) for name, value in model.samplex_arguments.items()}
    drawing = samplexes.drawing(samplex, arguments, given)
    _check_shape(drawing.shape)
    drawing.check()
    return Item(circuit, drawing.shape, chunk, None, drawing)


def over_limits(items: Iterable[Item]) -> Iterator[InvalidInput]:
    """The limits that a job's items break, beside those of what they run."""
    items = list(items)
    drawings = [item.drawing for item in items if item.drawing is not None]
    values = sum(item.size * item.circuit.num_parameters for item in items)
    output = sum(prod(one.shape) * one.output_bytes() for one in drawings) - 4 * values
    steps = sum(one.draws * one.nodes for one in drawings)
    for what, asked, limit in (
        ("values of parameters (elements x parameters)", values, VALUES_MAX),
        ("bytes drawn beside them", output, OUTPUT_BYTES_MAX),
        ("steps of drawing (sets of arguments x nodes of the samplex)", steps, STEPS_MAX),
    ):
        if asked > limit:
            yield InvalidInput(
                f"the job has {asked} {what}; the limit is {limit}", 1208, "Split the job."
            )


def _arguments(
    circuit: QuantumCircuit, tensor: TensorModel, given: list[int]
) -> tuple[NDArray[np.float64], tuple[int, ...]]:
    with untrusted("its circuit arguments"):
        array = np.asarray(tensor.to_numpy(), dtype=np.float64)
    columns = array.shape[-1] if array.shape else 0
    if columns != circuit.num_parameters:
        raise InvalidInput(
            f"its circuit arguments are of shape {array.shape}; the last axis must have the length "
            f"{circuit.num_parameters}, for the circuit's parameters",
            1208,
        )
    if not np.isfinite(array).all():
        raise InvalidInput("a circuit argument is not finite", 1208)
    with untrusted("its shape"):
        shape = np.broadcast_shapes(tuple(given), array.shape[:-1])
    _check_shape(shape)
    whole = np.broadcast_to(array if array.shape else array.reshape(0), (*shape, columns))
    if whole.size > VALUES_MAX:
        return np.broadcast_to(0.0, (prod(shape), columns)), shape  # over a limit: never run
    return np.ascontiguousarray(whole).reshape(prod(shape), columns), shape


def _argument(value: Any) -> Any:
    """A samplex's argument out of its model."""
    with untrusted("its samplex arguments"):
        if isinstance(value, TensorModel):
            array = value.to_numpy()
            if not np.isfinite(array).all():
                raise InvalidInput("a samplex argument is not finite", 1208)
            return array
        if isinstance(value, PauliLindbladMapModel):
            if not all(np.isfinite(rate) for _, _, rate in value.sparse_terms):
                raise InvalidInput("a rate of a Pauli-Lindblad map is not finite", 1208)
            return value.to_pauli_lindblad_map()
    return value


def _check_shape(shape: tuple[int, ...]) -> None:
    if not prod(shape) or len(shape) > AXES_MAX:
        raise InvalidInput(f"its shape {str(shape)[:100]} has no elements, or too many axes", 1208)
