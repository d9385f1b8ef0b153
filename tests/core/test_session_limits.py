"""A session counts towards its instance's limit while it is active (semantics 5.5)."""

from dataclasses import replace

from tests.core.test_limits import DAY_MS, STOPPED, STOPS, WAITS

from queuebit.core.events import RunStage, Step, StopJob
from queuebit.core.hourly import HOUR_MS
from queuebit.core.model import Backend, Charge, Mode, Stage


def test_a_session_reaches_the_limit_at_its_own_instant_even_if_nobody_looks(lab):
    lab.configure(STOPS)
    lab.now = 7
    lab.open("S", Mode.SESSION, by="s")
    lab.submit("a", to="S", by="s")
    lab.prepared("a", estimated_ms=5_000)
    step = lab.tick(1_000)

    assert step.commands == [StopJob("a")]
    job, session = lab.job("a"), lab.workload("S")
    assert (job.reason, job.ended_at) == (STOPPED, 107)
    assert (session.state_reason, session.closed_at) == ("instance_limit_reached", 107)
    assert session.active_ms == 100
    # The job is charged the QPU's preparation too, which the limit comes too early to spare.
    assert session.modelled_ms == 2_000
    assert lab.scheduler.ledger.used_ms("s") == 2_100


def test_what_several_sessions_use_at_once_adds_up(lab):
    lab.backends = (Backend(name="q"), Backend(name="r"))
    lab.instances = (replace(STOPS, since=20),)
    lab.restart()
    for session, at in (("q", 10), ("r", 41)):
        lab.now = at
        lab.open(session.upper(), Mode.SESSION, by="s", backend=session)
        lab.submit(f"{session}1", to=session.upper(), by="s", backend=session)
    assert lab.scheduler.next_deadline() == 76  # 66 ms of the one and 35 of the other

    lab.tick(80)

    assert [lab.workload(id_).active_ms for id_ in "QR"] == [66, 35]


def test_before_the_instant_from_which_usage_counts_a_session_reaches_no_limit(lab):
    lab.configure(replace(STOPS, since=500))
    lab.open("S", Mode.SESSION, by="s")
    lab.submit("a", to="S", by="s")
    assert lab.tick(499) == Step()
    assert lab.scheduler.ledger.so_far_ms("s") == 0

    lab.tick(500)

    assert lab.workload("S").closed_at == 500


def test_a_session_counts_with_what_is_left_in_the_window_at_that_instant(lab):
    """Its time alone would have been over the limit earlier, had an hour not just left."""
    charged = Charge(instance="s", at=HOUR_MS - 1, ms=60)
    lab.configure(replace(STOPS, window_ms=DAY_MS), charges=[charged])
    lab.now = 25 * HOUR_MS - 20
    lab.open("S", Mode.SESSION, by="s")
    lab.submit("a", to="S", by="s")
    lab.tick(25 * HOUR_MS + 50)
    assert lab.running() == ["a"]

    lab.tick(26 * HOUR_MS)

    assert lab.workload("S").closed_at == 25 * HOUR_MS + 80


def test_at_a_limit_that_waits_the_active_session_goes_on_and_others_wait(lab):
    lab.backends = (Backend(name="q"), Backend(name="r", lanes=1))
    lab.instances = (WAITS,)
    lab.restart()
    lab.open("S", Mode.SESSION, by="w")
    lab.submit("a", to="S", by="w")
    lab.submit("x", "y", by="w", backend="r")
    lab.submit("other", backend="r")
    lab.tick(99)
    assert not lab.scheduler.ledger.is_limited("w")
    lab.tick(100)
    assert lab.scheduler.next_deadline() == 28_800_000  # of its TTL: no window was charged yet
    lab.submit("b", to="S", by="w")

    assert lab.done("x").commands[-1] == RunStage("other", 1, Stage.PREPARE)
    assert lab.running() == ["a", "b", "other"]


def test_a_session_next_in_line_steps_back_when_an_active_one_brings_its_limit(lab):
    lab.backends = (Backend(name="q"), Backend(name="r", lanes=2))
    lab.instances = (WAITS,)
    lab.restart()
    lab.open("S", Mode.SESSION, by="w")
    lab.submit("a", to="S", by="w")
    lab.submit("long", backend="r")
    lab.open("T", Mode.SESSION, by="w", backend="r")
    lab.submit("t", to="T", by="w", backend="r")
    lab.submit("next", backend="r")
    assert lab.workload("T").drain_seq is not None

    assert lab.tick(100).commands == [RunStage("next", 1, Stage.PREPARE)]
