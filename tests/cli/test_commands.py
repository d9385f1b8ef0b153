"""Commands that show and change what a service holds, after a job of the real client."""

import json
import time

import pytest
from qiskit_ibm_runtime import Batch


@pytest.fixture
def batch(queuebit_service):
    """An open batch without jobs."""
    batch = Batch(backend=queuebit_service.connect().backend("fake_manila"))
    yield batch
    batch.cancel()


def rows(text):
    return [line.split() for line in text.splitlines()]


def test_backends(logged_in):
    assert rows(logged_in("backends").out) == [
        ["Name", "Qubits", "Status", "Running", "Queued", "Calibration", "Reason"],
        ["fake_torino", "133", "online", "0", "of", "5", "0"],
        ["fake_fez", "156", "online", "0", "of", "5", "0"],
        ["fake_manila", "5", "online", "0", "of", "5", "0"],
    ]


def test_backends_as_json(logged_in):
    backends = json.loads(logged_in("backends", "--json").out)["backends"]

    assert [backend["name"] for backend in backends] == ["fake_torino", "fake_fez", "fake_manila"]
    assert [backend["lanes"] for backend in backends] == [5, 5, 5]


@pytest.fixture
def fez(logged_in):
    """The row of `fake_fez`, which starts jobs again after the test."""

    def row():
        (found,) = [row for row in rows(logged_in("backends").out) if row[0] == "fake_fez"]
        return found[2:]

    yield row
    logged_in("resume", "fake_fez")


def test_a_backend_is_paused_and_resumed(logged_in, fez):
    paused = logged_in("pause", "fake_fez", "--reason", "warm today")
    while_paused = fez()
    resumed = logged_in("resume", "fake_fez")

    assert paused.out == "Paused fake_fez; jobs that run, and an active session, run on.\n"
    assert while_paused == ["paused", "0", "of", "5", "0", "warm", "today"]
    assert resumed.out == "Resumed fake_fez.\n"
    assert fez() == ["online", "0", "of", "5", "0"]


def test_a_backend_in_maintenance(logged_in, fez):
    outcome = logged_in("maintenance", "fake_fez")

    assert outcome.out == (
        "fake_fez is in maintenance; jobs that run, and an active session, run on.\n"
    )
    assert fez() == ["offline", "0", "of", "5", "0", "maintenance"]


@pytest.mark.parametrize("command", ["pause", "maintenance", "resume"])
def test_a_backend_that_there_is_not(logged_in, refused, command):
    assert refused(command, "fake_osaka") == (
        "device not found: fake_osaka. Use one of fake_torino, fake_fez, fake_manila."
    )


def test_a_reason_of_two_lines(logged_in, refused, fez):
    assert "reason" in refused("pause", "fake_fez", "--reason", "two\nlines")
    assert fez()[0] == "online"


def test_jobs(logged_in, job):
    found = [row for row in rows(logged_in("jobs").out) if row[0] == job.job_id()]

    assert [row[:5] + row[7:] for row in found] == [
        [job.job_id(), "Completed", "sampler", "fake_manila", job.session_id, "mine"]
    ]


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (["--final"], True),
        (["--pending"], False),
        (["--backend", "fake_manila"], True),
        (["--backend", "fake_fez"], False),
        (["--tag", "mine"], True),
        (["--tag", "mine", "--tag", "yours"], False),
        (["--workload", "none"], False),
    ],
)
def test_jobs_are_filtered(logged_in, job, options, shown):
    assert (job.job_id() in logged_in("jobs", *options).out) is shown


def test_jobs_left_out_are_told(logged_in, job, queuebit_service):
    runtime = queuebit_service.connect()
    count = len(runtime.jobs(limit=None))

    outcome = logged_in("jobs", "--limit", 1)

    assert len(rows(outcome.out)) == 2
    assert outcome.err == (f"and {count - 1} more: --limit\n" if count > 1 else "")


def test_no_jobs(logged_in):
    assert logged_in("jobs", "--backend", "none").out == "No jobs.\n"


def test_a_job(logged_in, job):
    told = dict(line.split(maxsplit=1) for line in logged_in("job", job.job_id()).out.splitlines())

    assert told["ID"].strip() == job.job_id()
    assert told["Status"].strip() == "Completed"
    assert [stage.split()[0] for stage in told["Stages"].split(", ")] == [
        "queued",
        "prepare",
        "wait",
        "quantum",
        "finish",
    ]
    assert f"{float(told['QPU'].split()[1]):.1f}" == f"{job.usage():.1f}"


def test_a_job_as_json(logged_in, job):
    told = json.loads(logged_in("job", job.job_id(), "--json").out)

    assert told["job"]["id"] == job.job_id()
    assert told["metrics"] == job.metrics()


