"""The backends, instances and users of the world, and what it keeps of a drain."""

from dataclasses import dataclass

from queuebit.core.hourly import HOUR_MS
from queuebit.core.model import Backend, Calibration, Instance, OnLimit, Reason, Stage

BACKENDS = (
    Backend(
        name="wide",
        calibrations=(
            Calibration(kind="monitor", every_ms=30, lasts_ms=3),
            Calibration(kind="gates", every_ms=70, lasts_ms=9, drift=0.1),
        ),
    ),
    Backend(name="narrow", lanes=2),
)
INSTANCES = (
    Instance(id="waits", allocation_ms=200, limit_ms=9_000, window_ms=HOUR_MS),
    Instance(id="stops", limit_ms=20_000, window_ms=2 * HOUR_MS, on_limit=OnLimit.STOP),
    Instance(id="last", allocation_ms=0, pending_max=6),
    Instance(id="flex", allocation_ms=100, since=50),
    Instance(
        id="hard",
        is_hard=True,
        limit_ms=30_000,
        user_limit_ms=12_000,
        window_ms=HOUR_MS,
        credit_ms=4_000,
    ),
)
PAYERS = (*(instance.id for instance in INSTANCES), "stranger")
REASON = Reason(code=1000, message="broken")
STAGES_OF_WORKERS = (Stage.PREPARE, Stage.QUANTUM, Stage.FINISH)


@dataclass(frozen=True, slots=True)
class Drain:
    """A session that is next in line, and the jobs that may still start before it."""

    session: str
    head: str
    """Its job that stands first: without it the session is next no longer, and may be anew."""
    eligible: frozenset[str]
