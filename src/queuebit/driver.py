"""Feeds the scheduler: events in, records saved, then commands carried out. Decides nothing."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from queuebit.clock import Clock
from queuebit.core.events import Command, Event, Restarted, Step, Tick
from queuebit.core.model import FINAL, Job, Record
from queuebit.core.scheduler import Scheduler
from queuebit.store.details import Details

INBOX_MAX = 10_000  # events decided in one save; the rest waits for the next


class Saver(Protocol):
    """The part of the store that the driver needs."""

    async def save(self, records: Sequence[Record], details: Sequence[Details]) -> None:
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
    reply: asyncio.Future[Step]


class Driver:
    """The one task that may touch the scheduler."""

    def __init__(self, scheduler: Scheduler, store: Saver, runner: Runner, clock: Clock) -> None:
        self._scheduler = scheduler
        self._store = store
        self._runner = runner
        self._clock = clock
        self._inbox: asyncio.Queue[_Letter] = asyncio.Queue()
        self._now = 0
        self._ended: dict[str, asyncio.Event] = {}  # jobs that somebody waits for

    async def send(self, event: Event, details: Details | None = None) -> Step:
        """Have `event` decided and saved, with `details` unless it is refused.

        On return everything is durable and the commands are under way.
        """
        letter = _Letter(event, details, asyncio.get_running_loop().create_future())
        self._inbox.put_nowait(letter)
        return await letter.reply

    async def wait_for_end(self, job_id: str, timeout_s: float) -> None:
        """Return when the job is final, or after `timeout_s`."""
        job = self._scheduler.jobs.get(job_id)
        if job is None:  # final, or never was
            return
        ended = self._ended.setdefault(job_id, asyncio.Event())
        try:
            async with asyncio.timeout(timeout_s):
                await ended.wait()
        except TimeoutError:
            pass

    async def run(self) -> None:
        """Decide what comes in, until cancelled.

        If a save fails this raises, and the process must stop: memory is then ahead of the store,
        and a restart from the store is the only true state.
        """
        await self._decide([_Letter(Restarted(), None, _unheard())])
        while True:
            await self._decide(await self._letters())

    async def _decide(self, letters: Iterable[_Letter]) -> None:
        """Decide several events, save their outcome at once (group commit), then act."""
        changed: dict[str, Record] = {}
        details: list[Details] = []
        decided: list[tuple[_Letter, Step]] = []
        # A wall clock may step back; time in the core may not.
        self._now = max(self._now, self._clock.now())
        for letter in letters:
            step = self._scheduler.handle(letter.event, self._now)
            changed.update(step.changed)
            if letter.details is not None and step.refusal is None:
                details.append(letter.details)
            decided.append((letter, step))
        if changed or details:
            await self._store.save(list(changed.values()), details)
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

    async def _letters(self) -> list[_Letter]:
        """All that is in the inbox, or a Tick when a deadline comes first."""
        due = self._scheduler.next_deadline()
        first = await self._first(due)
        letters = [first if first is not None else _Letter(Tick(), None, _unheard())]
        while not self._inbox.empty() and len(letters) < INBOX_MAX:
            letters.append(self._inbox.get_nowait())
        return letters

    async def _first(self, due: int | None) -> _Letter | None:
        if due is None or not self._inbox.empty():
            return await self._inbox.get()
        get = asyncio.ensure_future(self._inbox.get())
        alarm = asyncio.ensure_future(self._clock.sleep_until(due))
        try:
            await asyncio.wait((get, alarm), return_when=asyncio.FIRST_COMPLETED)
            return get.result() if get.done() else None
        finally:
            get.cancel()
            alarm.cancel()


def _unheard() -> asyncio.Future[Step]:
    """A reply that nobody waits for."""
    return asyncio.get_running_loop().create_future()
