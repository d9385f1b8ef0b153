"""What a worker does not have, so that a hole in a decoder is not a hole in the service."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.engines.conftest import ScriptedPool, a_task

from queuebit.engines.isolation import environment

SECRETS = ("QUEUEBIT_DATABASE", "PGPASSWORD", "AWS_SECRET_ACCESS_KEY", "QISKIT_IBM_TOKEN")


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Something on this machine that a worker could connect to."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("OMP_TEST_PORT", str(server.getsockname()[1]))
        yield server


async def confinement(folder: Path, **settings: object) -> dict:
    pool = ScriptedPool(backends=(), payloads=folder, workers=1, **settings)
    await pool.start()
    try:
        return (await pool.run(a_task("j", "confinement"))).metrics
    finally:
        await pool.close()


def kernel_allows_namespaces() -> bool:
    """Asked of a process of its own: the answer cannot be taken back."""
    probe = (
        "import ctypes, os; newuser = 0 if os.geteuid() == 0 else 0x10000000;"
        "raise SystemExit(ctypes.CDLL(None).unshare(newuser | 0x40000000) != 0)"
    )
    return subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0


@pytest.mark.usefixtures("listener")
async def test_a_worker_has_no_secrets_no_privileges_to_gain_and_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in SECRETS:
        monkeypatch.setenv(name, "secret")

    found = await confinement(tmp_path)

    assert not set(found["variables"]) & set(SECRETS)
    assert {"PATH", "PYTHONPATH", "OPENBLAS_NUM_THREADS"} <= set(found["variables"])
    assert found["no_new_privs"] == "1"
    assert found["umask"] == "0077"
    assert found["reaches_network"] is (not kernel_allows_namespaces())


@pytest.mark.usefixtures("listener")
async def test_a_device_from_outside_has_the_network_and_the_variables_that_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("VENDOR_TOKEN", *SECRETS):
        monkeypatch.setenv(name, "secret")

    found = await confinement(tmp_path, network=True, variables=("VENDOR_TOKEN",))

    assert "VENDOR_TOKEN" in found["variables"]
    assert not set(found["variables"]) & set(SECRETS)
    assert found["reaches_network"] is True
    assert found["no_new_privs"] == "1"


def test_only_known_variables_are_inherited():
    full = {"PATH": "/bin", "LC_ALL": "C", "XPATH": "x", "PATH_SECRET": "x", "OMP_NUM_THREADS": "2"}

    assert set(environment(full)) == {"PATH", "LC_ALL", "OMP_NUM_THREADS"}
    assert set(environment(full, ["XPATH"])) == {"PATH", "LC_ALL", "OMP_NUM_THREADS", "XPATH"}
    assert "PATH" in environment(os.environ)
