"""Whether what has to be kept can be kept."""

import asyncio
import logging
import time
from typing import Literal

from queuebit.config import Config
from queuebit.store.database import Database
from queuebit.store.room import Reserve

log = logging.getLogger(__name__)

CHECK_MAX_S = 2.0  # then the database is taken for stuck
AGE_MAX_S = 1.0  # of what the last check found: strangers must not be able to busy the database

Reason = Literal["starting", "stopped", "no workers", "database", "disk"]
"""Why a service is not ready."""


class Storage:
    """Checks the database and the disk, at most once a second whoever asks how often."""

    def __init__(self) -> None:
        self._checked_s = float("-inf")
        self._reason: Reason | None = None
        self._looking = asyncio.Lock()
        self._writing: asyncio.Task[None] | None = None  # what is stuck is not asked for twice

    async def look(
        self, database: Database, config: Config, reserve: Reserve | None = None
    ) -> Reason | None:
        """What is wrong; None: nothing."""
        async with self._looking:
            if time.monotonic() - self._checked_s >= AGE_MAX_S:
                self._reason = await self._look(database, config, reserve)
                self._checked_s = time.monotonic()
        return self._reason

    async def _look(
        self, database: Database, config: Config, reserve: Reserve | None
    ) -> Reason | None:
        disk = reserve or Reserve(config.data, 0)
        size = 0 if reserve is not None else config.max_body_mb * 2**20
        if not await asyncio.to_thread(disk.has_room_for, size):  # as new jobs are refused
            log.error("disk is full", extra={"free_mb": disk.free // 2**20})
            return "disk"
        if self._writing is None:
            self._writing = asyncio.create_task(database.audit.check())
        # Not cancelled when it takes too long: that would cut off a statement.
        done, _ = await asyncio.wait({self._writing}, timeout=CHECK_MAX_S)
        if not done:
            log.error("database is stuck")
            return "database"
        error, self._writing = self._writing.exception(), None
        if error is not None:
            log.error("database cannot be written", exc_info=error)
            return "database"
        return None
