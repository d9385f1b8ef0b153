"""What the handlers work with, and who is calling them."""

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request, Response
from pydantic import BaseModel

from queuebit.api.connections import CONNECTION, Connection
from queuebit.api.identity import Identity, Tenant
from queuebit.api.limits import busy, count, count_wrong_key
from queuebit.api.problems import NOT_AUTHORIZED
from queuebit.api.quotas import Quotas
from queuebit.api.rates import Rate
from queuebit.api.repeats import Repeats
from queuebit.api.text import check_address, check_query
from queuebit.api.trail import Watch, of_event
from queuebit.clock import Clock
from queuebit.config import BackendConfig, Config, MockConfig, PlanConfig
from queuebit.core.events import Event, Step
from queuebit.devices.description import Description
from queuebit.driver import Driver
from queuebit.engines.checks import Checks
from queuebit.errors import Forbidden, RequestError, ServiceFault, Unauthorized, Unavailable
from queuebit.logs import SEEN
from queuebit.store.database import Database
from queuebit.store.details import Details
from queuebit.store.payloads import Payloads
from queuebit.store.room import Reserve
from queuebit.tenancy import InstanceRecord, Key, Role, User

log = logging.getLogger(__name__)

T = TypeVar("T")


class Undertakings:
    """What goes on though the request that began it is gone: cut off, it would do harm."""

    def __init__(self) -> None:
        self._under_way: set[asyncio.Task[Any]] = set()

    async def see_through(self, work: Coroutine[Any, Any, T]) -> T:
        """Do `work`, to its end even if the caller is cancelled."""
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_hear)  # nobody else does now
            raise

    async def close(self) -> None:
        """Cancel what is under way and wait until it has cleared up: the service stops."""
        for task in self._under_way:
            task.cancel()
        if self._under_way:
            await asyncio.wait(self._under_way)


def _hear(task: asyncio.Task[Any]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None and not isinstance(error, RequestError):
        log.error("undertaking failed", exc_info=error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The service behind the API."""

    config: Config
    identity: Identity
    database: Database
    payloads: Payloads
    driver: Driver
    checks: Checks
    clock: Clock
    snapshots: Mapping[str, Description]  # by backend name
    repeats: Repeats
    watch: Watch = field(default_factory=Watch)
    submissions: Rate = field(default_factory=Rate)  # of each user in each instance
    undertakings: Undertakings = field(default_factory=Undertakings)
    reserve: Reserve | None = None  # None: the disk is not looked at
    quotas: Quotas = field(default_factory=Quotas)
    being_read: set[str] = field(default_factory=set)  # private jobs whose results are on their way

    async def send(self, event: Event, details: Details | None = None) -> Step:
        """Have the driver decide and save `event`, and with it that the caller wished it.

        Raises Unavailable, and nothing is done, while the database takes no saves.
        If the service stops meanwhile this does not return, and the server drops the connection:
        told of a 5xx, the client would send once more what may have been saved.
        """
        try:
            with self.watch.traces.span("decide and save"):
                told = of_event(event)
                return await self.driver.send(event, details, told, patient=False)
        except Unavailable:  # nothing of it was done
            raise
        except ServiceFault:
            await asyncio.Event().wait()
            raise

    @property
    def mocks(self) -> tuple[str, ...]:
        """Names of the mock backends, whose jobs are dry runs."""
        return tuple(one.name for one in self.config.offered if isinstance(one, MockConfig))

    def backend(self, name: str) -> BackendConfig | None:
        """What is configured of backend `name`, which may be a mock; None: there is none."""
        return next((backend for backend in self.config.offered if backend.name == name), None)


@dataclass(frozen=True, slots=True)
class Call:
    """One request of one user for one instance."""

    parts: Parts
    user: User
    tenant: Tenant

    @property
    def instance(self) -> InstanceRecord:
        """Who is charged."""
        return self.tenant.instance

    @property
    def who(self) -> str:
        """Who sends it and who is charged: what must be equal of a request that comes again."""
        return f"{self.user.id}\n{self.instance.id}"

    @property
    def plan(self) -> PlanConfig:
        """What the instance may do."""
        return self.tenant.plan


async def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


async def _key(request: Request) -> Key:
    check_address(request)
    check_query(request)
    identity: Identity = request.app.state.parts.identity
    try:
        key = identity.key(request.headers.get("authorization"))
    except Unauthorized:
        count_wrong_key(request)
        raise
    count(request, key.id)
    seen = SEEN.get()
    if seen is not None:
        seen.user, seen.key = key.user, key.id
    _identify(request, key.user)
    return key


async def _user(request: Request) -> User:
    identity: Identity = request.app.state.parts.identity
    return identity.user(await _key(request))


def _identify(request: Request, user: str, instance: str | None = None) -> None:
    """Have the connection know whose it is; what it keeps in memory counts for the instance."""
    connection: Connection | None = request.scope.get(CONNECTION)
    if connection is not None and not connection.identify(user, instance):
        raise busy()


async def admin_of(request: Request) -> User:
    """Who asks, if that is an administrator; else Forbidden or Unauthorized."""
    user = await _user(request)
    if not user.admin:
        raise Forbidden(
            f"User {user.name} is not an administrator.",
            NOT_AUTHORIZED,
            "Ask an administrator of the service.",
        )
    return user


async def _call(request: Request) -> Call:
    parts: Parts = request.app.state.parts
    user = await _user(request)
    tenant = parts.identity.tenant(user, request.headers.get("service-crn"))
    _identify(request, user.name, tenant.instance.id)
    seen = SEEN.get()
    if seen is not None:
        seen.instance = tenant.instance.id
    # What changes nothing is a GET, everywhere: so no route can forget to ask.
    if request.method not in ("GET", "HEAD"):
        check_role(tenant, Role.MEMBER)
    return Call(parts, user, tenant)


def check_role(tenant: Tenant, needed: Role) -> None:
    """Refuse who may not do what `needed` may, with Forbidden."""
    if not tenant.role.includes(needed):
        raise Forbidden(
            f"This needs the role {needed} in instance {tenant.instance.name}; "
            f"yours is {tenant.role}.",
            NOT_AUTHORIZED,
            "Ask a manager of the instance for the role.",
        )


AnyParts = Annotated[Parts, Depends(_parts)]  # needs no credentials
AnyKey = Annotated[Key, Depends(_key)]  # the API key itself, or behind the token
AnyUser = Annotated[User, Depends(_user)]  # needs credentials, whatever the instance
AnyAdmin = Annotated[User, Depends(admin_of)]  # needs those of an administrator of the service
AnyCall = Annotated[Call, Depends(_call)]  # needs credentials and an instance, and a role in it


def answer(told: BaseModel, *, unset: bool = False) -> Response:
    """Answer 200 with `told`; what is None is left out unless `unset` asks for nulls.

    FastAPI would validate it once more; it was made of our own values.
    """
    content = told.model_dump_json(exclude_none=not unset)
    return Response(content, media_type="application/json")


def nothing() -> Response:
    """Answer 204."""
    return Response(status_code=204)
