"""What an instance has used (docs/endpoints.md)."""

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from queuebit import scheduling
from queuebit.api.identity import plan_id
from queuebit.api.parts import AnyCall, Call, answer
from queuebit.api.times import whole_seconds, wire_time
from queuebit.core.hourly import HOUR_MS
from queuebit.core.model import Instance

router = APIRouter(tags=["Instances"])


class Period(BaseModel):
    """The days that usage is summed over."""

    start_time: str
    end_time: str


class HardBudget(BaseModel):
    """What the caller's next job has to fit into, in seconds of QPU time."""

    whose: str = Field(description="instance or user: the one whose limit leaves less")
    limit_seconds: float
    used_seconds: float
    reserved_seconds: float = Field(description="For jobs that have not ended")
    left_seconds: float


class InstanceUsage(BaseModel):
    """Answer of GET /instances/usage; a limit that is null would break the client, so none is."""

    instance_id: str
    plan_id: str
    usage_period: Period
    usage_consumed_seconds: int
    usage_allocation_seconds: int | None = None
    usage_limit_seconds: int | None = None
    usage_limit_reached: bool | None = None
    queuebit: HardBudget | None = Field(default=None, description="Of a plan with hard budgets")


@router.get("/usage", response_model=InstanceUsage, summary="Read usage as IBM's guide asks for it")
@router.get("/instances/usage", response_model=InstanceUsage)
async def read_usage(call: AnyCall) -> Response:
    """Read what the instance has used in its window, and what it may use.

    A session that is active counts so far: by this its limit falls (decisions 3, 5).
    """
    now = call.parts.clock.now()
    rules = rules_of(call)
    since = counts_since(rules, now)
    # Without a window all counts; users' and instances' dates are by the wall clock.
    begins = since or min(call.instance.created_at, now)
    used_ms = await call.parts.database.usage_ms(call.instance.id, since, now)
    limit_ms = rules.limit_ms
    return answer(
        InstanceUsage(
            instance_id=call.instance.crn,
            plan_id=plan_id(call.plan),
            usage_period=Period(start_time=wire_time(begins), end_time=wire_time(now)),
            usage_consumed_seconds=whole_seconds(used_ms),
            # The client takes it for time that is left; without a limit ours is a weight only.
            usage_allocation_seconds=None
            if limit_ms is None
            else round(call.instance.config.allocation_s),
            usage_limit_seconds=None if limit_ms is None else round(limit_ms / 1000),
            usage_limit_reached=None if limit_ms is None else used_ms >= limit_ms,
            queuebit=_hard_budget(call),
        )
    )


def _hard_budget(call: Call) -> HardBudget | None:
    budget = call.parts.driver.budget(call.instance.id, call.user.id)
    if budget is None:
        return None
    return HardBudget(
        whose=budget.whose,
        limit_seconds=budget.limit_ms / 1000,
        used_seconds=budget.used_ms / 1000,
        reserved_seconds=budget.reserved_ms / 1000,
        left_seconds=max(0, budget.left_ms) / 1000,
    )


def rules_of(call: Call) -> Instance:
    """What the caller's instance may use."""
    return scheduling.instance(call.instance, call.plan)


def counts_since(rules: Instance, now: int) -> int:
    """From when on the usage of an instance counts: the ledger's windows roll by the hour."""
    if rules.window_ms is None:
        return rules.since
    return max(rules.since, (now - rules.window_ms) // HOUR_MS * HOUR_MS)
