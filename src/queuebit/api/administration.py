"""Pausing backends, and how they are: resources beside IBM's."""

from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from queuebit.api.backends import states, unknown_backend
from queuebit.api.parts import AnyAdmin, AnyParts, AnyUser, answer, nothing
from queuebit.api.times import wire_time, wire_time_or_none
from queuebit.core.events import BackendStatusSet
from queuebit.core.model import BackendState, BackendStatus

router = APIRouter(tags=["Queuebit"])

REASONS = {
    BackendStatus.ONLINE: "available",
    BackendStatus.PAUSED: "paused by an administrator",
    BackendStatus.OFFLINE: "maintenance",
}
"""What is told of a status that was set without a reason."""

# One line: it is a cell of tables, and no database stores a NUL.
Line = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]


class StatusRequest(BaseModel):
    """Body of PATCH /queuebit/backends/{name}."""

    model_config = ConfigDict(extra="forbid")

    status: BackendStatus
    reason: Line | None = None  # None: the usual one of the status


class NextCalibration(BaseModel):
    """A calibration that is not due yet."""

    kind: str
    at: str


class CalibrationsAnswer(BaseModel):
    """What becomes of a backend's calibrations."""

    running: str | None = Field(description="Kind that has the QPU")
    due: list[str] = Field(description="Kinds that wait for the QPU, first due first")
    scheduled: list[NextCalibration] = Field(description="The next first")
    last_ended: str | None


class BackendAnswer(BaseModel):
    """A backend as who runs it sees it."""

    name: str
    qubits: int
    status: BackendStatus
    reason: str
    lanes: int
    running: int = Field(description="Jobs that hold a lane")
    queued: int = Field(description="Jobs that wait for a lane")
    calibration: CalibrationsAnswer


class BackendsAnswer(BaseModel):
    """Answer of GET /queuebit/backends."""

    backends: list[BackendAnswer]


@router.get("/queuebit/backends", response_model=BackendsAnswer)
async def list_all(parts: AnyParts, _user: AnyUser, *, include_mocks: bool = False) -> Response:
    """List the backends: whether they start jobs, how full they are, how calibrated."""
    state, running = await states(parts), await parts.database.running_jobs()
    queued = await parts.database.queue_lengths()
    told = [
        BackendAnswer(
            name=one.name,
            qubits=parts.snapshots[one.name].listing["qubits"],
            status=state[one.name].status,
            reason=state[one.name].status_reason,
            lanes=one.lanes,
            running=running.get(one.name, 0),
            queued=queued.get(one.name, 0),
            calibration=_calibrations(state[one.name]),
        )
        for one in (parts.config.offered if include_mocks else parts.config.backends)
    ]
    return answer(BackendsAnswer(backends=told), unset=True)


@router.patch("/queuebit/backends/{name}", status_code=204)
async def set_status(parts: AnyParts, _admin: AnyAdmin, name: str, wish: StatusRequest) -> Response:
    """Pause a backend, take it into maintenance, or bring it back; only an administrator may.

    One that is not online accepts jobs and starts none. What runs runs on, and so does a session
    that is active.
    """
    if parts.backend(name) is None:
        raise unknown_backend(parts, name)
    reason = wish.reason or REASONS[wish.status]
    await parts.send(BackendStatusSet(backend=name, status=wish.status, reason=reason))
    return nothing()


def _calibrations(state: BackendState) -> CalibrationsAnswer:
    scheduled = sorted(state.scheduled, key=lambda one: one[1])
    return CalibrationsAnswer(
        running=state.calibrating,
        due=list(state.due),
        scheduled=[NextCalibration(kind=kind, at=wire_time(at)) for kind, at in scheduled],
        last_ended=wire_time_or_none(state.calibrated_at),
    )
