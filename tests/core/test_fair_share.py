"""Who is next among instances: the least part of the allocation used, then the oldest job.

Semantics 2.2. `lab` has one lane here, so that who is next is seen one by one. For the long run see
test_fair_share_long.
"""

from queuebit.core.events import RunStage
from queuebit.core.hourly import HOUR_MS
from queuebit.core.ledger import Ledger
from queuebit.core.model import Backend, Charge, Instance, Mode, OnLimit, Stage

DAY_MS = 24 * HOUR_MS


def instance(name: str, allocation_ms: int | None, window_ms: int | None = DAY_MS) -> Instance:
    return Instance(id=name, allocation_ms=allocation_ms, window_ms=window_ms)


def started(lab, *job_ids: str) -> list[str]:
    """Which jobs follow `job_ids`, each of which runs and ends at once."""
    return [lab.done(job_id).commands[-1].job_id for job_id in job_ids]


def charged(name: str, ms: int, at: int = 0) -> Charge:
    return Charge(instance=name, at=at, ms=ms)


# -- who is next


def test_the_least_share_goes_first_and_not_the_least_time(lab):
    lab.configure(
        instance("big", 1_000), instance("small", 100), lanes=1, charges=[charged("big", 500)]
    )
    lab.submit("first", by="small")
    lab.submit("b", by="big")
    lab.submit("s", by="small")
    lab.prepared("first")
    lab.measured("first", usage_ms=60)

    assert lab.finished("first").commands == [RunStage("b", 1, Stage.PREPARE)]


def test_inside_an_instance_the_oldest_goes_first(lab):
    lab.configure(instance("i", 100), lanes=1)
    lab.submit("a", "b", "c", by="i")

    assert started(lab, "a", "b") == ["b", "c"]


def test_at_equal_shares_the_oldest_goes_first(lab):
    lab.configure(instance("i", 100), instance("j", 100), lanes=1)
    lab.submit("a", by="i")
    lab.submit("j1", by="j")
    lab.submit("i1", by="i")

    assert started(lab, "a", "j1") == ["j1", "i1"]


def test_an_instance_that_arrives_later_with_a_smaller_share_goes_first(lab):
    lab.configure(instance("i", 100), instance("j", 100), lanes=1, charges=[charged("i", 10)])
    lab.submit("i1", "i2", by="i")
    lab.submit("j1", by="j")

    assert started(lab, "i1", "j1") == ["j1", "i2"]


def test_the_order_is_made_anew_with_every_charge(lab):
    lab.configure(instance("i", 100), instance("j", 100), lanes=1)
    lab.submit("i1", "i2", "i3", by="i")
    lab.submit("j1", "j2", by="j")
    lab.done("i1", usage_ms=5)
    lab.done("j1", usage_ms=3)
    lab.done("j2", usage_ms=3)

    assert lab.running() == ["i2"]


def test_without_any_allocation_only_the_order_of_arrival_counts(lab):
    lab.configure(instance("i", None), lanes=1, charges=[charged("i", 10_000)])
    lab.submit("a", by="i")
    lab.submit("b", by="stranger")
    lab.submit("c", by="i")

    assert started(lab, "a", "b") == ["b", "c"]


def test_an_allocation_of_zero_goes_last_and_among_such_the_oldest(lab):
    lab.configure(
        instance("z", 0), instance("y", 0), instance("i", 1), lanes=1, charges=[charged("i", 999)]
    )
    lab.submit("z1", by="z")
    lab.submit("y1", by="y")
    lab.submit("z2", by="z")
    lab.submit("i1", by="i")

    assert started(lab, "z1", "i1", "y1") == ["i1", "y1", "z2"]


def test_usage_on_one_backend_counts_on_all(lab):
    lab.backends = (Backend(name="q", lanes=1), Backend(name="r", lanes=1))
    lab.instances = (instance("i", 100), instance("j", 100))
    lab.restart()
    lab.submit("elsewhere", by="i", backend="r")
    lab.submit("a", by="x")
    lab.submit("i1", by="i")
    lab.submit("j1", by="j")
    lab.done("elsewhere", usage_ms=5)

    assert started(lab, "a", "j1") == ["j1", "i1"]


def test_an_active_batch_does_not_have_to_stand_in_line_again(lab):
    lab.configure(instance("i", 100), instance("j", 100), lanes=1)
    lab.open("B", by="i")
    lab.submit("b1", "b2", to="B", by="i")
    lab.submit("j1", by="j")

    assert lab.done("b1", usage_ms=50).commands[-1] == RunStage("b2", 1, Stage.PREPARE)


def test_a_batch_stands_in_line_with_its_instances_share(lab):
    lab.configure(instance("i", 100), instance("j", 100), lanes=1, charges=[charged("i", 10)])
    lab.submit("a", by="j")
    lab.open("B", by="i")
    lab.submit("b1", to="B", by="i")
    lab.submit("j1", by="j")

    assert started(lab, "a", "j1") == ["j1", "b1"]


def test_a_cancelled_first_job_gives_its_place_to_the_next_of_its_instance(lab):
    lab.configure(instance("i", 100), instance("j", 100), lanes=1)
    lab.submit("a", by="x")
    lab.submit("i1", "i2", by="i")
    lab.submit("j1", by="j")
    lab.cancel("i1")

    assert started(lab, "a", "i2") == ["i2", "j1"]


