"""`python saver.py URL` saves until it is killed, and tells each save that returned.

A save holds a new batch with three jobs, and the end of the three jobs before them.
"""

import asyncio
import os
import sys
from dataclasses import replace

from queuebit.core.model import Job, JobStatus, Mode, Record, Workload
from queuebit.store.database import Database
from queuebit.store.details import Details, JobDetails, WorkloadDetails

JOBS = 3  # in each save


def made(seq: int) -> tuple[Workload, list[Job]]:
    """The batch and the jobs of the save that begins with `seq`."""
    instance, backend = "lab", "fake_torino"
    batch = Workload(
        id=f"w{seq}",
        seq=seq,
        instance=instance,
        backend=backend,
        mode=Mode.BATCH,
        created_at=seq,
        max_ttl_ms=1,
        interactive_ttl_ms=1,
        active_ttl_ms=1,
        unused_ttl_ms=1,
    )
    jobs = [
        Job(
            id=f"j{seq + 1 + k}",
            seq=seq + 1 + k,
            instance=instance,
            backend=backend,
            workload_id=batch.id,
            created_at=seq,
        )
        for k in range(JOBS)
    ]
    return batch, jobs


def over(job: Job) -> Job:
    """The job when it has ended."""
    return replace(job, status=JobStatus.COMPLETED, usage_ms=job.seq, ended_at=job.seq)


def told(seq: int) -> list[Details]:
    """The details of what `made` gives."""
    batch, jobs = made(seq)
    details: list[Details] = [WorkloadDetails(id=batch.id, user="ada")]
    details += [JobDetails(id=job.id, program_id="sampler", tags=(job.id, "all")) for job in jobs]
    return details


async def save_for_ever(url: str) -> None:
    database = Database(url)
    await database.open()
    seq = (await database.load()).last_seq + 1
    before: list[Job] = []
    while True:
        batch, jobs = made(seq)
        records: list[Record] = [batch, *jobs, *(over(job) for job in before)]
        await database.save(records, told(seq))
        os.write(1, f"{seq}\n".encode())
        before, seq = jobs, seq + 1 + JOBS


if __name__ == "__main__":
    asyncio.run(save_for_ever(sys.argv[1]))
