"""What a service clears up when it starts."""

from dataclasses import replace
from pathlib import Path

from tests.fakes import MemoryStore

from queuebit.core.model import Job, JobStatus
from queuebit.runner import clear_up
from queuebit.store.details import JobDetails
from queuebit.store.payloads import Payloads


def kept(folder: Path, job_id: str) -> set[str]:
    """What is stored of a job, with the work folder's names behind a dot."""
    places = {folder / job_id: "", folder / ".work" / job_id: "."}
    return {
        before + path.name
        for place, before in places.items()
        if place.exists()
        for path in place.iterdir()
    }


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
        details = JobDetails(id=job_id, program_id="sampler", private=private)
        await store.save([replace(job, ended_at=ended_at)], [details])
        for name in names:
            payloads.write(job_id, name, b"x", durable=False)

    payloads.write("unsaved", "params", b"x", durable=False)
    payloads.write("deleted", "params", b"x", durable=False)

    await clear_up(store, payloads)

    assert kept(tmp_path, "done") == {"params", "result.2", "log"}
    assert kept(tmp_path, "secret") == {"result.2", "log"}
    assert kept(tmp_path, "stopped") == {"params", "log"}
    assert kept(tmp_path, "going") == {"params", "result.1", "result.2", "log"}
    assert payloads.marked() == ["going"]
    assert kept(tmp_path, "unsaved") == kept(tmp_path, "deleted") == set()


async def test_a_start_looks_only_at_jobs_that_something_was_under_way_with(tmp_path: Path):
    """However many have ended: the next start reads none of their folders or records."""

    class Counted(MemoryStore):
        def __init__(self) -> None:
            super().__init__()
            self.asked: list[str] = []

        async def job(self, job_id: str):
            self.asked.append(job_id)
            return await super().job(job_id)

    store, payloads = Counted(), Payloads(tmp_path)
    for number in range(20):
        payloads.write(f"done{number}", "result.1", b"x", durable=False)
        payloads.settle(f"done{number}")
    payloads.write("going", "params", b"x", durable=False)

    await clear_up(store, payloads)

    assert store.asked == ["going"]
