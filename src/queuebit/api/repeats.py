"""Submissions that come again: the client repeats a POST whose answer was lost or a 5xx.

Its repetition is the same body with the same key, and nothing in it tells it from a second job that
somebody wants. Three things around it do:

* The first answer did not arrive, as its connection is gone. So of every submission, until its
  answer is on its way, there is kept what was sent and which job it made; beside the job's inputs,
  so that it outlives a crash between the two.
* The first answer was given, but to a proxy, which told the client of a 5xx. Qiskit's client
  announces each job that its user wants (`announcements`), and no repetition.
* A user of the API may be explicit: submissions with the same header `Idempotency-Key` are one for
  24 hours. Which job a key made is in the database (store/submissions.py); of a body there is
  nothing but a digest, here as there.
"""

import asyncio
import hashlib
import json
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from fastapi import Request

from queuebit.api.announcements import Announcements, announcing
from queuebit.api.problems import CONFLICT, INVALID_REQUEST
from queuebit.clock import Clock
from queuebit.errors import Conflict, DamagedPayload, InvalidInput, RequestError
from queuebit.store.details import Submitted
from queuebit.store.payloads import SUBMISSION, Payloads

WAITED_FOR_S = 120.0  # the client repeats for 15 s; a proxy in between may have held it for 60
KEY_MAX = 255  # characters of the header
KEY_HOLDS_S = 86_400.0  # as other services have it
FORGET_S = 3_600.0


@dataclass(slots=True, eq=False)
class Submission:
    """One POST that may come again."""

    digest: str
    """Of who sent what."""
    body: str
    """Digest of the body alone."""
    is_gone: Callable[[], Awaitable[bool]]
    """Whether who sent it waits no longer."""
    client: str | None = None
    """Who announced it; None if nobody did."""
    key: Submitted | None = None
    """What is stored of its Idempotency-Key, with the job; None: it has none."""
    told_at: float | None = None
    """Monotonic time at which the answer was given to somebody who was there."""
    job_id: asyncio.Future[str] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    until: float = float("inf")
    """Monotonic time after which it can no longer come again."""

    def mark(self) -> bytes:
        """What is kept beside the job's inputs."""
        return json.dumps([self.digest, self.body]).encode()


class Keys(Protocol):
    """The part of the store that knows Idempotency-Keys."""

    async def submission(self, key: str, since: int) -> tuple[Submitted, str] | None:
        """The submission with a key, made at `since` or later, and its job's id."""

    async def job(self, job_id: str) -> object | None:
        """A job; None if there is none, or none any more."""

    async def forget_submissions(self, before: int) -> None:
        """Forget the keys of what was submitted before an instant."""


