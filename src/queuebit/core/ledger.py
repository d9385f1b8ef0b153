"""What each instance has used of the QPUs in its window: fair share and limits follow from it.

Usage is kept by the hour. An hour leaves a rolling window when all of it has, so that never less
counts than was used in the window, and up to an hour more.

A session is charged when its active window ends, as a job is. Towards a limit it counts before
that, by the millisecond; the share is of what was charged.
"""

from collections.abc import Iterable
from heapq import heapify, heappop, heappush

from queuebit.core.deadlines import Deadlines
from queuebit.core.model import Charge, Instance, Workload, WorkloadState

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
        self._reach = Deadlines(self._reached_at)
        self._active: dict[str, dict[str, int]] = {}
        """Of each instance the sessions that are active, and since when."""
        self._now = 0  # up to when these count
        for charge in sorted(charges, key=lambda charge: charge.at):
            self.add(charge)

    def set(self, instance: Instance, charges: Iterable[Charge]) -> None:
        """An instance is new, or may use something else than before.

        `charges` may lack what was charged since they were read, and what is known here may lack
        what counts in a wider window only: of each hour the larger sum is the whole.
        """
        hours = dict(self._hours.get(instance.id, {}))
        read: dict[int, int] = {}
        for charge in charges:
            if charge.at >= instance.since:
                read[charge.at // HOUR_MS] = read.get(charge.at // HOUR_MS, 0) + charge.ms
        self.instances[instance.id] = instance
        self._used.pop(instance.id, None)
        self._hours[instance.id] = {}
        self._leaving = [one for one in self._leaving if one[1] != instance.id]
        heapify(self._leaving)
        for hour in sorted(hours.keys() | read.keys()):
            ms = max(hours.get(hour, 0), read.get(hour, 0))
            self.add(Charge(instance=instance.id, at=(hour + 1) * HOUR_MS - 1, ms=ms))
        self._note(instance.id)

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
        self._note(instance.id)

    def watch(self, session: Workload) -> None:
        """A session is new or has changed: while it is active, its time counts."""
        active = self._active.get(session.instance, {})
        if session.state is WorkloadState.ACTIVE:
            assert session.activated_at is not None
            self._active[session.instance] = active | {session.id: session.activated_at}
        elif active.pop(session.id, None) is None:
            return
        elif not active:
            del self._active[session.instance]
        self._note(session.instance)

    def roll(self, now: int) -> list[str]:
        """Let what is older than its window go; the instances that have less used for it."""
        self._now = now
        rolled: dict[str, None] = {}
        while self._leaving and self._leaving[0][0] <= now:
            _, instance, hour = heappop(self._leaving)
            self._used[instance] -= self._hours[instance].pop(hour)
            rolled[instance] = None
        for instance in (*rolled, *self._active):
            self._note(instance)
        return list(rolled)

    def next_relief(self) -> int | None:
        """When time alone next lets a limited instance have less used; None if it never does."""
        first = self._relief.first()
        return None if first is None else first[0]

    def next_reach(self) -> tuple[int, str] | None:
        """When an active session next brings its instance to its limit, and which; None: never."""
        return self._reach.first()

    def used_ms(self, instance: str) -> int:
        """QPU time charged in the window, in milliseconds."""
        return self._used.get(instance, 0)

    def so_far_ms(self, instance: str) -> int:
        """The same, and that of the sessions that are active, until the latest `roll`."""
        used_ms = self.used_ms(instance)
        began = self._active.get(instance)
        if not began or instance not in self.instances:
            return used_ms
        if self._now < self.instances[instance].since:
            return used_ms
        return used_ms + sum(max(0, self._now - at) for at in began.values())

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
        """Whether the instance has used all that it may, at the latest `roll` (semantics 5.5)."""
        configured = self.instances.get(instance)
        if configured is None or configured.limit_ms is None:
            return False
        return self.so_far_ms(instance) >= configured.limit_ms

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

    def _reached_at(self, instance: str) -> int | None:
        """When the sessions of an instance that are active bring its limit; None: they do not."""
        limit_ms, began = self.instances[instance].limit_ms, self._active.get(instance)
        if limit_ms is None or not began or self.is_limited(instance):
            return None
        # All of them count together: n * at - sum(began) is what is left.
        total = limit_ms - self.used_ms(instance) + sum(began.values())
        return max(-(-total // len(began)), self.instances[instance].since)

    def _note(self, instance: str) -> None:
        if instance in self.instances:  # else nothing is known of it, and nothing limits it
            self._relief.note(instance)
            self._reach.note(instance)
