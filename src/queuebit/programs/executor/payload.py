"""The executor's payloads, of every version of IBM's schema, read without trust.

IBM's models (ibm-quantum-schemas, executor) unpack whatever a payload holds, and the older ones
load circuits and samplexes while they validate. So what is packed is unpacked here first, with an
account of its size; circuits are walked through before Qiskit reads them, and samplexes before
samplomatic does. Data that is only passed through is not looked into at all.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from ibm_quantum_schemas.common import CompressedTensorModel, TensorModel
from ibm_quantum_schemas.executor import (
    version_0_1,
    version_0_2,
    version_1_0,
    version_1_1,
    version_2_0,
)
from pydantic import BaseModel, ValidationError
from qiskit import QuantumCircuit

from queuebit.errors import InvalidInput
from queuebit.programs.circuits.delays import in_dt
from queuebit.programs.executor import samplexes
from queuebit.programs.executor.items import Item
from queuebit.programs.executor.items import read as read_item
from queuebit.programs.wire import codec, qasm, qpy
from queuebit.programs.wire.unpack import Unpacker
from queuebit.programs.wire.untrusted import untrusted

ITEMS_MAX = 10_000  # of one program; as many as PUBs

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Version:
    """A version of the schema."""

    name: str
    models: ModuleType
    together: bool
    """Its circuits come in one file, beside the items."""
    packed: bool
    """Its circuits and tensors are compressed."""

    @property
    def tensor(self) -> type[TensorModel]:
        """How it writes arrays."""
        kind: type[TensorModel] = CompressedTensorModel if self.packed else TensorModel
        return kind


VERSIONS = {
    version.name: version
    for version in (
        Version("v0.1", version_0_1, together=False, packed=False),
        Version("v0.2", version_0_2, together=False, packed=False),
        Version("v1.0", version_1_0, together=True, packed=False),
        Version("v1.1", version_1_1, together=True, packed=False),
        Version("v2.0", version_2_0, together=True, packed=True),
    )
}


@dataclass(frozen=True, slots=True)
class Payload:
    """A quantum program and its options."""

    version: Version
    items: list[Item]
    shots: int
    level: str
    """Of measurements: classified, kerneled, avg_kerneled or both."""
    role: str | None
    options: Any
    """IBM's model of them."""
    passed: Any
    """JSON that goes into the result as it came."""


def read(text: bytes, dt: float | None) -> Payload:
    """The payload in a JSON text for a backend whose `dt` is so many seconds.

    InvalidInput if it is none.
    """
    params = codec.document(text)
    name = params.get("schema_version")
    if not isinstance(name, str) or name not in VERSIONS:
        raise InvalidInput(
            f"params.schema_version is {str(name)[:50]!r}, must be one of {', '.join(VERSIONS)}",
            1208,
        )
    version = VERSIONS[name]
    program = _part(params, "quantum_program", "params")
    passed = program.pop("passthrough_data", None) if name != "v0.1" else None
    _check_depth(passed, 1)
    circuits = _circuits(program, version, dt)
    _known_only(params, version)
    model = _model(params, version)
    given = model.quantum_program
    items = []
    for number, (circuit, item) in enumerate(zip(circuits, given.items, strict=True)):
        with told_of(number):
            items.append(read_item(circuit, item))
    return Payload(
        version=version,
        items=items,
        shots=given.shots,
        level=getattr(given, "meas_level", "classified"),
        role=getattr(given, "semantic_role", None),
        options=model.options,
        passed=passed,
    )


@contextmanager
def told_of(number: int) -> Iterator[None]:
    """Refusals from inside begin with the item's number."""
    try:
        yield
    except InvalidInput as error:
        raise InvalidInput(f"item {number}: {error.message}", error.code, error.solution) from None


