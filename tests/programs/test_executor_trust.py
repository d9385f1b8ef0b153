"""What hostile users send to the executor is refused: no crash, no hang, no room for bombs."""

import base64
import io
import json
import random
import re
import time
import zlib
from typing import Any

import numpy as np
import pytest
from ibm_quantum_schemas.common import CompressedTensorModel
from ibm_quantum_schemas.common.annotation_serializer import AnnotationSerializer
from qiskit import QuantumCircuit
from qiskit import qpy as qiskit_qpy
from samplomatic import ChangeBasis, InjectNoise, Tag, Twirl
from tests.programs.mangling import VALUES, mangle, places, put

from queuebit.errors import InvalidInput, RequestError, TooLarge
from queuebit.programs import program
from queuebit.programs.executor import samplexes
from queuebit.programs.wire import qpy, unpack

NAMES = ("executor_mixed-0.51.0.json", "executor_noise_learner_v3-0.51.0.json")
RUNS = 25  # of each kind and body
SECONDS_MAX = 10.0  # of one; it takes tenths, on a machine that does nothing else


def packed(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content)).decode()


def unpacked(text: str) -> bytes:
    return zlib.decompress(base64.b64decode(text))


def a_node(params: dict[str, Any], kind: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A samplex's graph, and the data of its first node of a kind."""
    graph = json.loads(samplex_text(params))
    return graph, next(node["data"] for node in graph["nodes"] if node["data"]["id"] == kind)


def samplex_text(params: dict[str, Any]) -> str:
    items = params["quantum_program"]["items"]
    return next(item["samplex"]["samplex_json"] for item in items if "samplex" in item)


@pytest.fixture
def params(golden):
    return json.loads(golden("executor_estimator_3x2_rl2-0.51.0.json")[1])


@pytest.fixture
def mixed(golden):
    return json.loads(golden("executor_mixed-0.51.0.json")[1])


def refusal(params: dict[str, Any], device: Any) -> RequestError:
    with pytest.raises(RequestError) as refused:
        program.validate("executor", json.dumps(params).encode(), device)
    return refused.value


def test_numbers_that_would_fill_the_memory_are_refused(params):
    def broken(why: str, graph: dict[str, Any]) -> None:
        began = time.perf_counter()
        with pytest.raises(InvalidInput, match=why):
            samplexes.load(json.dumps(graph))
        assert time.perf_counter() - began < SECONDS_MAX

    for text in ("1000000000000", " 1_000_000_000_000", "[0, 1000000000000, 1]"):
        graph, node = a_node(params, "N9")
        node["slice_idxs"] = text
        broken("the limit is", graph)
    graph, node = a_node(params, "N10")
    node["distribution"] = node["distribution"].replace("133", "1" + 12 * "0")
    broken("the limit is", graph)
    graph, node = a_node(params, "N3")
    node["num_output_subsystems"] = "9" * 30
    broken("the limit is", graph)
    graph, _ = a_node(params, "N3")
    graph["nodes"][0]["id"] = 10**8  # the graph would get room for all below
    broken("out of range", graph)
    graph, node = a_node(params, "N9")
    data = node | {"slice_idxs": "[0, 999999, 1]"}
    graph["nodes"] += [{"id": 100 + i, "data": data} for i in range(100)]
    broken("subsystems in all", graph)
    graph, node = a_node(params, "N8")
    node["subsystem_idxs"] = '{"data": "", "shape": [0, 1000000], "dtype": "i64"}'
    broken("no elements", graph)
    graph, node = a_node(params, "N7")
    node["operand"] = node["operand"].replace("[1,1,2,2]", "[1,2,2,1]")
    broken("one sample", graph)
    for dtype in ("O", "(1000000,)f8", "S1000000000"):
        graph, _ = a_node(params, "N3")
        outputs = graph["attrs"]["output_specification"]
        graph["attrs"]["output_specification"] = outputs.replace("float32", dtype)
        broken("are not accepted", graph)
    graph, _ = a_node(params, "N3")
    outputs = graph["attrs"]["output_specification"]
    graph["attrs"]["output_specification"] = re.sub(
        r'\[\\"num_randomizations\\",',
        r'[\\"num_randomizations\\",\\"num_randomizations\\",',
        outputs,
    )
    broken("of no known size", graph)


def test_the_expressions_of_a_samplex_are_walked_through_before_they_are_read(params):
    file = io.BytesIO()
    inner = QuantumCircuit(1, name="mine")
    inner.h(0)
    circuit = QuantumCircuit(1)
    circuit.append(inner.to_gate(), [0])
    qiskit_qpy.dump(circuit, file, version=15)
    graph, _ = a_node(params, "N3")
    table = json.loads(graph["attrs"]["param_table"])
    table["circuit_base64"] = base64.b64encode(file.getvalue()).decode()
    graph["attrs"]["param_table"] = json.dumps(table)

    with pytest.raises(InvalidInput, match="mine"):
        samplexes.load(json.dumps(graph))


def test_a_samplex_whose_graph_goes_round_is_refused(params):
    graph, _ = a_node(params, "N3")
    evaluated = [n for n in graph["nodes"] if n["data"]["id"] in ("N3", "N7", "N8", "N9")]
    ids = [node["id"] for node in evaluated][:2]
    graph["links"] += [
        {"source": a, "target": b, "id": 90 + a, "data": None} for a, b in (ids, ids[::-1])
    ]

    with pytest.raises(InvalidInput, match="samplex"):
        samplexes.load(json.dumps(graph))


def test_bombs_are_not_unpacked(mixed, torino, monkeypatch):
    monkeypatch.setattr(unpack, "EXPANDED_BYTES_MAX", 2**20)
    bomb = packed(bytes(2**22))
    items = ("quantum_program", "items")
    for path in (
        ("quantum_program", "circuits", "b64_data"),
        (*items, 0, "circuit_arguments", "data"),
        (*items, 2, "samplex_arguments", "parameter_values", "data"),
    ):
        refused = refusal(put(mixed, path, bomb), torino)
        assert isinstance(refused, TooLarge)
        assert "expand to more than" in refused.message


def test_a_bomb_that_is_only_passed_through_is_left_alone(mixed, torino, run_bytes):
    bomb = {"data": packed(bytes(2**27)), "shape": [2**27], "dtype": "u8"}
    mixed["quantum_program"]["passthrough_data"] = {"x": [bomb]}
    text = json.dumps(mixed).encode()

    result = run_bytes("executor", text, torino)

    assert json.loads(result)["passthrough_data"] == {"x": [bomb]}


def test_what_is_passed_through_may_not_be_too_deep(mixed, torino):
    deep: Any = 1
    for _ in range(70):
        deep = [deep]
    mixed["quantum_program"]["passthrough_data"] = deep

    assert "passthrough_data is nested" in refusal(mixed, torino).message


def test_values_that_are_not_finite_are_refused(mixed, torino):
    tensor = CompressedTensorModel.from_numpy(np.full((3, 2, 2), np.nan)).model_dump()
    for path, told in (
        (("items", 1, "circuit_arguments"), "circuit argument is not finite"),
        (("items", 2, "samplex_arguments", "parameter_values"), "argument is not finite"),
    ):
        refused = refusal(put(mixed, ("quantum_program", *path), tensor), torino)
        assert told in refused.message


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["document", "circuits", "samplex", "numbers"])
def test_mutated_bodies_run_or_are_refused(name, kind, golden, torino, run_bytes):
    _, text = golden(name)
    params = json.loads(text)
    all_places = [path for path in places(params) if "passthrough_data" not in path]
    rng = random.Random(f"{name} {kind}")
    circuits = ("quantum_program", "circuits", "b64_data")
    refused = 0
    for _ in range(RUNS):
        if kind == "document":
            mutated = put(params, rng.choice(all_places), rng.choice(VALUES))
        elif kind == "circuits":
            content = unpacked(params["quantum_program"]["circuits"]["b64_data"])
            mutated = put(params, circuits, packed(mangle(content, rng)))
        else:
            items = params["quantum_program"]["items"]
            at = rng.choice([i for i, item in enumerate(items) if "samplex" in item])
            content = items[at]["samplex"]["samplex_json"]
            if kind == "samplex":
                content = mangle(content.encode(), rng).decode(errors="replace")
            else:
                numbers = [*re.finditer(r"-?\d+", content)]
                number = rng.choice(numbers)
                new = rng.choice(("0", "-1", "3", "255", "100000", "99999999999"))
                content = content[: number.start()] + new + content[number.end() :]
            where = ("quantum_program", "items", at, "samplex", "samplex_json")
            mutated = put(params, where, content)
        began = time.perf_counter()
        try:
            run_bytes("executor", json.dumps(mutated).encode(), torino)
        except RequestError:
            refused += 1
        assert time.perf_counter() - began < SECONDS_MAX
    assert refused > RUNS / 10


