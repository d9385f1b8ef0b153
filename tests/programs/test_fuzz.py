"""Broken input is refused: never a crash, never a hang, never another error than the user's."""

import base64
import json
import random
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from queuebit.errors import RequestError
from queuebit.programs import program

GOLDEN = Path(__file__).parents[1] / "golden"
NAMES = (
    "sampler_dynamic-0.43.1.json",
    "sampler_param_3x2-0.51.0.json",
    "sampler_dynamic-0.51.0.json",
    "estimator_3x2_rl1-0.43.1.json",
    "estimator_3x2_rl0-0.51.0.json",
)
RUNS = 120  # of each kind and body
SECONDS_MAX = 2.0
VALUES = (
    None,
    True,
    -1,
    0,
    2**70,
    1.5,
    float("nan"),
    "",
    "x" * 1000,
    [],
    {},
    [[]],
    {"__type__": 1},
)


def places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """Every place in a JSON document."""
    yield path
    if isinstance(value, dict | list):
        for key, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(child, (*path, key))


def put(value: Any, path: tuple, new: Any) -> Any:
    """The document with `new` in one place."""
    if not path:
        return new
    copied = value.copy()
    copied[path[0]] = put(value[path[0]], path[1:], new)
    return copied


def mangle(content: bytes, rng: random.Random) -> bytes:
    """Some bytes changed, removed, doubled or cut."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(changed))
        match rng.randrange(6):
            case 0 | 1:
                changed[at] = rng.randrange(256)
            case 2:
                changed[at] ^= 1 << rng.randrange(8)
            case 3:
                del changed[at : at + rng.choice((1, 4, 8))]
            case 4:
                changed[at:at] = changed[at : at + rng.choice((1, 8, 40))]
            case 5:
                changed[at : at + 4] = rng.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\0\x10\0\0"))
    return bytes(changed) or b"x"


def mangled_document(params: dict, rng: random.Random) -> bytes:
    where = rng.choice(list(places(params)))
    return json.dumps(put(params, where, rng.choice(VALUES))).encode()


def mangled_text(params: dict, rng: random.Random) -> bytes:
    return mangle(json.dumps(params).encode(), rng)


def mangled_inside(params: dict, rng: random.Random) -> bytes:
    """A circuit or an array changed within its wrapping."""
    tags = [p for p in places(params) if p and p[-1] == "__value__"]
    where = rng.choice(tags)
    value = params
    for key in where:
        value = value[key]
    content = mangle(zlib.decompress(base64.b64decode(value)), rng)
    packed = base64.b64encode(zlib.compress(content)).decode()
    return json.dumps(put(params, where, packed)).encode()


@pytest.mark.parametrize("kind", [mangled_document, mangled_text, mangled_inside])
@pytest.mark.parametrize("name", NAMES)
def test_broken_parameters_are_refused_or_run(kind, name, torino):
    body = json.loads((GOLDEN / name).read_text())
    program_id, params = body["program_id"], body["params"]
    outcomes = {"refused": 0, "ran": 0}
    messages = set()

    for seed in range(RUNS):
        broken = kind(params, random.Random(f"{name} {kind.__name__} {seed}"))
        start = time.perf_counter()
        try:
            program.validate(program_id, broken, torino)
            prepared = program.prepare(program_id, broken, torino)
            measured = program.quantum(program_id, prepared.work, torino)
            program.finish(program_id, prepared.work, measured.raw, torino)
            outcomes["ran"] += 1
        except RequestError as refusal:
            outcomes["refused"] += 1
            messages.add(refusal.message)
        except BaseException as error:
            error.add_note(f"seed={seed}")
            raise
        assert time.perf_counter() - start < SECONDS_MAX, f"seed={seed}"

    assert outcomes["refused"] > RUNS / 4
    assert all(messages)