def test_a_job_that_ended_cannot_be_cancelled(logged_in, refused, job):
    assert refused("cancel", job.job_id()).startswith("Job is in non cancellable status")


def test_an_unknown_id(logged_in, refused):
    assert refused("cancel", "none") == "there is no job or workload none"
    assert refused("close", "none") == "there is no batch or session none"
    assert "../backends" in refused("job", "../backends")  # an id, never a path


def test_a_batch_is_closed(logged_in, batch):
    outcome = logged_in("close", batch.session_id)

    assert outcome.out == f"Closed workload {batch.session_id}; jobs that it has run on.\n"
    assert batch.status() == "Closed"


def test_a_batch_is_cancelled(logged_in, batch):
    assert logged_in("cancel", batch.session_id).out == f"Cancelled workload {batch.session_id}.\n"
    assert batch.status() == "Closed"


@pytest.fixture
def answered(queuebit, answers):
    """Runs a command on a server that answers `body` at `path`."""
    told, url = answers

    def run(path, body, *arguments):
        for where, what in {
            "/v3/resources/search": {"items": [{"name": "local", "crn": "crn:1"}]},
            path: body,
        }.items():
            told[where] = (200, "application/json", json.dumps(what))
        return queuebit(*arguments, "--url", url, "--token", "x")

    return run


@pytest.fixture
def utc():
    """Has the C library, which prints local times, live in UTC."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


LATER = [{"kind": "daily", "at": "2026-01-01T00:00:00Z"}]


@pytest.mark.parametrize(
    ("calibration", "shown"),
    [
        ({"running": "hourly", "due": ["daily"], "scheduled": []}, "hourly runs"),
        ({"running": None, "due": ["hourly"], "scheduled": LATER}, "hourly is due"),
        ({"running": None, "due": [], "scheduled": LATER}, "daily 2026-01-01 00:00:00"),
        ({"running": None, "due": [], "scheduled": []}, ""),
    ],
)
def test_the_calibration_of_a_backend(answered, utc, calibration, shown):
    backend = {
        "name": "fake_fez",
        "qubits": 156,
        "status": "online",
        "reason": "available",
        "lanes": 5,
        "running": 1,
        "queued": 2,
        "calibration": calibration,
    }

    outcome = answered("/api/v1/queuebit/backends", {"backends": [backend]}, "backends")

    row = ["fake_fez", "156", "online", "1", "of", "5", "2"]
    assert rows(outcome.out)[1] == [*row, *shown.split()]


WORKLOADS = {
    "workloads": [
        {
            "id": "job-1",
            "mode": "job",
            "status": "in_progress",
            "accepting_jobs": None,
            "backend": "fake_fez",
            "created": "2026-01-01T00:00:00Z",
        },
        {
            "id": "batch-1",
            "mode": "batch",
            "status": "completed",
            "accepting_jobs": False,
            "backend": "fake_fez",
            "created": "2026-01-01T00:00:00Z",
            "ended": "2026-01-01T00:00:09Z",
            "usage": {"qpu_charge_time_seconds": 2.5},
        },
    ],
    "total_count": 2,
    "limit": 20,
}


@pytest.fixture
def workloads(answered):
    """`queuebit workloads` of a server that answers as IBM's API does (docs/endpoints.md)."""
    path = "/api/v1/workloads?limit=20&sort=-createdAt"
    return lambda *options: answered(path, WORKLOADS, "workloads", *options)


def test_workloads(workloads, utc):
    assert rows(workloads().out) == [
        ["ID", "Mode", "Status", "Accepts", "jobs", "Backend", "Created", "Ended", "QPU", "time"],
        ["job-1", "job", "in_progress", "fake_fez", "2026-01-01", "00:00:00"],
        [
            *("batch-1", "batch", "completed", "no", "fake_fez", "2026-01-01", "00:00:00"),
            *("2026-01-01", "00:00:09", "2.5", "s"),
        ],
    ]


def test_workloads_as_json(workloads):
    assert json.loads(workloads("--json").out) == WORKLOADS


def test_workloads_of_a_service(logged_in, job):
    told = json.loads(logged_in("workloads", "--limit", "50", "--json").out)
    (batch,) = [one for one in told["workloads"] if one["id"] == job.session_id]

    assert (batch["mode"], batch["status"], batch["accepting_jobs"]) == (
        "batch",
        "completed",
        False,
    )
    assert batch["usage"]["qpu_charge_time_seconds"] == job.usage()
    assert job.session_id in logged_in("workloads").out
    assert job.job_id() not in logged_in("workloads").out  # its batch stands for it
