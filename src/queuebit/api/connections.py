"""HTTP on one connection, and how long and large what comes over it may be.

Whoever reaches the port can send anything, at any pace, before we know who it is. At every moment
one limit holds: while no request is under way a deadline, which bytes alone do not move; while a
body comes or an answer goes, a pace. What is no body (heads, trailers, the frames of chunks) has a
size.
"""

import time
from http import HTTPStatus
from typing import Any, ClassVar

import httptools
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from queuebit.api import connection_slots
from queuebit.api.connection_slots import Slot, Slots
from queuebit.api.malformed import Malformed
from queuebit.api.problems import INVALID_REQUEST, TOO_MANY_REQUESTS, problem
from queuebit.api.request_memory import Holding, RequestMemory

HEAD_MAX = 65_536  # bytes of a head, and of trailers; a query of 200 CRNs has 22,000
HEADERS_MAX = 200  # in a head; the client's has 12, proxies add some
CHUNKS_FREE = 4_096  # chunks of a body that may be of any size ...
CHUNK_MIN = 64  # ... then they must have so many bytes on average
CHUNK_FRAME_MAX = 64  # bytes around a chunk: its size, extensions, line ends
# A connection that we close while the client sends its next request costs it an error, as it never
# repeats a POST then; uvicorn's default is 5 s (docs/connecting.md).
KEEP_ALIVE_S = 120.0
BODY_TIMEOUT_S = 900  # for a body: as long as the client waits for POST /jobs
REFUSED_TIMEOUT_S = 120  # for the rest of a body whose answer has been given
CHECK_S = 10  # how often a body, or an answer that is not taken, is looked at ...
PROGRESS = 10_240  # ... and how many bytes must have moved since then: 1 KiB/s
DROPPED_MAX = 2**28  # bytes of a refused body that are read, so that its sender sees the answer
LINGER_S = 5.0  # for the sender of what was refused to take the answer ...
LINGER_MAX = 2**24  # ... and bytes that it may still send
CONNECTION = "queuebit.connection"  # key of a request's scope: its `Connection`


