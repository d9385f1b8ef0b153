import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuebit.api.envelope import decode, split
from queuebit.errors import InvalidInput

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))  # test_text.py
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.just('\\"{[]}:,\\'),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)
ENCODERS = [
    json.dumps,
    lambda value: json.dumps(value, ensure_ascii=False),
    lambda value: json.dumps(value, indent=3, separators=(" ,\t", "\r\n:")),
]


@given(value=st.dictionaries(TEXT, VALUES), encode=st.sampled_from(ENCODERS))
def test_every_object_is_split_into_what_it_holds(value: dict, encode: Callable[[dict], str]):
    body = f" \n{encode(value)}\t ".encode()

    members = split(body)

    assert repr({key: decode(member) for key, member in members.items()}) == repr(value)
    assert all(member in body for member in members.values())


@given(st.binary(max_size=40) | st.text('{}[]",:\\ 1a', max_size=40).map(str.encode))
def test_what_is_not_an_object_is_refused(body: bytes):
    """Whatever json takes for an object is split; of the rest only InvalidInput is raised."""
    try:
        expected = json.loads(body.decode())
    except ValueError:
        expected = None
    try:
        members = split(body)
        {key: decode(member) for key, member in members.items()}
    except InvalidInput:
        assert not isinstance(expected, dict)


def test_a_key_given_twice_counts_once_as_with_json():
    assert split(b'{"a": 1, "a": [2]}') == {"a": b"[2]"}


@pytest.mark.parametrize("text", ["\\" * 200_000, '"' * 100_000, "]" * 200_000, "x" * 3_000_000])
def test_long_strings_are_passed_in_linear_time(text: str):
    body = json.dumps({"params": {"x": text}, "tail": 1}).encode()

    assert split(body) == {"params": json.dumps({"x": text}).encode(), "tail": b"1"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"a": [' + b'"",' * 2**21 + b'""]}', "brackets and quotes"),
        (b"{" + b",".join(b'"%d": 1' % n for n in range(101)) + b"}", "more than 100 members"),
        (b"{" + b",".join([b'"a": 1'] * 101) + b"}", "more than 100 members"),
    ],
)
def test_what_would_take_long_is_refused(body: bytes, message: str):
    with pytest.raises(InvalidInput, match=message):
        split(body)
