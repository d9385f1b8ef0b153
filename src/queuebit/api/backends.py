"""Backends: what there is, how busy it is, and what it is like (docs/endpoints.md)."""

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict

from queuebit.api.parts import AnyCall, Call, Parts, answer
from queuebit.api.problems import NOT_FOUND
from queuebit.api.times import Instant, from_wire
from queuebit.config import MOCK, BackendConfig, MockConfig
from queuebit.core.model import BackendState, BackendStatus, Calibrated
from queuebit.devices.description import Description
from queuebit.devices.snapshot import Snapshot
from queuebit.errors import NotFound

router = APIRouter(tags=["Backends"])


WAIT_TIME = "wait_time_seconds"  # the only one of `fields`
LATEST = 2**63 - 1  # an instant after all others
_WAITS_MAX = 200  # jobs that waiting times are summed up from

Service = Literal["active", "internal", "maintenance"]
# semantics 2.8: "internal" of a backend in service is "accepts jobs but does not process them".
_SERVICE: dict[BackendStatus, tuple[bool, Service]] = {
    BackendStatus.ONLINE: (True, "active"),
    BackendStatus.PAUSED: (True, "internal"),
    BackendStatus.OFFLINE: (False, "maintenance"),
}


class DeviceStatus(BaseModel):
    """Whether a backend starts jobs."""

    name: BackendStatus
    reason: str


class WaitTime(BaseModel):
    """How many seconds the jobs waited that started last."""

    average: float
    p50: float
    p95: float


class DeviceAnswer(BaseModel):
    """A backend in the list."""

    model_config = ConfigDict(extra="allow")

    name: str
    status: DeviceStatus
    queue_length: int
    qubits: int
    physical_qubits: int
    is_simulator: bool
    performance_metrics: dict[str, Any] | None = None
    processor_type: dict[str, Any] | None = None
    clops: dict[str, Any] | None = None
    wait_time_seconds: WaitTime | None = None


class DevicesAnswer(BaseModel):
    """Answer of GET /backends."""

    devices: list[DeviceAnswer]


class StatusAnswer(BaseModel):
    """Answer of GET /backends/{name}/status.

    The client warns at submitting if `state` is true and `status` is not "active".
    """

    state: bool
    status: Service
    message: str
    length_queue: int
    backend_version: str


class ConfigurationAnswer(BaseModel):
    """What a backend is: its size, gates, coupling, times."""

    model_config = ConfigDict(extra="allow")

    backend_name: str
    backend_version: str
    n_qubits: int
    basis_gates: list[str]
    gates: list[dict[str, Any]]
    coupling_map: list[list[int]] | None
    local: bool
    simulator: bool
    conditional: bool
    open_pulse: bool
    memory: bool
    online_date: str


class PropertiesAnswer(BaseModel):
    """How well a backend's qubits and gates are calibrated."""

    backend_name: str
    backend_version: str
    last_update_date: str
    qubits: list[list[dict[str, Any]]]
    gates: list[dict[str, Any]]
    general: list[dict[str, Any]]


@router.get("/backends", response_model=DevicesAnswer)
async def list_backends(
    call: AnyCall, fields: str | None = None, *, include_mocks: bool = False
) -> Response:
    """List the backends with the lengths of their queues; mocks only if they are asked for."""
    shown = call.parts.config.offered if include_mocks else call.parts.config.backends
    database = call.parts.database
    state, lengths = await states(call.parts), await database.queue_lengths()
    with_waits = WAIT_TIME in (fields or "").split(",")
    devices = [
        DeviceAnswer(
            **_listing(call.parts.snapshots[one.name], state[one.name].calibrated),
            **_class(one),
            status=DeviceStatus(name=state[one.name].status, reason=state[one.name].status_reason),
            queue_length=lengths.get(one.name, 0),
            wait_time_seconds=(
                _wait_time(await database.waits(one.name, _WAITS_MAX)) if with_waits else None
            ),
        )
        for one in shown
    ]
    return answer(DevicesAnswer(devices=devices))