class Repeats:
    """Every submission whose answer may not have arrived."""

    def __init__(self, payloads: Payloads, keys: Keys, clock: Clock, speed: float = 1.0) -> None:
        """`clock` runs `speed` times as fast as its users' clocks."""
        self._payloads = payloads
        self._keys = keys
        self._clock = clock
        self._key_holds_ms = round(1_000 * KEY_HOLDS_S * speed)
        self._forget_at = 0.0
        self._announcements = Announcements()
        self._known: dict[str, list[Submission]] = {}
        self._ending: deque[Submission] = deque()
        """Those that can come again until some time, the first to end first."""

    async def recall(self) -> None:
        """Find those of the service's former lives; for its start."""
        for job_id in await asyncio.to_thread(self._payloads.marked):
            try:
                text = await asyncio.to_thread(self._payloads.read, job_id, SUBMISSION)
                digest, body = json.loads(text)
            except FileNotFoundError:
                continue
            except (ValueError, DamagedPayload):  # a power cut: it is not kept durably
                self._payloads.discard(job_id, [SUBMISSION])
                continue
            found = Submission(str(digest), str(body), _long_gone)
            found.job_id.set_result(job_id)
            self._known.setdefault(found.digest, []).append(found)
            self._end(found)

    def announce(self, request: Request, who: str) -> None:
        """Take note that a backend's status was asked for, which announces a job of some."""
        self._announcements.hear(announcing(request, who))

    async def begin(self, request: Request, of_body: str, who: str) -> Submission:
        """Take note of a submission; if it came before, that one, with the job that it made.

        `of_body` is the digest of its body.
        """
        await self._forget_ended()
        key = request.headers.get("idempotency-key")
        if key is not None and not 0 < len(key) <= KEY_MAX:
            raise InvalidInput(
                f"The header Idempotency-Key must have 1 to {KEY_MAX} characters.", INVALID_REQUEST
            )
        digest = hashlib.sha256(
            f"{who}\n{key or ''}\n{'' if key else of_body}".encode()
        ).hexdigest()
        client = announcing(request, who)
        is_wanted = self._announcements.take(client)
        repeated = None if is_wanted else self._unheard(digest, client)
        for earlier in list(self._known.get(digest, [])):
            if not (earlier is repeated or earlier.key or await earlier.is_gone()):
                continue
            _check_same(earlier.body, of_body)
            await asyncio.wait([earlier.job_id])  # it may still be on its way
            if not earlier.job_id.cancelled():
                return earlier
        made = Submission(
            digest,
            of_body,
            request.is_disconnected,
            client=client if is_wanted else None,
            key=None if key is None else Submitted(key=digest, body=of_body, at=self._clock.now()),
        )
        self._known.setdefault(digest, []).append(made)
        if key is not None:
            try:
                await self._look_up(made)
            except BaseException as error:
                self.failed(made, error)
                raise
        return made

    async def _look_up(self, made: Submission) -> None:
        """Answer a submission with the job that its key has made, if there is one."""
        assert made.key is not None
        found = await self._keys.submission(made.digest, made.key.at - self._key_holds_ms)
        if found is None:
            return
        earlier, job_id = found
        _check_same(earlier.body, made.body)
        if await self._keys.job(job_id) is None:
            raise Conflict(
                f"Job {job_id}, which was submitted with this Idempotency-Key, has been deleted.",
                CONFLICT,
                "Use a new key for a new job.",
            )
        made.job_id.set_result(job_id)

    def _unheard(self, digest: str, client: str | None) -> Submission | None:
        """Find the one that an unannounced POST of `client` repeats.

        Several that are equal may be several threads' of one client: then it is not known whose
        answer was lost, and a job too many is better than two that share one. A client that has
        announced another job since it was answered has heard the answer.
        """
        if client is None:
            return None
        last = self._announcements.last(client)
        found = [
            one
            for one in self._known.get(digest, [])
            if one.client == client and (one.told_at is None or one.told_at >= last)
        ]
        return found[0] if len(found) == 1 else None

    async def answered(self, submission: Submission, request: Request) -> None:
        """`request` is about to be answered, which may be lost on its way."""
        if submission.key is not None:
            self._remove(submission)
            return
        if await request.is_disconnected():
            submission.is_gone = _long_gone
            self._end(submission)
            return
        if submission.client is None:
            self._remove(submission)
        else:
            submission.is_gone = _still_there
            submission.told_at = time.monotonic()
            self._end(submission)
        # After a crash nobody knows any more what was announced.
        await asyncio.to_thread(self._payloads.discard, submission.job_id.result(), [SUBMISSION])

    def failed(self, submission: Submission, error: BaseException) -> None:
        """It made no job; told of a fault of ours, its client sends it again."""
        if not isinstance(error, RequestError):
            self._announcements.hear(submission.client)
        submission.job_id.cancel()
        self._remove(submission)

    def gone(self, submission: Submission) -> None:
        """Who sent it went away before there was an answer; it may come again for a while."""
        self._end(submission)

    def _end(self, submission: Submission) -> None:
        submission.until = time.monotonic() + WAITED_FOR_S
        self._ending.append(submission)

    def _remove(self, submission: Submission) -> None:
        known = self._known.get(submission.digest, [])
        if submission in known:
            known.remove(submission)
        if not known:
            self._known.pop(submission.digest, None)

    async def _forget_ended(self) -> None:
        """Forget those that nobody repeated: of clients that died."""
        if self._forget_at <= time.monotonic():
            self._forget_at = time.monotonic() + FORGET_S
            await self._keys.forget_submissions(self._clock.now() - self._key_holds_ms)
        while self._ending and self._ending[0].until < time.monotonic():
            ended = self._ending.popleft()
            if ended.job_id.cancelled() or ended.until > time.monotonic():
                continue  # no job came of it, or it stands further back once more
            if not ended.job_id.done():  # still under way
                self._end(ended)
                continue
            self._remove(ended)
            if ended.told_at is not None:
                continue  # its mark is gone already
            await asyncio.to_thread(self._payloads.discard, ended.job_id.result(), [SUBMISSION])


def _check_same(earlier: str, now: str) -> None:
    """Refuse another body with a key that was used."""
    if earlier != now:
        raise InvalidInput(
            "Another job was submitted with this Idempotency-Key.",
            INVALID_REQUEST,
            "Use a new key for a new job.",
        )


async def _long_gone() -> bool:
    return True


async def _still_there() -> bool:
    return False
