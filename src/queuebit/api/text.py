"""Text that can be stored: PostgreSQL takes no NUL, and nothing takes half a character."""

from typing import Annotated, Any

from fastapi import Request
from fastapi.dependencies.utils import get_flat_params
from fastapi.routing import APIRoute
from pydantic import AfterValidator

from queuebit.api.problems import INVALID_REQUEST
from queuebit.errors import InvalidInput


def storable(text: str) -> str:
    """`text` itself; ValueError if it cannot be stored."""
    if "\0" in text:
        raise ValueError("text must not hold NUL characters")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("text must not hold halves of characters (surrogates)")
    return text


Text = Annotated[str, AfterValidator(storable)]


def check_json(value: Any) -> None:
    """Refuse decoded JSON, with a ValueError, if a text anywhere in it cannot be stored."""
    match value:
        case str():
            storable(value)
        case list():
            for one in value:
                check_json(one)
        case dict():
            for name, one in value.items():
                storable(name)
                check_json(one)


def check_address(request: Request) -> None:
    """Refuse a path or query with NUL in it: no id, tag or name of ours can be meant.

    Halves of characters cannot come this way: what is not UTF-8 is replaced on decoding.
    """
    if "\0" in request.url.path or "%00" in request.url.query:
        raise InvalidInput("The URL must not hold NUL characters.", INVALID_REQUEST)


def check_query(request: Request) -> None:
    """Refuse parameters that the route does not have: nothing is left out in silence.

    But for IBM Cloud's own services, whose clients send filters that have no meaning here.
    """
    if not request.url.query:
        return
    route = request.scope["route"]
    unknown = set(request.query_params) - _parameters(route)
    if unknown and "Platform" not in route.tags:
        named = ", ".join(sorted(repr(name[:100]) for name in unknown))
        raise InvalidInput(
            f"There is no query parameter {named} here.",
            INVALID_REQUEST,
            f"There is: {', '.join(sorted(_parameters(route)) or ['none'])}.",
        )


def _parameters(route: APIRoute) -> frozenset[str]:
    known = _KNOWN.get(route.endpoint)
    if known is None:
        flat = get_flat_params(route.dependant)  # none of our routes declares headers or cookies
        known = frozenset(one.alias for one in flat) - route.param_convertors.keys()
        _KNOWN[route.endpoint] = known
    return known


_KNOWN: dict[Any, frozenset[str]] = {}  # by handler: polls ask again and again
