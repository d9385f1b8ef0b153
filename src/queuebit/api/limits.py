"""How often one caller may ask, and how much at once; `connections` has the limits of bytes."""

import math
import time

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from queuebit.api.connection_slots import network_of
from queuebit.api.connections import CONNECTION, Connection
from queuebit.api.problems import TOO_MANY_REQUESTS, refusal
from queuebit.api.rates import Rate
from queuebit.errors import Busy, TooManyRequests
from queuebit.limiting import LimitingConfig

_HELD = "queuebit.held"  # key of a request's scope: the API keys that it counts for
_PROBES = ("/health", "/ready")  # refused one, a supervisor would restart the service
LARGE = 65_536  # bytes of a part of an answer; smaller ones are no matter


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
        connection: Connection | None = scope.get(CONNECTION)
        try:
            await self._app(
                scope, receive, send if connection is None else _within_memory(connection, send)
            )
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


def _within_memory(connection: Connection, send: Send) -> Send:
    """`send`, that counts a large answer until it is on its way; one too many is a 503."""
    start: Message | None = None

    async def counting(message: Message) -> None:
        nonlocal start
        if message["type"] == "http.response.start":
            start = message
            return
        size = len(message.get("body", b""))
        is_large = size > LARGE
        if is_large and not connection.holding.grow(size):
            if start is None:  # it has begun already: its client sees that it is cut short
                connection.slot.drop()
                return
            refused = refusal(busy())
            start = {
                "type": "http.response.start",
                "status": refused.status_code,
                "headers": refused.raw_headers,
            }
            message = {"type": "http.response.body", "body": refused.body}
            is_large = False
        if start is not None:
            await send(start)
            start = None
        await send(message)
        if is_large:
            await connection.drain()
            connection.holding.shrink(size)

    return counting


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
