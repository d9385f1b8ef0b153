"""Job parameters into objects, and results into text: IBM's tagged JSON, read without trust.

The client's own decoder imports and calls what a payload names; this one makes circuits, arrays and
complex numbers, and refuses every other tag by its name. Results are written by the client's own
public encoder.
"""

import base64
import io
import json
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import qiskit.qpy
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.primitives.containers import DataBin, PrimitiveResult
from qiskit_ibm_runtime import RuntimeEncoder

from queuebit.errors import InvalidInput
from queuebit.programs.circuits.delays import in_dt
from queuebit.programs.wire import npy, qasm, qpy
from queuebit.programs.wire.plain import plain
from queuebit.programs.wire.unpack import Unpacker

# What a noise model is written in (docs/programs.md, resilience.layer_noise_model).
TAGGED = ("NoiseLearnerResult", "LayerError", "PauliLindbladError", "PauliList")
QPY_VERSIONS = (13, 17)  # which clients are sure to read: the oldest that we take, and IBM's newest
# What JSON calls the types of its values.
_KINDS = {
    dict: "an object",
    list: "a list",
    int: "a number",
    float: "a number",
    complex: "a number",
    bool: "true or false",
    type(None): "null",
    np.ndarray: "an array",
}
_HALVES = re.compile(rb"\\u[dD][89a-fA-F]")  # escapes in JSON of characters in two halves
NESTING_MAX = 64  # lists in lists; observables need one level per axis, and arrays have at most 64


def decode(params: bytes) -> dict[str, Any]:
    """The parameters of a job with circuits, arrays and complex numbers in their places."""
    decoder = _Decoder()
    return {key: decoder.value(item, f"params.{key}", 1) for key, item in document(params).items()}


def document(params: bytes) -> dict[str, Any]:
    """The parameters of a job as the JSON object that they are."""
    try:
        read = json.loads(params.decode())
        if _HALVES.search(params):
            json.dumps(read, ensure_ascii=False).encode()
    except RecursionError:
        raise InvalidInput("the parameters are nested too deep", 1208) from None
    except UnicodeDecodeError:
        raise InvalidInput("the parameters are not text in UTF-8", 1208) from None
    except UnicodeEncodeError:
        raise InvalidInput(
            "the parameters hold halves of characters (surrogates), which no text may", 1208
        ) from None
    except ValueError as error:
        raise InvalidInput(f"the parameters are not JSON: {error}", 1208) from None
    if not isinstance(read, dict):
        raise InvalidInput("the parameters are not a JSON object", 1208)
    return read


def circuit(given: object, where: str, dt: float | None) -> QuantumCircuit:
    """A decoded circuit, or one in OpenQASM 3, on a backend whose `dt` is so many seconds."""
    if isinstance(given, str):
        return qasm.load(given, dt)
    if not isinstance(given, QuantumCircuit):
        kind = _KINDS.get(type(given), "an object of another type")
        raise InvalidInput(f"{where}: this is not a circuit but {kind}", 1208)
    return in_dt(given, dt)


def encode(result: PrimitiveResult[Any], *, tagged: bool, version: int | None = None) -> bytes:
    """A result's JSON text: with tags for Qiskit's client, or plain.

    Circuits in it, if there are any, are in this `version` of QPY.
    """
    if tagged:
        return text(result, version)
    return json.dumps(plain(result), separators=(",", ":"), allow_nan=False).encode()


def text(told: object, version: int | None) -> bytes:
    """JSON text with tags for Qiskit's client; circuits are in this version of QPY."""
    return json.dumps(told, cls=_Encoder, version=version, separators=(",", ":")).encode()


def qpy_version(circuits: Iterable[object]) -> int:
    """What a job's circuits, as they came, are written in; of several, the oldest.

    So its client can read it. The oldest that there is for OpenQASM.
    """
    oldest, newest = QPY_VERSIONS
    found = [newest]
    for circuit in circuits:
        if not isinstance(circuit, dict):
            return oldest
        packed = base64.b64decode(circuit["__value__"])
        found.append(zlib.decompressobj().decompress(packed, len("QISKIT") + 1)[-1])
    return min(found)


@dataclass(frozen=True, slots=True)
class Tagged:
    """An object of the client that no program makes; who takes it reads its parts."""

    kind: str
    content: Any


class _Decoder:
    """Decodes one payload; keeps account of what its parts expand to."""

    def __init__(self) -> None:
        self._unpacker = Unpacker()

    def value(self, given: Any, where: str, depth: int) -> Any:
        if depth > NESTING_MAX:
            raise InvalidInput(f"the parameters are nested more than {NESTING_MAX} deep", 1208)
        if isinstance(given, list):
            return [self.value(item, f"{where}[{i}]", depth + 1) for i, item in enumerate(given)]
        if not isinstance(given, dict):
            return given
        if "__type__" not in given:
            return {k: self.value(v, f"{where}.{k}", depth + 1) for k, v in given.items()}
        return self.tagged(given, where, depth)

    def tagged(self, given: dict[str, Any], where: str, depth: int) -> Any:
        """What a tag stands for."""
        tag, content = given["__type__"], given.get("__value__")
        match tag:
            case "QuantumCircuit":
                return qpy.load(self._unpacker.compressed(content, where))
            case "ndarray":
                return self.array(content, where)
            case "complex":
                return _complex(content, where)
        kind = given.get("__class__", tag)
        if kind not in TAGGED:
            raise InvalidInput(
                f"{where}: objects of type {str(tag)[:100]!r} are not accepted",
                1208,
                "Send circuits, arrays, numbers, text, lists and objects.",
            )
        return Tagged(kind, self.value(content, where, depth + 1))

    def array(self, content: object, where: str) -> NDArray[Any]:
        try:
            if isinstance(content, int | list):  # how the client writes arrays of objects
                return _numbers(content)
            expanded = self._unpacker.compressed(content, where)
            npy.check(expanded)
            return np.asarray(np.load(io.BytesIO(expanded), allow_pickle=False))
        except (ValueError, TypeError, OverflowError, SyntaxError, MemoryError) as error:
            raise InvalidInput(f"{where}: the array cannot be read: {error}", 1208) from None


class _Encoder(RuntimeEncoder):  # type: ignore[misc]  # published without types
    """The client's encoder, but for the version of QPY; and IBM's schema has a field beyond it."""

    def __init__(self, *args: Any, version: int | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._version = version

    def default(self, obj: Any) -> Any:
        if isinstance(obj, QuantumCircuit):
            written = io.BytesIO()
            qiskit.qpy.dump(obj, written, version=self._version)
            packed = base64.b64encode(zlib.compress(written.getvalue())).decode()
            return {"__type__": "QuantumCircuit", "__value__": packed}
        told = super().default(obj)
        if isinstance(obj, DataBin):
            told["__value__"]["field_types"] = [type(field).__name__ for field in obj.values()]
        return told


def _numbers(content: int | list[Any]) -> NDArray[Any]:
    array = np.array(content)
    if array.dtype.kind not in "biufc":
        raise ValueError("it does not hold numbers")
    return array


def _complex(content: object, where: str) -> complex:
    match content:
        case [int() | float() as real, int() | float() as imaginary]:
            try:
                return complex(real, imaginary)
            except OverflowError:
                pass
    raise InvalidInput(f"{where}: a complex number is written [real, imaginary]", 1208)
