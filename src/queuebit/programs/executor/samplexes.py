"""Samplexes from their JSON, looked through before samplomatic may make them; and draws of them.

A samplex is a graph of small programs over registers of virtual gates, with sizes that its reader
believes. So its numbers are limited here, alone and in all, wherever in the JSON, or in the JSON
within its text, they stand. What is inconsistent beyond that, samplomatic finds out, at the latest
in the one draw of `check`.
"""

import json
import math
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from samplomatic.samplex import Samplex
from samplomatic.samplex.nodes import CollectTemplateValues
from samplomatic.serialization import samplex_from_json
from samplomatic.tensor_interface import TensorInterface, TensorSpecification

from queuebit.errors import InvalidInput
from queuebit.programs.wire import qpy
from queuebit.programs.wire.unpack import Unpacker
from queuebit.programs.wire.untrusted import untrusted

NODES_MAX = 200_000
IDS_MAX = 1_000_000  # of nodes and edges; the reader makes room up to the largest
NUMBER_MAX = 1_000_000  # of anything that it counts or numbers
# Subsystems of all registers, and of all slices: 133 qubits in 2000 layers, several times over.
SIZES_MAX = 10_000_000
NESTING_MAX = 32  # JSON in JSON
OUTPUT_BYTES_MAX = 64 * 2**20  # of one randomization
# Registers of one draw; a subsystem takes up to 64 bytes, a complex 2x2 matrix.
REGISTER_BYTES_MAX = 256 * 2**20
SUBSYSTEM_BYTES = 64

