"""Job parameters into objects, and results into text: IBM's tagged JSON, read without trust.

The client's own decoder imports and calls what a payload names; this one makes circuits, arrays and
complex numbers, and refuses every other tag by its name. Results are written by the client's own
public encoder.
"""

import base64
import binascii
import io
import json
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.primitives.containers import BitArray, DataBin, PrimitiveResult
from qiskit_ibm_runtime import RuntimeEncoder

from queuebit.errors import InvalidInput, TooLarge
from queuebit.programs import npy, qasm, qpy

# Of all circuits and arrays of one job together. The largest body is 64 MB; real payloads shrink
# to a fifth to a tenth, so more than this is a bomb, and a worker can hold it several times over.
EXPANDED_BYTES_MAX = 256 * 2**20
NESTING_MAX = 64  # lists in lists; observables need one level per axis, and arrays have at most 64


def decode(params: bytes) -> dict[str, Any]:
    """The parameters of a job with circuits, arrays and complex numbers in their places."""
    try:
        document = json.loads(params)
    except RecursionError:
        raise InvalidInput("the parameters are nested too deep", 1208) from None
    except ValueError as error:
        raise InvalidInput(f"the parameters are not JSON: {error}", 1208) from None
    if not isinstance(document, dict):
        raise InvalidInput("the parameters are not a JSON object", 1208)
    decoder = _Decoder()
    return {key: decoder.value(item, f"params.{key}", 1) for key, item in document.items()}


def circuit(given: object, where: str) -> QuantumCircuit:
    """A decoded circuit, or one in OpenQASM 3."""
    if isinstance(given, str):
        return qasm.load(given)
    if not isinstance(given, QuantumCircuit):
        raise InvalidInput(f"{where}: this is not a circuit but {type(given).__name__}", 1208)
    return given


def encode(result: PrimitiveResult[Any], *, tagged: bool) -> bytes:
    """A result's JSON text: with tags for Qiskit's client, or plain."""
    if tagged:
        return json.dumps(result, cls=_Encoder, separators=(",", ":")).encode()
    plain = {
        "results": [
            {"data": {name: _plain(field) for name, field in pub.data.items()}}
            | {"metadata": pub.metadata}
            for pub in result
        ],
        "metadata": result.metadata,
    }
    return json.dumps(plain, cls=_Encoder, separators=(",", ":")).encode()


class _Decoder:
    """Decodes one payload; keeps account of what its parts expand to."""

    def __init__(self) -> None:
        self._left = EXPANDED_BYTES_MAX

    def value(self, given: Any, where: str, depth: int) -> Any:
        if depth > NESTING_MAX:
            raise InvalidInput(f"the parameters are nested more than {NESTING_MAX} deep", 1208)
        if isinstance(given, list):
            return [self.value(item, f"{where}[{i}]", depth + 1) for i, item in enumerate(given)]
        if not isinstance(given, dict):
            return given
        if "__type__" not in given:
            return {k: self.value(v, f"{where}.{k}", depth + 1) for k, v in given.items()}
        tag, content = given["__type__"], given.get("__value__")
        match tag:
            case "QuantumCircuit":
                return qpy.load(self.expand(content, where))
            case "ndarray":
                return self.array(content, where)
            case "complex":
                return _complex(content, where)
            case _:
                raise InvalidInput(
                    f"{where}: objects of type {str(tag)[:100]!r} are not accepted",
                    1208,
                    "Send circuits, arrays, numbers, text, lists and objects.",
                )

    def expand(self, content: object, where: str) -> bytes:
        """Bytes from base64 of zlib, never more than what is left for the payload."""
        if not isinstance(content, str):
            raise InvalidInput(f"{where}: its __value__ is not text", 1208)
        try:
            packed = base64.b64decode(content, validate=True)
            unpacker = zlib.decompressobj()
            expanded = unpacker.decompress(packed, self._left)
        except (binascii.Error, zlib.error, ValueError) as error:
            raise InvalidInput(
                f"{where}: its __value__ cannot be unpacked: {error}", 1208
            ) from None
        if unpacker.unconsumed_tail:
            raise TooLarge(
                f"{where}: the job's circuits and arrays expand to more than "
                f"{EXPANDED_BYTES_MAX // 2**20} MiB",
                1208,
                "Split the job.",
            )
        if not unpacker.eof or unpacker.unused_data:
            raise InvalidInput(f"{where}: its __value__ is cut short or goes on too long", 1208)
        self._left -= len(expanded)
        return expanded

    def array(self, content: object, where: str) -> NDArray[Any]:
        try:
            if isinstance(content, int | list):  # how the client writes arrays of objects
                return _numbers(content)
            expanded = self.expand(content, where)
            npy.check(expanded)
            return np.asarray(np.load(io.BytesIO(expanded), allow_pickle=False))
        except (ValueError, TypeError, OverflowError, SyntaxError, MemoryError) as error:
            raise InvalidInput(f"{where}: the array cannot be read: {error}", 1208) from None


class _Encoder(RuntimeEncoder):  # type: ignore[misc]  # published without types
    """The client's encoder, and the field that IBM's schema has beyond it."""

    def default(self, obj: Any) -> Any:
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


def _plain(field: Any) -> Any:
    """A field of a result for users without Qiskit; arrays as nested lists."""
    if not isinstance(field, BitArray):
        return np.asarray(field).tolist()
    numbers = np.empty((*field.shape, field.num_shots), dtype=object)
    for index in np.ndindex(*field.shape):
        numbers[index] = [hex(int.from_bytes(shot.tobytes(), "big")) for shot in field.array[index]]
    return {"samples": numbers.tolist(), "num_bits": field.num_bits}
