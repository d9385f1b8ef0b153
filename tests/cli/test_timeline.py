"""Bars of jobs, from the metrics that the service tells."""

import pytest

from queuebit.cli.timeline import Span, bar, spans, stage_now, total_s

STAMPS = ("prepare_started", "ready", "quantum_started", "quantum_ended", "finished")


def metrics(*seconds):
    """Metrics of a job created at second 0 whose stages began at `seconds`, as far as it came."""
    told = [f"2026-01-01T00:00:{second:02d}.000Z" for second in seconds]
    stages = dict.fromkeys(STAMPS) | dict(zip(STAMPS, told, strict=False))
    return {
        "timestamps": {"created": "2026-01-01T00:00:00.000Z", "finished": stages["finished"]},
        "queuebit": {"stages": stages},
    }


MIDNIGHT = 1_767_225_600.0  # 2026-01-01T00:00:00Z


def relative(found):
    return [(span.stage, span.start - MIDNIGHT, span.end - MIDNIGHT) for span in found]


def test_a_job_that_ended_has_all_stages():
    assert relative(spans(metrics(1, 3, 4, 8, 9), now=MIDNIGHT + 99)) == [
        ("queued", 0, 1),
        ("prepare", 1, 3),
        ("wait", 3, 4),
        ("quantum", 4, 8),
        ("finish", 8, 9),
    ]


def test_the_last_stage_of_a_running_job_goes_on():
    assert relative(spans(metrics(1, 3), now=MIDNIGHT + 5)) == [
        ("queued", 0, 1),
        ("prepare", 1, 3),
        ("wait", 3, 5),
    ]


def test_a_clock_behind_the_service_gives_no_negative_stage():
    assert relative(spans(metrics(4), now=MIDNIGHT + 2))[-1] == ("prepare", 4, 4)


def test_a_job_that_failed_while_it_was_prepared_ends_there():
    told = metrics(1)
    told["queuebit"]["stages"]["finished"] = told["timestamps"]["finished"] = (
        "2026-01-01T00:00:03.000Z"
    )

    assert relative(spans(told, now=MIDNIGHT + 9)) == [("queued", 0, 1), ("prepare", 1, 3)]


@pytest.mark.parametrize(
    ("seconds", "stage"),
    [((), "queued"), ((1,), "prepare"), ((1, 2), "wait"), ((1, 2, 3), "quantum")],
)
def test_the_stage_now(seconds, stage):
    assert stage_now(metrics(*seconds)) == stage


def test_a_job_that_ended_is_in_no_stage():
    assert stage_now(metrics(1, 2, 3, 4, 5)) is None


def test_each_column_shows_what_fills_most_of_it():
    job = [Span("queued", 0, 2), Span("prepare", 2, 4.4), Span("quantum", 4.4, 8)]

    assert bar(job, 0, 10, 10).plain == "··▒▒████  "


def test_the_qpu_shows_however_short_its_stage_is():
    job = [Span("prepare", 0, 5), Span("quantum", 5, 5.01), Span("finish", 5.01, 10)]

    assert bar(job, 0, 10, 10).plain == "▒▒▒▒▒█▓▓▓▓"


def test_nothing_is_drawn_of_no_time():
    assert bar([Span("prepare", 1, 1)], 1, 1, 4).plain == "    "


def test_totals_add_up():
    jobs = [[Span("quantum", 0, 2)], [Span("prepare", 0, 9), Span("quantum", 9, 10)]]

    assert total_s(jobs, "quantum") == 3
