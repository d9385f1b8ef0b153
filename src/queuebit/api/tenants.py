"""Instances and who may use them: resources beside IBM's, for administrators and managers."""

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from queuebit import scheduling
from queuebit.api.parts import AnyAdmin, AnyParts, AnyUser, Parts, answer, nothing
from queuebit.api.problems import (
    CONFLICT,
    INVALID_REQUEST,
    NOT_AUTHORIZED,
    NOT_FOUND,
    UNKNOWN_INSTANCE,
    invalid,
)
from queuebit.api.times import Instant, wire_time
from queuebit.config import InstanceConfig
from queuebit.core.events import InstanceSet
from queuebit.errors import Conflict, Forbidden, InvalidInput, NotFound
from queuebit.store.listing import EntryStatus, WorkloadQuery
from queuebit.tenancy import Grant, InstanceRecord, Role, User

router = APIRouter(tags=["Queuebit"])

_UNFINISHED = frozenset({EntryStatus.PENDING, EntryStatus.IN_PROGRESS})

Seconds = Annotated[float, Field(ge=0, le=1e11, strict=True)]  # 3,000 years; neither inf nor nan


class InstanceChanges(BaseModel):
    """Body of PATCH /queuebit/instances/{name}: what is not given stays as it is."""

    model_config = ConfigDict(extra="forbid")

    plan: str | None = None
    account: str | None = None
    tags: list[str] | None = None
    allocation_seconds: Seconds | None = None
    limit_seconds: Seconds | None = Field(default=None, description="Null: the plan's")
    since: Instant | None = None


class NewInstance(InstanceChanges):
    """Body of POST /queuebit/instances: what is not given has the configuration's default."""

    name: str


class RoleRequest(BaseModel):
    """Body of PUT /queuebit/instances/{name}/users/{user}."""

    model_config = ConfigDict(extra="forbid")

    role: Role


class MemberAnswer(BaseModel):
    """A user of an instance."""

    name: str
    role: Role


class InstanceAnswer(BaseModel):
    """An instance."""

    name: str
    crn: str
    plan: str
    account: str
    tags: list[str]
    allocation_seconds: float
    limit_seconds: float | None = Field(description="Null: the plan's")
    since: str | None
    declared: bool = Field(description="The configuration has it, so only there it can be changed")
    role: Role | None = Field(description="Yours")
    users: list[MemberAnswer] | None = Field(description="For its managers and administrators")


class InstancesAnswer(BaseModel):
    """Answer of GET /queuebit/instances."""

    instances: list[InstanceAnswer]


@router.get("/queuebit/instances", response_model=InstancesAnswer)
async def list_instances(parts: AnyParts, user: AnyUser) -> Response:
    """List your instances; an administrator sees all."""
    directory = parts.identity.directory
    records = sorted(directory.instances.values(), key=lambda record: record.name)
    listed = [
        _answer(parts, user, record)
        for record in records
        if user.admin or directory.role(user.id, record.id)
    ]
    return answer(InstancesAnswer(instances=listed), unset=True)


@router.post("/queuebit/instances", status_code=201, response_model=InstanceAnswer)
async def add_instance(parts: AnyParts, admin: AnyAdmin, wish: NewInstance) -> Response:
    """Add an instance."""
    if parts.identity.directory.instance_named(wish.name):
        raise Conflict(f"Instance {wish.name} is there already.", CONFLICT)
    config = _checked(parts, {"name": wish.name} | _settings(wish))
    record = await parts.identity.add(
        InstanceRecord(id=wish.name, config=config, created_at=parts.clock.now())
    )
    await _tell_scheduler(parts, record)
    body = _answer(parts, admin, record).model_dump_json()
    return Response(body, status_code=201, media_type="application/json")


@router.patch("/queuebit/instances/{name}", response_model=InstanceAnswer)
async def change_instance(
    parts: AnyParts, admin: AnyAdmin, name: str, wish: InstanceChanges
) -> Response:
    """Change an instance; what it used, and its jobs, stay."""
    present = _changeable(parts, admin, name)
    record = await change(parts, present, **_settings(wish))
    return answer(_answer(parts, admin, record), unset=True)


@router.delete("/queuebit/instances/{name}", status_code=204)
async def remove_instance(parts: AnyParts, admin: AnyAdmin, name: str) -> Response:
    """Remove an instance that has nothing queued, running or open; its jobs stay on record."""
    record = _changeable(parts, admin, name)
    with parts.identity.closing(record):
        await _tell_scheduler(parts, record)  # on return, what was sent before is saved
        page = await parts.database.workloads(
            WorkloadQuery(instance=record.id, statuses=_UNFINISHED, limit=1)
        )
        if page.entries:
            raise Conflict(
                f"Instance {name} has jobs or workloads that have not ended.",
                CONFLICT,
                "Cancel them, or wait.",
            )
        await parts.identity.remove(record)
    return nothing()


