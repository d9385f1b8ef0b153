"""Usage over time, in all instances that the caller has a role in (docs/endpoints.md)."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from queuebit.api.identity import Tenant, plan_id
from queuebit.api.parts import AnyParts, AnyUser, Parts, answer
from queuebit.api.problems import INVALID_REQUEST
from queuebit.api.text import Text
from queuebit.api.times import Instant, from_wire, wire_time
from queuebit.config import PlanConfig
from queuebit.errors import InvalidInput
from queuebit.store.analytics import DAY_MS, AnalyticsQuery, Cell, Sum, Totals
from queuebit.tenancy import User

router = APIRouter(tags=["Analytics"])

DEFAULT_DAYS = 30  # of GET /analytics/usage_grouped_by_date without an interval
DAYS_MAX = 1_000
FILTER_MAX = 200  # entries of one filter; IBM tells it of `subscription_id`

Filter = Annotated[list[Text], Field(max_length=FILTER_MAX)]


class GroupBy(StrEnum):
    """What usage is grouped by."""

    INSTANCE = "instance"
    BACKEND = "backend"
    USER = "user_id"
    PLAN = "plan"
    SUBSCRIPTION = "subscription_id"


class Usage(BaseModel):
    """Totals; times in milliseconds. A session here is a batch or a session ("dedicated")."""

    usage: int
    jobs: int = Field(description="Also those in batches and sessions")
    sessions: int
    sessions_usage: int
    avg_sessions_usage: float
    max_sessions_usage: int
    batch_sessions: int
    batch_sessions_usage: int
    avg_batch_sessions_usage: float
    max_batch_sessions_usage: int
    dedicated_sessions: int
    dedicated_sessions_usage: int
    avg_dedicated_sessions_usage: float
    max_dedicated_sessions_usage: int
    individual_jobs: int
    individual_jobs_usage: int
    avg_individual_jobs_usage: float
    max_individual_jobs_usage: int
    queue_time: int
    avg_queue_time: float
    max_queue_time: int


class GroupUsage(Usage):
    """Totals of one group."""

    key: str | None


class GroupedUsage(BaseModel):
    """Answer of GET /analytics/usage_grouped."""

    data: list[GroupUsage]


class DayUsage(GroupUsage):
    """Totals of one group in one day."""

    interval_start: str
    interval_end: str


class DailyUsage(BaseModel):
    """Answer of GET /analytics/usage_grouped_by_date."""

    interval_start: str
    interval_end: str
    data: list[DayUsage]


class Named(BaseModel):
    """Something that usage can be filtered by."""

    name: str


class FilterInstance(BaseModel):
    """An instance that usage can be filtered by."""

    id: str = Field(description="CRN")
    deleted: bool


class FilterUser(BaseModel):
    """A user that usage can be filtered by."""

    id: str


class Filters(BaseModel):
    """Answer of GET /analytics/filters."""

    backends: list[Named]
    instances: list[FilterInstance]
    users: list[FilterUser]
    plans: list[Named]
    subscriptions: list[dict[str, str]] = Field(description="There are none here")


class UsageFilters(BaseModel):
    """Query of the analytics: what was created in the interval, by whom, where."""

    instance: Filter = Field(default=[], description="CRNs")
    interval_start: Instant | None = None
    interval_end: Instant | None = None
    backend: Filter = []
    user_id: Filter = []
    simulators: bool = Field(default=True, description="Without effect: no backend is one")
    plan: Filter = []
    subscription_id: Annotated[list[UUID], Field(max_length=FILTER_MAX)] = []


class DailyFilters(UsageFilters):
    """Query of GET /analytics/usage_grouped_by_date."""

    group_by: Literal[GroupBy.INSTANCE] = GroupBy.INSTANCE


class GroupFilters(UsageFilters):
    """Query of GET /analytics/usage_grouped."""

    group_by: GroupBy


@router.get("/analytics/usage", response_model=Usage)
async def read_usage(
    parts: AnyParts, user: AnyUser, filters: Annotated[UsageFilters, Query()]
) -> Response:
    """Read the totals."""
    cells = await _cells(parts, user, filters)
    return answer(Usage(**_numbers(cell.totals for cell in cells)))


@router.get("/analytics/usage_grouped", response_model=GroupedUsage)
async def read_grouped(
    parts: AnyParts, user: AnyUser, filters: Annotated[GroupFilters, Query()]
) -> Response:
    """Read the totals by instance, backend, user, plan or subscription."""
    groups: dict[str | None, list[Totals]] = {}
    key = _key(parts, user, filters.group_by)
    for cell in await _cells(parts, user, filters):
        groups.setdefault(key(cell), []).append(cell.totals)
    data = [GroupUsage(key=name, **_numbers(groups[name])) for name in _sorted(groups)]
    return answer(GroupedUsage(data=data), unset=True)


@router.get("/analytics/usage_grouped_by_date", response_model=DailyUsage)
async def read_daily(
    parts: AnyParts, user: AnyUser, filters: Annotated[DailyFilters, Query()]
) -> Response:
    """Read the totals by instance and day; without an interval, of the last 30 days."""
    now = datetime.fromtimestamp(parts.clock.now() / 1000, UTC)
    end = filters.interval_end or now
    start = filters.interval_start or _earlier(end)
    filters = filters.model_copy(update={"interval_start": start, "interval_end": end})
    if from_wire(end) - from_wire(start) > DAYS_MAX * DAY_MS:
        raise InvalidInput(
            f"The interval is longer than {DAYS_MAX} days.", INVALID_REQUEST, "Ask for parts of it."
        )
    groups: dict[tuple[int, str | None], list[Totals]] = {}
    key = _key(parts, user, filters.group_by)
    for cell in await _cells(parts, user, filters):
        groups.setdefault((cell.day, key(cell)), []).append(cell.totals)
    data = [
        DayUsage(
            key=name,
            interval_start=wire_time(day * DAY_MS),
            interval_end=wire_time((day + 1) * DAY_MS),
            **_numbers(groups[day, name]),
        )
        for day, name in sorted(groups, key=lambda group: (group[0], group[1] or ""))
    ]
    told = DailyUsage(
        interval_start=wire_time(from_wire(start)),
        interval_end=wire_time(from_wire(end)),
        data=data,
    )
    return answer(told, unset=True)


@router.get("/analytics/filters", response_model=Filters)
async def read_filters(parts: AnyParts, user: AnyUser) -> Response:
    """Read what usage can be filtered by."""
    tenants = parts.identity.tenants(user)
    cells = await parts.database.analytics(
        AnalyticsQuery(instances=[tenant.instance.id for tenant in tenants])
    )
    return answer(
        Filters(
            backends=[Named(name=name) for name in _sorted({c.backend for c in cells}) if name],
            instances=[FilterInstance(id=one.instance.crn, deleted=False) for one in tenants],
            users=[FilterUser(id=name) for name in _sorted({c.user for c in cells}) if name],
            plans=[Named(name=name) for name in sorted({one.plan.name for one in tenants})],
            subscriptions=[],
        )
    )


def _earlier(end: datetime) -> datetime:
    try:
        return end - timedelta(days=DEFAULT_DAYS)
    except OverflowError:  # in the year 1
        return end


async def _cells(parts: Parts, user: User, filters: UsageFilters) -> list[Cell]:
    since, until = filters.interval_start, filters.interval_end
    if since is not None and until is not None and from_wire(since) > from_wire(until):
        raise InvalidInput("interval_start is after interval_end.", INVALID_REQUEST)
    return await parts.database.analytics(
        AnalyticsQuery(
            instances=[
                tenant.instance.id
                for tenant in parts.identity.tenants(user)
                if _is_asked_for(tenant, filters)
            ],
            since=None if since is None else from_wire(since),
            until=None if until is None else from_wire(until),
            backends=filters.backend,
            users=filters.user_id,
        )
    )


def _names(plan: PlanConfig) -> set[str]:
    """What a plan is called: IBM's qauvern calls the plan pay-as-you-go paygo."""
    return {plan.name, plan_id(plan), *(["paygo"] if plan.pricing == "paygo" else [])}


