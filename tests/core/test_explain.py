"""Every rule has its sentence; every waiting job has one; looking changes nothing."""

from dataclasses import replace

import pytest
from tests.core.conftest import Lab

from queuebit.core import forward
from queuebit.core.ahead import NAMED_MAX, Ahead
from queuebit.core.events import (
    JobCancelRequested,
    WorkloadCloseRequested,
)
from queuebit.core.explain import Explanation, Hold, explain, explain_workload
from queuebit.core.model import (
    Backend,
    BackendStatus,
    Calibration,
    Charge,
    Instance,
    Mode,
)
from queuebit.core.scheduler import Scheduler

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def why(lab: Lab, job_id: str) -> Explanation:
    told = explain(lab.scheduler, job_id)
    assert told is not None
    return told


# -- each rule


def test_lanes_are_busy(lab: Lab):
    lab.submit("a", "b", "c", "d")
    lab.submit("o", by="other")
    lab.submit("e", "f", "g")

    assert why(lab, "g") == Explanation(
        hold=Hold.LANES_BUSY,
        reason="All 5 lanes of q are busy, 4 with jobs of your instance. 2 jobs go first.",
        position=3,
        ahead=Ahead(queue=2, named=("e", "f")),
    )
    assert why(lab, "e").reason.endswith("instance. No other job goes first.")


def test_a_single_lane_is_told_as_one(lab: Lab):
    lab.configure(lanes=1)
    lab.submit("o", by="other")
    lab.submit("a", "b")

    assert why(lab, "b").reason == "The only lane of q is busy. 1 job goes first."


def test_active_batches_go_first(lab: Lab):
    lab.open("B", by="other")
    lab.submit(*"abcde", to="B", by="other")
    lab.submit("j")
    lab.submit("f", "g", to="B", by="other")

    assert why(lab, "j") == Explanation(
        hold=Hold.BATCHES_FIRST,
        reason="All 5 lanes of q are busy. 2 jobs go first because their batches are active.",
        position=3,
        ahead=Ahead(batches=2),
    )
    assert why(lab, "g").hold is Hold.LANES_BUSY
    assert why(lab, "g").position == 2


def test_who_has_used_less_goes_first(lab: Lab):
    lab.configure(
        Instance(id="i", allocation_ms=1_000),
        Instance(id="thrifty", allocation_ms=1_000),
        charges=[Charge(instance="i", at=0, ms=500)],
        lanes=1,
    )
    lab.submit("a", "b")
    lab.submit("x", "y", by="thrifty")

    assert why(lab, "b") == Explanation(
        hold=Hold.FAIR_SHARE,
        reason="The only lane of q is busy, 1 with jobs of your instance. "
        "2 jobs go first, of instances that have used less of their allocation.",
        position=3,
        ahead=Ahead(queue=2, fairer=2),
    )
    assert why(lab, "x").hold is Hold.LANES_BUSY


def test_an_equal_share_is_no_reason(lab: Lab):
    lab.configure(
        Instance(id="i", allocation_ms=1_000), Instance(id="other", allocation_ms=1_000), lanes=1
    )
    lab.submit("a", "b")
    lab.submit("x", by="other")
    lab.submit("c")

    assert why(lab, "c").hold is Hold.LANES_BUSY
    assert why(lab, "c").ahead == Ahead(queue=2, named=("b",))


def test_the_qpu_is_busy(lab: Lab):
    lab.submit("a", "c")
    lab.submit("b", by="other")
    lab.prepared("b")
    lab.prepared("a")
    lab.prepared("c")

    assert why(lab, "c") == Explanation(
        hold=Hold.QPU_BUSY,
        reason="The QPU of q is busy with 1 job of other instances. "
        "1 job is ready and before it in line.",
        position=2,
        ahead=Ahead(ready=1, named=("a",)),
    )
    assert why(lab, "a").reason == "The QPU of q is busy with 1 job of other instances."
    lab.measured("b")
    assert why(lab, "c").reason == "The QPU of q is busy with job a."


def test_a_session_has_the_backend(lab: Lab):
    lab.open("S", Mode.SESSION, by="other")
    lab.submit("s", to="S", by="other")
    lab.submit("j")
    lab.submit("t", "u", to="S", by="other")

    assert why(lab, "j") == Explanation(
        hold=Hold.SESSION_ACTIVE,
        reason="A session of another instance has q for itself "
        "until it goes inactive or is closed.",
        position=1,
        until=28_800_000,
    )
    lab.done("s", "t", "u")
    assert why(lab, "j").until == 60_000


def test_a_session_of_ones_own_is_named(lab: Lab):
    lab.configure(lanes=1)
    lab.open("S", Mode.SESSION)
    lab.submit("s", to="S")
    lab.submit("j")
    lab.submit("t", to="S")

    assert why(lab, "j").reason.startswith("Session S has q for itself")
    assert why(lab, "j").ahead == Ahead(session=1, named=("t",))
    assert why(lab, "t").hold is Hold.LANES_BUSY