@router.put("/queuebit/instances/{name}/users/{user_name}", status_code=204)
async def set_role(
    parts: AnyParts, user: AnyUser, name: str, user_name: str, wish: RoleRequest
) -> Response:
    """Give a user a role in an instance; for its managers and administrators."""
    grant = _grantable(parts, user, name, user_name)
    await parts.identity.put(Grant(user=grant.user, instance=grant.instance, role=wish.role))
    return nothing()


@router.delete("/queuebit/instances/{name}/users/{user_name}", status_code=204)
async def remove_role(parts: AnyParts, user: AnyUser, name: str, user_name: str) -> Response:
    """Take a user's role in an instance away; for its managers and administrators."""
    await parts.identity.remove(_grantable(parts, user, name, user_name))
    return nothing()


def _instance(parts: Parts, user: User, name: str) -> InstanceRecord:
    """The instance of this name; NotFound if there is none, or the caller has no role in it."""
    directory = parts.identity.directory
    record = directory.instance_named(name)
    if record is None or not (user.admin or directory.role(user.id, record.id)):
        raise NotFound(f"Instance {name} not found.", UNKNOWN_INSTANCE)
    return record


def _changeable(parts: Parts, user: User, name: str) -> InstanceRecord:
    record = _instance(parts, user, name)
    if record.declared:
        raise Conflict(
            f"Instance {name} is declared in the configuration.", CONFLICT, "Change it there."
        )
    return record


def _grantable(parts: Parts, user: User, name: str, user_name: str) -> Grant:
    """The grant that may be changed, of any role if there is none yet."""
    directory = parts.identity.directory
    instance = _instance(parts, user, name)
    if not user.admin and directory.role(user.id, instance.id) is not Role.MANAGER:
        raise Forbidden(
            f"This needs the role manager in instance {name}.",
            NOT_AUTHORIZED,
            "Ask one of its managers, or an administrator.",
        )
    member = directory.user_named(user_name)
    if member is None:
        raise NotFound(f"User {user_name} not found.", NOT_FOUND)
    present = directory.grants.get((member.id, instance.id))
    if present is not None and present.declared:
        raise Conflict(
            f"The role of {user_name} in {name} is declared in the configuration.",
            CONFLICT,
            "Change it there.",
        )
    return present or Grant(user=member.id, instance=instance.id, role=Role.READER)


async def change(parts: Parts, record: InstanceRecord, **settings: Any) -> InstanceRecord:
    """Change some settings of an instance, in the configuration's words; the changed record.

    Saves it, and lets the scheduler know; the next start mends a crash between the two.
    """
    config = _checked(parts, record.config.model_dump() | settings)
    changed = replace(record, config=config)
    await parts.identity.put(changed)
    await _tell_scheduler(parts, changed)
    return changed


async def _tell_scheduler(parts: Parts, record: InstanceRecord) -> None:
    plan = parts.identity.plan(record.config.plan)
    assert plan is not None
    instance = scheduling.instance(record, plan)
    since = scheduling.usage_since([instance], parts.clock.now())
    charges = await parts.database.charges(since)
    own = tuple(charge for charge in charges if charge.instance == instance.id)
    await parts.send(InstanceSet(instance=instance, charges=own))


def _settings(wish: InstanceChanges) -> dict[str, Any]:
    """What was given, in the configuration's words; only a limit may be taken back by null."""
    given = wish.model_dump(exclude_unset=True, exclude={"name"})
    words = {"allocation_seconds": "allocation_s", "limit_seconds": "limit_s"}
    return {
        words.get(key, key): value
        for key, value in given.items()
        if value is not None or key in ("limit_seconds", "since")
    }


def _checked(parts: Parts, values: dict[str, Any]) -> InstanceConfig:
    try:
        config = InstanceConfig.model_validate(values)
    except ValidationError as error:
        raise invalid(error, "body") from None
    if parts.identity.plan(config.plan) is None:
        plans = ", ".join(plan.name for plan in parts.config.plans)
        raise InvalidInput(
            f"There is no plan {config.plan[:64]!r}.", INVALID_REQUEST, f"Use one of {plans}."
        )
    return config


def _answer(parts: Parts, user: User, record: InstanceRecord) -> InstanceAnswer:
    directory, config = parts.identity.directory, record.config
    role = directory.role(user.id, record.id)
    members = [
        MemberAnswer(name=directory.users[grant.user].name, role=grant.role)
        for grant in directory.grants.values()
        if grant.instance == record.id
    ]
    return InstanceAnswer(
        name=record.name,
        crn=record.crn,
        plan=config.plan,
        account=config.account,
        tags=list(config.tags),
        allocation_seconds=config.allocation_s,
        limit_seconds=config.limit_s,
        since=None if config.since is None else wire_time(round(config.since.timestamp() * 1e3)),
        declared=record.declared,
        role=role,
        users=sorted(members, key=lambda member: member.name)
        if user.admin or role is Role.MANAGER
        else None,
    )