@router.get("/backends/{name}/configuration", response_model=ConfigurationAnswer)
async def read_configuration(call: AnyCall, name: str) -> Response:
    """Read what a backend is."""
    return Response(_configuration(_snapshot(call, name)), media_type="application/json")


@router.get("/backends/{name}/properties", response_model=PropertiesAnswer)
async def read_properties(
    call: AnyCall, name: str, updated_before: Instant | None = None
) -> Response:
    """Read how good a backend is: as of now, or as it was known at an earlier instant.

    Before the first calibration that is what the snapshot says.
    """
    described = _snapshot(call, name)
    if isinstance(described, Snapshot):
        by = LATEST if updated_before is None else from_wire(updated_before)
        content = _properties(described, await call.parts.database.calibrated(name, by))
    else:  # a device from outside knows its own history
        content = json.dumps(described.properties(updated_before)).encode()
    return Response(content, media_type="application/json")


@router.get("/backends/{name}/defaults", response_model=None)
async def read_defaults(call: AnyCall, name: str) -> Response:
    """Read how its pulses are shaped by default: null, for none of them can be changed."""
    _snapshot(call, name)
    return Response("null", media_type="application/json")


@router.get("/backends/{name}/status", response_model=StatusAnswer)
async def read_status(call: AnyCall, request: Request, name: str) -> Response:
    """Read whether a backend runs jobs, and how many wait."""
    call.parts.repeats.announce(request, call.who)
    snapshot = _snapshot(call, name)
    lengths = await call.parts.database.queue_lengths()
    found = (await states(call.parts))[name]
    in_service, status = _SERVICE[found.status]
    return answer(
        StatusAnswer(
            state=in_service,
            status=status,
            message="" if found.status is BackendStatus.ONLINE else found.status_reason,
            length_queue=lengths.get(name, 0),
            backend_version=snapshot.configuration["backend_version"],
        )
    )


async def states(parts: Parts) -> dict[str, BackendState]:
    """What became of each backend that is configured."""
    saved = await parts.database.backend_states()
    names = [backend.name for backend in parts.config.offered]
    return {name: saved.get(name, BackendState(id=name)) for name in names}


def _class(backend: BackendConfig) -> dict[str, Any]:
    """What has `least_busy` and lists of the client pass over a mock."""
    return {"class": MOCK} if isinstance(backend, MockConfig) else {}


def unknown_backend(parts: Parts, name: str) -> NotFound:
    """Make the error for a backend that there is not."""
    names = ", ".join(backend.name for backend in parts.config.backends)
    return NotFound(f"device not found: {name}", NOT_FOUND, f"Use one of {names}.")


def _snapshot(call: Call, name: str) -> Description:
    snapshot = call.parts.snapshots.get(name)
    if snapshot is None:
        raise unknown_backend(call.parts, name)
    return snapshot


def _wait_time(waits_ms: Sequence[int]) -> WaitTime | None:
    """Sum up; a percentile is the least wait that so many of them are not longer than."""
    if not waits_ms:
        return None
    seconds = [wait / 1000 for wait in sorted(waits_ms)]
    count = len(seconds)
    return WaitTime(
        average=round(sum(seconds) / count, 3),
        p50=seconds[-(-50 * count // 100) - 1],
        p95=seconds[-(-95 * count // 100) - 1],
    )


# Half a megabyte of JSON is asked for again and again, and encoding it takes some 10 ms.
@lru_cache(maxsize=128)
def _configuration(snapshot: Description) -> bytes:
    return json.dumps(snapshot.configuration).encode()


@lru_cache(maxsize=32)
def _properties(snapshot: Snapshot, calibrated: Calibrated | None) -> bytes:
    return json.dumps(snapshot.after(calibrated).properties()).encode()


@lru_cache(maxsize=128)
def _listing(described: Description, calibrated: Calibrated | None) -> dict[str, Any]:
    if isinstance(described, Snapshot):
        described = described.after(calibrated)
    return described.listing
