"""What an instance has used (rest.md 9)."""

from fastapi import APIRouter, Response
from pydantic import BaseModel

from queuebit.api.identity import plan_id
from queuebit.api.parts import AnyCall, answer
from queuebit.api.times import wire_time

router = APIRouter(tags=["Instances"])

PERIOD_MS = 28 * 86_400_000  # ms; "rolling 28 days" (semantics 5.4)


class Period(BaseModel):
    """The days that usage is summed over."""

    start_time: str
    end_time: str


class InstanceUsage(BaseModel):
    """Answer of GET /instances/usage; a limit that is null would break the client, so none is."""

    instance_id: str
    plan_id: str
    usage_period: Period
    usage_consumed_seconds: float


@router.get("/instances/usage", response_model=InstanceUsage)
async def read_usage(call: AnyCall) -> Response:
    """Read what the instance has used in the last 28 days."""
    now = call.parts.clock.now()
    used_ms = await call.parts.database.usage_ms(call.instance.name, now - PERIOD_MS)
    return answer(
        InstanceUsage(
            instance_id=call.instance.crn,
            plan_id=plan_id(call.plan),
            usage_period=Period(start_time=wire_time(now - PERIOD_MS), end_time=wire_time(now)),
            usage_consumed_seconds=used_ms / 1000,
        )
    )
