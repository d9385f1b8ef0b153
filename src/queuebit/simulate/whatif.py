"""What-ifs: the same clients on other machines or with other rules."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from queuebit.config import PLANS, PlanConfig
from queuebit.core.events import (
    BackendStatusSet,
    JobCancelRequested,
    JobSubmitted,
    WorkloadCancelRequested,
    WorkloadCloseRequested,
    WorkloadOpened,
)
from queuebit.core.model import Instance, Mode
from queuebit.errors import QueuebitError
from queuebit.simulate.plans import with_plans
from queuebit.simulate.trace import Entry, Machine, Trace

AS_IT_IS = "as it is"


class WhatIf(BaseModel):
    """What is to be different. None: nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    lanes: int | None = Field(default=None, ge=1, le=1_000)
    """Lanes of every backend."""
    qpus: int | None = Field(default=None, ge=1, le=1_000)
    """Copies of every backend; a job or workload goes to the least busy one."""
    qpu_slots: int | None = Field(default=None, ge=1, le=1_000)
    """Jobs at once on the QPU of every backend."""
    plan: str | None = Field(default=None, min_length=1)
    """The plan of every instance: "open"; or of some: "lab:open+class:flex"."""
    mode: Literal["job", "batch", "session"] | None = None
    """How batches and sessions had been submitted; jobs in job mode stay what they are."""
    max_ttl: float | None = Field(default=None, gt=0)
    """Seconds; of every batch and session."""
    interactive_ttl: float | None = Field(default=None, ge=0)
    """Seconds; of every batch and session."""
    calibrations: Literal["off"] | None = None
    """Without calibrations."""
    fair_share: Literal["off"] | None = None
    """Without allocations: order of arrival alone."""
    limits: Literal["off"] | None = None
    """Without limits on usage and on pending jobs of instances."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse "lanes=10 mode=batch"; QueuebitError if there is no such what-if."""
        return parse(cls, text, "what-if")

    @property
    def name(self) -> str:
        """All that is different: "lanes=10 mode=batch"."""
        given = self.model_dump(exclude_none=True)
        return " ".join(f"{key}={_number(value)}" for key, value in given.items()) or AS_IT_IS

    def apply(self, trace: Trace, plans: Iterable[PlanConfig] = PLANS) -> Trace:
        """`trace` as it would have been; `plans` are those that there are."""
        if self.plan is not None:
            trace = with_plans(trace, self.plan, {plan.name: plan for plan in plans})
        return Trace(
            machines=tuple(self._machine(machine) for machine in trace.machines),
            instances=tuple(self._instance(instance) for instance in trace.instances),
            entries=tuple(self._entries(trace)),
        )

    def _machine(self, machine: Machine) -> Machine:
        backend = machine.backend
        return Machine(
            backend=replace(
                backend,
                lanes=backend.lanes if self.lanes is None else self.lanes,
                qpu_slots=backend.qpu_slots if self.qpu_slots is None else self.qpu_slots,
                calibrations=() if self.calibrations == "off" else backend.calibrations,
            ),
            copies=machine.copies if self.qpus is None else self.qpus,
        )

    def _instance(self, instance: Instance) -> Instance:
        if self.fair_share == "off":
            instance = replace(instance, allocation_ms=None)
        if self.limits == "off":
            instance = replace(instance, limit_ms=None, pending_max=None)
        return instance

    def _entries(self, trace: Trace) -> Iterable[Entry]:
        entries: Iterable[Entry] = (self._with_ttls(entry) for entry in trace.entries)
        return entries if self.mode is None else _in_mode(self.mode, entries)

    def _with_ttls(self, entry: Entry) -> Entry:
        event = entry.event
        if not isinstance(event, WorkloadOpened):
            return entry
        if self.max_ttl is not None:
            max_ttl_ms = round(self.max_ttl * 1_000)
            is_same = event.active_ttl_ms == event.max_ttl_ms
            active_ttl_ms = max_ttl_ms if is_same else event.active_ttl_ms
            event = replace(event, max_ttl_ms=max_ttl_ms, active_ttl_ms=active_ttl_ms)
        if self.interactive_ttl is not None:
            event = replace(event, interactive_ttl_ms=round(self.interactive_ttl * 1_000))
        return replace(entry, event=event)


Settings = TypeVar("Settings", bound=BaseModel)


def parse(model: type[Settings], text: str, what: str) -> Settings:
    """Parse "key=value key=value"; `what` is what a mistake calls it."""
    given: dict[str, str] = {}
    for pair in text.replace(",", " ").split():
        key, equals, value = pair.partition("=")
        key = key.replace("-", "_")
        if not equals or not value:
            raise QueuebitError(f"{what} {pair!r} is not KEY=VALUE")
        if key in given:
            raise QueuebitError(f"{what}: {key} is given twice")
        given[key] = value
    try:
        return model.model_validate(given)
    except ValidationError as error:
        detail = error.errors()[0]
        key = ".".join(str(step) for step in detail["loc"])
        if detail["type"] == "extra_forbidden":
            known = ", ".join(model.model_fields)
            raise QueuebitError(f"{what}: there is no {key}; there are {known}") from None
        message = detail["msg"].removeprefix("Value error, ")
        if not key:
            raise QueuebitError(f"{what}: {message}") from None
        told = message[:1].lower() + message[1:]
        raise QueuebitError(f"{what}: {key}: {told}, not {detail['input']!r}") from None


def _in_mode(mode: str, entries: Iterable[Entry]) -> Iterator[Entry]:
    """The entries as if each batch or session had been submitted in `mode`."""
    if mode == "job":
        yield from _as_jobs(entries)
        return
    wanted = Mode.SESSION if mode == "session" else Mode.BATCH
    for entry in entries:
        if isinstance(entry.event, WorkloadOpened):
            yield replace(entry, event=replace(entry.event, mode=wanted))
        else:
            yield entry


def _as_jobs(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Without workloads. Cancelling one becomes cancelling each job that it had."""
    jobs: dict[str, list[str]] = {}
    for entry in entries:
        match entry.event:
            case JobSubmitted(workload_id=str(workload_id)):
                jobs.setdefault(workload_id, []).append(entry.event.job_id)
                yield replace(entry, event=replace(entry.event, workload_id=None))
            case JobSubmitted() | JobCancelRequested() | BackendStatusSet():
                yield entry
            case WorkloadCancelRequested(workload_id=workload_id):
                # The youngest first: no lane that one leaves is taken by another of them.
                for job_id in reversed(jobs.get(workload_id, [])):
                    yield replace(entry, event=JobCancelRequested(job_id=job_id))
            case WorkloadOpened() | WorkloadCloseRequested():
                pass


def _number(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