_SIZES = ("num_subsystems", "num_output_subsystems", "slice_idxs")
# Of its own arrays, then of NumPy's, for inputs and outputs.
_DTYPES = frozenset(("c128", "i64", "u32", "u8"))
_DTYPES |= {"bool", "uint8", "int64", "float32", "float64", "complex128"}
VALUES, _RANDOMIZATIONS = "parameter_values", "num_randomizations"

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Drawing:
    """A samplex with its arguments: what to draw for one item of a program."""

    samplex: Samplex
    inputs: TensorInterface
    shape: tuple[int, ...]
    """Of the item: the arguments' axes, and the randomizations'."""

    @property
    def draws(self) -> int:
        """Calls of `Samplex.sample`: one per set of arguments."""
        return prod(self.inputs.shape)

    @property
    def nodes(self) -> int:
        """What each of them goes through."""
        return len(self.samplex.graph)

    def output_bytes(self) -> int:
        """Of one randomization."""
        return _output_bytes(self.samplex)

    def check(self) -> None:
        """Refuses what cannot be drawn, by drawing one randomization of the first arguments."""
        first = self.inputs[(0,) * len(self.inputs.shape)]
        with untrusted("its samplex"):
            self.samplex.sample(first, 1, np.random.default_rng(0), max_workers=1)

    def draw(self, rng: np.random.Generator) -> Arrays:
        """All outputs by name, each of shape (*shape, *its own).

        Axes along which the arguments are longer than 1 go through them; the others, randomizations
        (ibm-quantum-schemas, executor, SamplexItemModel).
        """
        given = (1,) * (len(self.shape) - len(self.inputs.shape)) + self.inputs.shape
        swept = [axis for axis, length in enumerate(given) if length > 1]
        free = [axis for axis, length in enumerate(given) if length <= 1]
        number = prod(self.shape[axis] for axis in free)
        outputs: Arrays = {}
        for index in np.ndindex(*(self.shape[axis] for axis in swept)):
            where = dict(zip(swept, index, strict=True))
            inner = len(self.shape) - len(self.inputs.shape)
            key = tuple(where.get(inner + axis, 0) for axis in range(len(self.inputs.shape)))
            into = tuple(where.get(axis, slice(None)) for axis in range(len(self.shape)))
            drawn = self._draw(key, number, rng)
            for name, array in drawn.items():
                if name not in outputs:
                    outputs[name] = np.empty((*self.shape, *array.shape[1:]), array.dtype)
                room = tuple(self.shape[axis] for axis in free)
                outputs[name][into] = array.reshape(*room, *array.shape[1:])
        return outputs

    def _draw(self, key: tuple[int, ...], number: int, rng: np.random.Generator) -> Arrays:
        """`number` randomizations of one set of arguments, as many at once as memory allows."""
        sizes = sum(
            size for node in self.samplex.graph.nodes() for size, _ in node.instantiates().values()
        )
        at_once = max(1, REGISTER_BYTES_MAX // (SUBSYSTEM_BYTES * max(1, sizes)))
        parts = []
        with untrusted("its samplex"):
            arguments = self.inputs[key]
            for first in range(0, number, at_once):
                count = min(at_once, number - first)
                drawn = self.samplex.sample(arguments, count, rng, max_workers=1)
                parts.append(dict(drawn))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def load(text: str) -> Samplex:
    """The samplex in a JSON text, finalized; InvalidInput if it cannot be."""
    _Look(text).samplex()
    with untrusted("its samplex"):
        samplex = samplex_from_json(text).finalize()
    for spec in samplex.outputs().specs:
        sizes = spec.shape if isinstance(spec, TensorSpecification) else ()
        if sizes[:1] != (_RANDOMIZATIONS,) or any(isinstance(size, str) for size in sizes[1:]):
            raise _broken(f"the output {spec.name[:50]!r} is of no known size")
    if _output_bytes(samplex) > OUTPUT_BYTES_MAX:
        raise _broken(f"one randomization has more than {OUTPUT_BYTES_MAX // 2**20} MiB")
    return samplex


def drawing(samplex: Samplex, arguments: dict[str, Any], shape: list[int]) -> Drawing:
    """The draws that an item of `shape` asks for."""
    with untrusted("its samplex arguments"):
        inputs = samplex.inputs().make_broadcastable()
        for name, value in arguments.items():
            inputs[name] = value
        if not inputs.fully_bound:
            missing = inputs.describe(prefix="", include_bound=False).split("\n")[0]
            raise InvalidInput(f"its samplex arguments lack {missing}", 1208)
        whole = np.broadcast_shapes(tuple(shape), inputs.shape)
    if len(whole) < len(inputs.shape) or not prod(whole):
        raise InvalidInput(f"its shape {whole} has no elements", 1208)
    return Drawing(samplex, inputs, whole)


def num_values(samplex: Samplex) -> int:
    """How many parameters of a circuit it draws values for."""
    specs = {spec.name: spec for spec in samplex.outputs().specs}
    return int(specs[VALUES].shape[-1]) if VALUES in specs else 0


def num_undrawn(samplex: Samplex) -> int:
    """How many of these it draws no value for, so that they would be whatever lies in memory.

    samplomatic 0.21 makes such samplexes of circuits with delays that are parameters.
    """
    drawn = set(samplex.passthrough_params[0].tolist())
    for node in samplex.graph.nodes():
        if isinstance(node, CollectTemplateValues) and VALUES in node.outputs_to():
            drawn.update(node.template_idxs.ravel().tolist())
    return len(set(range(num_values(samplex))) - drawn)


class _Look:
    """One look through a samplex's JSON."""

    def __init__(self, text: str) -> None:
        self._left = SIZES_MAX
        self._text = text

    def samplex(self) -> None:
        """The whole of it."""
        graph = _json(self._text)
        if not isinstance(graph, dict):
            raise _broken("it is no JSON object")
        nodes, links = graph.get("nodes"), graph.get("links")
        if not isinstance(nodes, list) or not isinstance(links, list):
            raise _broken("it has no lists of nodes and links")
        if max(len(nodes), len(links)) > NODES_MAX:
            raise _broken(f"{len(nodes)} nodes and {len(links)} links; {NODES_MAX} are allowed")
        for one in (*nodes, *links):
            known = one if isinstance(one, dict) else {}
            ids = [known.get(key, 0) for key in ("id", "source", "target")]
            if any(not isinstance(n, int) or not 0 <= n <= IDS_MAX for n in ids):
                raise _broken("a node or a link has a number out of range")
        self.value(graph.get("attrs"), "attrs", 0)
        self.value(nodes, "nodes", 0)

    def value(self, value: Any, key: str, depth: int) -> None:
        """`value` with all inside it; `key` is the name that it, or the list around it, has."""
        if depth > NESTING_MAX:
            raise _broken(f"it is nested more than {NESTING_MAX} deep")
        match value:
            case dict():
                self.array(value)
                for name, part in value.items():
                    self.value(part, name, depth + 1)
            case list():
                for part in value:
                    self.value(part, key, depth + 1)
            case str() if key == "dtype" and value not in _DTYPES:
                raise _broken(f"arrays of type {value[:20]!r} are not accepted")
            case str() if key == "circuit_base64":
                self.expressions(value)
            case str() if value.lstrip()[:1] in ("{", "["):
                self.value(_json(value), key, depth + 1)
            case str():
                self.number(_number(value), key)
            case int() | float():
                self.number(value, key)

    def number(self, number: float | None, key: str) -> None:
        """One of its numbers, if it is one."""
        if number is None:
            return
        if not abs(number) <= NUMBER_MAX:
            raise _broken(f"{key[:50]} is {number:g}; the limit is {NUMBER_MAX}")
        if key in _SIZES:
            self._left -= math.ceil(abs(number))
            if self._left < 0:
                raise _broken(f"its registers have more than {SIZES_MAX} subsystems in all")

    @staticmethod
    def array(value: dict[str, Any]) -> None:
        """An array is as large as its data; but loops run over axes, and registers broadcast."""
        shape = value.get("shape")
        if "data" in value and isinstance(shape, list) and len(shape) > 1 and 0 in shape:
            raise _broken("an array has axes, and no elements")
        register = value.get("array")
        if isinstance(register, str) and "id" in value:
            inside = _json(register)
            shape = inside.get("shape") if isinstance(inside, dict) else None
            if not isinstance(shape, list) or shape[1:2] != [1]:
                raise _broken("a constant register has not exactly one sample")

    @staticmethod
    def expressions(text: str) -> None:
        """Its expressions of parameters, which come as a circuit."""
        qpy.check(Unpacker().plain(text, "its samplex's expressions"))


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _broken(f"its JSON cannot be read: {str(error)[:200]}") from None


def _number(text: str) -> int | None:
    """The number that samplomatic would read from `text`; None if it would read none."""
    try:
        return int(text)
    except ValueError:
        return None


def _output_bytes(samplex: Samplex) -> int:
    return sum(
        prod(size for size in spec.shape if isinstance(size, int)) * spec.dtype.itemsize
        for spec in samplex.outputs().specs
    )


def _broken(why: str) -> InvalidInput:
    return InvalidInput(f"a samplex cannot be read: {why}", 1208)
