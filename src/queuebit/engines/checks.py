"""Checks of what users submit: in turn, each within a budget, and no longer than somebody waits.

A check looks at whatever was sent, so it may take long, and anybody may send much. So there are two
lanes. In the quick one instances take turns, and a check has it for two seconds: almost all are
over by then. A check that is not goes on in the slow lane if that is free, or else starts again
there: one at a time, instances in turn, and with a worker of its own, which no stage of a job
needs. While a user has a check in the slow lane, their next ones wait there, behind it.
"""

import asyncio
from collections import Counter, deque

from queuebit.engines.task import Engine, Outcome, Task, took_too_long
from queuebit.errors import InvalidInput, TooManyRequests

CODE = 1208  # IBM: invalid request
CODE_TOO_MANY = 1202  # IBM: too many requests
QUICK_S = 2.0  # seconds that a check has the quick lane
WALL_S = 300.0  # the same by the clock: for a machine that does not get to it
LEFT_S = 1.0  # a check that is over so soon after its client left may be: that costs less
WAITING_MAX = 100  # checks of one instance that wait in one lane
RETRY_S = 5


class Turns:
    """So many at once, so many of each, and in turn between those who wait."""

    def __init__(self, at_once: int, of_each: int) -> None:
        self._free = at_once
        self._of_each = of_each
        self._running: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}  # who had a turn last, last

    def try_take(self, who: str) -> bool:
        """Have a turn at once; False: there is none."""
        if self._waiting or not self._is_open_to(who):
            return False
        self._take(who)
        return True

    async def take(self, who: str) -> None:
        """Wait for a turn; TooManyRequests if too many of `who` wait already."""
        if self._is_open_to(who) and who not in self._waiting:
            self._take(who)
            return
        line = self._waiting.setdefault(who, deque())
        if len(line) >= WAITING_MAX:
            raise TooManyRequests(
                f"{WAITING_MAX} jobs of the instance wait to be checked.",
                CODE_TOO_MANY,
                f"Send the next one in {RETRY_S} s.",
                retry_after_s=RETRY_S,
            )
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it had its turn already
                self.give_back(who)
            elif turn in line:
                line.remove(turn)
                if not line and self._waiting.get(who) is line:
                    del self._waiting[who]
            raise

    def give_back(self, who: str) -> None:
        """The turn is over: the next one begins."""
        self._free += 1
        self._running[who] -= 1
        if not self._running[who]:
            del self._running[who]
        for other in list(self._waiting):
            line = self._waiting[other]
            while line and line[0].cancelled():
                line.popleft()
            if line and self._is_open_to(other):
                del self._waiting[other]
                self._waiting[other] = line
                self._take(other)
                line.popleft().set_result(None)
            if not line:
                del self._waiting[other]

    def _is_open_to(self, who: str) -> bool:
        return self._free > 0 and self._running[who] < self._of_each

    def _take(self, who: str) -> None:
        self._free -= 1
        self._running[who] += 1


class Checks:
    """Runs validations on an engine."""

    def __init__(self, engine: Engine, at_once: int) -> None:
        """`at_once`: of the quick lane; instances have all but one of them at most."""
        self._engine = engine
        self._quick = Turns(at_once, max(1, at_once - 1))
        self._slow = Turns(1, 1)
        self._slow_users: Counter[tuple[str, str]] = Counter()

    async def run(self, task: Task, instance: str, user: str, left: asyncio.Event) -> Outcome:
        """Run `task`. InvalidInput once its client has `left`: then it is dropped."""
        who = (instance, user)
        if not self._slow_users[who]:
            del self._slow_users[who]
            outcome = await self._quickly(task, instance, who, left)
            if outcome is not None:
                return outcome
        self._slow_users[who] += 1
        try:
            await _turn(self._slow, instance, left)
            try:
                return await self._to_its_end(self._begin(task), task, left)
            finally:
                self._slow.give_back(instance)
        finally:
            self._end_slow(who)

    async def _quickly(
        self, task: Task, instance: str, who: tuple[str, str], left: asyncio.Event
    ) -> Outcome | None:
        """Run it while it is quick; None: it has to start again in the slow lane."""
        await _turn(self._quick, instance, left)
        running = self._begin(task)
        try:
            await asyncio.wait({running}, timeout=QUICK_S)
            if running.done():
                return running.result()
        except asyncio.CancelledError:
            await _stop(running)
            raise
        finally:
            self._quick.give_back(instance)
        if not self._slow.try_take(instance):
            await _stop(running)
            return None
        self._slow_users[who] += 1
        try:
            return await self._to_its_end(running, task, left)
        finally:
            self._slow.give_back(instance)
            self._end_slow(who)

    def _begin(self, task: Task) -> asyncio.Task[Outcome]:
        return asyncio.create_task(self._engine.run(task))

    async def _to_its_end(
        self, running: asyncio.Task[Outcome], task: Task, left: asyncio.Event
    ) -> Outcome:
        leaving = asyncio.create_task(left.wait())
        try:
            await asyncio.wait(
                {running, leaving}, timeout=WALL_S, return_when=asyncio.FIRST_COMPLETED
            )
            if not running.done() and left.is_set():
                await asyncio.wait({running}, timeout=LEFT_S)
            if running.done():
                return running.result()
            if left.is_set():
                raise _gone()
            return took_too_long(task)
        finally:
            leaving.cancel()
            await _stop(running)

    def _end_slow(self, who: tuple[str, str]) -> None:
        self._slow_users[who] -= 1
        if not self._slow_users[who]:
            del self._slow_users[who]


async def _turn(turns: Turns, who: str, left: asyncio.Event) -> None:
    """Wait for a turn as long as the client does."""
    if turns.try_take(who):
        return
    taking = asyncio.create_task(turns.take(who))
    leaving = asyncio.create_task(left.wait())
    is_taken = False
    try:
        await asyncio.wait({taking, leaving}, return_when=asyncio.FIRST_COMPLETED)
        is_taken = taking.done()
    finally:
        leaving.cancel()
        if not is_taken:
            taking.cancel()
            await asyncio.wait({taking})
            if not taking.cancelled() and taking.exception() is None:
                turns.give_back(who)
    if not is_taken:
        raise _gone()
    taking.result()


async def _stop(running: asyncio.Task[Outcome]) -> None:
    """Stop it, and its worker, unless it is over."""
    if not running.done():
        running.cancel()
        await asyncio.wait({running})


def _gone() -> InvalidInput:
    return InvalidInput("The client went away.", CODE)
