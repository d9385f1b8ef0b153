"""What if an instance had another plan: its limit and window, its times to live, its modes."""

from collections.abc import Mapping
from dataclasses import replace

from queuebit import scheduling
from queuebit.config import InstanceConfig, PlanConfig
from queuebit.core.events import JobSubmitted, WorkloadOpened
from queuebit.core.model import Instance, Mode
from queuebit.errors import QueuebitError
from queuebit.simulate.trace import Entry, Trace
from queuebit.tenancy import InstanceRecord


def with_plans(trace: Trace, wish: str, plans: Mapping[str, PlanConfig]) -> Trace:
    """`trace` with other plans; `wish` is "open" for all instances, or "lab:open+class:flex".

    QueuebitError if there is no such plan or instance.
    """
    known = {one.id: one for one in trace.instances}
    for entry in trace.entries:
        if isinstance(entry.event, JobSubmitted | WorkloadOpened):
            known.setdefault(entry.event.instance, Instance(id=entry.event.instance))
    given: dict[str, PlanConfig] = {}
    for part in wish.split("+"):
        name, colon, plan = part.rpartition(":")
        if plan not in plans:
            raise QueuebitError(f"what-if: there is no plan {plan!r}; there are {', '.join(plans)}")
        if colon and name not in known:
            raise QueuebitError(f"what-if: there is no instance {name!r} in the trace")
        given |= dict.fromkeys([name] if colon else known, plans[plan])
    return replace(
        trace,
        instances=tuple(
            _ruled(one, given[one.id]) if one.id in given else one for one in known.values()
        ),
        entries=tuple(_planned(entry, given) for entry in trace.entries),
    )


def _ruled(instance: Instance, plan: PlanConfig) -> Instance:
    """The instance with the rules of a plan; its share and from when it counts are its own."""
    rules = scheduling.instance(InstanceRecord(id="any", config=InstanceConfig(name="any")), plan)
    return replace(
        instance,
        limit_ms=rules.limit_ms,
        window_ms=rules.window_ms,
        on_limit=rules.on_limit,
        pending_max=rules.pending_max,
        is_hard=rules.is_hard,
        user_limit_ms=rules.user_limit_ms,
        credit_ms=rules.credit_ms,
    )


def _planned(entry: Entry, given: Mapping[str, PlanConfig]) -> Entry:
    """What its client would have opened: times to live as the plan allows, no session without."""
    event = entry.event
    if not isinstance(event, WorkloadOpened) or event.instance not in given:
        return entry
    plan = given[event.instance]
    max_ttl_ms = min(event.max_ttl_ms, plan.max_ttl_s * 1_000)
    return replace(
        entry,
        event=replace(
            event,
            mode=event.mode if plan.sessions is True else Mode.BATCH,
            max_ttl_ms=max_ttl_ms,
            active_ttl_ms=min(event.active_ttl_ms, max_ttl_ms),
            interactive_ttl_ms=plan.interactive_ttl_s * 1_000,
            unused_ttl_ms=plan.unused_ttl_s * 1_000,
            ends_idle=plan.idle_batches == "close",
        ),
    )
