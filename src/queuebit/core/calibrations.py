"""What becomes of a backend's calibrations: pure functions of its state (decisions 6).

A calibration is scheduled, then due, then has the QPU, then is scheduled again.
"""

from dataclasses import replace

from queuebit.core.model import Backend, BackendState


def scheduled(state: BackendState, backend: Backend, now: int) -> BackendState:
    """The state after a start of the service, with every configured kind and no other.

    A new kind is due after one period, and one whose period is shorter than it was after that at
    the latest. What had the QPU when the service went down is due at once.
    """
    kinds = {calibration.kind for calibration in backend.calibrations}
    waiting = dict.fromkeys(((state.calibrating,) if state.calibrating else ()) + state.due)
    due = tuple(kind for kind in waiting if kind in kinds)
    kept = {kind: at for kind, at in state.scheduled if kind in kinds and kind not in due}
    times = tuple(
        (c.kind, min(now + c.every_ms, kept.get(c.kind, now + c.every_ms)))
        for c in backend.calibrations
        if c.kind not in due
    )
    return replace(state, scheduled=times, due=due, calibrating=None, calibrating_since=None)


def next_due_at(state: BackendState) -> int | None:
    """When the next calibration falls due."""
    return min((at for _, at in state.scheduled), default=None)


def fallen_due(state: BackendState, at: int) -> BackendState:
    """The state when everything scheduled by `at` waits for the QPU."""
    due = sorted((when, kind) for kind, when in state.scheduled if when <= at)
    return replace(
        state,
        scheduled=tuple((kind, when) for kind, when in state.scheduled if when > at),
        due=(*state.due, *(kind for _, kind in due)),
    )


def started(state: BackendState, now: int) -> BackendState:
    """The state when the first one due has the QPU."""
    return replace(
        state,
        due=state.due[1:],
        calibrating=state.due[0],
        calibrating_since=now,
        run=state.run + 1,
    )


def ends_at(state: BackendState, backend: Backend) -> int | None:
    """When the calibration that has the QPU should end; None: none has it."""
    for calibration in backend.calibrations:
        if calibration.kind == state.calibrating:
            assert state.calibrating_since is not None
            return state.calibrating_since + calibration.lasts_ms
    return None


def ended(state: BackendState, backend: Backend, now: int) -> BackendState:
    """The state when the QPU is calibrated: the next of its kind is due after a period.

    A kind with drift has drawn new values; the others leave them as they are.
    """
    done = next(c for c in backend.calibrations if c.kind == state.calibrating)
    return replace(
        state,
        scheduled=(*state.scheduled, (done.kind, now + done.every_ms)),
        calibrating=None,
        calibrating_since=None,
        calibrated_at=now,
        drawn=state.run if done.drift else state.drawn,
        drift=done.drift or state.drift,
    )
