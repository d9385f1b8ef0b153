"""Numbers about a running service, for Prometheus (docs/operating.md lists them).

Counted where things are decided: steps by the driver, tasks by the engine, requests by the API. How
things stand (queues, lanes, workers) is looked up when somebody asks. Every label is one of a few:
what users make up never becomes one.
"""

import os
from collections import Counter as Tally
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from queuebit.core.events import Command, RunStage
from queuebit.core.model import FINAL, Charge, Job, JobStatus, Mode, Record, Stage, Workload
from queuebit.core.scheduler import Scheduler

INSTANCES_MAX = 200  # with series of their own; the rest is "other"
JOB_MODE = "job"

_WAITS = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3_600, 14_400, 86_400)  # s
_STAGES = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 1_800)  # s
_REQUESTS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30)  # s
_SAVES = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5)  # s


class Staff(Protocol):
    """How workers are (`engines.task.Staff`)."""

    @property
    def wanted(self) -> int:
        """How many there should be."""

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of those that can work."""

    @property
    def deaths(self) -> int:
        """How many died unasked."""


class Metrics:
    """The metrics of one service, in a registry of its own: one process may hold several."""

    def __init__(self) -> None:
        # Else each has a second series, which nobody asks for.
        disable_created_metrics()  # type: ignore[no-untyped-call] # published without types
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._scheduler: Scheduler | None = None
        self._instances: set[str] = set()
        self._count()
        self._measure()
        self._look()

    def _count(self) -> None:
        def counter(name: str, what: str, *labels: str) -> Counter:
            return Counter(f"queuebit_{name}", what, labels, registry=self.registry)

        self._events = counter("events_total", "Events that the scheduler has decided")
        self._ended = counter("jobs_total", "Jobs that have ended", "backend", "mode", "status")
        self._busy = counter("qpu_busy_seconds_total", "Time that QPUs were held", "backend")
        self._usage = counter("usage_seconds_total", "QPU time charged", "instance")
        self.errors = counter("errors_total", "Errors answered, by IBM's code", "code")
        self.requests = counter(
            "http_requests_total", "Requests answered", "method", "route", "status"
        )
        self.malformed = counter(
            "http_malformed_total", "What came to the port and was no request", "reason"
        )
        self._deaths = counter("worker_deaths_total", "Workers that died unasked")
        self._deaths_seen = 0
        self.faults = counter("task_faults_total", "Tasks that failed by our fault", "stage")

    def _measure(self) -> None:
        def histogram(name: str, what: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(
                f"queuebit_{name}", what, labels, buckets=buckets, registry=self.registry
            )

        self._wait = histogram(
            "job_wait_seconds", "From submission to start", _WAITS, "backend", "mode"
        )
        self._save = histogram("save_seconds", "One save of the driver", _SAVES)
        self.tasks = histogram(
            "stage_seconds", "One task, its wait for a worker included", _STAGES, "stage", "program"
        )
        self.latency = histogram(
            "http_request_seconds", "Until the answer was sent", _REQUESTS, "method", "route"
        )

    def _look(self) -> None:
        def gauge(name: str, what: str, *labels: str) -> Gauge:
            return Gauge(f"queuebit_{name}", what, labels, registry=self.registry)

        self._queued = gauge("jobs_queued", "Jobs that wait for a lane", "backend", "mode")
        self._lanes_used = gauge("lanes_used", "Lanes that a job holds", "backend")
        self._lanes = gauge("lanes", "Lanes that there are", "backend")
        self._open = gauge("workloads_open", "Batches and sessions not closed", "backend", "mode")
        self._workers = gauge("workers", "Worker processes that can work")
        self._wanted = gauge("workers_wanted", "Worker processes that there should be")
        self._memory = gauge("workers_memory_bytes", "Resident memory of all workers")
        self._largest = gauge("worker_memory_max_bytes", "Resident memory of the largest worker")

        self._free = gauge("disk_free_bytes", "Bytes free where the data folder is")
        self._reserved = gauge("disk_reserved", "1: the database's reserve of room is there")
        self._stored_jobs = gauge("stored_jobs", "Jobs that are kept", "instance")
        self._stored_bytes = gauge(
            "stored_bytes", "Bytes of inputs and results that are kept", "instance"
        )

    def disk(self, free: int, *, is_reserved: bool) -> None:
        """Note how the disk is."""
        self._free.set(free)
        self._reserved.set(is_reserved)

    def stored(self, kept: Mapping[str, tuple[int, int]]) -> None:
        """Note how many jobs and bytes each instance keeps."""
        self._stored_jobs.clear()
        self._stored_bytes.clear()
        most = sorted(kept, key=lambda instance: -kept[instance][1])[:INSTANCES_MAX]
        for instance in most:
            jobs, size = kept[instance]
            self._stored_jobs.labels(instance).set(jobs)
            self._stored_bytes.labels(instance).set(size)

    def watch(self, scheduler: Scheduler) -> None:
        """Tell of the records of `scheduler` from now on."""
        self._scheduler = scheduler

    def decided(
        self,
        events: int,
        changed: Mapping[str, Record],
        commands: Iterable[Command],
        save_s: float | None,
        *,
        charges: Iterable[Charge] = (),
    ) -> None:
        """Count what one save held; `save_s` None: there was nothing to save."""
        self._events.inc(events)
        if save_s is not None:
            self._save.observe(save_s)
        for command in commands:
            job = changed.get(command.job_id) if isinstance(command, RunStage) else None
            if isinstance(command, RunStage) and isinstance(job, Job):
                self._began(job, command.stage, changed)
        for record in changed.values():
            if isinstance(record, Job) and record.status in FINAL:
                self._job_ended(record, changed)
        for charge in charges:
            self._charge(charge.instance, charge.ms)

    def _began(self, job: Job, stage: Stage, changed: Mapping[str, Record]) -> None:
        """A stage of `job` begins."""
        if stage is Stage.PREPARE and job.run == 1 and job.started_at is not None:
            waited_s = (job.started_at - job.created_at) / 1_000
            self._wait.labels(job.backend, self._mode(job, changed)).observe(waited_s)
        elif stage is Stage.FINISH:
            self._left_qpu(job)

    def _left_qpu(self, job: Job) -> None:
        if job.quantum_started_at is not None and job.quantum_ended_at is not None:
            held_s = (job.quantum_ended_at - job.quantum_started_at) / 1_000
            self._busy.labels(job.backend).inc(max(0.0, held_s))

    def _job_ended(self, job: Job, changed: Mapping[str, Record]) -> None:
        mode = self._mode(job, changed)
        self._ended.labels(job.backend, mode, job.status.value).inc()
        if job.stage is Stage.QUANTUM:
            self._left_qpu(job)

    def _charge(self, instance: str, ms: int) -> None:
        if instance not in self._instances and len(self._instances) >= INSTANCES_MAX:
            instance = "other"
        self._instances.add(instance)
        self._usage.labels(instance).inc(ms / 1_000)

    def _mode(self, job: Job, changed: Mapping[str, Record]) -> str:
        if job.workload_id is None:
            return JOB_MODE
        known = self._scheduler.workloads if self._scheduler is not None else {}
        workload = known.get(job.workload_id) or changed.get(job.workload_id)
        return _word(workload.mode) if isinstance(workload, Workload) else "closed"

    def look(self, lanes: Mapping[str, int], staff: Staff | None) -> None:
        """Look up how things stand: `lanes` of each backend, and the workers, if there are any."""
        queued: Tally[tuple[str, str]] = Tally()
        used: Tally[str] = Tally()
        opened: Tally[tuple[str, str]] = Tally()
        if self._scheduler is not None:
            for job in self._scheduler.jobs.values():
                if job.status is JobStatus.QUEUED:
                    queued[job.backend, self._mode(job, {})] += 1
                elif job.status is JobStatus.RUNNING:
                    used[job.backend] += 1
            for workload in self._scheduler.workloads.values():
                opened[workload.backend, _word(workload.mode)] += 1
        for backend, there_are in lanes.items():
            self._lanes.labels(backend).set(there_are)
            self._lanes_used.labels(backend).set(used[backend])
            for mode in (JOB_MODE, *map(_word, Mode)):
                self._queued.labels(backend, mode).set(queued[backend, mode])
            for mode in map(_word, Mode):
                self._open.labels(backend, mode).set(opened[backend, mode])
        if staff is not None:
            sizes = [_resident_bytes(pid) for pid in staff.pids]
            self._wanted.set(staff.wanted)
            self._workers.set(len(staff.pids))
            self._deaths.inc(staff.deaths - self._deaths_seen)
            self._deaths_seen = staff.deaths
            self._memory.set(sum(sizes))
            self._largest.set(max(sizes, default=0))

    def text(self) -> bytes:
        """All of it, in the form that Prometheus reads."""
        return generate_latest(self.registry)


def _word(mode: Mode) -> str:
    """Batch or session; on the wire a session is "dedicated"."""
    return mode.name.lower()


def _resident_bytes(pid: int) -> int:
    """Memory of a process, shared pages included; 0 where it is gone, or nobody tells."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
