"""What users send is data: no tag of a payload makes code run, and none makes memory run out."""

import base64
import io
import json
import pickle
import tracemalloc
import zlib

import numpy as np
import pytest
from ibm_quantum_schemas.estimator.version_0_1 import data_bin as estimator_schema
from ibm_quantum_schemas.sampler.version_0_1 import data_bin as sampler_schema
from qiskit import QuantumCircuit
from qiskit.primitives.containers import BitArray, DataBin, PrimitiveResult, SamplerPubResult

from queuebit.errors import InvalidInput, TooLarge
from queuebit.programs.wire import codec, unpack


def tagged(tag: str, value: object, **others: object) -> bytes:
    return json.dumps({"pubs": [{"__type__": tag, "__value__": value, **others}]}).encode()


def packed(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content)).decode()


def npy(array: np.ndarray, *, allow_pickle: bool = False) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=allow_pickle)
    return file.getvalue()


def decoded(params: bytes) -> object:
    return codec.decode(params)["pubs"][0]


def test_arrays_and_complex_numbers_come_back():
    array = np.arange(6.0).reshape(3, 2)

    assert np.array_equal(decoded(tagged("ndarray", packed(npy(array)))), array)
    assert np.array_equal(decoded(tagged("ndarray", [[1, 2.5]])), [[1, 2.5]])
    assert decoded(tagged("complex", [1, -2.5])) == 1 - 2.5j


@pytest.mark.parametrize(
    "tag",
    ["settings", "_json", "module", "NoiseModel", "Parameter", "Instruction", "to_json", "set"],
)
def test_other_tags_are_refused_by_name(tag):
    params = tagged(tag, {}, __module__="os", __class__="system")

    with pytest.raises(InvalidInput, match=f"objects of type '{tag}' are not accepted"):
        codec.decode(params)


def test_a_tag_that_is_no_text_is_refused():
    with pytest.raises(InvalidInput, match="are not accepted"):
        codec.decode(b'{"pubs": [{"__type__": ["QuantumCircuit"], "__value__": 1}]}')


def test_a_pickled_array_is_refused_unread():
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("a payload was unpickled",))

    array = np.empty(1, dtype=object)
    array[0] = Trap()

    with pytest.raises(InvalidInput, match="only numbers"):
        codec.decode(tagged("ndarray", packed(npy(array, allow_pickle=True))))
    with pytest.raises(InvalidInput, match="cannot be read"):
        codec.decode(tagged("ndarray", packed(pickle.dumps(Trap()))))


def test_an_array_that_claims_more_than_it_has_is_refused():
    content = npy(np.zeros(2))
    claimed = content.replace(b"(2,), }" + b" " * 10, b"(20000000000,), }")
    assert claimed != content

    for wrong in (claimed, content[:-1], content + b"x"):
        with pytest.raises(InvalidInput, match="announced"):
            codec.decode(tagged("ndarray", packed(wrong)))


def bomb(tag: str, megabytes: int) -> bytes:
    packer = zlib.compressobj(9)
    zeros = bytes(2**20)
    content = b"".join(packer.compress(zeros) for _ in range(megabytes)) + packer.flush()
    return tagged(tag, base64.b64encode(content).decode())


@pytest.mark.parametrize("tag", ["QuantumCircuit", "ndarray"])
def test_a_zip_bomb_is_refused_in_bounded_memory(tag, monkeypatch):
    params = bomb(tag, 64)
    monkeypatch.setattr(unpack, "EXPANDED_BYTES_MAX", 2**20)
    tracemalloc.start()

    with pytest.raises(TooLarge, match="expand to more than 1 MiB"):
        codec.decode(params)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 8 * 2**20


def test_the_limit_counts_all_parts_of_a_job_together(monkeypatch):
    monkeypatch.setattr(unpack, "EXPANDED_BYTES_MAX", 10_000)
    part = {"__type__": "ndarray", "__value__": packed(npy(np.zeros(500)))}

    assert len(codec.decode(json.dumps({"pubs": [part] * 2}).encode())["pubs"]) == 2
    with pytest.raises(TooLarge):
        codec.decode(json.dumps({"pubs": [part] * 3}).encode())


