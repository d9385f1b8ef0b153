"""Work on the QPU itself: when it is due, when it has the QPU, what it holds up (decisions 6)."""

from dataclasses import replace

import pytest

from queuebit.core.calibrations import ends_at
from queuebit.core.events import RunCalibration, RunStage, Step
from queuebit.core.model import (
    Backend,
    BackendState,
    BackendStatus,
    Calibrated,
    Calibration,
    Mode,
    Stage,
    WorkloadState,
)

HOUR_MS = 3_600_000
MONITOR = Calibration(kind="monitor", every_ms=HOUR_MS, lasts_ms=120_000)
GATES = Calibration(kind="gates", every_ms=24 * HOUR_MS, lasts_ms=600_000)


# -- when


def test_without_calibrations_nothing_is_due(lab):
    lab.configure()

    assert lab.restart() == Step()
    assert lab.scheduler.next_deadline() is None


def test_the_first_is_due_one_period_after_the_start(lab):
    lab.configure(calibrations=(MONITOR, GATES))

    assert lab.state() == BackendState(
        id="q", scheduled=(("monitor", HOUR_MS), ("gates", 24 * HOUR_MS))
    )
    assert lab.scheduler.next_deadline() == HOUR_MS


def test_it_takes_a_free_qpu_at_once(lab):
    lab.configure(calibrations=(MONITOR,))

    assert lab.tick(HOUR_MS - 1) == Step()

    step = lab.tick(HOUR_MS)

    assert step.commands == [RunCalibration("q", 1, "monitor", 120_000)]
    assert step.changed == {
        "q": BackendState(id="q", calibrating="monitor", calibrating_since=HOUR_MS, run=1)
    }
    assert ends_at(lab.state(), lab.backends[0]) == HOUR_MS + 120_000
    assert lab.scheduler.next_deadline() is None


def test_the_next_is_due_one_period_after_its_end(lab):
    lab.configure(calibrations=(MONITOR,))
    lab.tick(HOUR_MS)
    lab.now = HOUR_MS + 150_000
    lab.calibrated()

    assert lab.state() == BackendState(
        id="q",
        scheduled=(("monitor", 2 * HOUR_MS + 150_000),),
        run=1,
        calibrated_at=HOUR_MS + 150_000,
    )


def test_a_kind_with_drift_draws_new_values_and_the_others_leave_them(lab):
    drifting = replace(GATES, every_ms=2 * HOUR_MS, drift=0.25)
    lab.configure(calibrations=(MONITOR, drifting))
    lab.tick(HOUR_MS)
    lab.calibrated()

    assert lab.state().calibrated == Calibrated(at=HOUR_MS)

    lab.tick(2 * HOUR_MS)  # both are due
    lab.calibrated()
    lab.calibrated()

    assert (lab.state().run, lab.state().calibrating) == (3, None)
    assert lab.state().calibrated == Calibrated(at=2 * HOUR_MS, drawn=2, drift=0.25)

    lab.restart([Backend(name="q", calibrations=(MONITOR, replace(drifting, drift=0.5)))])

    assert lab.state().calibrated == Calibrated(at=2 * HOUR_MS, drawn=2, drift=0.25)


def test_one_that_was_cut_off_draws_nothing_and_leaves_no_number(lab):
    lab.configure(calibrations=(replace(MONITOR, drift=0.25),))
    lab.tick(HOUR_MS)
    lab.restart()

    assert lab.state().calibrated is None
    assert lab.calibrated(run=1) == Step()

    lab.now += 60_000
    lab.calibrated()

    assert lab.state().calibrated == Calibrated(at=HOUR_MS + 60_000, drawn=2, drift=0.25)


@pytest.mark.parametrize("run", [0, 2])
def test_news_of_another_calibration_is_ignored(lab, run):
    lab.configure(calibrations=(MONITOR,))
    lab.tick(HOUR_MS)

    assert lab.calibrated(run=run) == Step()


def test_repeated_news_is_ignored(lab):
    lab.configure(calibrations=(MONITOR,))
    lab.tick(HOUR_MS)
    lab.calibrated()

    assert lab.calibrated() == Step()


def test_kinds_follow_each_other_first_due_first(lab):
    lab.configure(calibrations=(replace(GATES, every_ms=HOUR_MS + 1), MONITOR))
    lab.submit("a")
    lab.prepared("a")
    lab.tick(2 * HOUR_MS)

    assert lab.state().due == ("monitor", "gates")
    assert lab.measured("a").commands[-1] == RunCalibration("q", 1, "monitor", 120_000)
    assert lab.calibrated().commands == [RunCalibration("q", 2, "gates", 600_000)]