def test_a_session_next_in_line_drains_the_lanes(lab: Lab):
    lab.submit("a", "b")
    lab.open("S", Mode.SESSION)
    lab.submit("s", "t", to="S")
    lab.submit("j", by="other")

    assert why(lab, "j") == Explanation(
        hold=Hold.SESSION_NEXT,
        reason="A session of another instance is next in line for q and starts when its lanes are "
        "empty; 2 jobs still run.",
        position=3,
        ahead=Ahead(session=2),
    )
    assert why(lab, "s") == Explanation(
        hold=Hold.DRAINING,
        reason="Its session is next in line for q and starts when its lanes are empty; "
        "2 jobs still run.",
        position=1,
    )
    assert why(lab, "t").hold is Hold.BEHIND_OLDEST
    assert why(lab, "t").ahead == Ahead(session=1, named=("s",))


def test_what_came_to_a_batch_after_a_session_was_next_is_held_back(lab: Lab):
    lab.configure(lanes=2)
    lab.open("B")
    lab.submit("a", "b", to="B")
    lab.submit("c", to="B")
    lab.open("S", Mode.SESSION)
    lab.submit("s", to="S")
    lab.submit("d", "e", to="B")
    lab.submit("j")

    assert why(lab, "c").hold is Hold.LANES_BUSY
    assert why(lab, "e") == Explanation(
        hold=Hold.HELD_BACK,
        reason="Session S was next in line for q before it came, and goes first.",
        position=4,
        ahead=Ahead(session=1, batches=2, named=("c", "s", "d")),
    )
    assert why(lab, "s").ahead == Ahead(batches=1, named=("c",))
    assert why(lab, "j").ahead == Ahead(session=1, batches=3, named=("c", "s", "d", "e"))


def test_a_batch_that_is_not_active_stands_with_its_oldest_job(lab: Lab):
    lab.configure(lanes=1)
    lab.submit("a", "k")
    lab.open("B")
    lab.submit("b", "c", "d", to="B")
    lab.submit("j")

    assert why(lab, "d") == Explanation(
        hold=Hold.BEHIND_OLDEST,
        reason="Its batch B is not active, and stands in the queue with its oldest job b. "
        "The only lane of q is busy, 1 with jobs of your instance. 1 job goes first.",
        position=4,
        ahead=Ahead(queue=3, named=("k", "b", "c")),
    )
    # When b starts, c and d jump the queue.
    assert why(lab, "j").ahead == Ahead(queue=4, named=("k", "b", "c", "d"))


@pytest.mark.parametrize(
    ("status", "hold"),
    [
        (BackendStatus.PAUSED, Hold.BACKEND_PAUSED),
        (BackendStatus.OFFLINE, Hold.BACKEND_OFFLINE),
    ],
)
def test_a_backend_that_is_not_online_starts_nothing(lab: Lab, status, hold):
    lab.set_status(status, "cold head")
    lab.submit("a", "b")

    assert why(lab, "b") == Explanation(
        hold=hold,
        reason=f"q is {status} and starts no jobs: cold head.",
        position=2,
        ahead=Ahead(queue=1, named=("a",)),
    )


def test_a_backend_that_is_not_configured_any_more(lab: Lab):
    lab.submit("a", "b")
    lab.prepared("a")
    lab.prepared("b")
    lab.submit("c", "d", "e", "f")
    reason = "q is not configured any more; the job waits until it is again."
    known = forward.copy(lab.scheduler)
    other = Scheduler([Backend(name="other")], known.records)

    for job_id, position in (("f", 1), ("b", 1)):
        told = explain(other, job_id)
        assert told is not None
        assert (told.hold, told.reason) == (Hold.NO_BACKEND, reason)
        assert told.position == position


def test_a_calibration_has_the_qpu_or_goes_first(lab: Lab):
    full = Calibration(kind="full", every_ms=1_000, lasts_ms=100)
    lab.configure(calibrations=(full, replace(full, kind="quick", every_ms=1_010, lasts_ms=20)))
    lab.submit("a", "b")
    lab.prepared("a")
    lab.tick(1_000)
    lab.prepared("b")

    assert why(lab, "b") == Explanation(
        hold=Hold.CALIBRATION,
        reason="A calibration (full) is due, and goes first on the QPU of q.",
        position=1,
    )
    lab.measured("a")
    assert why(lab, "b").reason == "The QPU of q is being calibrated (full)."
    assert why(lab, "b").until == 1_100
    lab.tick(1_010)
    assert why(lab, "b").until == 1_120  # the other one is due and goes first, too
    lab.open("S", Mode.SESSION)
    lab.submit("s", to="S")
    lab.finished("a")
    lab.send(JobCancelRequested(job_id="b"))
    assert why(lab, "s") == Explanation(
        hold=Hold.CALIBRATION,
        reason="Its session is next in line for q and starts when its QPU is calibrated (full).",
        position=1,
        until=1_120,
    )


