"""Instances that come, or may use something else, while the scheduler runs."""

from dataclasses import replace

from queuebit.core.events import InstanceSet, Rule
from queuebit.core.hourly import HOUR_MS
from queuebit.core.ledger import Ledger
from queuebit.core.model import Charge, Instance, JobStatus, OnLimit

DAY_MS = 24 * HOUR_MS
LIMITED = Instance(id="w", limit_ms=100, window_ms=DAY_MS, allocation_ms=1_000)


def charged(ms: int, at: int = 0, name: str = "w") -> Charge:
    return Charge(instance=name, at=at, ms=ms)


def test_a_higher_limit_lets_what_waits_run(lab):
    lab.configure(LIMITED, charges=[charged(100)])
    lab.submit("a", by="w")
    before = lab.running()

    lab.send(InstanceSet(instance=replace(LIMITED, limit_ms=200)))

    assert (before, lab.running()) == ([], ["a"])


def test_a_limit_below_what_was_used_lets_nothing_more_start(lab):
    lab.configure(replace(LIMITED, limit_ms=None), charges=[charged(50)])
    lab.send(InstanceSet(instance=replace(LIMITED, limit_ms=50)))
    lab.submit("a", by="w")

    assert lab.running() == []


def test_a_cost_limit_below_what_was_used_stops_what_runs(lab):
    lab.configure(replace(LIMITED, limit_ms=None), charges=[charged(50)])
    lab.submit("a", by="w")

    lab.send(InstanceSet(instance=replace(LIMITED, limit_ms=50, on_limit=OnLimit.STOP)))

    assert lab.job("a").status is JobStatus.CANCELLED
    refusal = lab.submit("b", by="w").refusal
    assert refusal is not None
    assert refusal.rule is Rule.USAGE_LIMIT


def test_another_allocation_makes_another_order(lab):
    other = Instance(id="o", allocation_ms=1_000, window_ms=DAY_MS)
    lab.configure(LIMITED, other, lanes=1, charges=[charged(60), charged(50, name="o")])
    lab.submit("first", by="o")
    lab.submit("w1", by="w")  # has used more of its allocation
    lab.submit("o1", by="o")

    lab.send(InstanceSet(instance=replace(LIMITED, allocation_ms=10_000)))
    lab.done("first", usage_ms=0)

    assert lab.running() == ["w1"]


def test_a_new_instance_brings_what_it_was_charged_before(lab):
    lab.configure(lanes=1)
    lab.send(InstanceSet(instance=LIMITED, charges=(charged(100),)), at=HOUR_MS)
    lab.submit("a", by="w")
    waiting = lab.running()

    lab.tick(DAY_MS + HOUR_MS)  # that hour has left the window

    assert (waiting, lab.running()) == ([], ["a"])


def test_of_each_hour_the_larger_sum_counts():
    then = 9 * DAY_MS
    ledger = Ledger([LIMITED], [charged(30, then), charged(5, then + HOUR_MS)])

    # Read before the second hour's last charge, and with one that the window had left.
    read = [charged(30, then), charged(2, then + HOUR_MS), charged(7, DAY_MS)]
    ledger.set(replace(LIMITED, window_ms=None), read)

    assert ledger.used_ms("w") == 30 + 5 + 7


def test_what_was_used_before_a_new_start_counts_no_longer():
    ledger = Ledger([LIMITED], [charged(30), charged(5, at=3 * HOUR_MS)])

    ledger.set(replace(LIMITED, since=2 * HOUR_MS), [])

    assert ledger.used_ms("w") == 5
