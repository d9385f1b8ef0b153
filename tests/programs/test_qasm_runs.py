"""Jobs as a REST user sends them: circuits as text, values by name."""

import json

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Parameter
from qiskit.primitives.containers.bindings_array import BindingsArray

from queuebit.errors import InvalidInput
from queuebit.programs import program

HEAD = 'OPENQASM 3.0;\ninclude "stdgates.inc";\n'
TURNED = f"""{HEAD}
input float[64] theta;
input float[64] phi;
bit[2] meas;
rz(theta) $0;
sx $0;
rz(phi) $0;
sx $0;
meas[0] = measure $0;
"""


def params(pubs, options=None, **others) -> bytes:
    options = {"simulator": {"seed_simulator": 7}} | (options or {})
    return json.dumps({"pubs": pubs, "options": options} | others).encode()


@pytest.fixture
def sample(run_bytes, manila):
    """The data of each PUB of a job."""

    def sampled(pubs, *args, **others):
        result = json.loads(run_bytes("sampler", params(pubs, *args, **others), manila))
        return [pub["data"] for pub in result["results"]]

    return sampled


@pytest.fixture
def refusal(manila):
    def refused(pubs, program_id="sampler", **others) -> str:
        with pytest.raises(InvalidInput) as error:
            program.validate(program_id, params(pubs, **others), manila)
        return error.value.message

    return refused


@pytest.mark.parametrize(
    ("named", "listed"),
    [
        ({"theta": 1.57, "phi": 3.14}, [3.14, 1.57]),
        ({"phi": 3.14, "theta": 1.57}, [3.14, 1.57]),
        ({"theta": [1.57], "phi": [3.14]}, [3.14, 1.57]),  # as Qiskit: a last axis of 1
        ({"theta": [0, 1, 2], "phi": [3, 4, 5]}, [[3, 0], [4, 1], [5, 2]]),
        ({"theta": [[0], [1], [2]], "phi": [3, 4, 5]}, [[3, 0], [4, 1], [5, 2]]),
        (
            {"theta": [[0, 1], [2, 3]], "phi": [[4, 5], [6, 7]]},
            [[[4, 0], [5, 1]], [[6, 2], [7, 3]]],
        ),
    ],
)
def test_values_by_name_are_those_in_the_order_of_names(sample, named, listed):
    assert sample([[TURNED, named, 50]]) == sample([[TURNED, listed, 50]])


@pytest.mark.parametrize(
    "shapes",
    [
        {"theta": (), "phi": ()},
        {"theta": (1,), "phi": ()},
        {"theta": (3,), "phi": (3, 1)},
        {"theta": (2, 3), "phi": (2, 3, 1)},
        {"theta": (2, 1), "phi": (2, 1, 1)},
        {"theta": (2, 1, 1), "phi": (2, 1, 1)},
        {"theta": (3,), "phi": ()},
        {"theta": (3,), "phi": (2,)},
        {"theta": (2, 3), "phi": (3,)},
    ],
)
def test_shapes_of_named_values_are_qiskits(sample, refusal, shapes):
    values = {name: np.full(shape, 0.5).tolist() for name, shape in shapes.items()}
    try:
        shape = BindingsArray(values).shape
    except ValueError:
        assert "do not fit together" in refusal([[TURNED, values, 10]])
        return

    assert np.shape(sample([[TURNED, values, 10]])[0]["meas"]["samples"]) == (*shape, 10)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"theta": 1}, "PUB 0: no value for the parameter 'phi'."),
        ({}, "PUB 0: no value for the parameter 'phi'."),
        ({"theta": 1, "phi": 2, "x": 3}, "PUB 0: the circuit has no parameter 'x', but the para"),
        ({"theta": 1, "phi": None}, "PUB 0: a parameter value is not finite"),
        ({"theta": 1, "phi": "a"}, "PUB 0: parameter values must be numbers"),
        ({"theta": 1, "phi": {"a": 1}}, "PUB 0: parameter values must be numbers"),
        ({"theta": 1, "phi": [[1], [1, 2]]}, "PUB 0: parameter values must be numbers"),
        ({"theta": [], "phi": []}, "PUB 0: there is no set of parameter values"),
        ([1, 2, 3], "PUB 0: parameter values of shape (3,); the last axis must have the length 2"),
        (None, "PUB 0: no values for the parameters phi, theta."),
    ],
)
@pytest.mark.parametrize("program_id", ["sampler", "estimator"])
def test_wrong_values_are_refused_by_name(refusal, program_id, values, message):
    pub = [TURNED, values] if program_id == "sampler" else [TURNED, "Z", values]

    assert refusal([pub], program_id).startswith(message)


def test_a_circuit_without_parameters_takes_no_named_value(sample, refusal):
    text = f"{HEAD} bit c; x $0; c = measure $0;"

    assert sample([[text, {}, 5]]) == sample([[text, None, 5]])
    assert refusal([[text, {"a": 1}]]).endswith("no parameter 'a', but no parameters.")


