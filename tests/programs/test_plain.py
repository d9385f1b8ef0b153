"""Jobs of users without Qiskit: JSON that holds nothing of its classes, in and out."""

import json
from datetime import datetime
from itertools import pairwise

import numpy as np
import pytest
from qiskit import QuantumCircuit, qasm3
from qiskit.primitives import PrimitiveResult, PubResult
from qiskit.primitives.containers import DataBin

from queuebit.programs.wire import codec

HEAD = 'OPENQASM 3.0; include "stdgates.inc";'
X = f"{HEAD} bit[2] c; bit[1] d; x $1; c[0] = measure $0; c[1] = measure $1; d[0] = measure $1;"
TURNED = f"{HEAD} input float[64] theta; bit[1] c; rz(theta) $0; x $0; c[0] = measure $0;"
BARE = f"{HEAD} x $1;"


def asked(pubs, **options) -> bytes:
    seeded = {"simulator": {"seed_simulator": 1}} | options
    return json.dumps({"version": 2, "pubs": pubs, "options": seeded}).encode()


def told(content: bytes):
    def refuse(number: str) -> None:
        raise AssertionError(f"{number} is no JSON")

    assert b"__type__" not in content
    return json.loads(content, parse_constant=refuse)


@pytest.mark.parametrize("options", [{}, {"twirling": {"enable_measure": True}}])
def test_a_sampler_job_of_plain_json(run_bytes, perfect, options):
    shots = {"twirling": {"num_randomizations": 2, "shots_per_randomization": 2}} if options else {}
    options = {"twirling": options.get("twirling", {}) | shots.get("twirling", {})}

    answer = told(
        run_bytes("sampler", asked([[X, None, 4], [TURNED, [[0.1], [0.2]], 4]], **options), perfect)
    )

    first, second = answer["results"]
    assert first["data"] == {
        "c": {"samples": ["0x2"] * 4, "num_bits": 2},
        "d": {"samples": ["0x1"] * 4, "num_bits": 1},
    }
    assert second["data"]["c"]["samples"] == [["0x1"] * 4] * 2
    spans = answer["metadata"]["execution"]["execution_spans"]
    assert all(set(span) == {"kind", "start", "stop", "data_slices"} for span in spans)
    times = [datetime.fromisoformat(span[key]) for span in spans for key in ("start", "stop")]
    assert all(before <= after for before, after in pairwise(times))
    assert {number for span in spans for number in span["data_slices"]} == {"0", "1"}


@pytest.mark.parametrize(
    ("observables", "values"),
    [
        ("ZI", -1),
        ({"ZI": 0.5, "IZ": 2}, 1.5),
        (["ZI", "IZ"], [-1, 1]),
        ([[{"ZZ": 1}], ["II"]], [[-1], [1]]),
        ("IIIZI", -1),  # as `apply_layout` makes it: on all of the backend
    ],
)
def test_an_estimator_job_of_plain_json(run_bytes, perfect, observables, values):
    answer = told(
        run_bytes("estimator", asked([[BARE, observables]], default_precision=0.1), perfect)
    )

    data = answer["results"][0]["data"]
    assert data["evs"] == values
    assert np.shape(data["stds"]) == np.shape(values)
    assert answer["results"][0]["metadata"]["target_precision"] == 0.1


def test_what_qiskit_writes_as_text_runs(run_bytes, perfect):
    circuit = QuantumCircuit(5, 1)
    circuit.sx(3), circuit.sx(3), circuit.measure(3, 0)

    answer = told(run_bytes("sampler", asked([[qasm3.dumps(circuit), None, 3]]), perfect))

    assert answer["results"][0]["data"]["c"]["samples"] == ["0x1"] * 3


def test_numbers_that_are_not_finite_are_null():
    data = DataBin(evs=np.array([np.nan, 1.0]), stds=np.array(np.inf))
    pub = PubResult(data, {"found": np.array([[1.5]]), "worst": -np.inf, "none": None})

    answer = told(codec.encode(PrimitiveResult([pub], {"version": 2}), tagged=False))

    assert answer["results"] == [
        {
            "data": {"evs": [None, 1.0], "stds": None},
            "metadata": {"found": [[1.5]], "worst": None, "none": None},
        }
    ]
    assert answer["metadata"] == {"version": 2}


def test_measured_points_are_pairs_of_numbers(run_bytes, perfect):
    circuit = QuantumCircuit(1, 1)
    circuit.measure(0, 0)
    options = {"execution": {"meas_type": "kerneled"}}
    body = {"pubs": [[qasm3.dumps(circuit), None, 3]], "options": options, "version": 2}

    told = json.loads(run_bytes("sampler", json.dumps(body).encode(), perfect))

    points = told["results"][0]["data"]["c"]
    assert [len(point) for point in np.reshape(points, (-1, 2)).tolist()] == [2, 2, 2]
    assert all(real < 0 for real, _ in np.reshape(points, (-1, 2)))  # that is 0
