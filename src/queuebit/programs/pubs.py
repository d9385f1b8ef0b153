"""What the primitives' programs share: their parameters' frame, and their circuits."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.primitives.containers.bindings_array import BindingsArray

from queuebit.devices.protocol import Qpu
from queuebit.devices.sweeps import swept_error
from queuebit.errors import InvalidInput
from queuebit.programs import dynamic
from queuebit.programs.wire import codec

PUBS_MAX = 10_000  # of one job; IBM has no such limit, but nothing here may grow without one
VERSIONS = (2, "2")  # semantics 6.2: "`version` must be 2"; IBM's guides for REST send it as text
NAMES_MAX = 10  # parameters that an error message lists


@dataclass(frozen=True, slots=True)
class Frame:
    """The parameters of a primitive's job around its PUBs."""

    pubs: list[Any]
    options: object
    tagged: bool
    """Results for Qiskit's client; otherwise plain JSON."""


def frame(params: dict[str, Any], others: Iterable[str]) -> Frame:
    """The frame of decoded parameters; `others` are the program's own keys."""
    known = {"pubs", "options", "version", "support_qiskit", *others}
    if unknown := sorted(set(params) - known):
        raise InvalidInput(f"params.{unknown[0]}: there is no such parameter.", 1208)
    if params.get("version", VERSIONS[0]) not in VERSIONS:
        raise InvalidInput(
            f"params.version is {str(params['version'])[:50]!r}, must be {VERSIONS[0]}.", 1208
        )
    pubs = params.get("pubs")
    if not isinstance(pubs, list) or not pubs:
        raise InvalidInput("params.pubs must be a list of one or more PUBs.", 1208)
    if len(pubs) > PUBS_MAX:
        raise InvalidInput(f"{len(pubs)} PUBs; the limit is {PUBS_MAX}.", 1208, "Split the job.")
    tagged = params.get("support_qiskit", False)
    if not isinstance(tagged, bool):
        raise InvalidInput("params.support_qiskit must be true or false.", 1208)
    return Frame(pubs, params.get("options"), tagged)


def parts(pub: object, number: int, names: Sequence[str], required: int, device: Qpu) -> list[Any]:
    """The parts of one PUB, None for those not given; its circuit decoded."""
    given = list(pub) if isinstance(pub, list) else [pub]
    if not required <= len(given) <= len(names):
        raise InvalidInput(
            f"PUB {number} has {len(given)} parts, must be [{', '.join(names)}], "
            f"of which the first {required} are required.",
            1208,
        )
    given[0] = codec.circuit(given[0], f"PUB {number}", device.dt)
    return given + [None] * (len(names) - len(given))


def bindings(circuit: QuantumCircuit, values: object, number: int) -> BindingsArray:
    """Parameter values of a PUB: by name, or an array whose last axis is circuit.parameters."""
    if isinstance(values, dict):
        return _named(circuit, values, number)
    if values is None:
        if circuit.num_parameters:
            raise InvalidInput(
                f"PUB {number}: no values for {_names(circuit)}.",
                1208,
            )
        return BindingsArray()
    array = _array(values, number)
    if circuit.num_parameters == 1 and array.shape[-1:] != (1,):
        array = array[..., np.newaxis]
    if array.shape[-1:] != (circuit.num_parameters,):
        raise InvalidInput(
            f"PUB {number}: parameter values of shape {array.shape}; the last axis must have the "
            f"length {circuit.num_parameters}, for {_names(circuit)}.",
            1208,
        )
    if not prod(array.shape[:-1]):
        raise InvalidInput(f"PUB {number}: there is no set of parameter values.", 1208)
    if not circuit.num_parameters:
        return BindingsArray(shape=array.shape[:-1])
    return BindingsArray({tuple(circuit.parameters): array})


def _named(circuit: QuantumCircuit, values: dict[str, Any], number: int) -> BindingsArray:
    """Values by the names of parameters, as Qiskit's BindingsArray takes them.

    All arrays have the shape of the sets of values, with or without a last axis of length 1.
    """
    names = {parameter.name: parameter for parameter in circuit.parameters}
    for name in values:
        if name not in names:
            raise InvalidInput(
                f"PUB {number}: the circuit has no parameter {name[:50]!r}, but {_names(circuit)}.",
                1208,
            )
    for name in names:
        if name not in values:
            raise InvalidInput(f"PUB {number}: no value for the parameter {name[:50]!r}.", 1208)
    arrays = {parameter: _array(values[name], number) for name, parameter in names.items()}
    try:
        bound = BindingsArray(arrays)
    except ValueError:
        shapes = sorted({str(array.shape) for array in arrays.values()})[:NAMES_MAX]
        raise InvalidInput(
            f"PUB {number}: parameter values of the shapes {', '.join(shapes)} do not fit "
            "together; each parameter must have as many values as the others.",
            1208,
        ) from None
    if not prod(bound.shape):
        raise InvalidInput(f"PUB {number}: there is no set of parameter values.", 1208)
    return bound


def _names(circuit: QuantumCircuit) -> str:
    """The circuit's parameters in words, in the order of values that come without names."""
    names = [parameter.name for parameter in circuit.parameters]
    if not names:
        return "no parameters"
    more = f" and {len(names) - NAMES_MAX} more" if len(names) > NAMES_MAX else ""
    what = "the parameter" if len(names) == 1 else "the parameters"
    return f"{what} {', '.join(names[:NAMES_MAX])}{more}"


def rows(circuit: QuantumCircuit, values: BindingsArray) -> NDArray[np.float64]:
    """A row per set of parameter values, in C order, columns as in circuit.parameters."""
    if not circuit.num_parameters:
        return np.zeros((prod(values.shape), 0))
    array = values.as_array(list(circuit.parameters))
    return np.ascontiguousarray(array, dtype=np.float64).reshape(-1, circuit.num_parameters)


@contextmanager
def told_of(number: int) -> Iterator[None]:
    """Refusals from inside begin with the PUB's number."""
    try:
        yield
    except InvalidInput as error:
        raise InvalidInput(f"PUB {number}: {error.message}", error.code, error.solution) from None


def check_circuits(
    circuits: Sequence[QuantumCircuit],
    device: Qpu,
    values: Sequence[NDArray[np.float64]] = (),
) -> None:
    """Refuses circuits that the device cannot run, as they are or at one of their rows of values.

    `values` has one array per circuit, as `rows` makes them, or none at all.
    """
    for number, circuit in enumerate(circuits):
        if error := device.isa_error(circuit):
            raise InvalidInput(f"PUB {number}: {error}", 1517, "Transpile it for the backend.")
        if values and (error := swept_error(circuit, values[number])):
            raise InvalidInput(f"PUB {number}: {error}", 1517, "Use other parameter values.")
        dynamic.check(circuit, device, f"PUB {number}")


def _array(values: object, number: int) -> NDArray[np.float64]:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InvalidInput(f"PUB {number}: parameter values must be numbers.", 1208) from None
    if not np.isfinite(array).all():
        raise InvalidInput(f"PUB {number}: a parameter value is not finite.", 1208)
    return array
