"""Accepting connections: each is counted from here on, and running out of descriptors only waits.

The event loops' own servers know a connection after its TLS handshake. They also treat a lack of
descriptors each in its own way; one of them stops to listen.
"""

import asyncio
import logging
import resource
import socket
from collections.abc import Callable

from queuebit.api.connection_slots import Slot, Slots

log = logging.getLogger(__name__)

ACCEPTS_MAX = 64  # at once, before others have their turn
PAUSE_S = 0.2  # after an error; connections wait in the kernel's queue meanwhile
TELL_S = 60.0  # how often such an error is logged
RESERVE = 256  # descriptors for the database, payloads, workers and refusals; at most half of all
PER_CONNECTION = 2  # its socket, and the file that a body goes to or an answer comes from


def raise_descriptor_limit() -> int:
    """Raise the process's soft limit of open files to its hard limit; returns the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError):  # macOS: it may be over what the kernel allows
            log.warning("limit of open files stays", extra={"limit": soft})
    return 2**20 if soft == resource.RLIM_INFINITY else soft


def connections_within(descriptors: int) -> int:
    """How many connections so many descriptors allow."""
    reserve = min(RESERVE, descriptors // 2)
    return max(1, (descriptors - reserve) // PER_CONNECTION)


class Acceptor:
    """Accepts connections of a listening socket, as long as there are slots.

    It has the methods of `asyncio.Server` that uvicorn calls.
    """

    def __init__(
        self, listener: socket.socket, slots: Slots, protocol: Callable[[Slot], asyncio.Protocol]
    ) -> None:
        self._listener = listener
        self._slots = slots
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._resuming: asyncio.TimerHandle | None = None
        self._told_at = float("-inf")
        self._is_closed = False
        listener.setblocking(False)
        self._resume()

    def close(self) -> None:
        """Accept no more."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._resuming is not None:
            self._resuming.cancel()
        self._loop.remove_reader(self._listener)

    async def wait_closed(self) -> None:
        """Wait for connections that are being taken over."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _resume(self) -> None:
        self._resuming = None
        self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        for _ in range(ACCEPTS_MAX):
            try:
                connection, address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionError):
                return
            except OSError as error:  # no descriptors, no memory
                self._pause(error)
                return
            slot = self._slots.admit(str(address[0]))
            if slot is None:
                connection.close()
                continue
            task = self._loop.create_task(self._take_over(connection, slot))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _pause(self, error: OSError) -> None:
        """Leave who comes in the kernel's queue for a while; someone idle makes room."""
        if self._loop.time() - self._told_at >= TELL_S:
            self._told_at = self._loop.time()
            told = {"connections": len(self._slots), "fault": error.strerror}
            log.warning("connections cannot be accepted", extra=told)
        self._slots.shed()
        self._loop.remove_reader(self._listener)
        self._resuming = self._loop.call_later(PAUSE_S, self._resume)

    async def _take_over(self, connection: socket.socket, slot: Slot) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: self._protocol(slot), connection)
        except Exception as error:  # noqa: BLE001 - of this connection only
            log.info("connection failed", extra={"fault": type(error).__name__})
            connection.close()
            self._slots.leave(slot)
