"""A service in a process of its own, and clients in processes of their own: nothing is shared."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]
NEWEST = Path(sys.executable)
OLDEST = ROOT / ".venv-oldest" / "bin" / "python"  # made by `make test`

CONFIG = """
[[plans]]
name = "premium"
[[plans]]
name = "quick"
interactive_ttl_s = 2
[[instances]]
name = "local"
[[instances]]
name = "quick"
plan = "quick"
"""


@dataclass
class Running:
    """A `queuebit serve`, and a home folder for those who use it."""

    url: str
    data: Path
    home: Path

    def queuebit(self, *arguments: str) -> str:
        """What a `queuebit` command prints; it must succeed."""
        return self.run(NEWEST, "-m", "queuebit", *arguments)

    def run(self, *command: object, **environment: str) -> str:
        """What a command prints, run as a user with this home; it must succeed."""
        done = subprocess.run(
            [str(word) for word in command],
            env={**clean_environment(), "HOME": str(self.home), **environment},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout


def clean_environment() -> dict[str, str]:
    """The environment without anything that leads a client or a service elsewhere."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("QISKIT_", "QUEUEBIT_"))
        and not name.upper().endswith(("_PROXY", "_CA_BUNDLE", "SSL_CERT_FILE"))
    }


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def serve(folder: Path, *arguments: str, settings: str = CONFIG):
    """A service with its data in `folder`."""
    port = free_port()
    config = folder / "queuebit.toml"
    config.write_text(settings)
    log = folder / "serve.log"
    command = [sys.executable, "-m", "queuebit", "serve", "--port", str(port)]
    command += ["--data", str(folder / "data"), "--config", str(config), *arguments]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=clean_environment())
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_it_answers(url, process, log)
        (folder / "home").mkdir()
        yield Running(url, folder / "data", folder / "home")
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) in {0, 130}, log.read_text()
    assert "Traceback" not in log.read_text()


def wait_until_it_answers(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/api/v1/versions").status_code == 200:
                return
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with serve(tmp_path_factory.mktemp("service")) as running:
        yield running