def test_backends_calibrate_each_on_its_own(lab):
    lab.backends = (Backend(name="q", calibrations=(MONITOR,)), Backend(name="r"))
    lab.restart()
    lab.submit("a", backend="r")
    lab.tick(HOUR_MS)

    assert lab.prepared("a").commands == [RunStage("a", 1, Stage.QUANTUM)]


# -- among jobs


def test_it_waits_for_the_job_on_the_qpu_and_goes_before_those_that_are_ready(lab):
    lab.configure(calibrations=(MONITOR,))
    lab.submit("a", "b")
    lab.prepared("a")
    lab.prepared("b")

    assert lab.tick(HOUR_MS).commands == []
    assert lab.measured("a").commands == [
        RunStage("a", 1, Stage.FINISH),
        RunCalibration("q", 1, "monitor", 120_000),
    ]
    assert lab.job("b").stage is Stage.READY
    assert lab.calibrated().commands == [RunStage("b", 1, Stage.QUANTUM)]


def test_with_two_qpu_slots_it_waits_for_both_and_nothing_new_comes_between(lab):
    lab.backends = (Backend(name="q", qpu_slots=2, calibrations=(MONITOR,)),)
    lab.restart()
    lab.submit("a", "b", "c")
    lab.prepared("a")
    lab.prepared("b")
    lab.tick(HOUR_MS)
    lab.prepared("c")

    assert lab.measured("a").commands == [RunStage("a", 1, Stage.FINISH)]
    assert lab.measured("b").commands[-1] == RunCalibration("q", 1, "monitor", 120_000)


def test_lanes_fill_and_jobs_prepare_meanwhile(lab):
    lab.configure(calibrations=(MONITOR,))
    lab.tick(HOUR_MS)

    assert lab.submit("a").commands == [RunStage("a", 1, Stage.PREPARE)]
    assert lab.prepared("a").commands == []


def test_it_goes_between_two_jobs_of_an_active_batch(lab):
    """IBM, FAQ: calibration may run between the jobs of a batch."""
    lab.configure(calibrations=(MONITOR,))
    lab.open("B")
    lab.submit("b1", "b2", to="B")
    lab.prepared("b1")
    lab.prepared("b2")
    lab.tick(HOUR_MS)

    assert lab.measured("b1").commands[-1] == RunCalibration("q", 1, "monitor", 120_000)


def test_a_cancelled_job_leaves_it_the_qpu(lab):
    lab.configure(calibrations=(MONITOR,))
    lab.submit("a")
    lab.prepared("a")
    lab.tick(HOUR_MS)

    assert lab.cancel("a").commands[-1] == RunCalibration("q", 1, "monitor", 120_000)


# -- and sessions


def test_never_while_a_session_is_active(lab):
    lab.configure(calibrations=(MONITOR,))
    lab.open("S", Mode.SESSION, interactive_ttl_ms=2 * HOUR_MS)
    lab.submit("s1", "s2", to="S")
    lab.prepared("s1")
    lab.prepared("s2")
    lab.tick(HOUR_MS)

    assert lab.state().due == ("monitor",)
    assert lab.measured("s1").commands[-1] == RunStage("s2", 1, Stage.QUANTUM)

    lab.measured("s2")
    lab.finished("s1")
    lab.finished("s2")  # the QPU is free, the session waits for more

    assert lab.state().calibrating is None
    assert lab.tick(3 * HOUR_MS).commands == [RunCalibration("q", 1, "monitor", 120_000)]
    assert lab.workload("S").state is WorkloadState.INACTIVE


def test_a_session_about_to_start_waits_for_what_is_due(lab):
    lab.configure(lanes=2, calibrations=(MONITOR,))
    lab.submit("other")
    lab.prepared("other")
    lab.open("S", Mode.SESSION)
    lab.submit("s", to="S")
    lab.tick(HOUR_MS)
    lab.measured("other")

    assert lab.finished("other").commands == []
    assert lab.state().calibrating == "monitor"
    assert lab.workload("S").state is WorkloadState.OPEN
    assert lab.calibrated().commands == [RunStage("s", 1, Stage.PREPARE)]


def test_a_session_waits_for_all_that_is_due(lab):
    lab.configure(calibrations=(MONITOR, replace(GATES, every_ms=HOUR_MS + 1)))
    lab.tick(HOUR_MS)
    lab.tick(HOUR_MS + 1)
    lab.open("S", Mode.SESSION)
    lab.submit("s", to="S")

    assert lab.calibrated().commands == [RunCalibration("q", 2, "gates", 600_000)]
    assert lab.calibrated().commands == [RunStage("s", 1, Stage.PREPARE)]


