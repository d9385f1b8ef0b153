"""Splits a JSON object into its members without decoding them.

The parameters of a job may be tens of megabytes: they are stored as they came but for white space,
so that a client reads back what it sent. Small bodies are split by the service, others by a worker.
"""

import json
import re

from queuebit.errors import InvalidInput

MEMBERS_MAX = 100  # a job has nine
MARKS_MAX = 2**22  # brackets and quotes, each of which is looked at: seconds
CODE = 1208  # IBM: invalid request
_SPACE = re.compile(rb"[ \t\r\n]*+([{}\[\]:,])[ \t\r\n]*+|([ \t\r\n])[ \t\r\n]*+")
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
            CODE,
            "Split the job, or send arrays encoded, as Qiskit does.",
        )
    seen = 0
    mark, at = _mark(body, 0, b"{")
    if body[at : at + 1] == b"}":  # the empty object
        mark, at = _mark(body, at, b"}")
    while mark != b"}":
        end = _end_of_string(body, at)
        key = _key(body[at:end])
        _, at = _mark(body, end, b":")
        end = _end_of_value(body, at)
        members[key] = body[at:end]
        seen += 1
        if seen > MEMBERS_MAX:
            raise InvalidInput(f"The request body has more than {MEMBERS_MAX} members.", CODE)
        mark, at = _mark(body, end, b",}")
    if at != len(body):
        raise _malformed(at)
    return members


def compact(value: bytes) -> bytes:
    """JSON without the white space around its brackets, commas and colons.

    Of white space between anything else, which is no JSON, some is left: it stays no JSON.
    """
    parts, at = [], 0
    while (quote := value.find(_QUOTE, at)) >= 0:
        end = _end_of_string(value, quote)
        parts += [_squeezed(value[at:quote]), value[quote:end]]
        at = end
    parts.append(_squeezed(value[at:]))
    return b"".join(parts)


def _squeezed(text: bytes) -> bytes:
    return _SPACE.sub(rb"\1\2", text) if len(text) > 1 else text


def _key(text: bytes) -> str:
    try:
        key = json.loads(text)
    except ValueError as error:
        raise InvalidInput(f"The request body cannot be read: {error}.", CODE) from None
    assert isinstance(key, str)  # it is in quotes
    return key


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
        f"The request body is not a JSON object: unexpected text at byte {at}.", CODE
    )
