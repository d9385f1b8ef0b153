"""Commands run as a user runs them: with a home of their own, here or in a process of theirs."""

import contextlib
import http.server
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from qiskit import QuantumCircuit
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import Batch, SamplerV2
from typer.testing import CliRunner

from queuebit.account import quiet_client
from queuebit.cli.main import app

COMMAND = (sys.executable, "-m", "queuebit")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder in which nobody has logged in, and an environment without settings."""
    for variable in list(os.environ):
        if variable.startswith(("QUEUEBIT_", "QISKIT_")) or variable.lower().endswith("_proxy"):
            monkeypatch.delenv(variable)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@dataclass
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def queuebit(home):
    """Runs a command in this process."""

    def run(*arguments):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Outcome(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def refused(queuebit):
    """Runs a command that must fail; what it says, which must be one line on stderr."""

    def run(*arguments, code=1):
        outcome = queuebit(*arguments)
        assert (outcome.code, outcome.out) == (code, "")
        assert outcome.err.startswith("queuebit: ")
        assert outcome.err.count("\n") == 1
        return outcome.err.removeprefix("queuebit: ").rstrip("\n")

    return run


@pytest.fixture
def logged_in(queuebit, queuebit_service):
    """Runs a command as a user who has logged in."""
    service = queuebit_service
    outcome = queuebit("login", "--url", service.url, "--data", service.data)
    assert outcome.code == 0
    return queuebit


@contextlib.contextmanager
def _started(*arguments):
    """A command in a session of its own, which is killed should it still be there."""
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        process.stderr.close()


def _left_over(session, within_s=5):
    """Command lines of the processes of `session`, once they had time to go."""
    deadline = time.monotonic() + within_s
    while True:
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == session and fields[0] != "Z":
                    found.append((folder / "cmdline").read_text().replace("\0", " "))
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


@pytest.fixture
def started(home):
    """Starts a command as a process."""
    return _started


@pytest.fixture
def left_over():
    """Tells what is left of a process that was `started`."""
    return _left_over


@pytest.fixture
def answers():
    """A server that answers what it is told, by path; (status, type, body)."""
    told = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, kind, body = told.get(self.path, (404, "text/html", "<h1>no</h1>"))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        do_POST = do_GET  # noqa: N815 - the library's name

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield told, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def job(queuebit_service):
    """A job that the real client ran to its end, in a closed batch."""
    backend = queuebit_service.connect().backend("fake_manila")
    circuit = QuantumCircuit(1)
    circuit.x(0)
    circuit.measure_all()
    manager = generate_preset_pass_manager(backend=backend, optimization_level=0)
    with quiet_client(), Batch(backend=backend) as batch:
        sampler = SamplerV2(mode=batch)
        sampler.options.environment.job_tags = ["mine"]
        done = sampler.run([manager.run(circuit)], shots=10)
    done.result()
    return done
