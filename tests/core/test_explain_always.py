"""Whatever happened before: every waiting job has one explanation, and looking changes nothing."""

import copy
import re
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import given, settings
from tests.core.town import Town

from queuebit.core import forward, invariants
from queuebit.core.ahead import NAMED_MAX
from queuebit.core.explain import SOURCES, Hold, explain, explain_workload
from queuebit.core.forward import Forward
from queuebit.core.model import JobStatus, Stage


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 10**6), lanes=st.integers(1, 4), events=st.integers(1, 120))
def test_every_waiting_job_has_one_explanation_and_looking_changes_nothing(seed, lanes, events):
    town = Town(seed, lanes=lanes)
    for _ in range(events):
        town.happen()
    before = invariants.picture(town.scheduler)
    raw = copy.deepcopy(town.scheduler.index.backends)

    for job in list(town.scheduler.jobs.values()):
        told = explain(town.scheduler, job.id)
        assert told is not None
        waits = job.status is JobStatus.QUEUED or job.stage is Stage.READY
        assert (told.hold is not None) == waits
        assert (told.position is not None) == waits
        assert (told.source is not None) == waits
        if waits:
            assert told.position == told.ahead.total + 1
            assert len(told.ahead.named) <= min(NAMED_MAX, told.ahead.total)
        assert "secret" not in told.reason
        for name, instance in town.owners.items():
            if instance != job.instance:
                assert name not in told.reason
                assert name not in told.ahead.named
    for workload in list(town.scheduler.workloads.values()):
        assert explain_workload(town.scheduler, workload.id) is not None
    forward.copy(town.scheduler)

    assert invariants.picture(town.scheduler) == before
    assert town.scheduler.index.backends == raw  # not even what is out of date


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 10**6), lanes=st.integers(1, 4), events=st.integers(1, 120))
def test_jobs_start_in_the_order_of_their_positions(seed, lanes, events):
    """If nothing new comes and no share changes. That is what a position says."""
    town = Town(seed, lanes=lanes, static_shares=True)
    for _ in range(events):
        town.happen(closes=False)
    queued = [j.id for j in town.scheduler.jobs.values() if j.status is JobStatus.QUEUED]
    positions = {}
    for job_id in queued:
        told = explain(town.scheduler, job_id)
        assert told is not None
        positions[job_id] = told.position

    ahead = Forward(forward.copy(town.scheduler).scheduler(), town.now, lambda *_: 7)
    starts = {job_id: ahead.start_of(job_id) for job_id in queued}

    order = sorted(queued, key=lambda job_id: positions[job_id] or 0)
    assert [positions[job_id] for job_id in order] == list(range(1, len(queued) + 1))
    assert [starts[job_id] for job_id in order] == sorted(starts.values())


def test_every_rule_has_a_source_that_is_on_its_page():
    docs = Path(__file__).parents[2] / "docs"
    sections = set(re.findall(r"^### ([\d.]+) ", (docs / "semantics.md").read_text(), re.MULTILINE))
    decided = set(re.findall(r"^\| (\d+) \|", (docs / "decisions.md").read_text(), re.MULTILINE))
    there = {f"semantics {one}" for one in sections} | {f"decisions {one}" for one in decided}

    assert set(SOURCES) == set(Hold)
    for source in SOURCES.values():
        assert set(source.split(", ")) <= there


def test_the_random_towns_see_every_rule():
    seen = set()
    for seed in range(200):
        town = Town(seed, lanes=1 + seed % 4)
        for _ in range(12):
            for _ in range(8):
                town.happen()
            for job_id in town.scheduler.jobs:
                told = explain(town.scheduler, job_id)
                assert told is not None
                seen.add(told.hold)

    assert seen == {None, *Hold} - {Hold.NO_BACKEND}
