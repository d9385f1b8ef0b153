"""The same clients, something different."""

import numpy as np
import pytest
from tests.simulate.traces import EXAMPLES, all_completed, head, lines, opened, starts, submit

from queuebit.config import PlanConfig
from queuebit.core.model import Instance, Mode, OnLimit
from queuebit.errors import QueuebitError
from queuebit.simulate.load import Load, generate
from queuebit.simulate.reading import parse, read
from queuebit.simulate.report import make_report
from queuebit.simulate.simulation import simulate
from queuebit.simulate.whatif import WhatIf


def what_if(text, *entries):
    return simulate(WhatIf.parse(text).apply(parse(lines(*entries))))


def test_nothing_different():
    trace = read(EXAMPLES / "faq_lanes.jsonl")

    assert WhatIf().apply(trace) == trace
    assert WhatIf().name == "as it is"


def test_one_lane_instead_of_five():
    trace = read(EXAMPLES / "faq_lanes.jsonl")

    makespans = {
        lanes: make_report("", simulate(WhatIf(lanes=lanes).apply(trace))).makespan_s
        for lanes in (1, 5)
    }

    works = [work for _, work in trace.submissions()]
    one_by_one_s = sum(w.prepare_ms + w.quantum_ms + w.finish_ms for w in works) / 1_000
    assert makespans == {1: one_by_one_s, 5: 43}


def test_more_slots_let_jobs_share_the_qpu():
    jobs = [submit(name, quantum_s=10) for name in "abc"]

    assert make_report("", what_if("", *jobs)).makespan_s == 32
    assert make_report("", what_if("qpu-slots=3", *jobs)).makespan_s == 12


def test_more_qpus_halve_the_work_of_each():
    jobs = [submit(f"j{n}", quantum_s=10) for n in range(8)]

    report = make_report("", what_if("qpus=2", *jobs))

    assert report.makespan_s == 42
    assert {name: busy.qpu for name, busy in report.by_backend.items()} == {
        "qpu": 0.9524,
        "qpu-2": 0.9524,
    }


def workload(mode):
    return [
        opened("w", mode, interactive_ttl_s=5),
        submit("a", workload="w"),
        submit("b", after="a", delay_s=20, workload="w"),
        {"after": "b", "close": {"workload": "w"}},
        submit("other", at=1, prepare_s=30),
    ]


@pytest.mark.parametrize("mode", ["batch", "session"])
def test_in_another_mode(mode):
    wanted = {"batch": "session", "session": "batch"}[mode]

    assert what_if(f"mode={wanted}", *workload(mode)).jobs == what_if("", *workload(wanted)).jobs


def test_in_job_mode_there_are_no_workloads():
    history = what_if("mode=job", *workload("session"))

    assert history.workloads == {}
    assert starts(history) == [("a", 0), ("other", 1), ("b", 23)]


def test_in_job_mode_cancelling_a_batch_cancels_its_jobs():
    history = what_if(
        "mode=job lanes=1",
        opened("w"),
        submit("a", workload="w", quantum_s=10),
        submit("b", workload="w"),
        {"at": 2, "cancel": {"workload": "w"}},
        submit("c"),
    )

    assert starts(history) == [("a", 0), ("c", 2)]


def test_other_ttls():
    entries = [*workload("session"), submit("late", workload="w", at=1_000)]

    history = what_if("max-ttl=100, interactive_ttl=15", *entries)

    session = history.workloads["w"]
    assert (session.max_ttl_ms, session.active_ttl_ms) == (100_000, 100_000)
    assert session.transitions[2][1] == 18_000
    assert list(history.refused) == ["late"]


def test_an_active_ttl_of_its_own_is_kept():
    trace = parse(lines(opened("w", active_ttl_s=50)))

    assert WhatIf(max_ttl=100).apply(trace).entries[0].event.active_ttl_ms == 50_000