def boxed() -> QuantumCircuit:
    circuit = QuantumCircuit(3)
    with circuit.box([Twirl(), InjectNoise("n"), Tag("t")]):
        circuit.cz(0, 1)
    with circuit.box([Twirl(), ChangeBasis()]):
        circuit.measure_all()
    return circuit


def dumped(circuit: QuantumCircuit, version: int) -> bytes:
    file = io.BytesIO()
    factories = {"samplomatic": AnnotationSerializer}
    qiskit_qpy.dump(circuit, file, version=version, annotation_factories=factories)
    return file.getvalue()


@pytest.mark.parametrize("version", [15, 16, 17, 18])
def test_annotated_boxes_load_where_they_may(version):
    content = dumped(boxed(), version)

    loaded = qpy.load(content, boxes=True)

    assert loaded == boxed()
    assert [type(a) for a in loaded.data[0].operation.annotations] == [Twirl, InjectNoise, Tag]
    with pytest.raises(InvalidInput, match="boxes are not supported"):
        qpy.load(content)


def test_boxes_of_other_kinds_are_refused():
    timed = QuantumCircuit(1)
    with timed.box(duration=100, unit="dt"):
        timed.x(0)
    with pytest.raises(InvalidInput, match="duration"):
        qpy.load(dumped(timed, 17), boxes=True)
    content = dumped(boxed(), 17).replace(b"InjectNoise", b"InjectNoisy")
    with pytest.raises(InvalidInput, match="does not make a circuit"):
        qpy.load(content, boxes=True)
    content = dumped(boxed(), 17).replace(b"samplomatic", b"samplematic")
    with pytest.raises(InvalidInput, match="annotations"):
        qpy.load(content, boxes=True)


def test_mutated_boxes_load_or_are_refused():
    content = dumped(boxed(), 17)
    rng = random.Random(1)
    refused = 0
    for _ in range(400):
        try:
            qpy.load(mangle(content, rng), boxes=True)
        except InvalidInput:
            refused += 1
    assert refused > 100
