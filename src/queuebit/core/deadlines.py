"""When each record next changes because of time alone."""

from collections.abc import Callable
from heapq import heappop, heappush


class Deadlines:
    """A heap of instants that may no longer count: that is looked up when one comes to the head."""

    def __init__(self, deadline: Callable[[str], int | None]) -> None:
        """`deadline` tells the instant that counts for a record now; None if none does."""
        self._deadline = deadline
        self._heap: list[tuple[int, str]] = []
        self._in_heap: set[tuple[int, str]] = set()

    def note(self, record_id: str) -> None:
        """A record is new or has changed."""
        at = self._deadline(record_id)
        if at is not None and (at, record_id) not in self._in_heap:
            heappush(self._heap, (at, record_id))
            self._in_heap.add((at, record_id))

    def first(self) -> tuple[int, str] | None:
        """The earliest instant that counts, and whose it is; None if there is none."""
        while self._heap:
            at, record_id = self._heap[0]
            if at == self._deadline(record_id):
                return at, record_id
            self._in_heap.discard(heappop(self._heap))
        return None
