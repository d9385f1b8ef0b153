"""The scheduler's copy, run ahead of time, meets what happens; and says when it cannot tell."""

from heapq import heappop, heappush

import hypothesis.strategies as st
from hypothesis import given, settings
from tests.core.conftest import Lab
from tests.core.town import Town

from queuebit.core import forward, invariants
from queuebit.core.events import RunStage, Tick
from queuebit.core.forward import Forward, Unknown, estimate_start
from queuebit.core.model import (
    BackendStatus,
    Calibration,
    Charge,
    Instance,
    Job,
    JobStatus,
    Mode,
    Stage,
)

HOUR_MS = 3_600_000
TIMES = {Stage.PREPARE: 10, Stage.QUANTUM: 100, Stage.FINISH: 1}


def usual(job: Job, stage: Stage) -> int:
    return TIMES[stage]


def ahead(lab: Lab, **limits: int) -> Forward:
    return Forward(forward.copy(lab.scheduler).scheduler(), lab.now, usual, **limits)


def test_a_job_starts_when_a_lane_frees(lab: Lab):
    lab.configure(lanes=1)
    lab.submit("a", "b", "c")
    before = invariants.picture(lab.scheduler)

    assert estimate_start(lab.scheduler, "a", 0, usual) == 0
    assert estimate_start(lab.scheduler, "b", 0, usual) == 111
    assert estimate_start(lab.scheduler, "c", 0, usual) == 222
    assert ahead(lab).end_of("c") == 333
    assert invariants.picture(lab.scheduler) == before


def test_what_has_passed_of_a_stage_counts_and_what_is_overdue_ends_at_once(lab: Lab):
    lab.configure(lanes=1)
    lab.submit("a", "b")
    lab.now = 7
    assert ahead(lab).start_of("b") == 111
    lab.prepared("a")
    lab.now = 57
    assert ahead(lab).start_of("b") == 108
    lab.now = 500
    assert ahead(lab).start_of("b") == 501
    lab.measured("a")
    lab.now = 900
    assert ahead(lab).start_of("b") == 900


def test_a_job_that_nothing_starts_has_no_estimate(lab: Lab):
    lab.set_status(BackendStatus.PAUSED)
    lab.submit("a")

    assert ahead(lab).start_of("a") is Unknown.NEVER
    assert estimate_start(lab.scheduler, "a", 0, usual) is None


def test_a_job_that_its_ttl_ends_first_never_starts(lab: Lab):
    lab.configure(lanes=1)
    lab.open("B", max_ttl_ms=50)
    lab.submit("a", "b", to="B")

    future = ahead(lab)
    assert (future.start_of("b"), future.end_of("b")) == (Unknown.NEVER, 50)
    assert future.end_of("a") == 111


def test_a_job_that_will_be_stopped_at_its_limit_leaves_its_lane_then(lab: Lab):
    lab.configure(lanes=1)
    lab.submit("a", limit_ms=50)
    lab.prepared("a", estimated_ms=70)
    lab.submit("b")

    assert ahead(lab).end_of("a") == 50
    assert ahead(lab).start_of("b") == 50


def test_looking_too_far_is_given_up(lab: Lab):
    lab.configure(lanes=1)
    lab.submit("a", "b", "c")

    future = ahead(lab, events_max=3)
    assert (future.start_of("b"), future.start_of("c")) == (111, Unknown.TOO_FAR)


def test_a_usage_limit_is_waited_for_but_not_for_ever(lab: Lab):
    day_ms = 24 * HOUR_MS
    for window_ms, start in ((day_ms, HOUR_MS + day_ms), (99 * day_ms, Unknown.NEVER)):
        lab.configure(
            Instance(id="i", limit_ms=1, window_ms=window_ms),
            charges=[Charge(instance="i", at=0, ms=1)],
        )
        lab.submit("a")

        assert ahead(lab).start_of("a") == start


def test_a_session_is_waited_for_until_it_idles_out(lab: Lab):
    lab.open("S", Mode.SESSION)
    lab.submit("s", to="S")
    lab.submit("j")

    assert ahead(lab).start_of("j") == 111 + 60_000


