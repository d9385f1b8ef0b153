"""What Qiskit's client announces: it asks for a backend's status right before each job it submits.

It does not before it sends the same POST once more, after an answer that was a 5xx. So a POST
without an announcement of its own is a repetition, if an announced one was equal to it. Nothing of
this is promised: it holds for the releases that were tried, and is believed of no other.
"""

import hashlib
import re
import time
from collections import deque
from dataclasses import dataclass, field

from fastapi import Request

TRIED = ((0, 43), (0, 51))
"""The first and the last release of qiskit-ibm-runtime of which this is known."""
HOLDS_S = 120.0  # between the two the client encodes the job, which takes seconds for large ones
OPEN_MAX = 1_000  # of one client: who asks for a status all day announces nothing by it
ALL_OPEN_MAX = 100_000  # of all clients; then those go who announced longest ago

_RELEASE = re.compile(r"qiskit_ibm_runtime-(\d+)\.(\d+)\.")


@dataclass(slots=True)
class _Client:
    last: float = 0.0
    open: deque[float] = field(default_factory=lambda: deque(maxlen=OPEN_MAX))
    """When there were announcements whose POST has not come, the first one first."""


class Announcements:
    """What was announced and has not come, by client."""

    def __init__(self) -> None:
        self._clients: dict[str, _Client] = {}  # who announced last, last
        self._open = 0  # announcements that are kept

    def hear(self, client: str | None) -> None:
        """The client asks for a backend's status."""
        if client is None:
            return
        now = time.monotonic()
        while self._clients:
            first = next(iter(self._clients))
            if self._open < ALL_OPEN_MAX and not self._is_over(self._clients[first].last):
                break
            self._open -= len(self._clients.pop(first).open)
        found = self._clients.pop(client, None) or _Client()
        found.last = now
        self._open += len(found.open) < OPEN_MAX
        found.open.append(now)
        self._clients[client] = found

    def take(self, client: str | None) -> bool:
        """The client submits a job; whether it was announced, which then counts no more."""
        found = self._clients.get(client or "")
        if found is None:
            return False
        while found.open and self._is_over(found.open[0]):
            found.open.popleft()
            self._open -= 1
        if not found.open:
            return False
        found.open.popleft()
        self._open -= 1
        return True

    def last(self, client: str) -> float:
        """When the client last announced a job; 0 if that is long ago."""
        found = self._clients.get(client)
        return 0.0 if found is None else found.last

    @staticmethod
    def _is_over(at: float) -> bool:
        return at + HOLDS_S < time.monotonic()


def announcing(request: Request, who: str) -> str | None:
    """Which client asks, for `who`; None if it is not known to announce its jobs.

    The header names the releases and the program's entry into the client, `sampler.py` for one. It
    is the same before a job and with it, and another one when a user asks for a status himself.
    """
    header = request.headers.get("x-qx-client-application", "")
    release = _RELEASE.search(header)
    if release is None or not TRIED[0] <= (int(release[1]), int(release[2])) <= TRIED[1]:
        return None
    # Not the header itself, which may be long: it is kept for minutes.
    return hashlib.sha256(f"{who}\n{header}".encode()).hexdigest()
