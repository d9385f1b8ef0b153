import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.durability.postgres import PROGRAMS, Postgres
from tests.durability.server import Server

NEEDS_POSTGRES = pytest.mark.skipif(PROGRAMS is None, reason="PostgreSQL is not installed")
IS_LONG = os.environ.get("QUEUEBIT_LONG") == "1"
"""Whether the long form is wanted, and not the one that fits into CI."""


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    yield server
    server.close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Makes services, and ends them."""
    made: list[Server] = []

    def make(**settings: Any) -> Server:
        made.append(Server(tmp_path / f"service{len(made)}", **settings))
        return made[-1]

    yield make
    for server in made:
        server.stop()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=NEEDS_POSTGRES)])
def server(request: pytest.FixtureRequest, serve: Callable[..., Server]) -> Server:
    """A service on each kind of database, not started yet."""
    url = "" if request.param == "sqlite" else request.getfixturevalue("postgres").url
    return serve(database=url)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "none", str(place)]
    if os.getuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root may make a small file system")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)