def test_a_calibration_under_way_ends_when_it_has_lasted(lab: Lab):
    lab.configure(calibrations=(Calibration(kind="full", every_ms=1_000, lasts_ms=200),))
    lab.tick(1_000)
    lab.open("S", Mode.SESSION)
    lab.submit("s", to="S")

    assert ahead(lab).start_of("s") == 1_200
    lab.tick(1_150)
    assert ahead(lab).start_of("s") == 1_200
    lab.tick(1_250)  # overdue
    assert ahead(lab).start_of("s") == 1_250
    lab.calibrated()
    lab.done("s")
    lab.submit("j")
    # The session idles out; what is due then comes before the jobs on the QPU, not in the lanes.
    assert ahead(lab).start_of("j") == 1_250 + 60_000
    assert ahead(lab).end_of("j") == 1_250 + 60_000 + 200 + 101


def varied(job: Job, stage: Stage) -> int:
    """Never news of two jobs at the same instant, whose order would be anybody's."""
    return TIMES[stage] * 1_000 + 7 * job.seq


def run_on(town: Town) -> None:
    """Let everything happen to its end, with no more news from outside."""
    queue: list[tuple[int, int, RunStage]] = []
    while town.scheduler.jobs:
        for task in town.tasks:
            job = town.scheduler.jobs.get(task.job_id)
            if job is not None:  # else cancelled
                since = {
                    Stage.PREPARE: job.started_at,
                    Stage.QUANTUM: job.quantum_started_at,
                    Stage.FINISH: job.quantum_ended_at,
                }[task.stage]
                assert since is not None
                heappush(queue, (max(town.now, since + varied(job, task.stage)), job.seq, task))
        town.tasks.clear()
        due = town.scheduler.next_deadline()
        if queue and (due is None or queue[0][0] <= due):
            town.now, _, task = heappop(queue)
            town.end_stage(task)
        elif due is not None:
            town.now = due
            town.feed(Tick())
        else:
            return


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 10**6), lanes=st.integers(1, 4), events=st.integers(1, 80))
def test_what_is_foreseen_happens_if_nothing_new_comes_and_stages_last_as_expected(
    seed, lanes, events
):
    town = Town(seed, lanes=lanes, static_shares=True)
    for _ in range(events):
        town.happen()
    waiting = [j.id for j in town.scheduler.jobs.values() if j.status is JobStatus.QUEUED]
    future = Forward(forward.copy(town.scheduler).scheduler(), town.now, varied)
    foreseen = {id_: (future.start_of(id_), future.end_of(id_)) for id_ in waiting}

    run_on(town)

    happened = {}
    for id_ in waiting:
        job = town.saved[id_]
        assert isinstance(job, Job)
        happened[id_] = (job.started_at or Unknown.NEVER, job.ended_at or Unknown.NEVER)
    assert foreseen == happened


def test_it_tells_whether_a_usage_limit_sets_the_start_of_a_job(lab: Lab):
    waits = Instance(id="i", limit_ms=100, window_ms=24 * HOUR_MS)
    lab.configure(waits, Instance(id="j"), lanes=1)
    lab.submit("a", "b", "c")
    lab.prepared("a", estimated_ms=100)
    lab.submit("other", by="j")
    foreseen = ahead(lab)

    assert foreseen.start_of("other") == 101
    assert not foreseen.waits_for_limit(lab.job("other"))
    assert foreseen.start_of("b") == 25 * HOUR_MS
    assert foreseen.waits_for_limit(lab.job("b"))
    assert foreseen.waits_for_limit(lab.job("c"))
    assert not foreseen.waits_for_limit(lab.job("a"))


def test_a_limit_that_time_does_not_end_is_why_a_job_never_starts(lab: Lab):
    lab.configure(Instance(id="i", limit_ms=100), lanes=1)
    lab.submit("a", "b")
    lab.prepared("a", estimated_ms=100)
    foreseen = ahead(lab)

    assert foreseen.start_of("b") is Unknown.NEVER
    assert foreseen.waits_for_limit(lab.job("b"))
