"""What an instance may do, and the account that it belongs to (docs/endpoints.md)."""

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from queuebit.api.identity import Tenant, plan_id
from queuebit.api.parts import AnyCall, AnyParts, AnyUser, Call, answer, check_role, nothing
from queuebit.api.problems import CONFLICT, UNKNOWN_INSTANCE
from queuebit.api.tenants import Seconds, change
from queuebit.api.times import wire_time
from queuebit.api.usage import counts_since, rules_of
from queuebit.errors import Conflict, NotFound
from queuebit.tenancy import Role

router = APIRouter(tags=["Instances"])


class OneInstance(BaseModel):
    """Answer of GET /instance; numbers as text are IBM's."""

    backends: list[str]
    instance_limit: float | None = Field(default=None, deprecated=True)
    instance_limit_seconds: str | None = None
    plan_id: str
    usage_allocation_seconds: str


class Limit(BaseModel):
    """Answer of GET /instances/configuration, and body of PUT; null: no limit of its own."""

    model_config = ConfigDict(extra="forbid")

    instance_limit: Seconds | None = Field(description="Most seconds of QPU time in the window")


class AccountPlan(BaseModel):
    """What an account may do under one plan: its instances of that plan together."""

    plan_id: str
    subscription_id: str
    subscription_name: str
    backends: list[str]
    usage_allocation_seconds: int
    usage_limit_seconds: int | None = None
    unallocated_usage_seconds: int
    max_ttl: int
    interactive_ttl: int
    start_time: str | None = None
    functions: list[str] = Field(description="There are none here")


class Account(BaseModel):
    """Answer of GET /accounts/{id}."""

    plans: list[AccountPlan]


@router.get("/instance", response_model=OneInstance)
async def read_instance(call: AnyCall) -> Response:
    """Read the caller's instance."""
    limit_ms = rules_of(call).limit_ms
    return answer(
        OneInstance(
            backends=[backend.name for backend in call.parts.config.backends],
            instance_limit=None if limit_ms is None else limit_ms / 1000,
            instance_limit_seconds=None if limit_ms is None else f"{limit_ms / 1000:.0f}",
            plan_id=plan_id(call.plan),
            usage_allocation_seconds=f"{call.instance.config.allocation_s:.0f}",
        )
    )


@router.get("/instances/configuration", response_model=Limit)
async def read_limit(call: AnyCall) -> Response:
    """Read the instance's own limit."""
    return answer(Limit(instance_limit=call.instance.config.limit_s), unset=True)


@router.put("/instances/configuration", status_code=204)
async def set_limit(call: AnyCall, wish: Limit) -> Response:
    """Set the instance's own limit; for its managers. Not below what it has used."""
    check_role(call.tenant, Role.MANAGER)
    await change_budget(call, limit_s=wish.instance_limit)
    return nothing()


@router.get("/accounts/{account_id}", response_model=Account)
async def read_account(
    parts: AnyParts, user: AnyUser, account_id: str, plan_id: str | None = None
) -> Response:
    """Read an account by its plans, as far as the caller has a role in its instances."""
    own = [one for one in parts.identity.tenants(user) if one.instance.account_id == account_id]
    if not own:
        raise NotFound(f"Account {account_id} not found.", UNKNOWN_INSTANCE)
    plans: dict[str, list[Tenant]] = {}
    for tenant in own:
        plans.setdefault(_plan_id(tenant), []).append(tenant)
    backends = [backend.name for backend in parts.config.backends]
    return answer(
        Account(
            plans=[
                _account_plan(key, tenants, backends)
                for key, tenants in plans.items()
                if plan_id in (None, key)
            ]
        )
    )


async def change_budget(call: Call, *, limit_s: float | None, **others: float) -> None:
    """Change the instance's own limit, not below what it has used; `others` as they come.

    `others` are settings of the instance, in the configuration's words.
    """
    if call.instance.declared:
        raise Conflict(
            f"Instance {call.instance.name} is declared in the configuration.",
            CONFLICT,
            "Change it there.",
        )
    if limit_s is not None:
        since = counts_since(rules_of(call), call.parts.clock.now())
        used_ms = await call.parts.database.usage_ms(call.instance.id, since)
        if used_ms > limit_s * 1000:
            raise Conflict(
                f"The instance has used {used_ms / 1000:g} s in its window, more than "
                f"{limit_s:g} s.",
                CONFLICT,
            )
    await change(call.parts, call.instance, limit_s=limit_s, **others)


def _plan_id(tenant: Tenant) -> str:
    return plan_id(tenant.plan)


def _account_plan(key: str, tenants: list[Tenant], backends: list[str]) -> AccountPlan:
    plan = tenants[0].plan
    limits = [
        t.plan.limit_s if t.instance.config.limit_s is None else t.instance.config.limit_s
        for t in tenants
    ]
    since = [t.instance.config.since for t in tenants if t.instance.config.since is not None]
    return AccountPlan(
        plan_id=key,
        subscription_id=key,  # there are no subscriptions; a plan is what stands for one
        subscription_name=plan.name,
        backends=backends,
        usage_allocation_seconds=round(sum(t.instance.config.allocation_s for t in tenants)),
        usage_limit_seconds=None if None in limits else round(sum(limit or 0 for limit in limits)),
        unallocated_usage_seconds=0,
        max_ttl=plan.max_ttl_s,
        interactive_ttl=plan.interactive_ttl_s,
        start_time=wire_time(round(min(since).timestamp() * 1000)) if since else None,
        functions=[],
    )
