"""Every record that is not final, and the waiting lines made of them.

All of it but the records is derived and can be thrown away; `put` is its only writer.
"""

from collections import OrderedDict
from collections.abc import Iterable
from heapq import heappop, heappush

from queuebit.core import policy
from queuebit.core.model import (
    FINAL,
    Backend,
    Job,
    JobStatus,
    Mode,
    Record,
    Stage,
    Workload,
    WorkloadState,
)
from queuebit.core.queues import BackendQueues


class Index:
    """Looks up what the scheduler needs in O(log n)."""

    def __init__(self, backends: Iterable[Backend]) -> None:
        self.jobs: dict[str, Job] = {}
        self.workloads: dict[str, Workload] = {}
        self.queued: dict[str, OrderedDict[str, None]] = {}
        """Queued jobs of each workload, oldest first."""
        self.unfinished: dict[str, int] = {}
        """How many jobs of each workload are queued or running."""
        self.backends = {backend.name: BackendQueues(backend) for backend in backends}
        self.touched_workloads: dict[str, None] = {}
        """What changed since the last look, in order."""
        self.touched_backends: dict[str, None] = {}

    def put(self, record: Record) -> None:
        """Bring everything in line with a new or changed record."""
        # A backend taken out of the configuration keeps its jobs waiting: nothing accepted is lost.
        if record.backend not in self.backends:
            absent = Backend(name=record.backend, lanes=0, qpu_slots=0)
            self.backends[record.backend] = BackendQueues(absent)
        self.touched_backends[record.backend] = None
        if isinstance(record, Job):
            self._put_job(record)
        else:
            self._put_workload(record)

    def workload_of(self, job: Job) -> Workload | None:
        """The workload of `job`; None in job mode."""
        return None if job.workload_id is None else self.workloads[job.workload_id]

    def oldest_queued(self, workload_id: str) -> Job | None:
        """The queued job of the workload that came first."""
        for job_id in self.queued[workload_id]:
            return self.jobs[job_id]
        return None

    def first_normal(self, queues: BackendQueues) -> Job | None:
        """The job at the head of the normal queue."""
        while queues.normal:
            job = self.jobs.get(queues.normal[0][1])
            if job is not None and self._stands_in_normal(job):
                return job
            heappop(queues.normal)
        return None

    def first_priority(self, queues: BackendQueues) -> Job | None:
        """The next job of the active batches that may start now."""
        while queues.priority:
            job = self.jobs.get(queues.priority[0][1])
            if job is not None and job.status is JobStatus.QUEUED:
                return job
            heappop(queues.priority)
        return None

    def take_ready(self, queues: BackendQueues) -> Job | None:
        """Take the job that gets the QPU next out of its line."""
        while queues.ready:
            job = self.jobs.get(heappop(queues.ready)[1])
            if job is not None and job.stage is Stage.READY:
                return job
        return None

    def _put_job(self, job: Job) -> None:
        old = self.jobs.get(job.id)
        queues = self.backends[job.backend]
        is_final = job.status in FINAL
        if job.workload_id is not None:
            self.touched_workloads[job.workload_id] = None
            self.unfinished[job.workload_id] += (not is_final) - (old is not None)
        if is_final:
            self.jobs.pop(job.id, None)
        else:
            self.jobs[job.id] = job
        was_queued = old is not None and old.status is JobStatus.QUEUED
        if job.status is JobStatus.QUEUED and not was_queued:
            self._enqueue(job)
        elif was_queued and job.status is not JobStatus.QUEUED:
            self._dequeue(job)
        if job.status is JobStatus.RUNNING:
            queues.lanes.add(job.id)
        else:
            queues.lanes.discard(job.id)
        if job.stage is Stage.QUANTUM:
            queues.qpu.add(job.id)
        else:
            queues.qpu.discard(job.id)
        if job.stage is Stage.READY and (old is None or old.stage is not Stage.READY):
            heappush(queues.ready, (policy.qpu_order(job, self.workload_of(job)), job.id))

    def _put_workload(self, workload: Workload) -> None:
        old = self.workloads.get(workload.id)
        queues = self.backends[workload.backend]
        self.touched_workloads[workload.id] = None
        if old is None:
            self.queued.setdefault(workload.id, OrderedDict())
            self.unfinished.setdefault(workload.id, 0)
        if workload.state is WorkloadState.CLOSED:
            del self.workloads[workload.id], self.queued[workload.id], self.unfinished[workload.id]
        else:
            self.workloads[workload.id] = workload
        is_active = workload.state is WorkloadState.ACTIVE
        if workload.mode is Mode.SESSION:
            if is_active:
                queues.session = workload.id
            elif queues.session == workload.id:
                queues.session = None
            self._put_drain(workload, queues)
        elif is_active and old is not None and old.state is not WorkloadState.ACTIVE:
            for job_id in self.queued[workload.id]:
                self._prioritise(workload, self.jobs[job_id])

    def _put_drain(self, session: Workload, queues: BackendQueues) -> None:
        if session.drain_seq is not None:
            queues.drain = session.id
        elif queues.drain == session.id:
            queues.drain = None
            self._release_held(queues)

    def _enqueue(self, job: Job) -> None:
        """Put a queued job where it waits."""
        queues = self.backends[job.backend]
        if job.workload_id is None:
            heappush(queues.normal, (policy.queue_order(job), job.id))
            return
        workload = self.workloads[job.workload_id]
        line = self.queued[workload.id]
        line[job.id] = None
        if workload.state is not WorkloadState.ACTIVE:
            if len(line) == 1:
                heappush(queues.normal, (policy.queue_order(job), job.id))
        elif workload.mode is Mode.BATCH:
            self._prioritise(workload, job)

    def _dequeue(self, job: Job) -> None:
        """A queued job of a workload is queued no longer; the next one takes its place."""
        if job.workload_id is None:
            return
        line = self.queued[job.workload_id]
        was_oldest = next(iter(line)) == job.id
        del line[job.id]
        if was_oldest and self.workloads[job.workload_id].state is not WorkloadState.ACTIVE:
            self._stand_in_normal(job.workload_id)

    def _stand_in_normal(self, workload_id: str) -> None:
        """A workload that is not active stands in the normal queue with its oldest job."""
        oldest = self.oldest_queued(workload_id)
        if oldest is not None:
            queues = self.backends[oldest.backend]
            heappush(queues.normal, (policy.queue_order(oldest), oldest.id))

    def _prioritise(self, batch: Workload, job: Job) -> None:
        """Let a queued job of an active batch jump the queue, unless a drain holds it back."""
        queues = self.backends[job.backend]
        if queues.drain is not None:
            drain_seq = self.workloads[queues.drain].drain_seq
            assert drain_seq is not None
            if policy.is_held_by_drain(job, drain_seq):
                queues.held.append(job.id)
                return
        heappush(queues.priority, (policy.priority_order(batch, job), job.id))

    def _release_held(self, queues: BackendQueues) -> None:
        """The drain is over: what it held back jumps the queue again."""
        held, queues.held = queues.held, []
        for job_id in held:
            job = self.jobs.get(job_id)
            if job is None or job.status is not JobStatus.QUEUED:
                continue
            batch = self.workload_of(job)
            assert batch is not None
            assert batch.state is WorkloadState.ACTIVE  # it cannot idle with a queued job
            self._prioritise(batch, job)

    def _stands_in_normal(self, job: Job) -> bool:
        if job.status is not JobStatus.QUEUED:
            return False
        if job.workload_id is None:
            return True
        workload = self.workloads[job.workload_id]
        return (
            workload.state is not WorkloadState.ACTIVE
            and next(iter(self.queued[workload.id])) == job.id
        )
