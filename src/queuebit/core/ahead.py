"""What gets a lane or the QPU before a job, as things stand; looking changes nothing."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from heapq import nsmallest
from itertools import takewhile
from typing import Any

from queuebit.core import policy
from queuebit.core.model import Job, JobStatus, Stage, WorkloadState
from queuebit.core.queues import BackendQueues
from queuebit.core.scheduler import Scheduler

NAMED_MAX = 5  # ids of jobs ahead that are told


@dataclass(frozen=True, slots=True, kw_only=True)
class Ahead:
    """Jobs that go first: how many, and the ids of those of the same instance alone."""

    session: int = 0  # queued, of the session that is active or next in line
    batches: int = 0  # queued, of active batches
    queue: int = 0  # in the normal queue, with what jumps it once they have started
    ready: int = 0  # ready for the QPU before a job that is ready too
    fairer: int = 0  # of those in the queue, of instances with a smaller share used
    named: tuple[str, ...] = ()  # the first few of the same instance

    @property
    def total(self) -> int:
        """All that go first."""
        return self.session + self.batches + self.queue + self.ready


@dataclass(slots=True)
class _Tally:
    """Counts jobs, line after line, and remembers those of one instance with their places."""

    jobs: dict[str, Job]
    instance: str
    own: list[tuple[int, Any, str]] = field(default_factory=list)
    lines: int = 0

    def count(self, line: Iterable[tuple[Any, str]]) -> int:
        """How many jobs are in a line, given with their places in it."""
        self.lines += 1
        total = 0
        for place, job_id in line:
            total += 1
            if self.jobs[job_id].instance == self.instance:
                self.own.append((self.lines, place, job_id))
        return total

    def named(self) -> tuple[str, ...]:
        """The first few of the instance, in the order in which they go."""
        return tuple(job_id for *_, job_id in nsmallest(NAMED_MAX, self.own))


def ahead_of_ready(scheduler: Scheduler, job: Job) -> Ahead:
    """Who gets the QPU before a job that is ready for it."""
    index = scheduler.index
    mine = policy.qpu_order(job, index.workload_of(job))
    tally = _Tally(index.jobs, job.instance)
    ready = tally.count(
        (place, id_)
        for place, id_ in index.backends[job.backend].ready
        if place < mine and id_ in index.jobs and index.jobs[id_].stage is Stage.READY
    )
    return Ahead(ready=ready, named=tally.named())


def ahead_of_queued(scheduler: Scheduler, job: Job) -> Ahead:
    """Who gets a lane before a queued job, with the shares and states of now.

    The lines in the order in which they empty: the active session, what active batches had queued
    before a session was next in line, that session, what came to active batches since, the rest.
    """
    index = scheduler.index
    queues = index.backends[job.backend]
    workload = index.workload_of(job)
    own_id = None if workload is None else workload.id
    tally = _Tally(index.jobs, job.instance)
    session = batches = 0
    if queues.session is not None:
        session += tally.count(_line_of(scheduler, queues.session, job))
        if own_id == queues.session:
            return Ahead(session=session, named=tally.named())
    mine = None
    if workload is not None and workload.state is WorkloadState.ACTIVE:
        mine = policy.priority_order(workload, job)
    is_held = mine is not None and job.id in queues.held
    batches += tally.count(
        (place, id_)
        for place, id_ in queues.priority
        if _is_queued(index.jobs, id_) and (mine is None or is_held or place < mine)
    )
    if mine is not None and not is_held:
        return Ahead(session=session, batches=batches, named=tally.named())
    if queues.drain is not None:
        session += tally.count(_line_of(scheduler, queues.drain, job))
        if own_id == queues.drain:
            return Ahead(session=session, batches=batches, named=tally.named())
    batches += tally.count(
        (place, id_) for place, id_ in _held(scheduler, queues) if mine is None or place < mine
    )
    if is_held:
        return Ahead(session=session, batches=batches, named=tally.named())
    queue, fairer = _count_normal(scheduler, job, tally)
    return Ahead(session=session, batches=batches, queue=queue, fairer=fairer, named=tally.named())


def _count_normal(scheduler: Scheduler, job: Job, tally: _Tally) -> tuple[int, int]:
    """How many in the normal queue go first, and how many of them for the fair share's sake."""
    index, ledger = scheduler.index, scheduler.ledger
    queues = index.backends[job.backend]
    anchor = job  # who stands in the queue for it
    if job.workload_id is not None:
        oldest = index.oldest_queued(job.workload_id)
        assert oldest is not None
        anchor = oldest
    mine = (ledger.is_limited(job.instance), ledger.share(job.instance))
    queue = fairer = 0
    for instance in queues.normal:
        place = (ledger.is_limited(instance), ledger.share(instance))
        if place > mine or (place[0] and instance != job.instance):
            continue
        first = tally.count(
            entry
            for standing in _standing(scheduler, queues, instance)
            if place < mine or policy.queue_order(standing) < policy.queue_order(anchor)
            for entry in _with_followers(scheduler, standing)
        )
        queue += first
        fairer += first if place < mine else 0
    if anchor is not job:
        assert job.workload_id is not None
        queue += tally.count(_line_of(scheduler, job.workload_id, job))
    return queue, fairer


def _standing(scheduler: Scheduler, queues: BackendQueues, instance: str) -> Iterator[Job]:
    """The jobs of an instance in the normal queue, but for the session's that is next in line."""
    workloads = scheduler.workloads
    for _, job_id in queues.normal[instance]:
        job = scheduler.jobs.get(job_id)
        if job is None or job.status is not JobStatus.QUEUED:
            continue
        id_ = job.workload_id
        if id_ is None or (
            id_ != queues.drain and workloads[id_].state is not WorkloadState.ACTIVE
        ):
            yield job


def _with_followers(scheduler: Scheduler, job: Job) -> Iterator[tuple[tuple[int, int], str]]:
    """A job of the normal queue with those of its workload, which follow at once when it starts."""
    if job.workload_id is None:
        yield (job.seq, job.seq), job.id
        return
    for id_ in scheduler.index.queued[job.workload_id]:
        yield (job.seq, scheduler.jobs[id_].seq), id_


def _line_of(scheduler: Scheduler, workload_id: str, job: Job) -> Iterator[tuple[int, str]]:
    """The queued jobs of a workload, oldest first; up to `job` if it is one of them."""
    return enumerate(takewhile(lambda id_: id_ != job.id, scheduler.index.queued[workload_id]))


def _held(scheduler: Scheduler, queues: BackendQueues) -> Iterator[tuple[Any, str]]:
    """What came to active batches after a session was next in line, by its place after that."""
    for job_id in queues.held:
        if _is_queued(scheduler.jobs, job_id):
            job = scheduler.jobs[job_id]
            batch = scheduler.index.workload_of(job)
            assert batch is not None
            yield policy.priority_order(batch, job), job_id


def _is_queued(jobs: dict[str, Job], job_id: str) -> bool:
    job = jobs.get(job_id)
    return job is not None and job.status is JobStatus.QUEUED
