"""What the handlers work with, and who is calling them."""

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request, Response
from pydantic import BaseModel

from queuebit.api.identity import Identity, Tenant
from queuebit.api.text import check_address
from queuebit.clock import Clock
from queuebit.config import BackendConfig, Config, InstanceConfig, PlanConfig, UserConfig
from queuebit.core.events import Event, Step
from queuebit.devices.snapshot import Snapshot
from queuebit.driver import Driver
from queuebit.engines.task import Engine
from queuebit.errors import RequestError, ServiceFault
from queuebit.store.database import Database
from queuebit.store.details import Details
from queuebit.store.payloads import Payloads

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
        log.error("undertaking failed", extra={"fault": repr(error)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The service behind the API."""

    config: Config
    identity: Identity
    database: Database
    payloads: Payloads
    driver: Driver
    engine: Engine
    clock: Clock
    snapshots: Mapping[str, Snapshot]  # by backend name
    undertakings: Undertakings = field(default_factory=Undertakings)
    being_read: set[str] = field(default_factory=set)  # private jobs whose results are on their way

    async def send(self, event: Event, details: Details | None = None) -> Step:
        """Have the driver decide and save `event`.

        If the service stops meanwhile this does not return, and the server drops the connection:
        told of a 5xx, the client would send once more what may have been saved.
        """
        try:
            return await self.driver.send(event, details)
        except ServiceFault:
            await asyncio.Event().wait()
            raise

    def backend(self, name: str) -> BackendConfig | None:
        """What is configured of backend `name`; None: there is none."""
        return next((backend for backend in self.config.backends if backend.name == name), None)


@dataclass(frozen=True, slots=True)
class Call:
    """One request of one user for one instance."""

    parts: Parts
    user: UserConfig
    tenant: Tenant

    @property
    def instance(self) -> InstanceConfig:
        """Who is charged."""
        return self.tenant.instance

    @property
    def plan(self) -> PlanConfig:
        """What the instance may do."""
        return self.tenant.plan


async def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


async def _user(request: Request) -> UserConfig:
    parts: Parts = request.app.state.parts
    return parts.identity.user(request.headers.get("authorization"))


async def _call(request: Request) -> Call:
    check_address(request)
    parts: Parts = request.app.state.parts
    user = parts.identity.user(request.headers.get("authorization"))
    return Call(parts, user, parts.identity.tenant(user, request.headers.get("service-crn")))


AnyParts = Annotated[Parts, Depends(_parts)]  # needs no credentials
AnyUser = Annotated[UserConfig, Depends(_user)]  # needs credentials, whatever the instance
AnyCall = Annotated[Call, Depends(_call)]  # needs credentials and an instance


def answer(told: BaseModel, *, unset: bool = False) -> Response:
    """Answer 200 with `told`; what is None is left out unless `unset` asks for nulls.

    FastAPI would validate it once more; it was made of our own values.
    """
    content = told.model_dump_json(exclude_none=not unset)
    return Response(content, media_type="application/json")


def nothing() -> Response:
    """Answer 204."""
    return Response(status_code=204)
