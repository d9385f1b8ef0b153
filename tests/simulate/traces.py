"""Traces, short to write, and what came of them, short to compare."""

import json
from pathlib import Path

from queuebit.core.model import JobStatus

EXAMPLES = Path(__file__).parents[2] / "examples" / "simulate"


def lines(*entries):
    """Entries given as dicts, as the lines of a trace."""
    return [json.dumps(entry) for entry in entries]


def submit(job_id, *, at=None, after=None, delay_s=None, **more):
    """A job that is 1 s in each stage, unless said otherwise."""
    when = {"at": at, "after": after, "delay_s": delay_s}
    work = {"prepare_s": 1, "quantum_s": 1, "finish_s": 1}
    given = {name: value for name, value in when.items() if value is not None}
    return {**(given or {"at": 0}), "submit": {"job": job_id, **work, **more}}


def opened(workload_id, mode="batch", *, at=0, **more):
    return {"at": at, "open": {"workload": workload_id, "mode": mode, **more}}


def head(**more):
    return {"trace": {"version": 1, **more}}


def starts(history):
    """Jobs with the seconds at which they started, in that order."""
    started = [job for job in history.jobs.values() if job.started_at is not None]
    started.sort(key=lambda job: (job.started_at, job.seq))
    return [(job.id, job.started_at / 1_000) for job in started]


def all_completed(history):
    return all(job.status is JobStatus.COMPLETED for job in history.jobs.values())
