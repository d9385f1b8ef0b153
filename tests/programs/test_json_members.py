import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuebit.errors import InvalidInput
from queuebit.programs.wire.json_members import compact, split

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

    assert repr({key: json.loads(member) for key, member in members.items()}) == repr(value)
    assert all(member in body for member in members.values())
    assert repr(json.loads(compact(body))) == repr(value)
    assert compact(body) == compact(compact(body))


@given(st.binary(max_size=40) | st.text('{}[]",:\\ 1a', max_size=40).map(str.encode))
def test_what_is_not_an_object_is_refused(body: bytes):
    """Whatever json takes for an object is split; of the rest only InvalidInput is raised."""
    try:
        expected = json.loads(body.decode())
    except ValueError:
        expected = None
    try:
        compact(body)
        members = split(body)
        {key: json.loads(member) for key, member in members.items()}
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


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (b' { "a" : [ 1 ,\t"x  \\" y" , { } ] }\n', b'{"a":[1,"x  \\" y",{}]}'),
        (b"[" + b" " * 1_000_000 + b"1]", b"[1]"),
        (b'{"a": 1  2, "b":"x"  "y"}', b'{"a":1 2,"b":"x" "y"}'),  # no JSON, and stays none
        (b"[1.0e5 , -0 ,NaN]", b"[1.0e5,-0,NaN]"),
    ],
)
def test_white_space_is_not_kept(given: bytes, expected: bytes):
    assert compact(given) == expected