def test_the_estimator_takes_values_by_name(run_bytes, perfect):
    texts = [
        run_bytes(
            "estimator",
            params([[TURNED, ["Z", "X"], values, 0.03]], resilience_level=0),
            perfect,
        )
        for values in ({"theta": 1.57, "phi": 3.14}, [3.14, 1.57])
    ]

    assert texts[0] == texts[1]
    evs = json.loads(texts[0])["results"][0]["data"]["evs"]
    assert len(evs) == 2


def one(name: str) -> tuple[QuantumCircuit, ClassicalRegister, ClassicalRegister]:
    c, o = ClassicalRegister(2, "c"), ClassicalRegister(1, name)
    return QuantumCircuit(QuantumRegister(2), c, o), c, o


def scalar() -> QuantumCircuit:
    circuit, c, o = one("o")
    circuit.x(0)
    circuit.measure(0, c[0])
    with circuit.if_test((c, 1)):
        circuit.x(1)
    circuit.measure(1, o[0])
    return circuit


def waiting() -> QuantumCircuit:
    circuit, c, _ = one("o")
    circuit.x(0)
    circuit.delay(450_000, 0, "dt")  # 100 us, of manila's 0.2222 ns
    circuit.measure(0, c[0])
    return circuit


def otherwise_reset() -> QuantumCircuit:
    circuit, c, o = one("o")
    circuit.x(0)
    circuit.measure(0, c[0])
    circuit.measure(0, c[1])
    with circuit.if_test((c, 3)) as otherwise:
        circuit.x(1)
    with otherwise:
        circuit.reset(0)
    circuit.measure(1, o[0])
    return circuit


COUNTERPARTS = {
    "scalar": (
        f"{HEAD} bit[2] c; bit o; x $0; c[0] = measure $0; if (c == 1) {{ x $1; }} o = measure $1;",
        scalar,
    ),
    "delay": (
        f"{HEAD} bit[2] c; bit o; x $0; delay[100us] $0; c[0] = measure $0; barrier $0, $1;",
        waiting,
    ),
    "else": (
        f"""{HEAD} bit[2] c; bit o; qubit[2] q; x q[0]; c[0] = measure q[0]; measure q[0] -> c[1];
        if (c == 3) {{ x q[1]; }} else {{ reset q[0]; }} o = measure q[1];""",
        otherwise_reset,
    ),
}


@pytest.mark.parametrize("name", COUNTERPARTS)
def test_a_text_gives_what_its_qiskit_counterpart_gives(sample, run, manila, name):
    text, counterpart = COUNTERPARTS[name]

    told = sample([[text, None, 300]])[0]
    options = {"simulator": {"seed_simulator": 7}}
    data = run("sampler", manila, [[counterpart(), None, 300]], options)[0].data

    assert set(told) == set(data) == {"c", "o"}
    for register, field in told.items():
        bits = getattr(data, register)
        assert field["num_bits"] == bits.num_bits
        assert [int(one, 16) for one in field["samples"]] == bits.array[..., 0].tolist()
    assert told["o"]["samples"].count("0x1") > 200 or name == "delay"


@pytest.mark.parametrize("name", ["o", "ψ", "Result"])
def test_a_scalar_bit_alone_is_in_the_result(sample, name):
    samples = sample([[f"{HEAD} bit {name}; x $0; {name} = measure $0;", None, 100]])[0][name]

    assert samples["num_bits"] == 1
    assert samples["samples"].count("0x1") > 80


def test_a_long_delay_lets_the_qubit_decay(sample):
    """T1 of manila's qubit 0 is some 100 us."""
    ones = [
        sample([[f"{HEAD} bit c; x $0; delay[{time}] $0; c = measure $0;", None, 1000]])[0]["c"][
            "samples"
        ].count("0x1")
        for time in ("0ns", "100us", "2ms")
    ]

    assert ones[0] > 900
    assert 200 < ones[1] < 800
    assert ones[2] < 100


@pytest.mark.parametrize("version", [2, "2"])
def test_the_version_may_be_text_as_in_ibms_guides(sample, version):
    text = f"{HEAD} bit c; x $0; c = measure $0;"

    assert len(sample([[text, None, 5]], version=version)[0]["c"]["samples"]) == 5


@pytest.mark.parametrize("version", [1, "3", None, [2], {"a": 2}])
def test_other_versions_are_refused(refusal, version):
    message = refusal([[f"{HEAD} bit c; x $0;"]], version=version)

    assert message.endswith("must be 2.")


def test_named_values_go_with_circuits_in_qpy_too(encode, run_bytes, manila):
    circuit = QuantumCircuit(1, 1)
    circuit.rz(Parameter("θ"), 0)
    circuit.measure(0, 0)
    text = encode([[circuit, {"θ": [0.1, 0.2]}, 10]], support_qiskit=False)

    data = json.loads(run_bytes("sampler", text, manila))["results"][0]["data"]
    assert np.shape(data["c"]["samples"]) == (2, 10)