def _is_asked_for(tenant: Tenant, filters: UsageFilters) -> bool:
    return (
        (not filters.instance or tenant.instance.crn in filters.instance)
        and (not filters.plan or not _names(tenant.plan).isdisjoint(filters.plan))
        and not filters.subscription_id  # no instance has one
    )


def _key(parts: Parts, user: User, group_by: GroupBy) -> Callable[[Cell], str | None]:
    tenants = {tenant.instance.id: tenant for tenant in parts.identity.tenants(user)}
    keys: dict[GroupBy, Callable[[Cell], str | None]] = {
        GroupBy.INSTANCE: lambda cell: tenants[cell.instance].instance.crn,
        GroupBy.BACKEND: lambda cell: cell.backend,
        GroupBy.USER: lambda cell: cell.user,
        GroupBy.PLAN: lambda cell: tenants[cell.instance].plan.name,
        GroupBy.SUBSCRIPTION: lambda _: None,
    }
    return keys[group_by]


def _sorted(names: Iterable[str | None]) -> list[str | None]:
    return sorted(names, key=lambda name: name or "")


def _numbers(totals: Iterable[Totals]) -> dict[str, Any]:
    whole = Totals()
    for one in totals:
        whole.add(one)
    together = Sum()
    together.add(whole.batches)
    together.add(whole.sessions)
    told: dict[str, Any] = {
        "usage": together.total + whole.alone.total,
        "jobs": whole.alone.count + whole.members.count,
        "queue_time": whole.queued.total,
        "avg_queue_time": whole.queued.average,
        "max_queue_time": whole.queued.most,
    }
    for name, amount in (
        ("sessions", together),
        ("batch_sessions", whole.batches),
        ("dedicated_sessions", whole.sessions),
        ("individual_jobs", whole.alone),
    ):
        told |= {
            name: amount.count,
            f"{name}_usage": amount.total,
            f"avg_{name}_usage": amount.average,
            f"max_{name}_usage": amount.most,
        }
    return told
