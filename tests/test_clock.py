"""The clocks keep their word on either event loop."""

import asyncio
import time

import pytest
import uvloop

from queuebit.clock import Clock, FastClock, SystemClock


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("make", [SystemClock, lambda: FastClock(1_000, start=5)])
def test_a_sleep_never_ends_early(make, loop_factory):
    """A timer of uvloop ends up to a millisecond early: a second by a clock 1,000 times as fast."""

    async def sleep(clock: Clock, ms: int) -> int:
        at = clock.now() + ms
        await clock.sleep_until(at)
        return clock.now() - at

    async def late() -> list[int]:
        clock = make()
        speed = 1_000 if isinstance(clock, FastClock) else 1
        return await asyncio.gather(*(sleep(clock, speed * i * 7 // 10) for i in range(100)))

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        assert min(runner.run(late())) >= 0


@pytest.mark.parametrize("hours", [-1, 1, -24 * 365])
@pytest.mark.parametrize("make", [SystemClock, lambda: FastClock(2, start=5)])
def test_a_wall_clock_that_is_set_changes_nothing(make, hours, monkeypatch):
    clock, wall_ns = make(), time.time_ns
    before = clock.now()
    monkeypatch.setattr(time, "time_ns", lambda: wall_ns() + hours * 3_600 * 10**9)

    assert 0 <= clock.now() - before < 60_000


@pytest.mark.parametrize("hours", [-1, 0, 1])
def test_dates_begin_with_the_later_of_the_wall_clock_and_what_is_on_record(hours):
    wall = time.time_ns() // 1_000_000
    last = wall + hours * 3_600_000

    assert 0 <= SystemClock(start=last).now() - max(wall, last) < 60_000
