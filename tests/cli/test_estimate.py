"""`queuebit estimate` of every kind of file, against a live service."""

import json

import pytest
from qiskit import QuantumCircuit, qasm3, qpy
from qiskit.circuit import Parameter
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import RuntimeEncoder, SamplerV2

from queuebit.account import quiet_client

MANILA = ("--backend", "fake_manila")


@pytest.fixture(scope="module")
def circuit(queuebit_service):
    """A Bell pair that fits fake_manila."""
    backend = queuebit_service.connect().backend("fake_manila")
    bell = QuantumCircuit(2)
    bell.h(0)
    bell.cx(0, 1)
    bell.measure_all()
    return generate_preset_pass_manager(1, backend=backend, seed_transpiler=1).run(bell)


@pytest.fixture
def write(tmp_path):
    """Writes a job's JSON, or circuits in QPY."""

    def written(what):
        file = tmp_path / "job"
        if isinstance(what, list):
            with file.open("wb") as opened:
                qpy.dump(what, opened)
        else:
            file.write_text(what if isinstance(what, str) else json.dumps(what, cls=RuntimeEncoder))
        return file

    return written


def params(circuit, shots=1_000, count=1):
    return {"pubs": [[circuit, None, shots]] * count, "version": 2, "support_qiskit": True}


def as_json(outcome):
    assert outcome.err == ""
    return json.loads(outcome.out)


def test_the_estimate_is_what_the_job_is_then_charged(logged_in, write, circuit, queuebit_service):
    backend = queuebit_service.connect().backend("fake_manila")
    with quiet_client():
        job = SamplerV2(mode=backend).run([circuit], shots=30_000)
        job.result()

    told = as_json(logged_in("estimate", write([circuit]), *MANILA, "--shots", 30_000, "--json"))

    assert told["estimated_running_time_seconds"] == job.usage() > 5
    assert job.usage_estimation == {"quantum_seconds": job.usage()}
    assert (told["executions"], told["circuits"], told["qubits"]) == (30_000, 1, 2)
    assert told["depth"] == circuit.depth()
    assert told["limits"] == []


def test_an_estimate_is_a_table(logged_in, write, circuit):
    outcome = logged_in("estimate", write([circuit] * 3), *MANILA, "--shots", 10_000)

    rows = dict(line.split("  ", 1) for line in outcome.out.splitlines() if "  " in line)
    shown = {name.strip(): value.strip() for name, value in rows.items()}
    assert outcome.code == 0
    assert (shown["Executions"], shown["Circuits"], shown["Qubits"]) == ("30000", "3", "2")
    assert float(shown["QPU time"].split()[0]) > float(shown["of it overhead"].split()[0]) > 2


def test_a_job_as_it_was_sent_names_its_backend_and_program(logged_in, write, circuit):
    body = {"program_id": "sampler", "backend": "fake_manila", "params": params(circuit)}

    assert as_json(logged_in("estimate", write(body), "--json"))["executions"] == 1_000


def test_params_alone_need_a_backend(logged_in, refused, write, circuit):
    file = write(params(circuit, count=2))

    assert as_json(logged_in("estimate", file, *MANILA, "--json"))["executions"] == 2_000
    assert (
        refused("estimate", file) == "choose one with --backend: fake_torino, fake_fez, fake_manila"
    )


def test_openqasm(logged_in, write):
    text = 'OPENQASM 3.0; include "stdgates.inc"; bit[1] c; x $0; c[0] = measure $0;'

    told = as_json(logged_in("estimate", write(text), *MANILA, "--shots", 7, "--json"))
    assert (told["executions"], told["qubits"], told["depth"]) == (7, 1, 2)


def test_parameters_are_assumed_to_have_one_set_of_values(logged_in, write):
    turned = QuantumCircuit(5, 1)
    turned.rz(Parameter("a"), 0)
    turned.measure(0, 0)

    for what in ([turned], qasm3.dumps(turned)):
        told = as_json(logged_in("estimate", write(what), *MANILA, "--shots", 9, "--json"))
        assert told["executions"] == 9
        assert "One set of parameter values is assumed" in told["warnings"][-1]


def test_the_estimator_is_asked_for_one_observable(logged_in, write):
    prepared = QuantumCircuit(5)
    prepared.x(0)

    outcome = logged_in(
        "estimate", write([prepared]), *MANILA, "--program", "estimator", "--shots", 640, "--json"
    )
    told = as_json(outcome)
    assert told["executions"] > 640  # the readout is learnt as well
    assert "One observable is assumed" in told["warnings"][-1]


def test_a_limit_is_told_with_the_estimate_and_ends_in_1(logged_in, write, circuit):
    file = write(params(circuit, shots=4_000_000, count=3))

    outcome = logged_in("estimate", file, *MANILA)
    assert outcome.code == 1
    assert "12000000 executions" in outcome.out
    assert "the limit is 10000000. Split the job" in outcome.out
    assert "QPU time" in outcome.out
    told = json.loads(logged_in("estimate", file, *MANILA, "--json").out)
    assert [limit["code"] for limit in told["limits"]] == [1208]
    assert told["estimated_running_time_seconds"] > 1_000


def test_a_circuit_that_does_not_fit_is_refused(refused, logged_in, write):
    swapped = QuantumCircuit(2, 1)
    swapped.swap(0, 1)
    swapped.measure(0, 0)

    assert "instruction swap on qubits (0, 1)" in refused("estimate", write([swapped]), *MANILA)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"{", "is not JSON"),
        (b"{}", "is no job: it has neither params nor pubs"),
        (b'{"pubs": []}', "--shots is for circuits"),
        (b"QISKIT\x0d\x00", "is not QPY that Qiskit can read"),
        (b"\xff\xfe", "is neither a job in JSON nor circuits"),
        (b"hello", "is neither a job in JSON nor circuits"),
    ],
)
def test_a_file_that_is_no_job_is_told(refused, logged_in, tmp_path, content, told):
    file = tmp_path / "file"
    file.write_bytes(content)
    options = ("--shots", 3) if "--shots" in told else ()

    assert told in refused("estimate", file, *MANILA, *options)


def test_a_file_that_is_not_there_is_told(refused, logged_in, tmp_path):
    file = tmp_path / "file"

    assert refused("estimate", file) == f"{file} cannot be read: No such file or directory"
