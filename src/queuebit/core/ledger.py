"""What each instance has used of the QPUs in its window: fair share and limits follow from it.

Usage is kept by the hour. An hour leaves a rolling window when all of it has, so that never less
counts than was used in the window, and up to an hour more.

A session is charged when its active window ends, as a job is. Towards a limit it counts before
that, by the millisecond; the share is of what was charged.
"""

from collections.abc import Iterable

from queuebit.core.budgets import Budget
from queuebit.core.deadlines import Deadlines
from queuebit.core.hourly import HOUR_MS, HourlySums, Key, end_of
from queuebit.core.model import Charge, Instance, Workload, WorkloadState

_CREDITS = ""  # stands for a user: no user has this id


class Ledger:
    """Usage of every instance, on all backends together (semantics 2.2)."""

    def __init__(self, instances: Iterable[Instance], charges: Iterable[Charge] = ()) -> None:
        """Start from what is configured and from what was charged before."""
        self.instances = {instance.id: instance for instance in instances}
        self._used: HourlySums[str] = HourlySums()
        self._parts: HourlySums[tuple[str, str]] = HourlySums()
        """By instance and user, where users have limits; and credits."""
        self._reserved: dict[tuple[str, str], int] = {}
        """By instance and user, for jobs that have not ended; user "": all of the instance."""
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
        read = Ledger([instance], charges)
        self.instances[instance.id] = instance
        _larger(self._used, read._used, instance.id, instance)
        for key in dict.fromkeys((*self._parts.hours, *read._parts.hours)):
            if key[0] == instance.id:
                _larger(self._parts, read._parts, key, instance)
        self._note(instance.id)

    def add(self, charge: Charge) -> None:
        """Charge an instance, or credit what our fault wasted."""
        instance = self.instances.get(charge.instance)
        if instance is None or charge.at < instance.since:
            return
        window_ms = instance.window_ms
        if charge.credited_ms:
            self._parts.add((instance.id, _CREDITS), charge.at, charge.credited_ms, window_ms)
        if charge.ms <= 0:
            return
        self._used.add(instance.id, charge.at, charge.ms, window_ms)
        if instance.user_limit_ms is not None and charge.user:
            self._parts.add((instance.id, charge.user), charge.at, charge.ms, window_ms)
        self._note(instance.id)

    def reserve(self, instance: str, user: str, ms: int) -> None:
        """Reserve QPU time for jobs; negative: give it back."""
        for key in {(instance, ""), (instance, user)}:
            self._reserved[key] = self._reserved.get(key, 0) + ms
            if not self._reserved[key]:
                del self._reserved[key]

    def budget(self, instance: str, user: str) -> Budget | None:
        """What a user may still use of an instance whose limits are hard; None: there is none.

        Where both have limits, the one that leaves less.
        """
        rules = self.instances.get(instance)
        if rules is None or not rules.is_hard:
            return None
        found = []
        if rules.limit_ms is not None:
            used_ms = self.so_far_ms(instance)
            found.append(self._budget("instance", rules.limit_ms, used_ms, (instance, "")))
        if rules.user_limit_ms is not None:
            used_ms = self._parts.totals.get((instance, user), 0)
            found.append(self._budget("user", rules.user_limit_ms, used_ms, (instance, user)))
        return min(found, key=lambda budget: budget.left_ms, default=None)

    def _budget(self, whose: str, limit_ms: int, used_ms: int, key: tuple[str, str]) -> Budget:
        reserved_ms = self._reserved.get(key, 0)
        return Budget(whose=whose, limit_ms=limit_ms, used_ms=used_ms, reserved_ms=reserved_ms)

    def may_credit(self, instance: str, ms: int) -> bool:
        """Whether our faults may waste so much more for free (decisions 4)."""
        rules = self.instances.get(instance)
        if rules is None:
            return True
        return self._parts.totals.get((instance, _CREDITS), 0) + ms <= rules.credit_ms

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
        rolled = self._used.roll(now)
        self._parts.roll(now)
        for instance in (*rolled, *self._active):
            self._note(instance)
        return rolled

    def next_relief(self) -> tuple[int, str] | None:
        """When time alone next lets a limited instance have less used, and which; None: never."""
        return self._relief.first()

    def next_reach(self) -> tuple[int, str] | None:
        """When an active session next brings its instance to its limit, and which; None: never."""
        return self._reach.first()

    def used_ms(self, instance: str) -> int:
        """QPU time charged in the window, in milliseconds."""
        return self._used.totals.get(instance, 0)

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
        rest = {key: dict(hours) for key, hours in self._used.hours.items()}
        found = []
        for (instance, user), hours in self._parts.hours.items():
            for hour, ms in sorted(hours.items()):
                at = end_of(hour)
                if user == _CREDITS:
                    found.append(Charge(instance=instance, at=at, ms=0, credited_ms=ms))
                else:
                    found.append(Charge(instance=instance, at=at, ms=ms, user=user))
                    rest[instance][hour] -= ms
        return found + [
            Charge(instance=instance, at=end_of(hour), ms=ms)
            for instance, hours in sorted(rest.items())
            for hour, ms in sorted(hours.items())
            if ms
        ]

    def _relief_at(self, instance: str) -> int | None:
        """When the oldest hour of a limited instance leaves its window; None if none ever does."""
        window_ms = self.instances[instance].window_ms
        hours = self._used.hours.get(instance)
        if window_ms is None or not hours or not self.is_limited(instance):
            return None
        oldest = next(iter(hours))  # charges come in order of time
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


def _larger(sums: HourlySums[Key], others: HourlySums[Key], key: Key, instance: Instance) -> None:
    """Have of each hour the larger sum, in the window that the instance has now."""
    known, read = sums.take_out(key), others.hours.get(key, {})
    for hour in sorted(known.keys() | read.keys()):
        at = end_of(hour)
        if at >= instance.since:
            sums.add(key, at, max(known.get(hour, 0), read.get(hour, 0)), instance.window_ms)
