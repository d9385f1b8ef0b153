"""`queuebit serve` as a process: what it says, how it ends, what it refuses."""

import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

from queuebit.errors import ConfigError
from queuebit.sources import load

START_S = 40
STOP_S = 20


def first_lines(process, count=5):
    """What it prints when it is up."""
    late = threading.Timer(START_S, process.kill)
    late.start()
    try:
        return [process.stdout.readline() for _ in range(count)]
    finally:
        late.cancel()


def test_it_says_where_it_is_and_how_to_log_in(home, started):
    data = home / "there"
    with started("serve", "--port", 0, "--data", data, "--workers", 2) as process:
        lines = first_lines(process)
        url = lines[0].split()[-1]

    assert lines == [
        f"Queuebit is at {url}\n",
        "backends    fake_torino, fake_fez, fake_manila\n",
        f"data        {data}\n",
        f"log in      queuebit login --url {url} --data {data}\n",
        "Ctrl-C stops it; jobs and results are kept.\n",
    ]


BELL = """
from qiskit_ibm_runtime import QiskitRuntimeService
from queuebit.cli import bell
print(bell.run(QiskitRuntimeService())[1] > 0.8)
"""


def test_the_whole_way_of_a_user(started, left_over):
    """Serve, log in, run an ordinary program, press Ctrl-C."""
    with started("serve", "--port", 0, "--workers", 2) as process:
        url = first_lines(process)[0].split()[-1]
        subprocess.run([sys.executable, "-m", "queuebit", "login", "--url", url], check=True)
        program = [sys.executable, "-W", "ignore", "-c", BELL]
        done = subprocess.run(program, capture_output=True, text=True, check=True)

        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the workers get it too
        out, err = process.communicate(timeout=STOP_S)

        assert done.stdout == "True\n"
        assert (process.returncode, out, err) == (0, "Stopped.\n", "")
        assert left_over(process.pid) == []


def test_a_supervisor_stops_it_and_nothing_is_left(started, left_over):
    with started("serve", "--port", 0, "--workers", 2) as process:
        first_lines(process)

        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=STOP_S)

        assert (process.returncode, out, err) == (0, "Stopped.\n", "")
        assert left_over(process.pid) == []


def test_a_second_one_on_the_same_folder_is_refused(refused, queuebit_service):
    data = queuebit_service.data

    told = refused("serve", "--port", 0, "--data", data)

    assert told.startswith(f"data {data}: is in use by another service, process ")


def test_a_port_in_use(refused):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        told = refused("serve", "--port", port)

    assert told.startswith(f"host 127.0.0.1, port {port}: Address already in use")


def test_a_host_that_is_not_this_machine(refused):
    told = refused("serve", "--host", "192.0.2.1", "--insecure")

    assert told.startswith("host 192.0.2.1, port 8888: Cannot assign requested address")


def test_other_machines_are_not_let_in_without_tls(refused):
    assert refused("serve", "--host", "0.0.0.0") == (
        "host '0.0.0.0' lets other machines in, and without TLS whoever is on the way reads keys "
        "and results: give tls_cert and tls_key, or have a reverse proxy with TLS on this machine "
        "and host 127.0.0.1, or trust the network with --insecure"
    )


def test_other_machines_are_not_let_in_with_the_key_of_the_first_start():
    tls = {"tls_cert": "cert.pem", "tls_key": "key.pem"}
    ada = {"name": "ada", "key_sha256": "0" * 64, "instances": ["local"], "admin": True}

    with pytest.raises(ConfigError, match="the one key of the first start administers everyth"):
        load(None, {}, host="0.0.0.0", **tls)
    assert load(None, {}, host="0.0.0.0", insecure=True, **tls).insecure
    assert load(None, {}, host="0.0.0.0", users=[ada], **tls).users


def test_who_lets_them_in_nevertheless_is_told_what_that_means(home, started):
    data = home / "there"
    words = ("--host", "0.0.0.0", "--insecure")
    with started("serve", "--port", 0, "--data", data, "--workers", 2, *words) as process:
        lines = first_lines(process, 6)

    assert lines[4:] == [
        "users       the key in the data folder administers: queuebit users add NAME\n",
        "insecure    no TLS: keys and results cross the network in the clear\n",
    ]


def test_tls_needs_a_certificate_and_its_key(refused, home):
    assert refused("serve", "--tls-cert", home / "cert.pem") == (
        "tls_cert and tls_key: one is of no use without the other"
    )
    assert refused("serve", "--tls-cert", home / "none", "--tls-key", home / "none") == (
        f"tls_cert {home}/none: No such file or directory"
    )


def test_a_backend_of_an_unknown_snapshot(refused, home):
    file = home / "queuebit.toml"
    file.write_text('[[backends]]\nname = "one"\nsnapshot = "atlantis"\n')

    told = refused("serve", "--port", 0, "--config", file)

    assert "atlantis" in told
    assert "torino" in told  # what there is


def test_a_wrong_setting(refused, home):
    file = home / "queuebit.toml"
    file.write_text("speed = 0\n")

    assert refused("serve", "--config", file) == (
        f"speed: input should be greater than 0, not 0 (file {file})"
    )


def test_a_proxy_that_is_no_address(refused, monkeypatch):
    monkeypatch.setenv("QUEUEBIT_TRUSTED_PROXIES", '["proxy.example.org"]')

    told = refused("serve", "--port", 0)

    assert told.startswith("trusted_proxies[0].'proxy.example.org' does not appear to be an IPv4")
    assert "or networks such as 10.1.0.0/16 (QUEUEBIT_TRUSTED_PROXIES)" in told


def test_a_data_folder_that_cannot_be_made(refused, home):
    (home / "taken").write_text("")

    assert refused("serve", "--port", 0, "--data", home / "taken" / "x").startswith(
        "the service cannot run: "
    )


@pytest.mark.parametrize(
    ("url", "named"),
    [("nonsense", "database"), ("mysql://x/y", "mysql"), ("sqlite:////dev/null/x", "/dev/null")],
)
def test_a_database_that_is_none(refused, url, named):
    assert named in refused("serve", "--port", 0, "--database", url)
