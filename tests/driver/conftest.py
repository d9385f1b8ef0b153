"""A driver among fakes: a virtual clock, a store in memory, a runner that only takes notes."""

import asyncio
import errno
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from queuebit.clock import VirtualClock
from queuebit.core.events import Command, RunStage
from queuebit.core.model import FINAL, Backend, Charge, Job, Record
from queuebit.core.scheduler import Scheduler
from queuebit.driver import Driver
from queuebit.store.audit import Entry
from queuebit.store.details import Details

BACKENDS = [Backend(name="q", lanes=2)]


class MemoryStore:
    """Keeps what is saved; its saves can be held up or made to fail."""

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}
        self.details: list[str] = []
        self.charges: list[Charge] = []
        self.saves: list[list[str]] = []
        self.may_save, self.failed = asyncio.Event(), asyncio.Event()
        self.may_save.set()
        self.broken = False
        self.away = 0
        """Saves that will fail for a passing reason."""

    async def save(
        self,
        records: Sequence[Record],
        details: Sequence[Details],
        entries: Sequence[Entry] = (),
        charges: Sequence[Charge] = (),
    ) -> None:
        await self.may_save.wait()
        if self.broken:
            raise OSError("disk full")
        if self.away:
            self.away -= 1
            self.failed.set()
            raise OSError(errno.ENOSPC, "No space left on device")
        self.records |= {record.id: record for record in records}
        self.charges += charges
        self.details += [one.id for one in details]
        self.saves.append([record.id for record in records])


class ScriptedRunner:
    """Writes down what it is told to do, and checks that it has been saved."""

    def __init__(self, store: MemoryStore) -> None:
        self.commands: list[Command] = []
        self.cleared: list[str] = []
        self._store = store

    def carry_out(self, command: Command) -> None:
        job = self._store.records[command.job_id]
        assert isinstance(job, Job)
        if isinstance(command, RunStage):
            assert job.run >= command.run, "not saved"
        self.commands.append(command)

    def ended(self, job: Job) -> None:
        assert self._store.records[job.id] == job
        assert job.status in FINAL
        self.cleared.append(job.id)


class Service:
    """A driver among fakes."""

    def __init__(self, records: Sequence[Record] = (), *, last_at: int = 0) -> None:
        self.clock = VirtualClock(start=1_000)
        self.store = MemoryStore()
        self.store.records = {record.id: record for record in records}
        self.runner = ScriptedRunner(self.store)
        self.scheduler = Scheduler(BACKENDS, records)
        self.driver = Driver(
            self.scheduler, self.store, self.runner, self.clock, last_at=last_at, patience_s=2
        )

    def job(self, job_id: str) -> Job:
        job = self.store.records[job_id]
        assert isinstance(job, Job)
        return job

    async def settled(self) -> None:
        """Let everything happen that needs no time."""
        for _ in range(20):
            await asyncio.sleep(0)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        run = asyncio.create_task(self.driver.run())
        await self.settled()
        yield
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run


@pytest.fixture
def service() -> Service:
    return Service()
