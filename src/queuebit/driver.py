"""Feeds the scheduler: events in, records saved, then commands carried out. Decides nothing."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol

from queuebit.clock import Clock
from queuebit.core.budgets import Budget
from queuebit.core.events import Command, Event, Restarted, Step, Tick
from queuebit.core.explain import Explanation, explain, explain_workload
from queuebit.core.model import FINAL, Calibrated, Charge, Job, JobStatus, Record
from queuebit.core.scheduler import Scheduler
from queuebit.errors import ServiceFault, Unavailable
from queuebit.foresight import Foreseen, Foresight
from queuebit.metrics import Metrics
from queuebit.patience import until_done
from queuebit.stage_times import StageTimes
from queuebit.store.audit import Entry
from queuebit.store.details import Details

PATIENCE_S = 60.0  # for a save that fails for a passing reason; then the process ends
STALLED_AFTER_S = 5.0  # of one save: then nobody new is let wait for the next
INBOX_MAX = 10_000  # events decided in one save; the rest waits for the next


class Saver(Protocol):
    """The part of the store that the driver needs."""

    async def save(
        self,
        records: Sequence[Record],
        details: Sequence[Details],
        entries: Sequence[Entry] = (),
        charges: Sequence[Charge] = (),
    ) -> None:
        """Store all of it or nothing; on return it survives a crash."""


class Runner(Protocol):
    """Carries out commands; must not block."""

    def carry_out(self, command: Command) -> None:
        """Begin what `command` says. Repeating a command does no harm."""

    def ended(self, job: Job) -> None:
        """Clear up after a job whose end is saved."""


@dataclass(slots=True)
class _Letter:
    event: Event
    details: Details | None
    entry: Entry | None
    patient: bool
    reply: asyncio.Future[Step]


class Driver:
    """The one task that may touch the scheduler."""

    def __init__(  # noqa: PLR0913 - each is a part that it joins to the others
        self,
        scheduler: Scheduler,
        store: Saver,
        runner: Runner,
        clock: Clock,
        *,
        last_at: int = 0,
        times: StageTimes | None = None,
        metrics: Metrics | None = None,
        patience_s: float = PATIENCE_S,
        save_failed: Callable[[BaseException], object] | None = None,
    ) -> None:
        """Go on from `last_at`, the latest instant on record: the clock may be behind it by now.

        `times` tells how long stages last, for looking ahead; None: what is usual. `metrics` is
        told what was decided; None: nobody wants to know. `patience_s` is how long a save is tried
        that fails for a passing reason; `save_failed` is told of each such failure.
        """
        self._scheduler = scheduler
        self._store = store
        self._runner = runner
        self._clock = clock
        self._inbox: deque[_Letter] = deque()
        self._mail = asyncio.Event()  # something is in the inbox
        self._now = last_at
        self._started = self._stopped = False
        self._saving: Mapping[str, Record] = {}  # decided, but not yet to be seen by readers
        self._patience_s = patience_s
        self._save_failed = save_failed
        self._save_began_s: float | None = None  # None: no save is under way
        self._save_fails = False
        self._ended: dict[str, asyncio.Event] = {}  # jobs that somebody waits for
        self._foresight = Foresight(scheduler, times or StageTimes())
        self._metrics = metrics
        if metrics is not None:
            metrics.watch(scheduler)

    @property
    def is_running(self) -> bool:
        """False before the first and after the last decision: nothing moves then."""
        return self._started and not self._stopped

    @property
    def is_stalled(self) -> bool:
        """Whether the database takes no saves at present."""
        if self._save_began_s is None:
            return False
        return self._save_fails or time.monotonic() - self._save_began_s > STALLED_AFTER_S

    async def send(
        self,
        event: Event,
        details: Details | None = None,
        entry: Entry | None = None,
        *,
        patient: bool = True,
    ) -> Step:
        """Have `event` decided and saved, with `details` and `entry` unless it is refused.

        On return everything is durable and the commands are under way. Raises ServiceFault if the
        driver stopped before; then the event may or may not have been saved. Unless `patient`,
        raises Unavailable while no save succeeds; then the event was not even looked at.
        """
        if self._stopped:
            raise ServiceFault("the service has stopped")
        if self.is_stalled and not patient:
            raise _unavailable()
        letter = _Letter(event, details, entry, patient, asyncio.get_running_loop().create_future())
        self._inbox.append(letter)
        self._mail.set()
        return await letter.reply

    async def wait_for_end(self, job_id: str, timeout_s: float) -> None:
        """Return when the job is final, or after `timeout_s`."""
        if job_id not in self._scheduler.jobs and job_id not in self._saving:
            return  # final, or never was
        ended = self._ended.setdefault(job_id, asyncio.Event())
        try:
            async with asyncio.timeout(timeout_s):
                await ended.wait()
        except TimeoutError:
            pass

    def explain(self, record_id: str) -> Explanation | None:
        """Why a job or workload waits; None if it is final, or there is none."""
        if record_id in self._scheduler.workloads:
            return explain_workload(self._scheduler, record_id)
        return explain(self._scheduler, record_id)

    def budget(self, instance: str, user: str) -> Budget | None:
        """What a user may still use of an instance with a hard budget; None: it has none."""
        return self._scheduler.ledger.budget(instance, user)

    def open_sessions(self, instance: str) -> int:
        """How many batches and sessions of an instance are not closed."""
        workloads = self._scheduler.workloads.values()
        return sum(workload.instance == instance for workload in workloads)

    def calibrated(self, backend: str) -> Calibrated | None:
        """How the latest calibration left a backend; None: none yet."""
        return self._scheduler.index.states[backend].calibrated

    async def foresee(self, record_id: str) -> Foreseen | None:
        """When a job starts and ends, or a workload's next and last one; None: it has none."""
        jobs = self._scheduler.jobs
        job_ids = [record_id] if record_id in jobs else []
        if record_id in self._scheduler.workloads:
            job_ids = [job.id for job in jobs.values() if job.workload_id == record_id]
            # The next one to start goes first, if any is still to start.
            job_ids.sort(key=lambda id_: (jobs[id_].status is not JobStatus.QUEUED, jobs[id_].seq))
        if not job_ids:
            return None
        now = max(self._now, self._clock.now())
        return await self._foresight.of(job_ids, now)

    async def run(self) -> None:
        """Decide what comes in, until cancelled.

        If a save fails this raises, and the process must stop: memory is then ahead of the store,
        and a restart from the store is the only true state.
        """
        letters = [_own(Restarted(self._now or None))]
        try:
            while True:
                await self._decide(letters)
                self._started, letters = True, []
                letters = await self._letters()
        finally:
            self._stop(letters)

    def _stop(self, letters: list[_Letter]) -> None:
        """Leave nobody waiting for a reply that will not come."""
        self._stopped = True
        for letter in (*letters, *self._inbox):
            if not letter.reply.done():
                letter.reply.set_exception(ServiceFault("the service has stopped"))
                letter.reply.exception()  # nobody need hear it

    async def _decide(self, letters: Iterable[_Letter]) -> None:
        """Decide several events, save their outcome at once (group commit), then act."""
        changed: dict[str, Record] = {}
        details: list[Details] = []
        entries: list[Entry] = []
        charges: list[Charge] = []
        decided: list[tuple[_Letter, Step]] = []
        # A wall clock may step back; time in the core may not.
        self._now = max(self._now, self._clock.now())
        for letter in letters:
            step = self._scheduler.handle(letter.event, self._now)
            changed.update(step.changed)
            charges += step.charges
            if letter.details is not None and step.refusal is None:
                details.append(letter.details)
            if letter.entry is not None and step.refusal is None:
                entries.append(letter.entry)
            decided.append((letter, step))
        save_s = None
        if changed or details or entries:
            self._saving = changed
            save_s = await self._save(list(changed.values()), details, entries, charges)
            self._saving = {}
        if self._metrics is not None:
            commands = chain.from_iterable(step.commands for _, step in decided)
            self._metrics.decided(len(decided), changed, commands, save_s, charges=charges)
        for letter, step in decided:
            for command in step.commands:  # only what is saved is acted on
                self._runner.carry_out(command)
            if not letter.reply.done():
                letter.reply.set_result(step)
        for record in changed.values():
            if isinstance(record, Job) and record.status in FINAL:
                self._runner.ended(record)
                ended = self._ended.pop(record.id, None)
                if ended is not None:
                    ended.set()

    async def _save(
        self,
        records: list[Record],
        details: list[Details],
        entries: list[Entry],
        charges: list[Charge],
    ) -> float:
        """Save, if need be again and again; how many seconds it took."""
        self._save_began_s = began_s = time.monotonic()
        try:
            await until_done(
                lambda: self._store.save(records, details, entries, charges),
                "save",
                most_s=self._patience_s,
                failed=self._stall,
            )
        finally:
            self._save_began_s, self._save_fails = None, False
        return time.monotonic() - began_s

    def _stall(self, error: BaseException) -> None:
        """Let nobody wait who can come again later."""
        self._save_fails = True
        if self._save_failed is not None:
            self._save_failed(error)
        kept: deque[_Letter] = deque()
        for letter in self._inbox:
            if letter.patient:
                kept.append(letter)
            elif not letter.reply.done():
                letter.reply.set_exception(_unavailable())
        self._inbox = kept

    async def _letters(self) -> list[_Letter]:
        """All that is in the inbox, or a Tick when a deadline comes first."""
        if not self._inbox:
            self._mail.clear()
            await self._wait(self._scheduler.next_deadline())
        if not self._inbox:
            return [_own(Tick())]
        return [self._inbox.popleft() for _ in range(min(len(self._inbox), INBOX_MAX))]

    async def _wait(self, due: int | None) -> None:
        """Return when something is in the inbox, or at `due`."""
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._mail.wait())]
        if due is not None:
            waits.append(asyncio.ensure_future(self._clock.sleep_until(due)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()


def _own(event: Event) -> _Letter:
    """An event of our own: nobody waits for the reply."""
    return _Letter(event, None, None, True, asyncio.get_running_loop().create_future())


def _unavailable() -> Unavailable:
    return Unavailable("The service's database does not answer.")