class Connection(HttpToolsProtocol):
    """HTTP within limits."""

    slots: ClassVar[Slots]
    """Of all connections; a class that is made for one server has it, and the next two."""
    memory: ClassVar[RequestMemory]
    malformed: ClassVar[Malformed]
    """Counts what is no request."""
    slot: Slot
    """That it is counted for."""
    holding: Holding
    """What it keeps in memory."""
    _is_open = False  # a head has begun and not ended
    _framing = 0  # bytes of this request that were no body ...
    _framing_now = 0  # ... and since a chunk of its body began
    _chunks = 0
    _body_size = 0
    _body_until: float | None = None  # None: no body is due
    _body_seen = (0, 0.0)  # bytes of it that had come at an instant
    _is_refused = False  # the last answer is given, and what still comes is dropped
    _to_linger = LINGER_MAX  # bytes of that
    _unsent_seen: tuple[int, float] | None = None  # of answers; None: they are taken

    # Connections

    def begin(self, slot: Slot) -> None:
        """Belong to a slot, before there is a transport."""
        self.slot = slot
        self.holding = Holding(self.memory, slot.address)

    def connection_made(self, transport: Any) -> None:
        """Expect a request."""
        super().connection_made(transport)
        self.slot.watch = self.check
        if self.slot.surplus:
            self.app = _full

    def connection_lost(self, exc: Exception | None) -> None:
        """Give back its slot."""
        self.release()
        super().connection_lost(exc)

    def release(self) -> None:
        """Give back its slot."""
        self.holding.shrink(self.holding.size)
        self.slot.watch = None
        self.slots.leave(self.slot)

    # What is told of the request under way

    def identify(self, user: str, instance: str | None = None) -> bool:
        """Its API key is valid; False: its instance holds too much in memory already."""
        self.slots.identify(self.slot, user)
        return instance is None or self.holding.belong_to(f"instance {instance}")

    async def drain(self) -> None:
        """Wait until what was answered is on its way."""
        await self.flow.drain()

    # Requests

    def data_received(self, data: bytes) -> None:
        """Pass on what came, and count it."""
        if self.transport.is_closing():
            return
        if self._is_refused:
            self._to_linger -= len(data)
            if self._to_linger < 0:
                self.slot.drop()
            return
        if not self.holding.grow(len(data)):
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, TOO_MANY_REQUESTS, _NO_MEMORY)
            return
        before = self._body_size, self._chunks
        self._framing += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # the request is answered as if it had not asked for another protocol
        except httptools.HttpParserError as error:
            self._reject(error)
            return
        if self._is_idle():
            self.holding.shrink(self.holding.size)  # line ends between requests
            return
        self._framing -= max(0, self._body_size - before[0])
        is_going_on = before != (self._body_size, self._chunks)
        self._framing_now = 0 if is_going_on else self._framing_now + len(data)
        most = HEAD_MAX + self._chunks * CHUNK_FRAME_MAX
        if (self._is_open or self._body_until) and (
            self._framing > most or self._framing_now > HEAD_MAX
        ):
            self._reject(_Rejected(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, _TOO_LONG, "head"))

    def _is_idle(self) -> bool:
        """No request is under way, and none has begun to come."""
        is_answered = self.cycle is None or self.cycle.response_complete
        return is_answered and not self._is_open and self._body_until is None

    def on_message_begin(self) -> None:
        """Expect the rest of the head."""
        super().on_message_begin()
        self._is_open = True
        self._framing = self._framing_now = self._chunks = self._body_size = 0
        if self.cycle is None or self.cycle.response_complete:
            self._wait(connection_slots.HEAD_TIMEOUT_S)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; trailers are dropped."""
        if not self._is_open:
            return
        if len(self.headers) >= HEADERS_MAX:
            raise _Rejected(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, _TOO_MANY, "head")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Have the request answered, or refused for the size of its head."""
        self._is_open = False
        self.slot.deadline = float("inf")
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > HEAD_MAX:
            raise _Rejected(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, _TOO_LONG, "head")
        self._body_seen = 0, time.monotonic()
        self._body_until = time.monotonic() + BODY_TIMEOUT_S
        self.scope[CONNECTION] = self  # type: ignore[literal-required]  # one of ours
        super().on_headers_complete()

    def on_chunk_header(self) -> None:
        """Refuse a body in crumbs: each costs as much as a large chunk."""
        self._chunks += 1
        if self._chunks > CHUNKS_FREE and self._body_size < self._chunks * CHUNK_MIN:
            raise _Rejected(HTTPStatus.BAD_REQUEST, _CRUMBS, "chunks")

    def on_body(self, body: bytes) -> None:
        """Pass on a part of the body, or drop it if there is an answer already."""
        self._body_size += len(body)
        if self.cycle.response_complete:
            self.holding.shrink(len(body))
            if self._body_size > DROPPED_MAX:
                self.slot.drop()
            return
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Nothing more of this request is due."""
        self._body_until = None
        super().on_message_complete()
        if self.cycle.response_complete:
            self._settle()
        else:
            self.slots.busy(self.slot)

    # Answers

    def on_response_complete(self) -> None:
        """Wait for the next request, or for the rest of this one."""
        super().on_response_complete()
        self._unset_keepalive_if_required()  # there is one deadline, and it is the slot's
        self.holding.shrink(self.holding.size)
        if not self.cycle.response_complete:  # another one came with it, and is under way
            return
        self.slots.idle(self.slot)
        if self._body_until is None:
            self._settle()
        else:
            self._body_until = min(self._body_until, time.monotonic() + REFUSED_TIMEOUT_S)

    def resume_writing(self) -> None:
        """What was answered was taken."""
        self._unsent_seen = None
        super().resume_writing()

    # Time

    def _settle(self) -> None:
        """No request is under way."""
        self._wait(connection_slots.HEAD_TIMEOUT_S if self._is_open else KEEP_ALIVE_S)

    def _wait(self, seconds: float) -> None:
        if self.slot.surplus:
            seconds = connection_slots.FULL_TIMEOUT_S
        self.slot.deadline = time.monotonic() + seconds

    def check(self, now: float) -> None:
        """Drop who sends a body, or takes an answer, at a trickle."""
        self._check_answer(now)
        if self._body_until is None:
            return
        before, since = self._body_seen
        if now > self._body_until and self.cycle.response_complete:
            self.slot.drop()
        elif self.flow.read_paused:  # it is us who are slow
            self._body_seen = self._body_size, now
        elif now - since >= CHECK_S:
            if self._body_size < before + PROGRESS or now > self._body_until:
                message = "The request body came too slowly."
                self._refuse(HTTPStatus.REQUEST_TIMEOUT, INVALID_REQUEST, message)
                return
            self._body_seen = self._body_size, now

    def _check_answer(self, now: float) -> None:
        """Also after the last answer: a connection that is being closed waits until it is taken."""
        unsent = self.transport.get_write_buffer_size()
        if not unsent:
            self._unsent_seen = None
            if self.transport.is_closing():
                self.slot.deadline = min(self.slot.deadline, now + CHECK_S)
            return
        if self._unsent_seen is not None:
            before, since = self._unsent_seen
            if before - PROGRESS < unsent <= before:
                if now - since >= CHECK_S:
                    self.slot.drop()
                return
        self._unsent_seen = unsent, now

    # Refusals

    def _reject(self, error: Exception) -> None:
        """Answer what is no HTTP, or breaks a limit of ours."""
        while error.__context__ is not None and not isinstance(error, _Rejected):
            error = error.__context__  # type: ignore[assignment]
        if isinstance(error, _Rejected):
            self.malformed.count(self.slot.address, error.reason)
            self._refuse(error.status, INVALID_REQUEST, error.message)
        else:
            self.malformed.count(self.slot.address, "http")
            self._refuse(HTTPStatus.BAD_REQUEST, INVALID_REQUEST, "This is not a HTTP request.")
        self.flow.pause_reading()  # its sender has to wait before it can send the next one

    def _refuse(self, status: HTTPStatus, code: int, message: str) -> None:
        """Answer what has not come in full, unless it is answered already, and hang up."""
        self._body_until = None
        if self.transport.is_closing() or self._is_refused:
            return
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            under_way = cycle.response_started
            cycle.disconnected = True
            cycle.message_event.set()
            if under_way:
                self.transport.abort()
                return
        self.transport.write(_raw(status, code, message))
        # Closed at once, with more of the request on its way, the sender would not see the answer.
        self._is_refused = True
        self.holding.shrink(self.holding.size)
        self.slots.idle(self.slot)
        self.slot.deadline = time.monotonic() + LINGER_S
        if self.transport.can_write_eof():
            self.transport.write_eof()


class _Rejected(Exception):
    """Raised to the parser: what came breaks a limit."""

    def __init__(self, status: HTTPStatus, message: str, reason: str) -> None:
        self.status, self.message, self.reason = status, message, reason


_TOO_LONG = f"Target and headers of the request have more than {HEAD_MAX} bytes."
_TOO_MANY = f"The request has more than {HEADERS_MAX} headers."
_CRUMBS = f"The chunks of the request body have less than {CHUNK_MIN} bytes each."
_NO_MEMORY = "Requests under way hold too much memory."


def _raw(status: HTTPStatus, code: int, message: str) -> bytes:
    body = bytes(problem(status, code, message).body)
    retry = "retry-after: 1\r\n" if status is HTTPStatus.SERVICE_UNAVAILABLE else ""
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n{retry}connection: close\r\n\r\n"
    )
    return head.encode() + body


async def _full(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a connection that is one too many; the client tries again then."""
    answer = problem(
        HTTPStatus.SERVICE_UNAVAILABLE, TOO_MANY_REQUESTS, "There are too many connections."
    )
    answer.headers.update({"Retry-After": "1", "Connection": "close"})
    await answer(scope, receive, send)
