"""How often somebody may do something."""

PERIOD_S = 60.0
_ROUNDING_S = 1e-6
_FORGET_AT = 1_000  # callers known; then those who have been quiet are forgotten ...
_CALLERS_MAX = 20_000  # ... and of more than so many, the ones who came first


class Rate:
    """How often each caller may do something: `most` times a minute, all at once if they like.

    Afterwards one more is free every 60 s / `most`: what is kept of a caller is one number, the
    instant at which everything would be free again (the generic cell rate algorithm).
    """

    def __init__(self) -> None:
        self._free_at: dict[str, float] = {}
        self._forget_at = _FORGET_AT

    def take(self, who: str, most: int, now: float) -> float:
        """Count one at the instant `now`, in seconds; or how long to wait. 0: it was counted."""
        free_at = max(self._free_at.get(who, now), now) + PERIOD_S / most
        wait = free_at - now - PERIOD_S
        if wait > _ROUNDING_S:
            return wait
        self._free_at[who] = free_at
        if len(self._free_at) > self._forget_at:
            active = [(one, at) for one, at in self._free_at.items() if at > now]
            self._free_at = dict(active[-_CALLERS_MAX // 2 :])
            self._forget_at = min(_CALLERS_MAX, max(_FORGET_AT, 2 * len(self._free_at)))
        return 0.0
