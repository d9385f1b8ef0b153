"""What is written to the audit trail, and by what else an operator watches the service."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from queuebit.api.storage import Storage
from queuebit.core.events import (
    BackendStatusSet,
    Event,
    JobCancelRequested,
    JobSubmitted,
    WorkloadCancelRequested,
    WorkloadCloseRequested,
    WorkloadOpened,
)
from queuebit.engines.task import Staff
from queuebit.logs import SEEN
from queuebit.metrics import Metrics
from queuebit.store.audit import Entry
from queuebit.store.faults import is_passing, said
from queuebit.tenancy import Grant, InstanceRecord, Key, User
from queuebit.traces import Traces

log = logging.getLogger(__name__)

FLUSH_S = 5.0  # how long a login or a refusal may wait to be written
KINDS_MAX = 200  # different ones that are written at once; the rest is one entry that counts them
FORGET_S = 3_600.0
DAY_MS = 86_400_000
OTHERS = "others"


def entry(action: str, target: str = "", detail: str = "") -> Entry | None:
    """That the user of the request under way did `action`; None outside of requests."""
    seen = SEEN.get()
    if seen is None:
        return None
    return Entry(
        at=seen.at,
        user=seen.user,
        key_id=seen.key,
        instance=seen.instance,
        address=seen.address,
        action=action,
        target=target,
        detail=detail,
        request=seen.request,
    )


def entries(action: str, target: str = "", detail: str = "") -> tuple[Entry, ...]:
    """`entry`, as the store takes it."""
    found = entry(action, target, detail)
    return () if found is None else (found,)


def of_event(event: Event) -> Entry | None:  # noqa: PLR0911 - one for each
    """What is written of an event; None: nothing, nobody asked for it."""
    match event:
        case JobSubmitted(job_id=job_id, backend=backend, workload_id=workload_id):
            within = f" session={workload_id}" if workload_id else ""
            return entry("job.submit", job_id, f"backend={backend}{within}")
        case JobCancelRequested(job_id=job_id):
            return entry("job.cancel", job_id)
        case WorkloadOpened(workload_id=workload_id, backend=backend, mode=mode):
            return entry("session.open", workload_id, f"mode={mode} backend={backend}")
        case WorkloadCloseRequested(workload_id=workload_id):
            return entry("session.close", workload_id)
        case WorkloadCancelRequested(workload_id=workload_id):
            return entry("session.cancel", workload_id)
        case BackendStatusSet(backend=backend, status=status, reason=reason):
            return entry("backend.status", backend, f"status={status} reason={reason}")
        case _:
            return None


def of_thing(
    thing: InstanceRecord | User | Key | Grant, verb: Literal["add", "change", "remove"]
) -> tuple[Entry, ...]:
    """What is written of a user, key, instance or role that is added, changed or removed."""
    gone = verb == "remove"
    match thing:
        case InstanceRecord(config=config):
            limit = "none" if config.limit_s is None else f"{config.limit_s:g}"
            told = f"plan={config.plan} account={config.account} limit_s={limit}"
            told += f" allocation_s={config.allocation_s:g}"
            return entries(f"instance.{verb}", config.name, "" if gone else told)
        case User(name=name, admin=admin):
            return entries(f"user.{verb}", name, "" if gone else f"admin={admin}".lower())
        case Key(id=key_id, user=user):
            return entries("key.revoke" if gone else "key.make", key_id, f"user={user}")
        case Grant(user=user, instance=instance, role=role):
            told = f"instance={instance}" + ("" if gone else f" role={role}")
            return entries(f"role.{verb}", user, told)


class Table(Protocol):
    """The part of the store that the trail needs beside the changes' own transactions."""

    async def record(self, entries: Sequence[Entry]) -> None:
        """Write entries; they survive a crash."""

    async def forget(self, before: int) -> None:
        """Delete what is older."""


class Trail:
    """Writes what changed nothing, logins and refusals, every few seconds.

    So that nobody can have the disk written to with every request that is refused, the same from
    the same address within that time is one entry that says how often.
    """

    def __init__(self) -> None:
        self._waiting: dict[tuple[str | None, ...], Entry] = {}

    def note(self, entry: Entry) -> None:
        """Have `entry` written soon."""
        self._add(entry, 1)

    def _add(self, entry: Entry, times: int) -> None:
        kind: tuple[str | None, ...] = (
            entry.address,
            entry.user,
            entry.key_id,
            entry.action,
            entry.outcome,
        )
        if kind not in self._waiting and len(self._waiting) >= KINDS_MAX:
            kind = (OTHERS,)
            entry = Entry(at=entry.at, action=OTHERS, outcome=entry.outcome)
        known = self._waiting.get(kind)
        self._waiting[kind] = replace(known, times=known.times + times) if known else entry

    async def run(self, table: Table, keep_days: int) -> None:
        """Write, and forget what is older than `keep_days` (0: nothing), until cancelled."""
        forget_at = 0.0
        try:
            while True:
                if keep_days and time.monotonic() >= forget_at:
                    forget_at = time.monotonic() + FORGET_S
                    before = time.time_ns() // 1_000_000 - keep_days * DAY_MS
                    await _try(table.forget(before))
                await asyncio.sleep(FLUSH_S)
                # Not cut off in the middle of a statement when the service stops.
                await asyncio.shield(asyncio.create_task(_try(self.flush(table))))
        finally:
            await _try(self.flush(table))

    async def flush(self, table: Table) -> None:
        """Write what waits; if that fails, it still waits."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, {}
        try:
            await table.record(list(waiting.values()))
        except Exception:
            later, self._waiting = self._waiting, waiting
            for entry in later.values():
                self._add(entry, entry.times)
            raise


async def _try(work: Coroutine[Any, Any, None]) -> None:
    """Do `work`; what fails for a passing reason is for the next time."""
    try:
        await work
    except Exception as error:
        if not is_passing(error):
            raise
        log.warning("audit trail cannot be written", extra={"fault": said(error)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """By what an operator watches the service."""

    metrics: Metrics = field(default_factory=Metrics)
    traces: Traces = field(default_factory=Traces)
    trail: Trail = field(default_factory=Trail)
    storage: Storage = field(default_factory=Storage)
    staff: Callable[[], Staff] | None = None
    """How the workers are; None: the engine has none."""

    def logged_in(self, key: Key) -> None:
        """A token was made of `key`."""
        seen = SEEN.get()
        if seen is not None:
            seen.user, seen.key = key.user, key.id
        told = entry("token.make", key.id)
        if told is not None:
            self.trail.note(told)
