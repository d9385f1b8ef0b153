"""However an answer to `POST /jobs` is lost: there is one job, it runs once and is charged once."""

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.acceptance.conftest import SETTINGS, connection, release_of
from tests.acceptance.lossy import Fault, Lossy
from tests.client.conftest import (
    ROOT,
    Running,
    clean_environment,
    free_port,
    wait_until_it_answers,
)

WALK = ROOT / "tests" / "acceptance" / "walk_losing.py"
# The service, killed when a job is saved and its client not told yet, if a file says so.
MORTAL = """
import os, signal
from pathlib import Path
from queuebit.api.repeats import Repeats
from queuebit.cli.main import app

answered = Repeats.answered

async def killed(self, *arguments):
    if Path(os.environ["KILLED_IF"]).exists():
        os.kill(os.getpid(), signal.SIGKILL)
    await answered(self, *arguments)

Repeats.answered = killed
app()
"""

pytestmark = pytest.mark.timeout(300)


class Service:
    """A service that can be killed and started again, with a proxy in front that loses answers."""

    def __init__(self, folder: Path) -> None:
        (folder / "queuebit.toml").write_text(SETTINGS)
        (folder / "home").mkdir()
        self.folder, self.port = folder, free_port()
        self.kill_at_the_answer = folder / "killed-if"
        self.start()
        self.proxy = Lossy(self.port, folder / "data" / "tunnel.pem")
        self.running = Running(self.proxy.url, folder / "data", folder / "home")

    def start(self) -> None:
        log = self.folder / "serve.log"
        command = [sys.executable, "-c", MORTAL, "serve", "--port", str(self.port)]
        command += ["--data", self.folder / "data", "--config", self.folder / "queuebit.toml"]
        environment = clean_environment() | {"KILLED_IF": str(self.kill_at_the_answer)}
        with log.open("ab") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
        wait_until_it_answers(f"http://127.0.0.1:{self.port}", self.process, log)

    def start_after_its_end(self) -> None:
        assert self.process.wait(timeout=60) == -signal.SIGKILL
        self.kill_at_the_answer.unlink()
        self.start()

    def stop(self) -> None:
        self.proxy.shutdown()
        self.proxy.server_close()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=20)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory):
    service = Service(tmp_path_factory.mktemp("service"))
    yield service
    service.stop()


@pytest.fixture(scope="module")
def submit(python: Path, service: Service):
    """Has the client submit a job, or once more after an error; what it tells of that."""
    release = release_of(python)
    environment = connection(service.running, release)
    with subprocess.Popen(
        [python, "-W", "ignore", WALK],
        env=clean_environment() | {"HOME": str(service.running.home)} | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as client:

        def ask(line: str = "") -> dict[str, object]:
            client.stdin.write(f"{line}-{release[1]}\n")  # clients share the service
            client.stdin.flush()
            return json.loads(client.stdout.readline())

        assert json.loads(client.stdout.readline()) == {"ready": True}
        yield ask
        client.stdin.close()


def assert_one_job(told):
    assert told["jobs"] == [told["id"]], told
    assert told["shots"] == 50
    assert told["usage"] >= 2
    assert told["charged"] == pytest.approx(told["usage"], abs=1), told  # told in whole seconds


def test_one_job_however_the_answer_is_lost(service, submit):
    posts = service.proxy.posts
    service.proxy.faults = [Fault.LOSES_THE_ANSWER] * 2
    assert_one_job(submit("answers"))
    assert service.proxy.posts == posts + 3  # the client's own repetitions

    for fault in (Fault.CUTS_BEFORE, Fault.CUTS_AFTER):
        service.proxy.faults = [fault]
        told = submit(fault.name)
        # In a tunnel, whose end was no proper one, the client sends it again. Else its user does.
        assert_one_job(submit() if "error" in told else told)


def test_one_job_though_the_service_is_killed_before_it_answers(service, submit):
    service.kill_at_the_answer.touch()
    starting = threading.Thread(target=service.start_after_its_end)
    starting.start()
    told = submit("killed")
    starting.join()
    assert not service.kill_at_the_answer.exists()  # it was killed, and is back

    assert_one_job(submit() if "error" in told else told)


def test_two_equal_jobs_are_two(service, submit):
    told = [submit("twice"), submit("twice")]

    assert told[0]["id"] != told[1]["id"]
    assert sorted(told[1]["jobs"]) == sorted(one["id"] for one in told)
