"""Bodies of real clients, broken at random, and run: `scripts/fuzz [RUNS] [FIRST]`.

What comes of one must be a result or the user's own error; anything else is a fault, and so is one
that takes too long or too much memory. A run's number makes it again.
"""

import base64
import binascii
import json
import os
import random
import resource
import signal
import sys
import time
import traceback
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from queuebit.config import BackendConfig
from queuebit.devices.device import Device
from queuebit.errors import RequestError
from queuebit.programs import program

FOLDER = Path(__file__).parents[1] / "golden"
NAMES = sorted(path.name for path in FOLDER.glob("*.json"))
SECONDS_MAX = 60.0  # of one run: a broken number may ask for a large job, within the limits
MEMORY_MAX = 8 * 2**30
VALUES = (
    None,
    True,
    -1,
    0,
    1,
    7,
    2**31 - 1,
    2**70,
    1.5,
    1e308,
    float("nan"),
    "",
    "x" * 1000,
    [],
    {},
    [[]],
    {"__type__": 1},
)

Body = dict[str, Any]


def places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """Every place in a JSON document."""
    yield path
    if isinstance(value, dict | list):
        for key, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(child, (*path, key))


def at(value: Any, path: tuple) -> Any:
    for key in path:
        value = value[key]
    return value


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
        if not changed:
            break
        where = rng.randrange(len(changed))
        match rng.randrange(6):
            case 0 | 1:
                changed[where] = rng.randrange(256)
            case 2:
                changed[where] ^= 1 << rng.randrange(8)
            case 3:
                del changed[where : where + rng.choice((1, 4, 8))]
            case 4:
                changed[where:where] = changed[where : where + rng.choice((1, 8, 40))]
            case 5:
                changed[where : where + 4] = rng.choice(
                    (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\0\x10\0\0")
                )
    return bytes(changed) or b"x"


def edited(document: Any, rng: random.Random) -> Any:
    """Something else in one place: another value or number, nothing, or the same twice."""
    where = rng.choice(list(places(document)))
    old = at(document, where)
    if not where or rng.random() < 0.4:
        return put(document, where, rng.choice(VALUES))
    parent, key = at(document, where[:-1]), where[-1]
    if isinstance(old, int | float) and rng.random() < 0.6:
        return put(document, where, rng.choice((-old, old + 1, old * 2, old * 1000, float(old))))
    if isinstance(parent, list):
        rest = parent[:key] + parent[key + 1 :]
        return put(document, where[:-1], rng.choice((rest, [*parent, old], parent[::-1])))
    rest = {name: value for name, value in parent.items() if name != key}
    return put(document, where[:-1], rng.choice((rest, rest | {f"{key}x": old})))


def rewrapped(value: Any, rng: random.Random) -> str | None:
    """A text with its content broken: JSON, or base64 and perhaps zlib; None if it has none."""
    if not isinstance(value, str) or len(value) < 8:
        return None
    if value[0] in "{[":
        try:
            return json.dumps(edited(json.loads(value), rng))
        except ValueError:
            return None
    try:
        content = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None
    try:
        content = zlib.compress(_broken(zlib.decompress(content), rng), 1)
    except zlib.error:
        content = mangle(content, rng)
    return base64.b64encode(content).decode()


def _broken(content: bytes, rng: random.Random) -> bytes:
    if content[:1] in {b"{", b"["} and rng.random() < 0.8:
        return json.dumps(edited(json.loads(content), rng)).encode()
    return mangle(content, rng)


def in_document(params: Body, rng: random.Random) -> bytes:
    return json.dumps(edited(params, rng)).encode()


def in_text(params: Body, rng: random.Random) -> bytes:
    return mangle(json.dumps(params).encode(), rng)


def inside(params: Body, rng: random.Random) -> bytes:
    """A circuit, an array or a samplex changed within its wrapping."""
    found = list(places(params))
    rng.shuffle(found)
    for where in found:
        new = rewrapped(at(params, where), rng)
        if new is not None:
            return json.dumps(put(params, where, new)).encode()
    return in_document(params, rng)


KINDS: tuple[Callable[[Body, random.Random], bytes], ...] = (in_document, in_text, inside)


def case(name: str, kind: Callable[[Body, random.Random], bytes], number: int) -> tuple[str, bytes]:
    """A program's id and broken parameters, always the same for the same arguments."""
    body = json.loads((FOLDER / name).read_text())
    rng = random.Random(f"{name} {kind.__name__} {number}")
    return body["program_id"], kind(body["params"], rng)


def run(
    program_id: str, params: bytes, device: Device, *, circuits_max: int | None = None
) -> str | None:
    """Run a job through all its stages, or validate a larger one; the message of its refusal."""
    try:
        told = program.validate(program_id, params, device)
        if circuits_max is not None and told.circuits > circuits_max:
            return None
        prepared = program.prepare(program_id, params, device)
        measured = program.quantum(program_id, prepared.work, device)
        program.finish(program_id, prepared.work, measured.raw, device)
    except RequestError as error:
        return error.message
    return None


def main(runs: int = 10_000, first: int = 0) -> int:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, MEMORY_MAX))
    device = Device(BackendConfig(name="fake_torino", snapshot="torino"))
    ran = faults = 0
    slowest = (0.0, "")
    for number in range(first, first + runs):
        name, kind = NAMES[number % len(NAMES)], KINDS[number // len(NAMES) % len(KINDS)]
        told = f"run {number}: {name}, {kind.__name__}"
        program_id, params = case(name, kind, number)
        # Not an exception: a reader that must survive everything would take it for its own.
        signal.signal(signal.SIGALRM, lambda *_, told=told: (print(f"{told}: hangs"), os._exit(3)))
        signal.setitimer(signal.ITIMER_REAL, SECONDS_MAX)
        start = time.perf_counter()
        try:
            ran += run(program_id, params, device) is None
        except BaseException:  # noqa: BLE001 - whatever comes is what is sought
            faults += 1
            print(f"{told}: a fault", traceback.format_exc(limit=-6), sep="\n", flush=True)
        signal.setitimer(signal.ITIMER_REAL, 0)
        slowest = max(slowest, (time.perf_counter() - start, told))
    print(f"{runs} runs: {faults} faults, {ran} jobs ran; the slowest took {slowest[0]:.1f} s: ")
    print(f"{slowest[1]}; memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
