"""Nothing goes wrong in a small world, in whatever order things happen; more: scripts/explore."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from tests.sim import explore
from tests.sim.explore import Node

from queuebit.core.events import JobSubmitted, StageEnded, Step, Tick
from queuebit.core.model import BackendState, Stage, Workload
from queuebit.core.scheduler import Scheduler


def test_no_order_of_four_events_breaks_an_invariant() -> None:
    levels = list(explore.explore(4))

    assert [level.depth for level in levels] == [1, 2, 3, 4]
    assert levels[-1].states > 3_000


def test_a_break_is_found_and_the_way_to_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheduler that forgets a job when its preparation has ended."""
    handle = Scheduler.handle

    def forget(scheduler: Scheduler, event: Any, now: int) -> Step:
        if isinstance(event, StageEnded) and event.stage is Stage.PREPARE:
            event = Tick()
        return handle(scheduler, event, now)

    monkeypatch.setattr(Scheduler, "handle", forget)

    with pytest.raises(AssertionError) as caught:
        list(explore.explore(3))
    assert caught.value.__notes__[0] == "at 0: Restarted(last_at=None)"
    assert "StageEnded" in caught.value.__notes__[-1]


def states(depth: int) -> Iterator[Node]:
    """The first states that so many events lead to, one way to each."""
    first = explore.first()
    nodes = [first]
    for _ in range(depth):
        nodes = [
            explore.after(node, *event) for node in nodes[:20] for event in explore.possible(node)
        ]
    yield from nodes


def test_the_same_a_while_later_is_the_same_state() -> None:
    for node in states(2):
        later = 1_000_000
        moved = Node(shifted(node, later), node.now + later, node.saved, node.tasks)

        assert explore.key(moved) == explore.key(node)


def shifted(node: Node, ms: int) -> Scheduler:
    """The scheduler as it would be, had everything happened so much later."""

    def shift(record: Any) -> Any:
        changes = {
            name: getattr(record, name) + ms
            for name in type(record).__slots__
            if name.endswith(("_at", "_since")) and getattr(record, name) is not None
        }
        if isinstance(record, BackendState):
            changes["scheduled"] = tuple((kind, at + ms) for kind, at in record.scheduled)
        if isinstance(record, Workload):
            changes["transitions"] = tuple((state, at + ms) for state, at in record.transitions)
        return replace(record, **changes)

    index = node.scheduler.index
    live = [*index.jobs.values(), *index.workloads.values(), *index.states.values()]
    return Scheduler([explore.BACKEND], [shift(record) for record in live])


def test_who_came_first_makes_two_states() -> None:
    first = explore.first()
    opened = [event for event, _ in explore.possible(first) if "Opened" in repr(event)]
    batch, session = opened
    alone = JobSubmitted(job_id="j", instance="i", backend="q")
    keys = set()
    for order in ((batch, session, alone), (session, batch, alone), (alone, batch, session)):
        node = first
        for event in order:
            node = explore.after(node, event, 0)
        keys.add(explore.key(node))

    assert len(keys) == 3
