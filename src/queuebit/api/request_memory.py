"""One budget for the bytes that all requests together hold in memory.

Counted is what has come of requests and is not yet on the disk or answered, and what of large
answers has not been taken. A body of a job goes to the disk as it comes, so it holds little however
large it is.
"""

from collections import Counter

SHARE = 4  # one address, or one instance, may hold this part of the budget at most


class RequestMemory:
    """The budget, and who holds how much of it."""

    def __init__(self, most: int) -> None:
        """`most`: bytes."""
        self._most = most
        self._of: Counter[str] = Counter()
        self.total = 0
        """Bytes held now."""

    def take(self, owner: str, size: int) -> bool:
        """Count `size` bytes more of `owner`, or return False and count none."""
        if self.total + size > self._most or self._of[owner] + size > self._most // SHARE:
            if not self._of[owner]:
                del self._of[owner]
            return False
        self.total += size
        self._of[owner] += size
        return True

    def give(self, owner: str, size: int) -> None:
        """Count `size` bytes of `owner` no more."""
        self.total -= size
        self._of[owner] -= size
        if not self._of[owner]:
            del self._of[owner]


class Holding:
    """What one connection holds of the budget."""

    def __init__(self, memory: RequestMemory, owner: str) -> None:
        self._memory = memory
        self._owner = owner
        self.size = 0
        """Bytes."""

    def grow(self, size: int) -> bool:
        """Hold `size` bytes more; False: there is no room for them."""
        if not self._memory.take(self._owner, size):
            return False
        self.size += size
        return True

    def shrink(self, size: int) -> None:
        """Hold `size` bytes less, or none."""
        size = min(size, self.size)
        if size:
            self._memory.give(self._owner, size)
            self.size -= size

    def belong_to(self, owner: str) -> bool:
        """Count it for `owner` from now on; False: that one has no room for it."""
        if owner == self._owner:
            return True
        size = self.size
        self.shrink(size)
        self._owner = owner
        return self.grow(size)
