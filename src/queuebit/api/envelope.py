"""Splits a JSON object into its members without decoding them.

The parameters of a job may be tens of megabytes: they are stored as they came, so that a client
reads back what it sent, and decoding them is a worker's task. Only the small members are decoded
here.
"""

import json
import re
from typing import Any

from queuebit.api.problems import INVALID_REQUEST
from queuebit.api.text import check_json
from queuebit.errors import InvalidInput

MEMBERS_MAX = 100  # a job has nine
MARKS_MAX = 2**22  # brackets and quotes, each of which is looked at: seconds
_BRACKET = re.compile(rb'[{}\[\]"]')
_SCALAR = re.compile(rb'[^\s,:{}\[\]"]+')  # a number, true, false, null
_MARK = re.compile(rb"[ \t\r\n]*([{}:,])[ \t\r\n]*")
_OPENING = frozenset({b"{", b"["})
_QUOTE = b'"'
_BACKSLASH = ord("\\")


def split(body: bytes) -> dict[str, bytes]:
    """Map the keys of the JSON object `body` to the bytes of their values.

    An object or array among the values is only known to have as many opening as closing brackets.
    Raises InvalidInput where `body` is not an object.
    """
    members: dict[str, bytes] = {}
    marks = sum(map(body.count, (b"[", b"{", b'"')))
    if marks > MARKS_MAX:
        raise InvalidInput(
            f"The request body has {marks} brackets and quotes, over the limit of {MARKS_MAX}.",
            INVALID_REQUEST,
            "Split the job, or send arrays encoded, as Qiskit does.",
        )
    seen = 0
    mark, at = _mark(body, 0, b"{")
    if body[at : at + 1] == b"}":  # the empty object
        mark, at = _mark(body, at, b"}")
    while mark != b"}":
        end = _end_of_string(body, at)
        key = decode(body[at:end])
        _, at = _mark(body, end, b":")
        end = _end_of_value(body, at)
        members[key] = body[at:end]
        seen += 1
        if seen > MEMBERS_MAX:
            raise InvalidInput(
                f"The request body has more than {MEMBERS_MAX} members.", INVALID_REQUEST
            )
        mark, at = _mark(body, end, b",}")
    if at != len(body):
        raise _malformed(at)
    return members


def decode(value: bytes) -> Any:
    """Decode one small member, all of whose text can be stored."""
    try:
        decoded = json.loads(value)
        check_json(decoded)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"The request body cannot be read: {error}.", INVALID_REQUEST) from None
    return decoded


def _mark(body: bytes, at: int, expected: bytes) -> tuple[bytes, int]:
    """Read one of the `expected` marks at `at`, and the white space around it."""
    mark = _MARK.match(body, at)
    if mark is None or mark[1] not in expected:
        raise _malformed(at)
    return mark[1], mark.end()


def _end_of_value(body: bytes, at: int) -> int:
    match body[at : at + 1]:
        case b"{" | b"[":
            return _end_of_brackets(body, at)
        case b'"':
            return _end_of_string(body, at)
    scalar = _SCALAR.match(body, at)
    if scalar is None:
        raise _malformed(at)
    return scalar.end()


def _end_of_brackets(body: bytes, at: int) -> int:
    depth = 0
    while True:
        for found in _BRACKET.finditer(body, at):
            bracket = found[0]
            if bracket == _QUOTE:
                at = _end_of_string(body, found.start())
                break
            depth += 1 if bracket in _OPENING else -1
            if depth == 0:
                return found.end()
        else:
            raise _malformed(len(body))


def _end_of_string(body: bytes, at: int) -> int:
    """Find the quote that ends the string at `at`; megabytes of base64 are passed in no time."""
    if body[at : at + 1] != _QUOTE:
        raise _malformed(at)
    while (quote := body.find(_QUOTE, at + 1)) >= 0:
        before = quote
        while body[before - 1] == _BACKSLASH:
            before -= 1
        if (quote - before) % 2 == 0:  # not escaped
            return quote + 1
        at = quote
    raise _malformed(len(body))


def _malformed(at: int) -> InvalidInput:
    return InvalidInput(
        f"The request body is not a JSON object: unexpected text at byte {at}.", INVALID_REQUEST
    )
