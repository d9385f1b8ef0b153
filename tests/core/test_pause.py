"""A backend that is paused or offline accepts jobs and starts none (semantics 2.8)."""

import pytest

from queuebit.core.events import RunStage, Step
from queuebit.core.model import Backend, BackendState, BackendStatus, JobStatus, Mode, Stage

STOPPED = pytest.mark.parametrize("status", [BackendStatus.PAUSED, BackendStatus.OFFLINE])


@STOPPED
def test_the_status_and_its_reason_are_on_record(lab, status):
    step = lab.set_status(status, "the fridge is warm")

    assert step == Step(
        changed={"q": BackendState(id="q", status=status, status_reason="the fridge is warm")}
    )


@STOPPED
def test_jobs_are_accepted_and_wait(lab, status):
    lab.set_status(status)
    step = lab.submit("a")

    assert (step.refusal, step.commands) == (None, [])
    assert lab.job("a").status is JobStatus.QUEUED


@STOPPED
def test_what_runs_goes_on_to_its_end(lab, status):
    lab.submit("a", "b")
    lab.set_status(status)

    assert lab.prepared("a").commands == [RunStage("a", 1, Stage.QUANTUM)]
    lab.prepared("b")
    assert RunStage("b", 1, Stage.QUANTUM) in lab.measured("a").commands
    lab.finished("a")
    assert lab.job("a").status is JobStatus.COMPLETED


@STOPPED
def test_an_active_session_goes_on_with_its_jobs(lab, status):
    lab.open("S", Mode.SESSION)
    lab.submit("s1", to="S")
    lab.set_status(status)

    assert lab.submit("s2", to="S").commands == [RunStage("s2", 1, Stage.PREPARE)]


@STOPPED
def test_no_session_begins(lab, status):
    lab.set_status(status)
    lab.open("S", Mode.SESSION)

    assert lab.submit("s", to="S").commands == []


@STOPPED
def test_an_active_batch_starts_no_more_jobs(lab, status):
    lab.open("B")
    lab.submit("b1", to="B")
    lab.set_status(status)

    assert lab.submit("b2", to="B").commands == []


@STOPPED
def test_online_again_everything_starts_in_its_order(lab, status):
    lab.open("B")
    lab.submit("b1", to="B")
    lab.submit("w", "x", "y", "z")
    lab.set_status(status)
    lab.submit("a")
    lab.submit("b2", to="B")
    lab.done("w", "x")

    assert lab.set_status(BackendStatus.ONLINE).commands == [
        RunStage("b2", 1, Stage.PREPARE),
        RunStage("a", 1, Stage.PREPARE),
    ]


def test_a_session_first_in_line_when_the_backend_comes_back_starts(lab):
    lab.set_status(BackendStatus.PAUSED)
    lab.open("S", Mode.SESSION)
    lab.submit("s", to="S")
    lab.submit("other")

    assert lab.set_status(BackendStatus.ONLINE).commands == [RunStage("s", 1, Stage.PREPARE)]


def test_other_backends_go_on(lab):
    lab.restart([Backend(name="q"), Backend(name="r")])
    lab.set_status(BackendStatus.PAUSED)

    assert lab.submit("a", backend="r").commands == [RunStage("a", 1, Stage.PREPARE)]


def test_a_restart_changes_nothing_about_it(lab):
    lab.submit("runs")
    lab.set_status(BackendStatus.PAUSED, "the fridge is warm")
    lab.submit("a")

    assert lab.restart().commands == [RunStage("runs", 2, Stage.PREPARE)]
    assert lab.state().status_reason == "the fridge is warm"


def test_timers_go_on(lab):
    lab.open("B", max_ttl_ms=1_000)
    lab.submit("b1", to="B")
    lab.set_status(BackendStatus.PAUSED)
    lab.submit("b2", to="B")
    lab.tick(1_000)

    assert lab.job("b2").status is JobStatus.FAILED
