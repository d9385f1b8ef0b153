"""Hard limits: what a job needs is reserved when it is submitted, and nothing goes beyond."""

from dataclasses import dataclass

from queuebit.core.events import Refusal, Rule
from queuebit.core.model import Reason
from queuebit.core.usage import OVERHEAD_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """QPU time that an instance, or one of its users, may use in the window, in milliseconds."""

    whose: str  # "instance" or "user"
    limit_ms: int
    used_ms: int
    reserved_ms: int  # by jobs that have not ended

    @property
    def left_ms(self) -> int:
        """What a new job may take; negative after the limit was lowered."""
        return self.limit_ms - self.used_ms - self.reserved_ms

    def told(self, need_ms: int) -> str:
        """Why a job that needs so much does not fit."""
        return (
            f"The job needs {need_ms / 1000:g} s of QPU time, and the {self.whose}'s limit of "
            f"{self.limit_ms / 1000:g} s leaves {max(0, self.left_ms) / 1000:g} s: "
            f"{self.used_ms / 1000:g} s are used, {self.reserved_ms / 1000:g} s are reserved by "
            "jobs that have not ended."
        )

    def refusal(self, need_ms: int) -> Refusal | None:
        """Why a job that needs so much is not accepted; None if it fits."""
        return None if need_ms <= self.left_ms else Refusal(Rule.BUDGET, self.told(need_ms))

    def reason(self, need_ms: int) -> Reason:
        """Why a job that was accepted with a smaller estimate is not run."""
        return Reason(code=4317, message=self.told(need_ms), solution="Give the job less to do.")


def needed_ms(estimated_ms: int | None, limit_ms: int | None) -> int:
    """QPU time to reserve for a job: its estimate, within its own limit.

    One that nobody has estimated takes its overhead at least.
    """
    estimate = OVERHEAD_MS if estimated_ms is None else estimated_ms
    return estimate if limit_ms is None else min(estimate, limit_ms)
