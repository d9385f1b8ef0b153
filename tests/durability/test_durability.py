"""What was accepted is completed once, whatever is killed, full, used up or away meanwhile.

QUEUEBIT_LONG=1 asks for the long form: 30 kills, 5 restarts, 20 s without the database.
"""

import contextlib
import random
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.durability.conftest import IS_LONG, NEEDS_POSTGRES
from tests.durability.postgres import Postgres
from tests.durability.server import JOB, Caller, Load, Server

Serve = Callable[..., Server]

KILLS = 30 if IS_LONG else 2
RESTARTS = 5 if IS_LONG else 2
AWAY_S = 20 if IS_LONG else 4

pytestmark = pytest.mark.timeout(900 if IS_LONG else 300)


def test_a_service_that_is_killed_goes_on(server: Server):
    server.start()
    load = Load(server)
    with load.running():
        for _ in range(KILLS):
            load.wait_for(5)
            server.kill()
            server.start()
        load.wait_for(3)
    load.check()


def test_a_stage_whose_worker_is_killed_runs_again(server: Server):
    rng = random.Random(1)
    server.start()
    load = Load(server)
    with load.running():
        for _ in range(KILLS):
            load.wait_for(4)
            server.kill_worker(rng)
        load.wait_for(3)
    load.check()


@NEEDS_POSTGRES
def test_a_database_that_restarts_under_load_ends_nothing(postgres: Postgres, serve: Serve):
    server = serve(database=postgres.url)
    server.start()
    load = Load(server)
    with load.running():
        for number in range(RESTARTS):
            load.wait_for(4)
            (postgres.crash if number % 2 else postgres.stop)()
            postgres.start()
        load.wait_for(4)
        postgres.stop()
        time.sleep(AWAY_S)
        assert server.is_alive
        postgres.start()
        load.wait_for(4)
    assert server.is_alive
    load.check()


@NEEDS_POSTGRES
def test_a_start_waits_for_its_database(postgres: Postgres, serve: Serve):
    server = serve(database=postgres.url)
    server.start()
    server.stop()
    postgres.stop()
    starting = threading.Thread(target=server.start)
    starting.start()
    while b"failed and is tried again" not in server.log.read_bytes():
        time.sleep(0.05)
    postgres.start()
    starting.join()

    assert server.is_alive
    Caller(server).close()


def test_a_full_disk_fails_no_job_and_ends_no_service(small_disk: Path, serve: Serve):
    server = serve(data=small_disk / "data")
    server.start()
    load = Load(server)
    with load.running():
        load.wait_for(5)
        fill(small_disk / "hog")
        with contextlib.closing(Caller(server)) as caller:
            assert refusal(caller, load) == 507
            assert caller.ask("GET", "/api/v1/jobs?limit=1").json()["count"] >= 5
            server.kill()
            server.start()  # on a full disk
            assert refusal(caller, load) == 507
        (small_disk / "hog").unlink()
        load.wait_for(4)
    assert server.is_alive
    load.check()


def fill(file: Path) -> None:
    """Take all the room that there is."""
    with file.open("wb", buffering=0) as hog, contextlib.suppress(OSError):
        size = 1 << 20
        while size:
            try:
                while hog.write(bytes(size)):
                    pass
            except OSError:
                size //= 16


def refusal(caller: Caller, load: Load) -> int:
    """The status with which a job is refused, once what is left is used up."""
    while (answer := caller.once("POST", "/api/v1/jobs", json=JOB)).is_success:
        load.accepted[f"beside it {len(load.accepted)}"] = answer.json()["id"]
    return answer.status_code


def test_a_lack_of_descriptors_fails_no_job_and_ends_no_service(serve: Serve):
    server = serve()
    server.files_max = 300
    server.start()
    load = Load(server)
    idle: list[socket.socket] = []
    with load.running():
        load.wait_for(3)
        for _ in range(600):
            with contextlib.suppress(OSError):
                idle.append(socket.create_connection(("127.0.0.1", server.port), timeout=2))
        load.wait_for(3)
        assert server.is_alive
        assert server.files <= server.files_max
        for one in idle:
            one.close()
        load.wait_for(3)
    load.check()
