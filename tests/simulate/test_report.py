"""Numbers, as a table and as JSON."""

import json

import pytest
from rich.console import Console
from tests.simulate.traces import head, opened, submit

from queuebit.simulate.report import Busy, Group, Spread, make_report, spread
from queuebit.simulate.table import as_json, duration, make_table


@pytest.fixture
def history(run):
    """A batch and a session on one lane, a job that is refused and one that is cancelled."""
    return run(
        head(backends=[{"name": "qpu", "lanes": 1}]),
        opened("b", instance="lab"),
        opened("s", "session"),
        submit("b1", at=10, workload="b", usage_s=5),
        submit("b2", at=10, workload="b", usage_s=5),
        submit("s1", at=11, workload="s"),
        {"at": 11, "close": {"workload": "b"}},
        {"at": 12, "close": {"workload": "s"}},
        submit("c", at=13, quantum_s=9),
        {"at": 14, "cancel": {"job": "c"}},
        submit("late", at=15, workload="s"),
        submit("alone", at=15, quantum_s=4),
    )


def test_everything_adds_up(history):
    report = make_report("x", history)

    assert (report.makespan_s, report.completed, report.cancelled, report.refused) == (15, 4, 1, 1)
    assert report.all == Group(
        jobs=5, wait_s=Spread(mean=3, median=3, p95=5, max=5), total_s=15, usage_s=17
    )
    assert report.by_mode == {
        "job": Group(
            jobs=2, wait_s=Spread(mean=4, median=4, p95=4, max=4), total_s=12, usage_s=4
        ),
        "batch": Group(
            jobs=2, wait_s=Spread(mean=1.5, median=0, p95=3, max=3), total_s=6, usage_s=10
        ),
        "session": Group(
            jobs=1, wait_s=Spread(mean=5, median=5, p95=5, max=5), total_s=8, usage_s=3
        ),
    }  # fmt: skip
    assert list(report.by_instance) == ["lab", "local"]
    assert report.by_backend == {"qpu": Busy(qpu=0.4667, calibrating=0.0, lanes=1.0)}


def test_a_session_that_is_still_open_is_charged_for_its_active_time(run):
    history = run(opened("s", "session", interactive_ttl_s=7), submit("a", workload="s"))

    assert make_report("x", history).by_mode["session"].usage_s == 10


def test_nothing_ran(run):
    report = make_report("x", run(opened("b")))

    assert (report.makespan_s, report.all) == (None, Group())
    assert report.by_backend == {"qpu": Busy()}


@pytest.mark.parametrize(
    ("durations_ms", "expected"),
    [
        ([], Spread()),
        ([2_000], Spread(mean=2, median=2, p95=2, max=2)),
        (range(1_000, 101_000, 1_000), Spread(mean=50.5, median=50, p95=95, max=100)),
    ],
)
def test_a_spread(durations_ms, expected):
    assert spread(durations_ms) == expected


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0, "0.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (3_599.6, "1 h 00 min"),
        (90_000, "25 h 00 min"),
    ],
)
def test_durations_as_people_write_them(seconds, text):
    assert duration(seconds) == text


def printed(*reports):
    console = Console(width=200, highlight=False, no_color=True)
    with console.capture() as capture:
        console.print(make_table(reports))
    return [" ".join(line.split()) for line in capture.get().splitlines()]


def test_a_table_puts_reports_side_by_side(history, run):
    rows = printed(make_report("one", history), make_report("two", run(submit("a"))))

    assert rows[:5] == [
        "one two",
        "makespan 15.0 s 3.0 s",
        "jobs 5 1",
        "completed 4 1",
        "cancelled 1 0",
    ]
    for row in ("sessions 3.0 s 0.0 s", "lab 10.0 s 0.0 s", "qpu QPU 46.7% 33.3%", "lab 1.5 s -"):
        assert row in rows


def test_a_table_of_many_instances_shows_the_first(run):
    many = [submit(f"j{n}", instance=f"lab{n:02}", usage_s=100 - n) for n in range(30)]

    rows = printed(make_report("x", run(*many)))

    assert "usage of instances (the first 12 of 30)" in rows
    assert rows.count("lab11 1 min 29 s") == 1
    assert not any(row.startswith("lab12") for row in rows)


def test_json_has_everything(history):
    told = json.loads(json.dumps(as_json(make_report("x", history))))

    assert told["name"] == "x"
    assert told["by_mode"]["batch"] == {
        "jobs": 2,
        "wait_s": {"mean": 1.5, "median": 0.0, "p95": 3.0, "max": 3.0},
        "total_s": 6.0,
        "usage_s": 10.0,
    }
    assert told["by_backend"]["qpu"] == {"qpu": 0.4667, "calibrating": 0.0, "lanes": 1.0}
