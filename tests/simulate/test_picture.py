"""Pictures: their bars and curves, and that files come out."""

import sys
from itertools import pairwise
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from tests.simulate.traces import EXAMPLES, head, opened, submit

from queuebit.errors import QueuebitError
from queuebit.simulate.load import Load, generate
from queuebit.simulate.picture import (
    CALIBRATION,
    FINISH,
    OF_BATCHES,
    OF_JOBS,
    OF_SESSIONS,
    PREPARE,
    QUANTUM,
    READY,
    Row,
    assert_drawable,
    draw_gantt,
    draw_waits,
    gantt_rows,
    lanes_of,
)
from queuebit.simulate.reading import read
from queuebit.simulate.simulation import simulate


@pytest.fixture
def faq():
    return simulate(read(EXAMPLES / "faq_lanes.jsonl"))


def test_bars_of_a_gantt_chart(run):
    calibrated = {"name": "qpu", "calibrations": [{"every_s": 14, "lasts_s": 2}]}
    history = run(
        head(backends=[calibrated, {"name": "unused"}]),
        submit("a", quantum_s=2),
        submit("b"),
        opened("s", "session", at=5),
        submit("c", at=5, workload="s"),
        {"at": 6, "close": {"workload": "s"}},
        opened("w", at=10),
        submit("d", at=10, workload="w"),
        {"at": 11, "close": {"workload": "w"}},
        submit("e", at=14),
    )

    assert gantt_rows(history) == [
        Row(
            "qpu lane 1",
            {
                PREPARE: [(0, 1), (5, 1), (10, 1), (14, 1)],
                QUANTUM: [(1, 2), (6, 1), (11, 1), (16, 1)],
                FINISH: [(3, 1), (7, 1), (12, 1), (17, 1)],
                READY: [(15, 1)],
            },
        ),
        Row(
            "qpu lane 2", {PREPARE: [(0, 1)], READY: [(1, 2)], QUANTUM: [(3, 1)], FINISH: [(4, 1)]}
        ),
        Row(
            "qpu QPU",
            {
                OF_JOBS: [(1, 2), (3, 1), (16, 1)],
                OF_SESSIONS: [(6, 1)],
                OF_BATCHES: [(11, 1)],
                CALIBRATION: [(14, 2)],
            },
        ),
        Row("qpu session", {OF_SESSIONS: [(5, 3)]}),
    ]


def test_jobs_of_a_lane_follow_each_other():
    trace = generate(Load(hours=3, rate=200, lanes=4), np.random.default_rng(1))
    jobs = sorted(simulate(trace).jobs.values(), key=lambda job: (job.started_at, job.seq))

    lanes = lanes_of(jobs)

    assert len(lanes) == 4
    assert sum(len(lane) for lane in lanes) == len(jobs)
    for lane in lanes:
        for one, other in pairwise(lane):
            assert one.ended_at <= other.started_at


@pytest.mark.parametrize("draw", [draw_gantt, draw_waits])
@pytest.mark.parametrize("suffix", [".png", ".svg", ".PDF"])
def test_a_picture_is_a_file_and_always_the_same(tmp_path, faq, draw, suffix):
    first, second = tmp_path / f"1{suffix}", tmp_path / f"2{suffix}"
    for file in (first, second):
        draw([("as it is", faq), ("again", faq)], file)

    assert first.read_bytes() == second.read_bytes()
    start = {".png": b"\x89PNG", ".svg": b"<?xml", ".PDF": b"%PDF"}[suffix]
    assert first.read_bytes().startswith(start)


def texts(file):
    """What is written in an SVG."""
    return {
        "".join(found.itertext()).strip() for found in ET.parse(file).iter() if "text" in found.tag
    }


def test_a_gantt_chart_says_what_it_shows(tmp_path, faq):
    file = tmp_path / "gantt.svg"

    draw_gantt([("as it is", faq)], file)

    assert {"as it is", "lane 1", "lane 5", "QPU", "seconds", "of a batch", "finish"} <= texts(file)
    assert not {"of a session", "calibration"} & texts(file)


def test_wait_curves_say_what_they_show(tmp_path, faq):
    file = tmp_path / "waits.svg"

    draw_waits([("one", faq), ("other", faq)], file)

    assert {"one", "other", "wait, seconds", "share of jobs", "submitted, seconds"} <= texts(file)


def test_a_long_day_is_a_small_picture(tmp_path):
    history = simulate(generate(Load(hours=24, rate=40, circuits=1), np.random.default_rng(1)))
    file = tmp_path / "gantt.png"

    draw_gantt([("as it is", history)], file)

    assert len(history.jobs) > 3_000
    assert file.stat().st_size < 200_000


@pytest.mark.parametrize("draw", [draw_gantt, draw_waits])
def test_nothing_ran(tmp_path, run, draw):
    file = tmp_path / "empty.png"

    draw([("x", run(opened("b")))], file)

    assert file.stat().st_size


def test_a_file_that_is_no_picture(tmp_path):
    with pytest.raises(QueuebitError, match=r"x.txt is not a picture: its name ends in .png, .svg"):
        assert_drawable(tmp_path / "x.txt")


def test_without_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    with pytest.raises(QueuebitError, match=r"need matplotlib: pip install 'queuebit\[simulate\]'"):
        assert_drawable(tmp_path / "x.svg")


def test_a_folder_that_is_not_there(tmp_path, faq):
    with pytest.raises(QueuebitError, match=r"x.svg cannot be written: No such file or directory"):
        draw_gantt([("x", faq)], tmp_path / "none" / "x.svg")