def test_a_session_next_in_line_stays_so_though_its_share_has_grown(lab):
    lab.configure(instance("i", 100), instance("j", 100), lanes=2)
    lab.submit("i1", "i2", by="i")
    lab.open("S", Mode.SESSION, by="i")
    lab.submit("s1", to="S", by="i")
    lab.done("i1", usage_ms=90)
    lab.submit("j1", by="j")

    assert lab.workload("S").drain_seq is not None
    assert lab.done("i2").commands[-1] == RunStage("s1", 1, Stage.PREPARE)


def test_a_sessions_wall_clock_counts_when_its_window_ends(lab):
    lab.configure(instance("i", 100), lanes=1)
    lab.open("S", Mode.SESSION, by="i")
    lab.submit("s1", to="S", by="i")
    lab.prepared("s1")
    lab.now = 5_000
    lab.measured("s1", usage_ms=70)
    lab.finished("s1")

    assert lab.scheduler.ledger.used_ms("i") == 0

    lab.tick(65_000)

    assert lab.scheduler.ledger.used_ms("i") == 65_000


# -- the window


def test_an_hour_counts_until_all_of_it_has_left_the_window(lab):
    lab.configure(instance("i", 100), instance("j", 100), lanes=1)
    lab.now = HOUR_MS - 1
    lab.submit("a", by="i")
    lab.done("a", usage_ms=50)
    lab.tick(25 * HOUR_MS - 1)

    assert lab.scheduler.ledger.used_ms("i") == 50

    lab.tick(25 * HOUR_MS)

    assert lab.scheduler.ledger.used_ms("i") == 0


def test_who_has_used_nothing_lately_goes_first_again(lab):
    lab.configure(instance("i", 100), instance("j", 100), lanes=1)
    lab.submit("a", by="i")
    lab.done("a", usage_ms=50)
    lab.now = 20 * HOUR_MS
    lab.submit("b", by="j")
    lab.done("b", usage_ms=20)
    lab.submit("c", by="x")
    lab.submit("j1", by="j")
    lab.submit("i1", by="i")
    lab.now = 25 * HOUR_MS

    assert started(lab, "c", "i1") == ["i1", "j1"]


def test_without_a_window_usage_counts_for_ever_from_the_contracts_start():
    flex = Instance(id="i", allocation_ms=100, window_ms=None, since=1_000)
    ledger = Ledger([flex], [charged("i", 10, at=999), charged("i", 20, at=1_000)])

    assert ledger.roll(10**15) == []
    assert ledger.used_ms("i") == 20
    assert ledger.share("i") == 0.2


def test_charges_of_nothing_and_of_strangers_are_ignored():
    ledger = Ledger([instance("i", 100)])
    ledger.add(charged("stranger", 10))
    ledger.add(charged("i", 0))

    assert ledger.charges() == []
    assert ledger.share("stranger") == 0.0


def test_what_counts_makes_an_equal_ledger():
    charges = [charged("i", 5, at=3 * HOUR_MS), charged("i", 7), charged("j", 2, at=9)]
    ledger = Ledger([instance("i", 100), instance("j", 100)], charges)
    twin = Ledger(ledger.instances.values(), reversed(ledger.charges()))

    assert ledger.charges() == [
        charged("i", 7, at=HOUR_MS - 1),
        charged("i", 5, at=4 * HOUR_MS - 1),
        charged("j", 2, at=HOUR_MS - 1),
    ]
    assert twin.charges() == ledger.charges()
    for now in (25 * HOUR_MS, 28 * HOUR_MS):
        assert sorted(twin.roll(now)) == sorted(ledger.roll(now))
        assert twin.charges() == ledger.charges()


def test_relief_follows_the_oldest_hour_that_still_counts():
    """Its first hour left, but not enough with it: relief was once told for the hour gone by."""
    limited = Instance(id="i", limit_ms=10, window_ms=DAY_MS)
    ledger = Ledger([limited], [charged("i", 1), charged("i", 10, at=5 * HOUR_MS)])

    assert ledger.next_relief() == (25 * HOUR_MS, "i")
    assert ledger.roll(25 * HOUR_MS) == ["i"]
    assert ledger.next_relief() == (30 * HOUR_MS, "i")
    assert ledger.roll(30 * HOUR_MS) == ["i"]
    assert ledger.next_relief() is None


def test_a_limit_of_nothing_needs_no_charge_and_knows_no_relief():
    ledger = Ledger([Instance(id="i", limit_ms=0, window_ms=DAY_MS)])

    assert ledger.is_limited("i")
    assert ledger.next_relief() is None


def test_a_limit_without_a_window_knows_no_relief():
    unending = Instance(id="i", limit_ms=5, on_limit=OnLimit.STOP)
    ledger = Ledger([unending], [charged("i", 5)])

    assert ledger.is_limited("i")
    assert ledger.next_relief() is None


def test_an_instance_has_one_entry_that_counts_however_often_it_stands_anew(lab):
    """Its share falls every hour; each time it is entered anew, further ahead."""
    hourly = [charged("i", 10, at=hour * HOUR_MS) for hour in range(20)]
    lab.configure(instance("i", 1_000), lanes=1, charges=hourly)
    lab.submit("a", by="x")
    lab.submit("i1", by="i")
    for hour in range(25, 45):
        lab.tick(hour * HOUR_MS)
    queues = lab.scheduler.index.backends["q"]

    assert queues.places == {"i": (0.0, 2, "i")}
    lab.done("a")
    lab.done("i1")
    assert lab.scheduler.index.first_normal(queues) is None
    assert (queues.fair, queues.places) == ([], {})
