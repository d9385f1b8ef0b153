"""What comes over the port and is no request: counted, and told of now and then."""

import logging
import time

from prometheus_client import Counter

from queuebit.api.rates import Rate

log = logging.getLogger(__name__)

LINES_PER_MINUTE = 5  # of one address
ALL_LINES_PER_MINUTE = 60


class Malformed:
    """Counts malformed requests, and logs some of them: their senders could fill a disk."""

    def __init__(self, counter: Counter) -> None:
        """`counter` has one label, the reason."""
        self._counter = counter
        self._lines = Rate()
        self._unsaid = 0

    def count(self, address: str, reason: str) -> None:
        """Count one from `address`; `reason` is a word of ours, never what was sent."""
        self._counter.labels(reason).inc()
        now = time.monotonic()
        if self._lines.take(address, LINES_PER_MINUTE, now) or self._lines.take(
            "", ALL_LINES_PER_MINUTE, now
        ):
            self._unsaid += 1
            return
        told = {"address": address, "reason": reason, "unsaid": self._unsaid}
        log.warning("malformed request", extra=told)
        self._unsaid = 0
