"""`queuebit simulate`."""

import json
import os

import pytest
from qiskit import QuantumCircuit
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import Batch, SamplerV2
from tests.simulate.traces import EXAMPLES, lines, starts, submit
from typer.testing import CliRunner

from queuebit.account import quiet_client
from queuebit.cli.main import app
from queuebit.simulate.reading import read
from queuebit.simulate.simulation import simulate

FAQ = EXAMPLES / "faq_lanes.jsonl"


@pytest.fixture
def command(monkeypatch):
    """Runs `queuebit simulate` with arguments; what it prints."""
    for variable in [name for name in os.environ if name.startswith("QUEUEBIT_")]:
        monkeypatch.delenv(variable)

    def run(*arguments, code=0):
        result = CliRunner().invoke(app, ["simulate", *map(str, arguments)])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.stderr
        assert bool(result.stderr) == bool(code)
        return result.stderr if code else result.stdout

    return run


def rows(out):
    return [" ".join(line.split()) for line in out.splitlines()]


def test_a_trace_and_two_what_ifs_side_by_side(command):
    out = command(FAQ, "--lanes", 1, "--what-if", "qpus=2 mode=job")

    assert rows(out)[:3] == [
        "as it is lanes=1 qpus=2 mode=job",
        "makespan 43.0 s 1 min 27 s 23.0 s",
        "jobs 9 9 9",
    ]


def test_flags_make_up_one_what_if(command):
    out = command(
        FAQ, "--lanes", 9, "--qpus", 2, "--qpu-slots", 2, "--mode", "session",
        "--max-ttl", 600, "--interactive-ttl", 9, "--json",
    )  # fmt: skip

    assert [report["name"] for report in json.loads(out)] == [
        "as it is",
        "lanes=9 qpus=2 qpu_slots=2 mode=session max_ttl=600 interactive_ttl=9",
    ]


def test_json(command):
    (report,) = json.loads(command(FAQ, "--json"))

    assert report["makespan_s"] == 43
    assert report["by_mode"]["batch"]["jobs"] == 6
    assert report["by_instance"]["local"]["usage_s"] == 24


def test_pictures(command, tmp_path):
    gantt, waits = tmp_path / "gantt.svg", tmp_path / "waits.png"

    command(FAQ, "--lanes", 2, "--gantt", gantt, "--waits", waits)

    assert "lanes=2" in gantt.read_text()
    assert waits.read_bytes().startswith(b"\x89PNG")


def test_a_picture_is_refused_before_anything_is_simulated(command):
    assert command(FAQ, "--gantt", "x.gif", code=1) == (
        "queuebit: x.gif is not a picture: its name ends in .png, .svg, .pdf\n"
    )


def test_made_up_loads_have_seeds(command, tmp_path):
    files = [tmp_path / name for name in ("1", "2", "3")]
    for file, seed in zip(files, (7, 7, 8), strict=True):
        out = command("--generate", file, "--load", "hours=2 batch-jobs=3", "--seed", seed)

        assert out.startswith("Wrote ")
    assert files[0].read_bytes() == files[1].read_bytes() != files[2].read_bytes()
    assert "completed" in command(files[0])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "give one of a TRACE to simulate, --export FILE, --generate FILE"),
        ([FAQ, "--export", "x"], "give one of a TRACE to simulate, --export FILE, --generate F"),
        (["none.jsonl"], "trace none.jsonl cannot be read: No such file or directory"),
        ([FAQ, "--what-if", "speed=2"], "what-if: there is no speed; there are lanes, qpus,"),
        (["--generate", "x", "--load", "rate=0"], "load: rate: input should be greater than 0"),
        (["--generate", "x", "--load", "job=0 batch=0 session=0"],
         "load: job, batch and session are all 0"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(command, arguments, told):
    out = command(*arguments, code=1)

    assert out.startswith(f"queuebit: {told}")
    assert out.count("\n") == 1


def test_a_mistake_in_a_trace_is_told_with_its_line(command, tmp_path):
    file = tmp_path / "t.jsonl"
    file.write_text("\n".join(lines(submit("a"), submit("b", quantum_s="long"))))

    assert command(file, code=1) == (
        f"queuebit: {file} line 2: submit.quantum_s: input should be a valid number, not 'long'\n"
    )


def test_an_export_of_nothing(command, tmp_path):
    assert command("--export", tmp_path / "t", "--data", tmp_path, code=1) == (
        f"queuebit: no service has kept anything in {tmp_path}/queuebit.db\n"
    )


def run_batch(service):
    """Three jobs that the real client submits; their ids."""
    backend = service.connect().backend("fake_manila")
    circuit = QuantumCircuit(1)
    circuit.x(0)
    circuit.measure_all()
    manager = generate_preset_pass_manager(backend=backend, optimization_level=0)
    with quiet_client(), Batch(backend=backend) as batch:
        sampler = SamplerV2(mode=batch)
        jobs = [sampler.run([manager.run(circuit)], shots=10) for _ in range(3)]
    for job in jobs:
        job.result()
    return [job.job_id() for job in jobs]


def test_a_services_history_can_be_simulated_while_it_runs(command, queuebit_service, tmp_path):
    ids = run_batch(queuebit_service)
    file = tmp_path / "history.jsonl"

    out = command("--export", file, "--data", queuebit_service.data)

    assert out.startswith("Wrote ")
    assert out.endswith(f" to {file}.\n")
    history = simulate(read(file))
    mine = [(job_id, at) for job_id, at in starts(history) if job_id in ids]
    assert [job_id for job_id, _ in mine] == ids
    assert command(file)
