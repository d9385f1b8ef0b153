"""Every release of the client that there is here, each in its own virtual environment."""

import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.client.conftest import NEWEST, OLDEST, ROOT, Running, serve

SETTINGS = """
[[plans]]
name = "premium"
[[plans]]
name = "quick"
interactive_ttl_s = 2
[[plans]]
name = "open"
pricing = "free"
sessions = false
max_ttl_s = 600
limit_s = 600
[[instances]]
name = "quick"
plan = "quick"
tags = ["team-a"]
[[instances]]
name = "local"
tags = ["physics", "team-a"]
[[instances]]
name = "spare"
plan = "open"
tags = ["physics"]
"""
VERSION = "from importlib.metadata import version; print(version('qiskit-ibm-runtime'))"
BY_ACCOUNT = (0, 47)
"""Older releases ignore a saved account's proxies; they are led by their environment."""


@dataclass(frozen=True)
class Client:
    """A release of the client, connected to a service."""

    release: tuple[int, int]
    run: Callable[..., str]
    """Runs a script, and returns what it prints."""


def pythons(asked: str) -> dict[str, Path]:
    """The environments asked for, by name; all: from the oldest to the newest."""
    between = sorted(path.name.rpartition("-")[2] for path in ROOT.glob(".venv-client-*"))
    all_names = ["oldest", *between, "newest"]
    names = {"both": ["oldest", "newest"], "all": all_names}.get(asked, asked.split(","))
    ends = {"oldest": OLDEST, "newest": NEWEST}
    return {
        name: ends.get(name, ROOT / f".venv-client-{name}" / "bin" / "python") for name in names
    }


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "python" in metafunc.fixturenames:
        found = pythons(metafunc.config.getoption("clients"))
        metafunc.parametrize("python", found.values(), ids=found, scope="module")


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory):
    with serve(tmp_path_factory.mktemp("service"), settings=SETTINGS) as running:
        yield running


@pytest.fixture(scope="module")
def client(python: Path, live: Running) -> Client:
    release = release_of(python)
    environment = connection(live, release)
    return Client(release, lambda *words: live.run(python, "-W", "ignore", *words, **environment))


def release_of(python: Path) -> tuple[int, int]:
    """The release of the client in an environment."""
    assert python.exists(), "`make setup` installs the oldest client, `make test-clients` others"
    told = subprocess.run([python, "-c", VERSION], check=True, capture_output=True, text=True)
    major, minor = told.stdout.split(".")[:2]
    return int(major), int(minor)


def connection(live: Running, release: tuple[int, int]) -> dict[str, str]:
    """Lead a client to the service: by the account that is saved, or by this environment."""
    where = ["--url", live.url, "--data", str(live.data), "--instance", "quick"]
    if release >= BY_ACCOUNT:
        live.queuebit("login", *where)
        return {}
    return exports(live.queuebit("login", "--env", *where))


def exports(text: str) -> dict[str, str]:
    """The environment that `queuebit login --env` prints."""
    return dict(re.findall(r"^export (\w+)=(\S+)$", text, re.MULTILINE))
