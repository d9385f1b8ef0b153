"""Backends: what there is, how busy it is, and what it is like (rest.md 7)."""

import json
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict

from queuebit.api.parts import AnyCall, Call, answer
from queuebit.api.problems import NOT_FOUND
from queuebit.devices.snapshot import Snapshot
from queuebit.errors import NotFound

router = APIRouter(tags=["Backends"])


class DeviceStatus(BaseModel):
    """Whether a backend runs jobs."""

    name: Literal["online", "paused", "offline"] = "online"
    reason: str = "available"


class DeviceAnswer(BaseModel):
    """A backend in the list."""

    model_config = ConfigDict(extra="allow")

    name: str
    status: DeviceStatus
    queue_length: int
    qubits: int
    is_simulator: bool
    performance_metrics: dict[str, Any] | None = None
    processor_type: dict[str, Any] | None = None
    clops: dict[str, Any] | None = None


class DevicesAnswer(BaseModel):
    """Answer of GET /backends."""

    devices: list[DeviceAnswer]


class StatusAnswer(BaseModel):
    """Answer of GET /backends/{name}/status; anything but "active" makes the client warn."""

    state: bool
    status: Literal["active"]
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
    """List the backends with the lengths of their queues."""
    del fields, include_mocks  # there are no waiting times and no mocks to tell yet
    lengths = await call.parts.database.queue_lengths()
    devices = [
        DeviceAnswer(**snapshot.listing, status=DeviceStatus(), queue_length=lengths.get(name, 0))
        for name, snapshot in call.parts.snapshots.items()
    ]
    return answer(DevicesAnswer(devices=devices))


@router.get("/backends/{name}/configuration", response_model=ConfigurationAnswer)
async def read_configuration(call: AnyCall, name: str) -> Response:
    """Read what a backend is."""
    return Response(_configuration(_snapshot(call, name)), media_type="application/json")


@router.get("/backends/{name}/properties", response_model=PropertiesAnswer)
async def read_properties(
    call: AnyCall, name: str, updated_before: datetime | None = None
) -> Response:
    """Read a backend's calibration, the present one or that of an earlier date."""
    content = _properties(_snapshot(call, name), updated_before)
    return Response(content, media_type="application/json")


@router.get("/backends/{name}/status", response_model=StatusAnswer)
async def read_status(call: AnyCall, name: str) -> Response:
    """Read whether a backend runs jobs, and how many wait."""
    snapshot = _snapshot(call, name)
    lengths = await call.parts.database.queue_lengths()
    return answer(
        StatusAnswer(
            state=True,
            status="active",
            message="",
            length_queue=lengths.get(name, 0),
            backend_version=snapshot.configuration["backend_version"],
        )
    )


def _snapshot(call: Call, name: str) -> Snapshot:
    snapshot = call.parts.snapshots.get(name)
    if snapshot is None:
        names = ", ".join(call.parts.snapshots)
        raise NotFound(f"device not found: {name}", NOT_FOUND, f"Use one of {names}.")
    return snapshot


# Half a megabyte of JSON is asked for again and again, and encoding it takes some 10 ms.
@lru_cache(maxsize=128)
def _configuration(snapshot: Snapshot) -> bytes:
    return json.dumps(snapshot.configuration).encode()


@lru_cache(maxsize=32)
def _properties(snapshot: Snapshot, updated_before: datetime | None) -> bytes:
    return json.dumps(snapshot.properties(updated_before)).encode()
