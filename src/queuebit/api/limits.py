"""How often one caller may ask, and how much at once; `connections` has the limits of bytes."""

import math
import time

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from queuebit.api.connection_slots import network_of
from queuebit.api.problems import TOO_MANY_REQUESTS, refusal
from queuebit.errors import Busy, TooManyRequests
from queuebit.limiting import LimitingConfig

PERIOD_S = 60.0
_ROUNDING_S = 1e-6
_HELD = "queuebit.held"  # key of a request's scope: the API keys that it counts for
_PROBES = ("/health", "/ready")  # refused one, a supervisor would restart the service
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


class Limits:
    """ASGI middleware that counts the requests of each address and each key."""

    def __init__(self, app: ASGIApp, config: LimitingConfig) -> None:
        self._app = app
        self._config = config
        self._addresses, self._keys, self._wrong_keys = Rate(), Rate(), Rate()
        self._under_way: dict[str, int] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass `scope` on, unless its address asks too often."""
        if scope["type"] != "http" or scope["path"] in _PROBES:
            await self._app(scope, receive, send)
            return
        config, client = self._config, scope.get("client")
        if config.address_requests_per_minute and client is not None:
            wait = self._addresses.take(
                network_of(client[0]), config.address_requests_per_minute, time.monotonic()
            )
            if wait:
                error = too_many(config.address_requests_per_minute, "from one address", wait)
                await refusal(error)(scope, receive, send)
                return
        held: list[str] = []
        scope[_HELD] = (self, held)
        try:
            await self._app(scope, receive, send)
        finally:
            for key in held:
                self._under_way[key] -= 1
                if not self._under_way[key]:
                    del self._under_way[key]

    def count_wrong_key(self, address: str) -> None:
        """Count a wrong key from `address`, or raise TooManyRequests."""
        most = self._config.wrong_keys_per_minute
        if most and (wait := self._wrong_keys.take(address, most, time.monotonic())):
            raise too_many(most, "with wrong API keys from one address", wait)

    def count(self, key: str, held: list[str]) -> None:
        """Count a request with `key`, until its end, or raise TooManyRequests."""
        config = self._config
        if config.key_requests_max:
            if self._under_way.get(key, 0) >= config.key_requests_max:
                raise TooManyRequests(
                    f"Over {config.key_requests_max} requests with this API key are under way.",
                    TOO_MANY_REQUESTS,
                    "Wait for their answers.",
                )
            self._under_way[key] = self._under_way.get(key, 0) + 1
            held.append(key)
        if config.key_requests_per_minute:
            wait = self._keys.take(key, config.key_requests_per_minute, time.monotonic())
            if wait:
                raise too_many(config.key_requests_per_minute, "with this API key", wait)


def count_wrong_key(request: Request) -> None:
    """Count a request whose key or token is wrong, or raise TooManyRequests.

    Right ones still pass: the keys are too random to be guessed, and a block would let a stranger
    lock out everybody who shares the address.
    """
    limits, _ = request.scope[_HELD]
    limits.count_wrong_key(request.client.host if request.client else "")


def count(request: Request, key: str) -> None:
    """Count `request` for an API key, by its id, or raise TooManyRequests."""
    limits, held = request.scope[_HELD]
    limits.count(key, held)


def busy() -> Busy:
    """Make the error for what there is no memory for."""
    return Busy(
        "The requests under way hold all the memory that there is for them.",
        TOO_MANY_REQUESTS,
        "Send it again in a second.",
    )


def too_many(most: int, what: str, wait_s: float) -> TooManyRequests:
    """Make the error for what came too often."""
    seconds = math.ceil(wait_s)
    return TooManyRequests(
        f"Over {most} requests a minute {what}.",
        TOO_MANY_REQUESTS,
        f"Send the next one in {seconds} s.",
        retry_after_s=seconds,
    )
