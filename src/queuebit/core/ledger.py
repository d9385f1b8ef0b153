"""What each instance has used of the QPUs in its window: fair share and limits follow from it.

Usage is kept by the hour. An hour leaves a rolling window when all of it has, so that never less
counts than was used in the window, and up to an hour more.
"""

from collections.abc import Iterable
from heapq import heappop, heappush

from queuebit.core.deadlines import Deadlines
from queuebit.core.model import Charge, Instance

HOUR_MS = 3_600_000


class Ledger:
    """Usage of every instance, on all backends together (semantics 2.2)."""

    def __init__(self, instances: Iterable[Instance], charges: Iterable[Charge] = ()) -> None:
        """Start from what is configured and from what was charged before."""
        self.instances = {instance.id: instance for instance in instances}
        self._used: dict[str, int] = {}
        self._hours: dict[str, dict[int, int]] = {instance: {} for instance in self.instances}
        self._leaving: list[tuple[int, str, int]] = []  # when, whose, which hour
        self._relief = Deadlines(self._relief_at)
        for charge in sorted(charges, key=lambda charge: charge.at):
            self.add(charge)

    def add(self, charge: Charge) -> None:
        """Charge an instance."""
        instance = self.instances.get(charge.instance)
        if instance is None or charge.ms <= 0 or charge.at < instance.since:
            return
        hour = charge.at // HOUR_MS
        hours = self._hours[instance.id]
        self._used[instance.id] = self.used_ms(instance.id) + charge.ms
        if hour not in hours and instance.window_ms is not None:
            leaves_at = (hour + 1) * HOUR_MS + instance.window_ms
            heappush(self._leaving, (leaves_at, instance.id, hour))
        hours[hour] = hours.get(hour, 0) + charge.ms
        self._relief.note(instance.id)

    def roll(self, now: int) -> list[str]:
        """Let what is older than its window go; the instances that have less used for it."""
        rolled: dict[str, None] = {}
        while self._leaving and self._leaving[0][0] <= now:
            _, instance, hour = heappop(self._leaving)
            self._used[instance] -= self._hours[instance].pop(hour)
            rolled[instance] = None
        for instance in rolled:
            self._relief.note(instance)
        return list(rolled)

    def next_relief(self) -> int | None:
        """When time alone next lets a limited instance have less used; None if it never does."""
        first = self._relief.first()
        return None if first is None else first[0]

    def used_ms(self, instance: str) -> int:
        """QPU time charged in the window, in milliseconds."""
        return self._used.get(instance, 0)

    def share(self, instance: str) -> float:
        """How much of its allocation an instance has used: the smallest goes first.

        "The instance with the least share of its allocation used in the window" (semantics 2.2). An
        allocation of zero goes last (decisions 15); without any there is no fair share, only order.
        """
        configured = self.instances.get(instance)
        if configured is None or configured.allocation_ms is None:
            return 0.0
        if configured.allocation_ms == 0:
            return float("inf")
        return self.used_ms(instance) / configured.allocation_ms

    def is_limited(self, instance: str) -> bool:
        """Whether the instance has used all that it may (semantics 5.5)."""
        configured = self.instances.get(instance)
        if configured is None or configured.limit_ms is None:
            return False
        return self.used_ms(instance) >= configured.limit_ms

    def charges(self) -> list[Charge]:
        """What counts now, by the hour, as charges: enough to make an equal ledger."""
        return [
            Charge(instance=instance, at=(hour + 1) * HOUR_MS - 1, ms=ms)
            for instance, hours in self._hours.items()
            for hour, ms in sorted(hours.items())
        ]

    def _relief_at(self, instance: str) -> int | None:
        """When the oldest hour of a limited instance leaves its window; None if none ever does."""
        window_ms = self.instances[instance].window_ms
        if window_ms is None or not self._hours[instance] or not self.is_limited(instance):
            return None
        oldest = next(iter(self._hours[instance]))  # charges come in order of time
        return (oldest + 1) * HOUR_MS + window_ms
