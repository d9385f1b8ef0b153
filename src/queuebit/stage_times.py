"""How long stages last on each backend: what was seen, the latest with the most weight.

In memory alone: after a start the guesses at the top stand until something was seen.
"""

from collections.abc import Collection, Mapping

from queuebit.core.model import Job, Stage

WEIGHT = 0.2  # of the latest stage in the moving average
CLASSICAL_MS = {Stage.PREPARE: 1_000.0, Stage.FINISH: 500.0}
SIMULATED_SHARE = 0.25  # of the QPU's time, that simulating it takes
QUANTUM_MS = 2_500  # QPU time of a job that nobody has estimated


class StageTimes:
    """Moving averages: of classical stages their length, of quantum ones its ratio to QPU time."""

    def __init__(
        self,
        real_timing: Collection[str] = (),
        averages: Mapping[tuple[str, Stage], float] | None = None,
    ) -> None:
        """On the backends of `real_timing` a quantum stage lasts as on the real QPU."""
        self._real_timing = frozenset(real_timing)
        self._averages = dict(averages or {})

    def saw(self, job: Job, stage: Stage, ms: int) -> None:
        """A stage of `job` was done after `ms` milliseconds."""
        seen = ms / _qpu_ms(job) if stage is Stage.QUANTUM else ms
        key = (job.backend, stage)
        before = self._averages.get(key)
        self._averages[key] = seen if before is None else before + WEIGHT * (seen - before)

    def frozen(self) -> "StageTimes":
        """The averages of now, which stay as they are."""
        return StageTimes(self._real_timing, self._averages)

    def __call__(self, job: Job, stage: Stage) -> int:
        """How long a stage of `job` should last, in milliseconds."""
        average = self._averages.get((job.backend, stage))
        if stage is not Stage.QUANTUM:
            return round(CLASSICAL_MS[stage] if average is None else average)
        if average is None:
            average = 1.0 if job.backend in self._real_timing else SIMULATED_SHARE
        return round(average * _qpu_ms(job))


def _qpu_ms(job: Job) -> int:
    return job.estimated_ms or QUANTUM_MS
