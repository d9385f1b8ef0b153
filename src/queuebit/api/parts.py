"""What the handlers work with, and who is calling them."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request, Response
from pydantic import BaseModel

from queuebit.api.identity import Identity, Tenant
from queuebit.clock import Clock
from queuebit.config import BackendConfig, Config, InstanceConfig, PlanConfig, UserConfig
from queuebit.core.events import Event, Step
from queuebit.devices.snapshot import Snapshot
from queuebit.driver import Driver
from queuebit.engines.task import Engine
from queuebit.errors import ServiceFault
from queuebit.store.database import Database
from queuebit.store.details import Details
from queuebit.store.payloads import Payloads


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
