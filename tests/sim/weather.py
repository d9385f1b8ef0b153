"""What goes wrong, and how long things take: drawn anew for every seed, and logged."""

import asyncio
import random
from typing import Any

from queuebit.core.events import Event
from queuebit.core.model import Backend, Calibration, Instance, OnLimit
from queuebit.engines.task import Task

CHANCES = {
    "save fails": (0, 0, 0.01, 0.05),
    "save fails after all": (0, 0, 0.01, 0.05),
    "disk is full for a while": (0, 0, 0.01, 0.2),
    "commit is unsure": (0, 0, 0.01, 0.1),
    "stage is held": (0, 0, 0.05, 0.2),
    "dies after save": (0, 0, 0.01, 0.05),
    "worker dies": (0, 0, 0.05, 0.3),
    "stage fails": (0, 0.02, 0.1),
    "stage fails by our fault": (0, 0.02, 0.1),
    "validation fails": (0, 0.05),
    "news is repeated": (0, 0, 0.1, 0.5),
    "stops instead of dying": (0, 0.3, 1),
    "clock is set at a restart": (0, 0.5),
}
"""How likely each is where it may strike; a seed picks one of the numbers."""

DELAYS_S = {
    "disk": (0, 0, 0.001, 0.1, 2),
    "news": (0, 0, 0.001, 1, 30),
    "stage": (0, 0.1, 1, 10, 200),
    "think": (0, 0.1, 1, 10, 100),
    "death": (30, 120, 600, 1e9),
    "start": (0, 0.1, 5, 100),
    "setting of the clock": (30, 300, 1e9),
    "repeat": (0, 1, 100),
    "administration": (10, 200, 1e9),
}
"""How long each lasts in the mean; a seed picks one of the numbers."""


INSTANCES = ("lab", "class")
HOUR_MS = 3_600_000
CALIBRATIONS = (
    (),
    (Calibration(kind="monitor", every_ms=180_000, lasts_ms=10_000),),
    (
        Calibration(kind="monitor", every_ms=600_000, lasts_ms=20_000),
        Calibration(kind="full", every_ms=4 * HOUR_MS, lasts_ms=1_200_000, drift=0.1),
    ),
)


class Weather:
    """One seed's."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.calm = False
        """Whether nothing goes wrong any more."""
        self.chances = {name: rng.choice(choices) for name, choices in CHANCES.items()}
        self.delays_s = {name: rng.choice(choices) for name, choices in DELAYS_S.items()}
        self.rumours: asyncio.Queue[Event] = asyncio.Queue()
        """News to be told once more, now."""
        self.late: list[Event] = []
        """News to be told once more after the next start of the service."""
        self.begun: set[Task] = set()
        """All that any worker ever began; none twice."""
        self._broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.log: list[str] = []
        self.backends = tuple(
            Backend(name=name, lanes=lanes, calibrations=rng.choice(CALIBRATIONS))
            for name, lanes in (("wide", 5), ("narrow", 2))
        )
        self.instances = tuple(_instance(name, rng) for name in INSTANCES)

    def note(self, text: str) -> None:
        """Log a line, for the reader of a failing seed."""
        self.log.append(f"{asyncio.get_running_loop().time():12.3f} {text}")

    def strikes(self, name: str) -> bool:
        """Whether `name` happens now."""
        if self.calm or self.rng.random() >= self.chances[name]:
            return False
        self.note(f"-- {name}")
        return True

    async def wait(self, name: str) -> None:
        """Let as much time pass as `name` takes now."""
        await asyncio.sleep(self.delay_s(name))

    def delay_s(self, name: str) -> float:
        """How long `name` lasts now."""
        mean_s = self.delays_s[name]
        # Some things take no time although most take long: then much happens at one instant.
        return self.rng.expovariate(1 / mean_s) if mean_s and self.rng.random() < 0.8 else 0.0

    def gossip(self, event: Event) -> None:
        """Have `event` told again later, perhaps."""
        if not self.strikes("news is repeated"):
            return
        if self.rng.random() < 0.5:
            self.late.append(event)
        else:
            self.tell_later(event)

    def tell_later(self, event: Event) -> None:
        """Have `event` told a while from now."""
        loop = asyncio.get_running_loop()
        loop.call_later(self.delay_s("repeat"), self.rumours.put_nowait, event)

    def watch(self, task: asyncio.Task[Any]) -> None:
        """Make known what broke in a task that nobody awaits."""
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception) and not self._broken.done():
            self._broken.set_exception(error)

    async def trouble(self) -> None:
        """Raise what broke, when it does."""
        await self._broken


def _instance(name: str, rng: random.Random) -> Instance:
    """An instance of some plan."""
    return Instance(
        id=name,
        allocation_ms=rng.choice((None, 0, 100_000, 200_000)),
        limit_ms=rng.choice((None, None, 300_000, 3_000_000)),
        window_ms=rng.choice((HOUR_MS, 2 * HOUR_MS)),
        on_limit=rng.choice(tuple(OnLimit)),
        pending_max=rng.choice((None, None, 3)),
    )