def _circuits(program: Json, version: Version, dt: float | None) -> list[QuantumCircuit]:
    """One circuit per item; also looks through all else that is packed."""
    unpacker = Unpacker()
    unpack: Callable[[object, str], bytes] = (
        unpacker.compressed if version.packed else unpacker.plain
    )
    items = program.get("items")
    if not isinstance(items, list) or not 1 <= len(items) <= ITEMS_MAX:
        raise InvalidInput(f"params.quantum_program.items must be 1 to {ITEMS_MAX} items", 1208)
    circuits = []
    for number, item in enumerate(items):
        where = f"item {number}"
        if not isinstance(item, dict):
            raise InvalidInput(f"{where}: this is no JSON object", 1208)
        arguments = item.get("samplex_arguments")
        tensors = list(arguments.values()) if isinstance(arguments, dict) else []
        for tensor in (item.get("circuit_arguments"), *tensors):
            if isinstance(tensor, dict) and "data" in tensor:
                unpack(tensor["data"], where)
        if not version.together:
            content = unpacker.plain(_part(item, "circuit", where).get("circuit_b64"), where)
            with told_of(number):
                circuits.append(in_dt(qpy.load(content), dt))
                if isinstance(samplex := item.get("samplex"), dict):
                    samplexes.load(str(samplex.get("samplex_json")))
    if version.together:
        together = _part(program, "circuits", "params.quantum_program")
        circuits = _together(together, unpack, version, dt)
    if len(circuits) != len(items):
        raise InvalidInput(
            f"params.quantum_program has {len(items)} items and {len(circuits)} circuits", 1208
        )
    return circuits


def _together(
    given: Json, unpack: Callable[[object, str], bytes], version: Version, dt: float | None
) -> list[QuantumCircuit]:
    """All circuits of a program from one file, or from texts in OpenQASM 3."""
    where = "params.quantum_program.circuits"
    texts = given.get("data")
    if not version.packed or texts is None:
        return [in_dt(one, dt) for one in qpy.load_all(unpack(given.get("b64_data"), where))]
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise InvalidInput(f"{where}.data must be a list of texts in OpenQASM 3", 1208)
    return [qasm.load(text, dt) for text in texts]


def _model(params: Json, version: Version) -> Any:
    """IBM's model of the parameters, valid."""
    try:
        with untrusted("params"):
            try:
                return version.models.ParamsModel.model_validate(params)
            except ValidationError as error:
                # Of a union each branch has its errors; the one that got furthest was meant.
                errors = error.errors(include_url=False, include_context=False)
                first: Any = max(errors, key=lambda one: len(one["loc"]))
                place = ".".join(["params", *(str(part) for part in first["loc"])])
                raise InvalidInput(f"{place[:200]}: {first['msg'][:500]}", 1208) from None
    except RecursionError:
        raise InvalidInput("the parameters are nested too deep", 1208) from None


def _known_only(params: Json, version: Version) -> None:
    """Refuses names that the schema has not: its models leave them out in silence."""
    models = version.models
    program = params["quantum_program"]
    named: list[tuple[str, Any, type[BaseModel]]] = [
        ("params", params, models.ParamsModel),
        ("params.options", params.get("options"), models.OptionsModel),
        ("params.quantum_program", program, models.QuantumProgramModel),
    ]
    for number, item in enumerate(program["items"]):
        kind = models.SamplexItemModel if "samplex" in item else models.CircuitItemModel
        named.append((f"item {number}", item, kind))
    for where, given, model in named:
        if isinstance(given, dict) and (unknown := sorted(set(given) - set(model.model_fields))):
            raise InvalidInput(f"{where}.{unknown[0][:50]}: there is no such parameter", 1208)


def _part(given: Json, name: str, where: str) -> Json:
    part = given.get(name)
    if not isinstance(part, dict):
        raise InvalidInput(f"{where}.{name} must be a JSON object", 1208)
    return part


def _check_depth(value: Any, depth: int) -> None:
    if depth > codec.NESTING_MAX:
        raise InvalidInput(
            f"params.quantum_program.passthrough_data is nested more than {codec.NESTING_MAX} deep",
            1208,
        )
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for part in parts:
        _check_depth(part, depth + 1)
