"""Who is connected: every accepted socket has a slot here until it is closed.

There are only so many slots, of all and of each address. When they are taken, a newcomer gets the
slot of whoever has waited longest without a request; strangers, on whose connection no valid API
key was used, go before users. So somebody who opens connections and says nothing costs nobody else
anything.
"""

import asyncio
import ipaddress
import logging
import math
import time
from collections import Counter
from collections.abc import Callable
from functools import lru_cache

log = logging.getLogger(__name__)

SWEEP_S = 1.0  # how often deadlines are looked at
HEAD_TIMEOUT_S = 30.0  # from accept, or the begin of a head, to the head's end
FULL_TIMEOUT_S = 2.0  # the same for a connection that is one too many
SPARE = 100  # connections that are one too many and still told so; further ones are dropped
SHED = 32  # connections dropped at once when descriptors have run out
USER_IDLE_MAX = 10  # idle connections of one user that are never closed for somebody else's sake


class Slot:
    """One accepted connection, whichever protocol is spoken on it now."""

    def __init__(self, address: str, deadline: float, *, surplus: bool) -> None:
        self.address = address
        self.deadline = deadline
        """Monotonic time at which it is dropped; infinite while a request is under way."""
        self.surplus = surplus
        """It is one too many."""
        self.owner: str | None = None
        """The user whose API key was used on it; None: a stranger."""
        self.transport: asyncio.Transport | None = None
        """Of the socket itself, below any TLS."""
        self.watch: Callable[[float], None] | None = None
        """Drops it if it is too slow at the given instant."""

    def drop(self) -> None:
        """Close it at once."""
        if self.transport is not None:
            self.transport.abort()


class Slots:
    """All connections of one port."""

    def __init__(self, most: int, most_of_address: int, spare: int = SPARE) -> None:
        """`most_of_address` 0: any number."""
        self._most = most
        self._most_of_address = most_of_address
        self._spare = spare
        self._of: Counter[str] = Counter()
        self._taken: set[Slot] = set()
        # Who waits without a request under way, the longest first.
        self._strangers: dict[Slot, None] = {}
        self._users: dict[Slot, None] = {}

    def __len__(self) -> int:
        """How many connections there are."""
        return len(self._taken)

    def admit(self, host: str) -> Slot | None:
        """Give a connection from `host` a slot; None: drop it.

        If a connection is dropped for it, that gives its slot back soon.
        """
        address = network_of(host)
        over = len(self._taken) + 1 - self._most
        over_of = self._of[address] + 1 - self._most_of_address if self._most_of_address else 0
        surplus = False
        if over_of > 0:
            surplus = not self._make_room(address)
        elif over > 0:
            surplus = not self._make_room(None)
        if surplus and max(over, over_of) > self._spare:
            return None
        timeout = FULL_TIMEOUT_S if surplus else HEAD_TIMEOUT_S
        slot = Slot(address, time.monotonic() + timeout, surplus=surplus)
        self._taken.add(slot)
        self._of[address] += 1
        self._strangers[slot] = None
        return slot

    def leave(self, slot: Slot) -> None:
        """Take back a slot; may be called again."""
        if slot not in self._taken:
            return
        self._taken.remove(slot)
        self._of[slot.address] -= 1
        if not self._of[slot.address]:
            del self._of[slot.address]
        self._strangers.pop(slot, None)
        self._users.pop(slot, None)

    def busy(self, slot: Slot) -> None:
        """A request of it is in our hands: nobody takes its slot."""
        self._strangers.pop(slot, None)
        self._users.pop(slot, None)

    def idle(self, slot: Slot) -> None:
        """It waits, for a request of its own or for the rest of one."""
        if slot in self._taken:
            waiting = self._strangers if slot.owner is None else self._users
            waiting[slot] = None

    def identify(self, slot: Slot, owner: str) -> None:
        """A valid API key of `owner` was used on it."""
        slot.owner = owner
        self._strangers.pop(slot, None)

    def shed(self) -> None:
        """Drop some of those who have waited longest: descriptors have run out."""
        for _ in range(SHED):
            if not self._make_room(None):
                return

    async def sweep(self) -> None:
        """Drop who is late, until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_S)
            now = time.monotonic()
            for slot in list(self._taken):
                if now > slot.deadline:
                    slot.deadline = now + HEAD_TIMEOUT_S  # should it not be gone by then
                    slot.drop()
                elif slot.watch is not None:
                    slot.watch(now)

    def drop_all(self) -> None:
        """Close every connection."""
        for slot in list(self._taken):
            slot.drop()

    def _make_room(self, address: str | None) -> bool:
        """Drop who has waited longest, of `address` if one is given; False: nobody waits."""
        found = self._longest(address)
        if found is None:
            return False
        self.leave(found)
        found.deadline = math.inf
        found.drop()
        return True

    def _longest(self, address: str | None) -> Slot | None:
        if address is None and self._strangers:
            # Of the address with most connections: it is the one that takes them from others.
            most = max(self._strangers, key=lambda slot: self._of[slot.address])
            address_of_most = most.address
            return next(one for one in self._strangers if one.address == address_of_most)
        for slot in self._strangers:
            if address in {None, slot.address}:
                return slot
        idle = [one for one in self._users if address in {None, one.address}]
        owners = Counter(one.owner for one in idle)
        if not owners:
            return None
        owner, count = owners.most_common(1)[0]
        if count <= USER_IDLE_MAX:
            return None
        return next(one for one in idle if one.owner == owner)


@lru_cache(1_024)
def network_of(host: str) -> str:
    """What counts as one address: of IPv6 the network of 64 bits, which one machine may have."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
