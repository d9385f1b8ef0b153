"""HTTP on one connection, and how long and large what comes over it may be.

Whoever reaches the port can send anything, at any pace, before we know who it is. So a request has
to come when it has begun, its head has a size, an answer has to be taken, and there are only so
many connections.
"""

import asyncio
from collections import Counter
from http import HTTPStatus

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from queuebit.api.problems import INVALID_REQUEST, TOO_MANY_REQUESTS, problem

HEAD_TIMEOUT_S = 30  # for the head of a request: target and headers
HEAD_MAX = 65_536  # bytes of it; a query of 200 CRNs has 22,000
BODY_TIMEOUT_S = 900  # for its body: as long as the client waits for POST /jobs
CHECK_S = 10  # how often a body, or an answer that is not taken, is looked at ...
PROGRESS = 10_240  # ... and how many bytes must have moved since then: 1 KiB/s
DROPPED_MAX = 2**28  # bytes of a refused body that are read, so that its sender sees the answer
FULL_TIMEOUT_S = 2  # for the head of a request on a connection that is one too many
SPARE = 100  # connections that are one too many and still told so; further ones are dropped


class Counts:
    """How many connections there are, in all and from each address; and how many may be."""

    def __init__(self, most: int, most_of_address: int) -> None:
        self.most = most
        self.most_of_address = most_of_address  # 0: any number
        self.total = 0
        self.of: Counter[str] = Counter()

    def enter(self, address: str) -> None:
        """Count one more."""
        self.total += 1
        self.of[address] += 1

    def leave(self, address: str) -> None:
        """It is closed."""
        self.total -= 1
        self.of[address] -= 1
        if not self.of[address]:
            del self.of[address]

    def excess(self, address: str) -> int:
        """How many there are too many, of all or of this address; not more than 0: none."""
        over = self.total - self.most
        if self.most_of_address:
            over = max(over, self.of[address] - self.most_of_address)
        return over


class Connection(HttpToolsProtocol):
    """HTTP within limits."""

    counts: Counts
    """Of all connections; a class made for one server has it."""
    _address: str | None = None  # that it is counted for
    _late: asyncio.TimerHandle | None = None  # for the head
    _watching: asyncio.TimerHandle | None = None  # body and answers
    _head_size = 0
    _body_size = 0
    _body_until: float | None = None  # None: no body is due
    _body_seen = (0, 0.0)  # bytes of it that had come at an instant
    _unsent_seen: tuple[int, float] | None = None  # of answers; None: they are taken

    # Connections

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in the base class
        """Count it, and expect a request."""
        super().connection_made(transport)
        if self._address is None:  # else a tunnel's, which was counted before it was one
            self._address = self.client[0] if self.client else ""
            self.counts.enter(self._address)
        over = self.counts.excess(self._address)
        if over > SPARE:
            transport.abort()
        elif over > 0:
            self.app = _full
            self._expect(FULL_TIMEOUT_S)
        else:
            self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give back its place."""
        self.release()
        super().connection_lost(exc)

    def release(self) -> None:
        """Give back its place."""
        self.relax()
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None
        if self._address is not None:
            self.counts.leave(self._address)
            self._address = None

    def hand_over(self, other: "Connection") -> None:
        """Let `other` have the place of this one: they are the same connection."""
        self.relax()
        other._address, self._address = self._address, None  # noqa: SLF001 - of its own kind

    # Heads

    def data_received(self, data: bytes) -> None:
        """Pass on what came; refuse a head that has grown too long."""
        super().data_received(data)
        if self._late is not None and self.scope is not None:  # the head goes on
            self._head_size += len(data)
            if self._head_size > HEAD_MAX:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, _TOO_LONG)

    def on_message_begin(self) -> None:
        """Expect the rest of the head."""
        super().on_message_begin()
        self._head_size = 0
        self._expect(FULL_TIMEOUT_S if self.app is _full else None)

    def on_headers_complete(self) -> None:
        """Have the request answered, or refused for the size of its head."""
        self.relax()
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > HEAD_MAX and self.app is not _full:
            self.app = _too_long
        self._body_size, self._body_seen = 0, (0, self.loop.time())
        self._body_until = self.loop.time() + BODY_TIMEOUT_S
        self._watch()
        super().on_headers_complete()

    # Bodies

    def on_body(self, body: bytes) -> None:
        """Pass on a part of the body, or drop it if there is an answer already."""
        self._body_size += len(body)
        if self.cycle.response_complete and self._body_size > DROPPED_MAX:
            self.transport.close()
            return
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Nothing more of this request is due."""
        self._body_until = None
        super().on_message_complete()

    # Answers

    def pause_writing(self) -> None:
        """Watch whether the answer is taken."""
        super().pause_writing()
        self._unsent_seen = self.transport.get_write_buffer_size(), self.loop.time()
        self._watch()

    def resume_writing(self) -> None:
        """It was."""
        self._unsent_seen = None
        super().resume_writing()

    # Time

    def relax(self) -> None:
        """No head is due."""
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _expect(self, within_s: float | None = None) -> None:
        self.relax()
        self._late = self.loop.call_later(within_s or HEAD_TIMEOUT_S, self.transport.abort)

    def _watch(self) -> None:
        if self._watching is None:
            self._watching = self.loop.call_later(CHECK_S, self._check)

    def _check(self) -> None:
        """Drop who sends a body, or takes an answer, at a trickle."""
        self._watching, now = None, self.loop.time()
        if self._unsent_seen is not None:
            unsent, (before, since) = self.transport.get_write_buffer_size(), self._unsent_seen
            if now - since >= CHECK_S:
                if unsent > before - PROGRESS:
                    self.transport.abort()
                    return
                self._unsent_seen = unsent, now
        if self._body_until is not None:
            before, since = self._body_seen
            if self.flow.read_paused:  # it is us who are slow
                self._body_seen = self._body_size, now
            elif now - since >= CHECK_S:
                if self._body_size < before + PROGRESS or now > self._body_until:
                    self._refuse(HTTPStatus.REQUEST_TIMEOUT, "The request body came too slowly.")
                    return
                self._body_seen = self._body_size, now
        if self._body_until is not None or self._unsent_seen is not None:
            self._watch()

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        """Answer what has not come in full, unless it is answered already, and hang up."""
        if self.transport.is_closing():
            return
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            under_way = cycle.response_started
            cycle.disconnected = True
            cycle.message_event.set()
            if under_way:
                self.transport.abort()
                return
        self.transport.write(_raw(status, message))
        self.transport.close()


_TOO_LONG = f"Target and headers of the request have more than {HEAD_MAX} bytes."


def _raw(status: HTTPStatus, message: str) -> bytes:
    body = bytes(problem(status, INVALID_REQUEST, message).body)
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body


async def _full(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a connection that is one too many; the client tries again then."""
    answer = problem(
        HTTPStatus.SERVICE_UNAVAILABLE, TOO_MANY_REQUESTS, "There are too many connections."
    )
    answer.headers.update({"Retry-After": "1", "Connection": "close"})
    await answer(scope, receive, send)


async def _too_long(scope: Scope, receive: Receive, send: Send) -> None:
    answer = problem(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, INVALID_REQUEST, _TOO_LONG)
    answer.headers["Connection"] = "close"
    await answer(scope, receive, send)
