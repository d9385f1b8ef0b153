"""Logs: their form, and what never stands in them."""

import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from tests.fakes_tenants import crn_of

from queuebit import logs
from queuebit.config import InstanceConfig
from queuebit.errors import ServiceFault

ROOT = Path(__file__).parents[2]
START_S = 60
SECRETS = {
    "key": "planted-api-key",
    "wrong key": "planted-wrong-key",
    "body": "planted_in_body",
    "query": "planted_in_query",
    "path": "planted_in_path",
    "header": "planted_in_header",
    "tag": "planted_tag",
    "register": "planted_register",
}
CONFIG = """
host = "127.0.0.1"
port = 0
workers = 2
log_format = "json"
log_level = "debug"
[[backends]]
name = "careless"
device = "outside"
options = {{ does = "quote" }}
[[backends]]
name = "careful"
device = "outside"
[[instances]]
name = "lab"
[[users]]
name = "alice"
key_sha256 = "{digest}"
instances = ["lab"]
"""


@pytest.fixture
def served(tmp_path):
    """A service on devices from outside, one of which raises, warns and logs what it is given."""
    digest = hashlib.sha256(SECRETS["key"].encode()).hexdigest()
    (tmp_path / "queuebit.toml").write_text(CONFIG.format(digest=digest))
    command = [sys.executable, "-m", "queuebit", "serve", "--config", "queuebit.toml"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("QUEUEBIT_")}
    environment["PYTHONPATH"] = str(ROOT / "tests" / "outside")
    with (tmp_path / "stderr").open("w") as stderr:
        process = subprocess.Popen(
            [*command, "--data", "data"],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
        try:
            first = process.stdout.readline()
            assert first.startswith("Queuebit is at"), (tmp_path / "stderr").read_text()
            yield first.split()[-1], tmp_path / "stderr", process
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


@pytest.mark.timeout(180)
def test_a_service_at_debug_tells_no_secret(served):
    url, stderr, process = served
    crn = crn_of(InstanceConfig(name="lab"))
    headers = {
        "Authorization": f"apikey {SECRETS['key']}",
        "Service-CRN": crn,
        "X-Planted": SECRETS["header"],
    }
    name = SECRETS["register"]
    circuit = f'OPENQASM 3.0; include "stdgates.inc"; bit[1] {name}; x $0; {name}[0] = measure $0;'
    job = {
        "program_id": "sampler",
        "backend": "careless",
        "params": {"version": 2, "pubs": [[circuit, None, 10]]},
        "private": True,
        "tags": [SECRETS["tag"]],
    }
    with httpx.Client(base_url=url, headers=headers, timeout=60) as http:
        form = {"grant_type": "urn:ibm:params:oauth:grant-type:apikey", "apikey": SECRETS["key"]}
        token = http.post("/identity/token", data=form).json()["access_token"]
        form["apikey"] = SECRETS["wrong key"]
        assert http.post("/identity/token", data=form).status_code == 400
        wrong = {"Authorization": f"apikey {SECRETS['wrong key']}"}
        assert http.get("/api/v1/jobs", headers=wrong).status_code == 401
        http.get(f"/api/v1/jobs/{SECRETS['path']}")
        http.get(f"/{SECRETS['path']}/{SECRETS['path']}")
        http.get("/api/v1/jobs", params={"tags": SECRETS["query"], SECRETS["query"]: "1"})
        told = 0
        for broken in (
            job | {SECRETS["body"]: 1},
            job | {"program_id": SECRETS["body"]},
            job | {"params": job["params"] | {"options": {SECRETS["body"]: SECRETS["body"]}}},
            job | {"params": {"version": 2, "pubs": [[f"{circuit} {SECRETS['body']};"]]}},
        ):
            answer = http.post("/api/v1/jobs", json=broken)
            assert answer.status_code in (400, 404)
            told += SECRETS["body"] in answer.text
        assert told == 3  # the user is told, and nobody else
        bearer = {"Authorization": f"Bearer {token}"}
        ends = {}
        for backend in ("careless", "careful"):
            answer = http.post("/api/v1/jobs", json=job | {"backend": backend}, headers=bearer)
            job_id = answer.json()["id"]
            ends[backend] = until_final(http, job_id), job_id, answer.headers["uber-trace-id"]
        assert http.get(f"/api/v1/jobs/{ends['careful'][1]}/results").status_code == 200
    process.send_signal(signal.SIGTERM)
    process.wait(30)

    told = stderr.read_text()
    lines = [json.loads(line) for line in told.splitlines()]  # every one is an object
    assert [name for name, planted in SECRETS.items() if planted in told] == []
    assert token not in told
    assert [end for end, *_ in ends.values()] == ["Failed", "Completed"]
    (_, job_id, request), _ = ends.values()
    of_job = [line for line in lines if line.get("job") == job_id and "stage" in line]
    assert {line["stage"] for line in of_job} == {"validate", "prepare", "quantum"}
    (failed,) = [line for line in of_job if line["message"] == "task failed"]  # its worker's
    assert failed["error"].startswith("ValueError at ")
    assert "outside_device.py" in failed["error"]
    assert (failed["backend"], failed["stage"]) == ("careless", "quantum")
    assert failed["pid"] != of_job[0]["pid"]
    (posted,) = [
        line for line in lines if line.get("request") == request and line["message"] == "request"
    ]
    assert posted["user"] == "alice"
    assert posted["instance"] == "lab"
    assert (posted["method"], posted["route"], posted["status"]) == ("POST", "/jobs", "200")
    # What the careless device logged is there, but for what it was about.
    careless = [line["message"] for line in lines if line["logger"] == "careless"]
    assert careless == ["it was given %s"]
    assert any(line.get("category") == "UserWarning" for line in lines)


def until_final(http: httpx.Client, job_id: str) -> str:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        status: str = http.get(f"/api/v1/jobs/{job_id}").json()["status"]
        if status not in ("Queued", "Running"):
            return status
        time.sleep(0.1)
    raise AssertionError("it did not end")


def record(message: str, name: str = "queuebit.x", **more: object) -> logging.LogRecord:
    return logging.makeLogRecord(
        {"name": name, "msg": message, "created": 1.5, "levelname": "INFO", **more}
    )


def test_a_line_of_text_is_one_line_whatever_stands_in_it():
    line = logs.TextForm().format(record("two\nlines", user='a b"c\nd', ms=1.5, code=None))

    assert line == ('1970-01-01T00:00:01.500Z INFO queuebit.x: two lines user="a b\\"c\\nd" ms=1.5')


def test_an_exception_is_told_by_types_and_places():
    try:
        try:
            int("planted")
        except ValueError as error:
            raise ServiceFault("the disk is full") from error
    except ServiceFault as error:
        told = logs.where(error)

    assert told.startswith("ServiceFault (the disk is full) at ")
    assert "; from ValueError at " in told
    assert "planted" not in told


def test_of_a_library_stands_what_its_code_says():
    library = record("Task failed: %s\nfuture: <planted>", "asyncio", args=("planted",))

    assert json.loads(logs.JsonForm().format(library))["message"] == "Task failed: %s"
