"""How much an instance may keep on the service's disk."""

import time
from dataclasses import dataclass
from typing import Protocol

from starlette.requests import Request

from queuebit.api.problems import STORAGE_FULL, no_room
from queuebit.config import PlanConfig
from queuebit.errors import StorageFull
from queuebit.store.room import Reserve
from queuebit.tenancy import InstanceRecord

AGE_MAX_S = 10.0  # of what was read; what came since is added


class Kept(Protocol):
    """The part of the store that knows how much is kept."""

    async def stored(self, instance: str) -> tuple[int, int]:
        """How many jobs of an instance are kept, and how many bytes their files have."""


@dataclass(slots=True)
class _Stored:
    read_s: float
    jobs: int
    bytes: int


class Quotas:
    """What each instance keeps, read from the database every now and then."""

    def __init__(self) -> None:
        self._stored: dict[str, _Stored] = {}

    async def check(
        self, kept: Kept, instance: InstanceRecord, plan: PlanConfig, size: int
    ) -> None:
        """Raise StorageFull if `size` bytes of a new job are over what the plan allows."""
        if plan.kept_jobs_max is None and plan.storage_mb is None:
            return
        stored = await self._look_up(kept, instance.id)
        if plan.kept_jobs_max is not None and stored.jobs >= plan.kept_jobs_max:
            raise StorageFull(
                f"Instance {instance.name} keeps {stored.jobs} jobs, and may keep "
                f"{plan.kept_jobs_max}.",
                STORAGE_FULL,
                "Delete jobs that have ended.",
            )
        if plan.storage_mb is not None and stored.bytes + size > plan.storage_mb * 2**20:
            raise StorageFull(
                f"With this job, instance {instance.name} would keep "
                f"{(stored.bytes + size) / 2**20:.1f} MiB of inputs and results, over its limit of "
                f"{plan.storage_mb} MiB.",
                STORAGE_FULL,
                "Delete jobs that have ended.",
            )

    def took(self, instance: str, size: int) -> None:
        """Count a job that was accepted."""
        stored = self._stored.get(instance)
        if stored is not None:
            stored.jobs += 1
            stored.bytes += size

    async def _look_up(self, kept: Kept, instance: str) -> _Stored:
        now = time.monotonic()
        stored = self._stored.get(instance)
        if stored is None or now - stored.read_s > AGE_MAX_S:
            jobs, size = await kept.stored(instance)
            stored = self._stored[instance] = _Stored(now, jobs, size)
        return stored


def check_room(reserve: Reserve | None, request: Request) -> None:
    """Raise StorageFull if the disk has no room for the body of a request."""
    told = request.headers.get("content-length", "0")
    if reserve is not None and not reserve.has_room_for(int(told) if told.isdecimal() else 0):
        raise no_room()