@pytest.mark.parametrize(
    "value",
    ["not base64!", packed(b"x")[:-8], 5, None, base64.b64encode(b"no zlib").decode(), "é"],
)
def test_what_cannot_be_unpacked_is_refused(value):
    with pytest.raises(InvalidInput):
        codec.decode(tagged("QuantumCircuit", value))


@pytest.mark.parametrize(("open_", "close"), [("[", "]"), ('{"a":', "}")])
@pytest.mark.parametrize("depth", [100, 1_000_000])
def test_deep_json_is_refused(open_, close, depth):
    params = f'{{"pubs": {open_ * depth}1{close * depth}}}'.encode()

    with pytest.raises(InvalidInput, match="nested"):
        codec.decode(params)


@pytest.mark.parametrize("params", [b"", b"[]", b"1", b"{", b"\xff", b'{"a": 1e999999, "b"}'])
def test_what_is_no_json_object_is_refused(params):
    with pytest.raises(InvalidInput):
        codec.decode(params)


def result() -> PrimitiveResult:
    bits = np.array([[[1, 0, 1], [0, 0, 0]]], dtype=bool)
    data = DataBin(c=BitArray.from_bool_array(bits, order="little"), shape=(1,))
    return PrimitiveResult([SamplerPubResult(data, {"circuit_metadata": {}})], {"version": 2})


def test_results_carry_the_types_that_ibms_schema_asks_for():
    told = json.loads(codec.encode(result(), tagged=True))

    data = told["__value__"]["pub_results"][0]["__value__"]["data"]
    assert data["__value__"]["field_types"] == ["BitArray"]
    assert sampler_schema.DataBinWrapperModel.model_validate(data)


def test_an_estimators_result_fits_ibms_schema(run_bytes, golden, torino):
    told = json.loads(run_bytes(*golden("estimator_3x2_rl1-0.51.0.json"), torino))

    data = told["__value__"]["pub_results"][0]["__value__"]["data"]
    assert data["__value__"]["field_types"] == ["ndarray"] * 3
    assert estimator_schema.DataBinModel.model_validate(data["__value__"])


def test_results_without_qiskit_are_plain():
    told = json.loads(codec.encode(result(), tagged=False))

    assert told == {
        "results": [
            {
                "data": {"c": {"samples": [["0x5", "0x0"]], "num_bits": 3}},
                "metadata": {"circuit_metadata": {}},
            }
        ],
        "metadata": {"version": 2},
    }


def test_a_job_without_qiskit_runs(run_bytes, manila):
    source = (
        'OPENQASM 3.0; include "stdgates.inc"; bit[2] c; x $1; '
        "c[0] = measure $0; c[1] = measure $1;"
    )
    params = json.dumps({"pubs": [[source, [], 100]], "options": {}, "version": 2}).encode()

    told = json.loads(run_bytes("sampler", params, manila))

    samples = told["results"][0]["data"]["c"]["samples"]
    assert len(samples) == 100
    assert samples.count("0x2") > 80


def test_a_circuit_must_be_one():
    assert codec.circuit(QuantumCircuit(1), "PUB 0", None).num_qubits == 1
    with pytest.raises(InvalidInput, match="PUB 3: this is not a circuit but a list"):
        codec.circuit([], "PUB 3", None)


@pytest.mark.parametrize(
    "text",
    [
        rb'{"pubs": [["\ud800"]]}',
        rb'{"\uDFFFx": 1}',
        rb'{"pubs": [[{"__type__": "\udc00", "__value__": 1}]]}',
        rb'{"options": {"a": {"b": ["\ud83dx"]}}}',
        b'{"a": "\xed\xa0\x80"}',
        b'{"a": "\xff"}',
    ],
)
def test_halves_of_characters_are_refused_wherever_they_are(text):
    with pytest.raises(InvalidInput, match=r"halves of characters|UTF-8") as refusal:
        codec.decode(text)

    refusal.value.message.encode()


def test_a_character_that_json_writes_in_two_halves_is_read():
    assert codec.decode(rb'{"a": "\ud83d\ude42 \\ud800"}') == {"a": "\U0001f642 \\ud800"}
