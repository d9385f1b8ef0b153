"""Users who do anything that users may do, and remember what they were promised."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from tests.sim import api
from tests.sim.process import ServiceProcess, Unreachable
from tests.sim.weather import INSTANCES, Weather

from queuebit.core.events import JobSubmitted, Rule, WorkloadOpened
from queuebit.core.model import FINAL, Job, JobStatus, Mode, Record, Workload, WorkloadState

ACTIONS = {
    "submit": 8,
    "submit to workload": 12,
    "open": 3,
    "close": 1,
    "cancel workload": 1,
    "cancel job": 3,
    "read job": 5,
    "read job to its end": 4,
    "delete job": 2,
    "cancel and delete job": 1,
}
STEPS = 40


@dataclass(slots=True)
class Promises:
    """What the service has answered; it must be true for ever."""

    accepted: list[str] = field(default_factory=list)
    opened: list[str] = field(default_factory=list)
    cancelled: set[str] = field(default_factory=set)
    ended: dict[str, Job] = field(default_factory=dict)
    """Final jobs as a reader first saw them."""
    closed: set[str] = field(default_factory=set)
    """Workloads that accept nothing any more."""
    private: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    """Jobs whose deletion somebody asked for, answered or not."""
    names: int = 0


class Client:
    """One user with one instance."""

    def __init__(
        self,
        number: int,
        weather: Weather,
        promises: Promises,
        process: Callable[[], ServiceProcess | None],
    ) -> None:
        self._instance = INSTANCES[number % len(INSTANCES)]
        self._weather = weather
        self._rng = weather.rng
        self._promises = promises
        self._process = process
        self._jobs = promises.accepted  # users see each other's
        self._workloads: dict[str, str] = {}

    async def live(self) -> None:
        """Do some things, then close what was opened, or leave it to the timers."""
        for _ in range(STEPS):
            await self._weather.wait("think")
            (action,) = self._rng.choices(list(ACTIONS), list(ACTIONS.values()))
            try:
                await getattr(self, action.replace(" ", "_"))()
            except Unreachable:
                self._weather.note(f"{action}: no answer")
        for workload_id in self._workloads if self._rng.random() < 0.5 else ():
            await self._insist(api.close_workload, workload_id)
            self._promises.closed.add(workload_id)

    async def submit(self) -> None:
        await self._submit(self._rng.choice(self._weather.backends).name, None)

    async def submit_to_workload(self) -> None:
        if not self._workloads:
            await self.open()
        workload_id = self._rng.choice(list(self._workloads))
        for _ in range(self._rng.choice((1, 1, 2, 6))):
            await self._submit(self._workloads[workload_id], workload_id)

    async def _submit(self, backend: str, workload_id: str | None) -> None:
        job_id = self._name("j")
        private = self._rng.random() < 0.2
        if private:
            self._promises.private.add(job_id)
        event = JobSubmitted(
            job_id=job_id,
            instance=self._instance,
            backend=backend,
            workload_id=workload_id,
            limit_ms=self._rng.choice((None, None, 50_000)),
        )
        was_closed = workload_id in self._promises.closed
        self._weather.note(f"{job_id} is sent to {workload_id or backend}")
        try:
            refusal = await self._ask(api.submit, event, private=private)
        except api.InvalidParams:
            return
        if refusal is None:
            assert not was_closed, f"{workload_id} was closed, but takes {job_id}"
            self._promises.accepted.append(job_id)
        elif refusal.rule is Rule.WORKLOAD_CLOSED:
            assert workload_id is not None
            self._promises.closed.add(workload_id)
        else:
            assert refusal.rule in (Rule.USAGE_LIMIT, Rule.PENDING_LIMIT)

    async def open(self) -> None:
        workload_id = self._name("w")
        backend = self._rng.choice(self._weather.backends).name
        event = WorkloadOpened(
            workload_id=workload_id,
            instance=self._instance,
            backend=backend,
            mode=self._rng.choice(list(Mode)),
            max_ttl_ms=self._rng.choice((5_000, 60_000, 600_000, 28_800_000)),
            interactive_ttl_ms=self._rng.choice((10, 1_000, 60_000)),
            active_ttl_ms=self._rng.choice((60_000, 28_800_000)),
            unused_ttl_ms=self._rng.choice((10_000, 1_800_000)),
        )
        self._workloads[workload_id] = backend  # its answer may be lost: it may be there
        self._weather.note(f"{workload_id} {event.mode} is opened on {backend}")
        await self._ask(api.open_workload, event)
        self._promises.opened.append(workload_id)

    async def close(self) -> None:
        await self._end(api.close_workload)

    async def cancel_workload(self) -> None:
        await self._end(api.cancel_workload)

    async def _end(self, how: Callable[..., Awaitable[None]]) -> None:
        if self._workloads:
            workload_id = self._rng.choice(list(self._workloads))
            self._weather.note(f"{workload_id}: {how.__name__}")
            await self._ask(how, workload_id)
            self._promises.closed.add(workload_id)

    async def cancel_job(self) -> None:
        if self._jobs:
            job_id = self._rng.choice(self._jobs[-12:])
            self._weather.note(f"{job_id} is cancelled")
            if await self._ask(api.cancel_job, job_id):
                self._promises.cancelled.add(job_id)

    async def read_job(self) -> None:
        if self._jobs:
            await self._read(self._rng.choice(self._jobs[-12:]))

    async def read_job_to_its_end(self) -> None:
        if self._jobs:
            job_id = self._rng.choice(self._jobs[-12:])
            for _ in range(20):
                job = await self._read(job_id)
                if job is None or job.status in FINAL:
                    return

    async def _read(self, job_id: str) -> Job | None:
        """A job as the service tells of it; None: it is deleted."""
        hold_s = self._rng.choice((0.02, 0.5, 5))
        job: Job | None = await self._ask(api.read_job, job_id, hold_s=hold_s)
        if job is None:
            assert job_id in self._promises.deleted, f"{job_id} is lost"
        elif job.status in FINAL:
            assert self._promises.ended.setdefault(job_id, job) == job
        return job

    async def delete_job(self) -> None:
        if self._jobs:
            job_id = self._rng.choice(self._jobs[-12:])
            stored = await self._read(job_id)
            if stored is None or stored.status not in FINAL:
                return
            self._promises.deleted.add(job_id)
            self._weather.note(f"{job_id} is deleted")
            await self._ask(api.delete_job, job_id)

    async def cancel_and_delete_job(self) -> None:
        """Be as quick as can be: the record is gone before everybody has heard of its end."""
        await self.submit()
        if self._jobs:
            job_id = self._jobs[-1]
            self._promises.deleted.add(job_id)
            self._weather.note(f"{job_id} is cancelled and deleted")
            answers = await asyncio.gather(
                self._ask(api.cancel_job, job_id),
                self._delete(job_id),
                return_exceptions=True,
            )
            for answer in answers:
                if isinstance(answer, BaseException):
                    raise answer

    async def _delete(self, job_id: str) -> None:
        for _ in range(40):
            if await self._ask(api.delete_job, job_id):
                return
            await asyncio.sleep(self._weather.delays_s["disk"] / 8)

    def _name(self, kind: str) -> str:
        self._promises.names += 1
        return f"{kind}{self._promises.names}"

    async def _ask(self, handler: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        process = self._process()
        if process is None:
            raise Unreachable
        return await process.request(handler(process, *args, **kwargs))

    async def _insist(self, handler: Callable[..., Any], *args: Any) -> None:
        """Ask until there is an answer."""
        while True:
            try:
                await self._ask(handler, *args)
            except Unreachable:
                await asyncio.sleep(10)
            else:
                return


def check_promises(promises: Promises, every: dict[str, Record]) -> None:
    """All that was ever answered is true of the latest records."""
    for job_id in promises.accepted:
        job = every[job_id]
        assert isinstance(job, Job)
        assert job.status in FINAL, f"{job_id} never ended"
    for job_id in promises.cancelled:
        job = every[job_id]
        assert isinstance(job, Job)
        assert job.status is JobStatus.CANCELLED
    for job_id, seen in promises.ended.items():
        assert every[job_id] == seen
    for workload_id in promises.opened:
        workload = every[workload_id]
        assert isinstance(workload, Workload)
        assert workload.state is WorkloadState.CLOSED