def test_others_do_not_slip_in_while_a_session_waits_for_a_calibration(lab):
    lab.configure(calibrations=(MONITOR,))
    lab.tick(HOUR_MS)
    lab.open("S", Mode.SESSION)
    lab.submit("s", to="S")

    assert lab.submit("other").commands == []
    assert lab.calibrated().commands == [RunStage("s", 1, Stage.PREPARE)]


# -- and restarts


def test_what_had_the_qpu_is_due_at_once_and_before_the_rest(lab):
    lab.configure(calibrations=(MONITOR, replace(GATES, every_ms=HOUR_MS + 1)))
    lab.tick(HOUR_MS)
    lab.tick(HOUR_MS + 1)
    step = lab.restart()

    assert step.commands == [RunCalibration("q", 2, "monitor", 120_000)]
    assert lab.state().due == ("gates",)
    assert lab.calibrated(run=1) == Step()
    assert lab.calibrated(run=2).commands == [RunCalibration("q", 3, "gates", 600_000)]


def test_who_was_ready_before_the_restart_is_not_ready_first_after_it(lab):
    """Behind a calibration its old place in the line once came to count again."""
    lab.configure(calibrations=(MONITOR,))
    lab.submit("x", "a", "b")
    for lab.now, job_id in enumerate("xab"):
        lab.prepared(job_id)
    lab.tick(HOUR_MS)
    assert lab.restart().commands[-1] == RunCalibration("q", 1, "monitor", 120_000)
    for lab.now, job_id in enumerate("ba", start=HOUR_MS + 10):
        lab.prepared(job_id)

    assert lab.calibrated().commands == [RunStage("b", 2, Stage.QUANTUM)]


def test_what_fell_due_while_the_service_was_down_is_due_once(lab):
    lab.configure(calibrations=(MONITOR,))
    lab.submit("a")
    lab.prepared("a")
    lab.now = 10 * HOUR_MS

    assert lab.restart().commands == [
        RunStage("a", 2, Stage.PREPARE),
        RunCalibration("q", 1, "monitor", 120_000),
    ]
    assert lab.state().due == ()


def test_a_restart_keeps_the_schedule(lab):
    lab.configure(calibrations=(MONITOR,))
    lab.now = HOUR_MS // 2

    assert lab.restart() == Step()
    assert lab.state().scheduled == (("monitor", HOUR_MS),)


@pytest.mark.parametrize(
    ("every_ms", "due_at"),
    [
        (HOUR_MS // 4, HOUR_MS // 2 + HOUR_MS // 4),
        (HOUR_MS * 3 // 4, HOUR_MS),
        (5 * HOUR_MS, HOUR_MS),
    ],
    ids=["much shorter", "due before that", "longer"],
)
def test_a_shorter_period_counts_from_the_restart(lab, every_ms, due_at):
    lab.configure(calibrations=(MONITOR,))
    lab.now = HOUR_MS // 2
    lab.restart([Backend(name="q", calibrations=(replace(MONITOR, every_ms=every_ms),))])

    assert lab.state().scheduled == (("monitor", due_at),)


def test_a_new_kind_is_scheduled_and_one_no_longer_configured_forgotten(lab):
    lab.configure(calibrations=(MONITOR,))
    lab.now = 1_000
    lab.restart([Backend(name="q", calibrations=(GATES,))])

    assert lab.state().scheduled == (("gates", 1_000 + 24 * HOUR_MS),)


@pytest.mark.parametrize("calibrates", [False, True], ids=["due", "calibrating"])
def test_a_kind_no_longer_configured_holds_nobody_up(lab, calibrates):
    lab.configure(calibrations=(MONITOR,))
    if not calibrates:
        lab.submit("a")
        lab.prepared("a")
    lab.tick(HOUR_MS)
    lab.restart([Backend(name="q")])

    assert lab.state() == BackendState(id="q", run=int(calibrates))
    lab.submit("b")
    assert lab.prepared("b").commands == [RunStage("b", 1, Stage.QUANTUM)]


def test_a_backend_out_of_the_configuration_calibrates_no_more(lab):
    lab.configure(calibrations=(MONITOR,))
    lab.restart([])

    assert lab.tick(2 * HOUR_MS) == Step()
    assert lab.state() == BackendState(id="q")

    lab.restart([Backend(name="q", calibrations=(MONITOR,))])

    assert lab.state().scheduled == (("monitor", 3 * HOUR_MS),)


def test_a_paused_backend_is_calibrated_all_the_same(lab):
    lab.configure(calibrations=(MONITOR,))
    lab.set_status(BackendStatus.PAUSED)

    assert lab.tick(HOUR_MS).commands == [RunCalibration("q", 1, "monitor", 120_000)]
