"""What an instance has used (docs/endpoints.md)."""

from fastapi import APIRouter, Response
from pydantic import BaseModel

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


class InstanceUsage(BaseModel):
    """Answer of GET /instances/usage; a limit that is null would break the client, so none is."""

    instance_id: str
    plan_id: str
    usage_period: Period
    usage_consumed_seconds: int
    usage_allocation_seconds: int | None = None
    usage_limit_seconds: int | None = None
    usage_limit_reached: bool | None = None


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
        )
    )


def rules_of(call: Call) -> Instance:
    """What the caller's instance may use."""
    return scheduling.instance(call.instance, call.plan)


def counts_since(rules: Instance, now: int) -> int:
    """From when on the usage of an instance counts: the ledger's windows roll by the hour."""
    if rules.window_ms is None:
        return rules.since
    return max(rules.since, (now - rules.window_ms) // HOUR_MS * HOUR_MS)