def test_without_calibrations_fair_share_and_limits():
    entries = [
        head(
            backends=[{"name": "qpu", "lanes": 1, "calibrations": [{"every_s": 2, "lasts_s": 50}]}],
            instances=[{"name": "a", "allocation_s": 1, "pending_max": 2}, {"name": "b"}],
        ),
        *(submit(name, instance=name[0]) for name in ("a1", "a2", "b1", "a3")),
    ]

    assert starts(what_if("", *entries)) == [("a1", 0), ("b1", 3), ("a2", 54)]
    assert starts(what_if("calibrations=off", *entries)) == [("a1", 0), ("b1", 3), ("a2", 6)]
    assert starts(what_if("calibrations=off fair_share=off limits=off", *entries)) == [
        ("a1", 0),
        ("a2", 3),
        ("b1", 6),
        ("a3", 9),
    ]


def test_more_lanes_never_lengthen_a_made_up_day_of_jobs():
    trace = generate(Load(hours=2, rate=200, batch=0, session=0), np.random.default_rng(1))

    histories = [simulate(WhatIf(lanes=lanes).apply(trace)) for lanes in (1, 2, 5)]

    waits = [make_report("", history).all.wait_s.mean for history in histories]
    assert waits == sorted(waits, reverse=True)
    assert all(all_completed(history) for history in histories)


def test_a_what_if_is_called_by_what_it_changes():
    assert WhatIf.parse("lanes=10, mode=batch max-ttl=60").name == "lanes=10 mode=batch max_ttl=60"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("lanes", "what-if 'lanes' is not KEY=VALUE"),
        ("lanes=", "what-if 'lanes=' is not KEY=VALUE"),
        ("lanes=1 lanes=2", "what-if: lanes is given twice"),
        (
            "lane=1",
            "what-if: there is no lane; there are " + ", ".join(WhatIf.model_fields),
        ),
        ("lanes=0", "what-if: lanes: input should be greater than or equal to 1, not '0'"),
        ("qpus=1001", "what-if: qpus: input should be less than or equal to 1000, not '1001'"),
        ("mode=fast", "what-if: mode: input should be 'job', 'batch' or 'session', not 'fast'"),
    ],
)
def test_a_mistake(text, told):
    with pytest.raises(QueuebitError) as refusal:
        WhatIf.parse(text)
    assert str(refusal.value) == told


def test_on_the_open_plan_a_session_is_a_short_batch_and_the_limit_holds():
    entries = [*workload("session"), submit("more", at=40, quantum_s=700), submit("last", at=2_000)]

    history = what_if("plan=open", *entries)

    assert {(one.mode, one.max_ttl_ms) for one in history.workloads.values()} == {
        (Mode.BATCH, 600_000)
    }
    rules = history.trace.instances
    assert [(one.id, one.limit_ms, one.on_limit) for one in rules] == [
        ("local", 600_000, OnLimit.WAIT)
    ]
    waits_ms = {id_: job.started_at - job.created_at for id_, job in history.jobs.items()}
    assert waits_ms["last"] > 27 * 86_400_000  # until the window has rolled
    assert what_if("plan=open limits=off", *entries).jobs["last"].started_at == 2_000_000


def test_the_plan_of_one_instance():
    entries = [opened("w", "session", instance="a"), opened("v", "session", instance="b")]
    jobs = [submit("j", workload="w", instance="a"), submit("k", workload="v", instance="b")]

    modes = {
        name: one.mode for name, one in what_if("plan=a:open", *entries, *jobs).workloads.items()
    }

    assert modes == {"w": Mode.BATCH, "v": Mode.SESSION}


def test_another_plan_keeps_an_instances_share():
    trace = parse(lines(head(instances=[{"name": "a", "allocation_s": 9}]), submit("j")))
    plan = PlanConfig(name="own", on_limit="stop", limit_s=5, window_days="none", pending_max=3)

    applied = WhatIf(plan="own").apply(trace, [plan])

    rules = {"limit_ms": 5_000, "on_limit": OnLimit.STOP, "pending_max": 3}
    assert applied.instances[0] == Instance(id="a", allocation_ms=9_000, **rules)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("plan=golden", "no plan 'golden'; there are premium, open"),
        ("plan=x:open", "no instance 'x'"),
    ],
)
def test_there_are_only_the_plans_and_instances_that_there_are(text, told):
    with pytest.raises(QueuebitError, match=told):
        what_if(text, submit("j"))
