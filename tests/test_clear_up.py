"""What a service clears up when it starts."""

from dataclasses import replace
from pathlib import Path

from tests.fakes import MemoryStore

from queuebit.core.model import Job, JobStatus
from queuebit.runner import clear_up
from queuebit.store.details import JobDetails
from queuebit.store.payloads import Payloads


def kept(folder: Path, job_id: str) -> set[str]:
    return {path.name for path in (folder / job_id).iterdir()}


async def test_what_a_crash_kept_from_being_cleared_is_cleared_at_the_next_start(tmp_path: Path):
    """Only the result of the run that counts is kept, and of a private job no input."""
    store, payloads = MemoryStore(), Payloads(tmp_path)
    names = ["params", "prepared.1", "raw.2", "result.1", "result.2", "log"]
    for job_id, status, private in (
        ("done", JobStatus.COMPLETED, False),
        ("secret", JobStatus.COMPLETED, True),
        ("stopped", JobStatus.CANCELLED, False),
        ("going", JobStatus.RUNNING, True),
    ):
        ended_at = None if status is JobStatus.RUNNING else 5
        job = Job(id=job_id, seq=1, instance="i", backend="q", created_at=0, run=2, status=status)
        details = JobDetails(id=job_id, user="u", program_id="sampler", private=private)
        await store.save([replace(job, ended_at=ended_at)], [details])
        for name in names:
            payloads.write(job_id, name, b"x", durable=False)

    await clear_up(store, payloads, last_at=5)

    assert kept(tmp_path, "done") == {"params", "result.2", "log"}
    assert kept(tmp_path, "secret") == {"result.2", "log"}
    assert kept(tmp_path, "stopped") == {"params", "log"}
    assert kept(tmp_path, "going") == set(names)