def test_a_usage_limit_ends_when_enough_has_left_the_window(lab: Lab):
    lab.configure(
        Instance(id="i", limit_ms=1_000, window_ms=DAY_MS),
        charges=[
            Charge(instance="i", at=10, ms=200),
            Charge(instance="i", at=HOUR_MS, ms=900),
            Charge(instance="i", at=2 * HOUR_MS, ms=100),
        ],
    )
    lab.submit("o", by="other")
    lab.submit("a", "b")

    assert why(lab, "b") == Explanation(
        hold=Hold.USAGE_LIMIT,
        reason="Your instance has used 1.2 s of QPU time, and may use 1 s; its jobs wait until "
        "enough of that is older than its window.",
        position=2,
        ahead=Ahead(queue=1, named=("a",)),
        until=2 * HOUR_MS + DAY_MS,  # what was used in the first two hours: 200 is not enough
    )
    lab.tick(2 * HOUR_MS + DAY_MS)
    assert lab.running() == ["a", "b", "o"]


@pytest.mark.parametrize(("limit_ms", "window_ms"), [(100, None), (0, DAY_MS)])
def test_a_usage_limit_that_time_does_not_end(lab: Lab, limit_ms, window_ms):
    lab.configure(
        Instance(id="i", limit_ms=limit_ms, window_ms=window_ms),
        charges=[Charge(instance="i", at=0, ms=100)],
    )
    lab.submit("a")

    told = why(lab, "a")
    assert (told.hold, told.until) == (Hold.USAGE_LIMIT, None)
    assert ("until the limit is raised" in told.reason) is (window_ms is None)


def test_at_the_usage_limit_others_go_first_whatever_they_have_used(lab: Lab):
    lab.configure(
        Instance(id="i", allocation_ms=1_000, limit_ms=100, window_ms=DAY_MS),
        Instance(id="greedy", allocation_ms=1),
        charges=[Charge(instance="i", at=0, ms=100), Charge(instance="greedy", at=0, ms=9_999)],
        lanes=1,
    )
    lab.submit("a")
    lab.submit("x", "y", by="greedy")

    assert why(lab, "a").position == 2
    assert why(lab, "y").position == 1


# -- what does not wait


def test_a_job_that_runs_says_what_it_does(lab: Lab):
    lab.submit("a")
    told = [why(lab, "a")]
    lab.prepared("a")
    told.append(why(lab, "a"))
    lab.measured("a")
    told.append(why(lab, "a"))

    assert [one.reason for one in told] == [
        "It is being prepared for the QPU.",
        "It has the QPU.",
        "It has left the QPU, and its result is being made.",
    ]
    assert {(one.hold, one.position, one.source) for one in told} == {(None, None, None)}
    lab.finished("a")
    assert explain(lab.scheduler, "a") is None


def test_a_workload_says_what_its_next_job_waits_for(lab: Lab):
    lab.configure(lanes=1)
    lab.open("B")
    told = [explain_workload(lab.scheduler, "B")]
    lab.submit("a", to="B")
    told.append(explain_workload(lab.scheduler, "B"))
    lab.submit("b", to="B")
    waits = explain_workload(lab.scheduler, "B")
    lab.done("a", "b")
    told.append(explain_workload(lab.scheduler, "B"))
    lab.tick(60_000)
    told.append(explain_workload(lab.scheduler, "B"))
    lab.send(WorkloadCloseRequested(workload_id="B"))

    assert told == [
        Explanation(
            reason="It has had no job yet, and is closed unless one comes.", until=1_800_000
        ),
        Explanation(reason="It is active: 1 job is running.", until=28_800_000),
        Explanation(
            reason="It is active and has no job; unless one comes it goes inactive.", until=60_000
        ),
        Explanation(
            reason="It is inactive: its next job stands in the normal queue.", until=28_800_000
        ),
    ]
    assert waits is not None
    assert waits.hold is Hold.LANES_BUSY
    assert waits.reason.startswith("Its next job is b. The only lane of q is busy")
    assert explain_workload(lab.scheduler, "B") is None


def test_only_the_first_few_are_named_in_the_order_in_which_they_go(lab: Lab):
    lab.configure(lanes=1)
    lab.submit("run")
    lab.open("B")
    lab.submit("b1", to="B")
    lab.submit("j1")
    lab.submit("b2", to="B")
    lab.submit(*(f"j{n}" for n in range(2, 9)))

    assert NAMED_MAX == 5
    assert why(lab, "j8").ahead == Ahead(queue=9, named=("b1", "b2", "j1", "j2", "j3"))
