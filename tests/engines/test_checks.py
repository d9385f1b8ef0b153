"""Checks run in turn, within a budget, and no longer than somebody waits for them."""

import asyncio
from collections.abc import Callable

import pytest

from queuebit.engines import checks
from queuebit.engines.checks import Checks, Turns
from queuebit.engines.task import Outcome, Task
from queuebit.errors import InvalidInput, TooManyRequests


class Slow:
    """An engine whose tasks end when the test says so."""

    def __init__(self) -> None:
        self.running: dict[str, asyncio.Future[Outcome]] = {}
        self.begun: list[str] = []
        self.stopped: list[str] = []
        self.changed = asyncio.Condition()

    async def start(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def run(self, task: Task) -> Outcome:
        self.running[task.job_id] = asyncio.get_running_loop().create_future()
        self.begun.append(task.job_id)
        await self._tell()
        try:
            return await self.running[task.job_id]
        except asyncio.CancelledError:
            self.stopped.append(task.job_id)
            raise
        finally:
            del self.running[task.job_id]
            await self._tell()

    async def _tell(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(10), self.changed:
            await self.changed.wait_for(holds)

    def end(self, job_id: str) -> None:
        self.running[job_id].set_result(Outcome(estimated_ms=1))


@pytest.fixture
def engine() -> Slow:
    return Slow()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No check is quick."""
    monkeypatch.setattr(checks, "QUICK_S", 0.01)


class Desk:
    """Sends checks to be run, and waits for what becomes of them."""

    def __init__(self, engine: Slow, at_once: int = 2) -> None:
        self._checks = Checks(engine, at_once)
        self.left: dict[str, asyncio.Event] = {}

    def send(self, job_id: str, instance: str = "a", user: str = "") -> asyncio.Task[Outcome]:
        task = Task(job_id=job_id, run=0, stage=None, program_id="sampler", backend="q")
        self.left[job_id] = asyncio.Event()
        return asyncio.create_task(
            self._checks.run(task, instance, user or instance, self.left[job_id])
        )


async def test_instances_take_turns():
    turns, order = Turns(1, 1), []

    async def take(who: str) -> None:
        await turns.take(who)
        order.append(who)
        await asyncio.sleep(0)
        turns.give_back(who)

    await asyncio.gather(*(take(who) for who in "aaaaabbc"))

    assert "".join(order) == "aabcabaa" or order.index("c") <= 3
    assert order.index("b") <= 2
    assert turns.try_take("d")


async def test_one_instance_has_all_but_one_at_most(engine: Slow):
    desk = Desk(engine, at_once=3)
    flood = [desk.send(f"a{number}") for number in range(50)]
    await engine.until(lambda: len(engine.begun) == 2)

    honest = desk.send("b0", "b")
    await engine.until(lambda: "b0" in engine.begun)
    engine.end("b0")

    assert (await honest).estimated_ms == 1
    assert len(engine.begun) == 3
    for task in flood:
        task.cancel()
    await asyncio.wait(flood)


async def test_a_slow_check_keeps_nobody_else_waiting(engine: Slow, quick: None):
    """Of a second user who sends one, it starts again in the slow lane, behind the first."""
    desk = Desk(engine)
    first = desk.send("slow1", "a")
    await engine.until(lambda: "slow1" in engine.begun)
    await asyncio.sleep(0.05)
    second = desk.send("slow2", "b")
    await engine.until(lambda: engine.stopped == ["slow2"])
    more = [desk.send(f"more{number}", "a") for number in range(10)]

    quickly = desk.send("quick", "c")
    await engine.until(lambda: "quick" in engine.running)
    engine.end("quick")
    assert (await quickly).estimated_ms == 1
    assert engine.begun == ["slow1", "slow2", "quick"]

    engine.end("slow1")
    assert (await first).estimated_ms == 1
    await engine.until(lambda: "slow2" in engine.running or "more0" in engine.running)
    assert len(engine.running) == 1
    for task in (second, *more):
        task.cancel()
    await asyncio.wait([second, *more])


async def test_a_check_that_goes_on_in_the_slow_lane_is_not_begun_again(engine: Slow, quick: None):
    desk = Desk(engine)
    sent = desk.send("large")
    await engine.until(lambda: "large" in engine.running)
    await asyncio.sleep(0.05)
    engine.end("large")

    assert (await sent).estimated_ms == 1
    assert engine.begun == ["large"]


async def test_what_nobody_waits_for_is_dropped(engine: Slow, quick: None, monkeypatch):
    monkeypatch.setattr(checks, "LEFT_S", 0.01)
    desk = Desk(engine)
    running, waiting = desk.send("runs"), desk.send("waits", "b")
    await engine.until(lambda: engine.stopped == ["waits"])

    desk.left["waits"].set()
    with pytest.raises(InvalidInput, match="went away"):
        await waiting
    desk.left["runs"].set()
    with pytest.raises(InvalidInput, match="went away"):
        await running

    assert engine.stopped == ["waits", "runs"]
    again = desk.send("again", "b")
    await engine.until(lambda: "again" in engine.running)
    engine.end("again")
    await again


async def test_a_check_has_so_much_time(engine: Slow, quick: None, monkeypatch):
    monkeypatch.setattr(checks, "WALL_S", 0.05)
    outcome = await Desk(engine).send("endless")

    assert outcome.error is not None
    assert "took more than" in outcome.error.message
    assert engine.stopped == ["endless"]


async def test_so_many_may_wait(engine: Slow, monkeypatch):
    monkeypatch.setattr(checks, "WAITING_MAX", 3)
    desk = Desk(engine)
    sent = [desk.send(f"a{number}") for number in range(4)]
    await engine.until(lambda: len(engine.begun) == 1)

    with pytest.raises(TooManyRequests) as refused:
        await desk.send("a4")
    assert refused.value.retry_after_s > 0
    other = desk.send("b0", "b")
    await engine.until(lambda: "b0" in engine.running)

    for task in (*sent, other):
        task.cancel()
    await asyncio.wait([*sent, other])
    assert engine.running == {}


@pytest.mark.parametrize("steps", range(6))
async def test_a_turn_is_never_lost(engine: Slow, steps: int):
    """Whenever a waiting check is cancelled."""
    desk = Desk(engine, at_once=1)
    first, second = desk.send("first"), desk.send("second")
    await engine.until(lambda: "first" in engine.running)
    engine.end("first")
    for _ in range(steps):
        await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait([first, second])

    third = desk.send("third", "b")
    await engine.until(lambda: "third" in engine.running)
    engine.end("third")
    await third
