"""Every record that is not final, and the waiting lines made of them.

All of it but the records is derived and can be thrown away; `put` is its only writer.
"""

from collections import OrderedDict
from collections.abc import Iterable
from heapq import heappop, heappush, heapreplace

from queuebit.core import policy
from queuebit.core.calibrations import next_due_at
from queuebit.core.ledger import Ledger
from queuebit.core.model import (
    FINAL,
    Backend,
    BackendState,
    BackendStatus,
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

    def __init__(self, backends: Iterable[Backend], ledger: Ledger) -> None:
        self.ledger = ledger
        self.jobs: dict[str, Job] = {}
        self.workloads: dict[str, Workload] = {}
        self.queued: dict[str, OrderedDict[str, None]] = {}
        """Queued jobs of each workload, oldest first."""
        self.unfinished: dict[str, int] = {}
        """How many jobs of each workload are queued or running."""
        self.pending: dict[str, int] = {}
        """How many jobs of each instance are queued or running."""
        self.backends = {backend.name: BackendQueues(backend) for backend in backends}
        self.states = {name: BackendState(id=name) for name in self.backends}
        self.touched_workloads: dict[str, None] = {}
        """What changed since the last look, in order."""
        self.touched_backends: dict[str, None] = {}

    def put(self, record: Record) -> None:
        """Bring everything in line with a new or changed record."""
        # A backend taken out of the configuration keeps its jobs waiting: nothing accepted is lost.
        if record.backend not in self.backends:
            absent = Backend(name=record.backend, lanes=0, qpu_slots=0)
            self.backends[record.backend] = BackendQueues(absent)
            self.states[record.backend] = BackendState(id=record.backend)
        self.touched_backends[record.backend] = None
        if isinstance(record, Job):
            self._put_job(record)
        elif isinstance(record, Workload):
            self._put_workload(record)
        else:
            self.states[record.id] = record

    def workload_of(self, job: Job) -> Workload | None:
        """The workload of `job`; None in job mode."""
        return None if job.workload_id is None else self.workloads[job.workload_id]

    def charges(self, job: Job) -> bool:
        """Whether QPU time is charged where `job` runs."""
        return self.backends[job.backend].backend.charges

    def affordable_ms(self, job: Job, usage_ms: int) -> int:
        """QPU time that a job may be charged of what it used: no hard limit is passed."""
        budget = self.ledger.budget(job.instance, job.user)
        if budget is None:
            return usage_ms
        return min(usage_ms, job.budget_ms + max(0, budget.left_ms))

    def has_queued(self, workload_id: str) -> bool:
        """Whether a job of the workload is queued."""
        return bool(self.queued[workload_id])

    def deadline(self, record_id: str) -> int | None:
        """When time alone next changes a job or workload; None if it never does."""
        job = self.jobs.get(record_id)
        if job is not None:
            return policy.job_limit_at(job)
        workload = self.workloads.get(record_id)
        if workload is None:
            state = self.states.get(record_id)
            return None if state is None else next_due_at(state)
        return policy.deadline(workload, has_queued=self.has_queued(record_id))

    def oldest_queued(self, workload_id: str) -> Job | None:
        """The queued job of the workload that came first."""
        for job_id in self.queued[workload_id]:
            return self.jobs[job_id]
        return None

    def next_job(self, name: str) -> Job | None:
        """Who takes a free lane of a backend (decisions 12 to 15)."""
        queues, state = self.backends[name], self.states[name]
        if queues.session is not None:  # exclusive: only its own, and nothing holds it back
            return self.oldest_queued(queues.session)
        if state.status is not BackendStatus.ONLINE:
            return None
        job = self.first_priority(queues)
        if job is not None:
            return job
        if queues.drain is not None:  # it starts with all lanes, and a calibrated QPU (decisions 6)
            waits = queues.lanes or state.due or state.calibrating
            return None if waits else self.oldest_queued(queues.drain)
        return self.first_normal(queues)

    def is_overtaken(self, session: Workload) -> bool:
        """Whether a session that is next in line is so no longer.

        Its first job is gone, or its instance at its limit. That others have a smaller share by now
        changes nothing: once next in line it stays so, or it could starve.
        """
        head = self.first_of(self.backends[session.backend], session.instance)
        is_first = head is not None and head.workload_id == session.id
        return not is_first or self.ledger.is_limited(session.instance)

    def first_normal(self, queues: BackendQueues) -> Job | None:
        """The job at the head of the normal queue.

        Who has used more since it entered `fair`, or has another first job, belongs further back.
        Who has less used has been entered anew, further ahead.
        """
        while queues.fair:
            entry = queues.fair[0]
            instance = entry[2]
            if entry != queues.places.get(instance):
                heappop(queues.fair)
                continue
            job = self.first_of(queues, instance)
            if job is None or self.ledger.is_limited(instance):
                heappop(queues.fair)
                del queues.places[instance]
                continue
            place = policy.fair_order(self.ledger.share(instance), job)
            if place == entry:
                return job
            heapreplace(queues.fair, place)
            queues.places[instance] = place
        return None

    def first_of(self, queues: BackendQueues, instance: str) -> Job | None:
        """The first job of one instance in the normal queue."""
        line = queues.normal.get(instance, [])
        while line:
            job = self.jobs.get(line[0][1])
            if job is not None and self._stands_in_normal(job):
                return job
            heappop(line)
        return None

    def stand_again(self, instance: str) -> None:
        """An instance has less used than before: it may stand further ahead."""
        for name, queues in self.backends.items():
            job = self.first_of(queues, instance)
            if job is not None:
                self._enter(queues, job)
                self.touched_backends[name] = None

    def stand_back(self, instance: str) -> None:
        """An instance has reached its limit: a session of it is next in line no longer."""
        for name, queues in self.backends.items():
            if queues.drain is not None and self.workloads[queues.drain].instance == instance:
                self.touched_backends[name] = None

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
            order, job_id = heappop(queues.ready)
            job = self.jobs.get(job_id)
            if job is None or job.stage is not Stage.READY:
                continue
            # Not where it stood before a restart: it has been ready only since.
            if order == policy.qpu_order(job, self.workload_of(job)):
                return job
        return None

    def _put_job(self, job: Job) -> None:
        old = self.jobs.get(job.id)
        queues = self.backends[job.backend]
        is_final = job.status in FINAL
        come_or_gone = (not is_final) - (old is not None)
        self.pending[job.instance] = self.pending.get(job.instance, 0) + come_or_gone
        if job.workload_id is not None:
            self.touched_workloads[job.workload_id] = None
            self.unfinished[job.workload_id] += come_or_gone
        reserved_ms = (0 if is_final else job.budget_ms) - (0 if old is None else old.budget_ms)
        if reserved_ms:
            self.ledger.reserve(job.instance, job.user, reserved_ms)
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
            self.ledger.watch(workload)
            if workload.state is WorkloadState.CLOSED:
                queues.sessions.discard(workload.id)
            else:
                queues.sessions.add(workload.id)
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
        if job.workload_id is None:
            self._stand_in_normal(job)
            return
        workload = self.workloads[job.workload_id]
        line = self.queued[workload.id]
        line[job.id] = None
        if workload.state is not WorkloadState.ACTIVE:
            if len(line) == 1:
                self._stand_in_normal(job)
        elif workload.mode is Mode.BATCH:
            self._prioritise(workload, job)

    def _dequeue(self, job: Job) -> None:
        """A queued job of a workload is queued no longer; the next one takes its place."""
        if job.workload_id is None:
            return
        line = self.queued[job.workload_id]
        was_oldest = next(iter(line)) == job.id
        del line[job.id]
        oldest = self.oldest_queued(job.workload_id) if was_oldest else None
        if oldest is not None and self._stands_in_normal(oldest):
            self._stand_in_normal(oldest)

    def _stand_in_normal(self, job: Job) -> None:
        """Enter a job in its instance's line, and the instance if the job is its first."""
        queues = self.backends[job.backend]
        line = queues.normal.setdefault(job.instance, [])
        heappush(line, (policy.queue_order(job), job.id))
        if line[0][1] == job.id:
            self._enter(queues, job)

    def _enter(self, queues: BackendQueues, first: Job) -> None:
        """Enter an instance into the fair share by its first job, if not there further ahead."""
        place = policy.fair_order(self.ledger.share(first.instance), first)
        entered = queues.places.get(first.instance)
        if entered is None or place < entered:
            heappush(queues.fair, place)
            queues.places[first.instance] = place

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
