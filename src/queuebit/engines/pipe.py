"""What travels between the service and one worker: frames of a length and a pickle, both ways.

The service first sends `Setup`, hears `Hello`, then sends one task at a time and
hears one outcome for each. When the worker is gone its fork server adds `Exit`. Both ends are our
own processes, so pickles are trusted. Standard library only: the service imports this too.
"""

import os
import pickle
import select
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from queuebit.config import BackendConfig

_LENGTH = struct.Struct("!I")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a worker needs."""

    backends: tuple[BackendConfig, ...]
    payloads: Path
    memory_bytes: int
    """What it may take beyond what every worker has at its start."""


@dataclass(frozen=True, slots=True)
class Hello:
    """The worker can take tasks."""

    pid: int
    refusals: tuple[str, ...] = ()
    """Why some of its backends cannot run jobs."""


@dataclass(frozen=True, slots=True)
class Exit:
    """The worker is gone; `code` is its exit status, or minus the signal that killed it."""

    code: int
    words: str = ""
    """The last that it wrote to standard error."""


def frame(thing: object) -> bytes:
    """`thing` as bytes to send."""
    content = pickle.dumps(thing, protocol=pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(content)) + content


def take(buffer: bytearray) -> Iterator[Any]:
    """Remove every whole frame from the front of `buffer`."""
    while len(buffer) >= _LENGTH.size:
        (length,) = _LENGTH.unpack_from(buffer)
        end = _LENGTH.size + length
        if len(buffer) < end:
            return
        content = bytes(buffer[_LENGTH.size : end])
        del buffer[:end]
        yield pickle.loads(content)  # noqa: S301 - from our own worker


def receive(pipe: socket.socket) -> Any:
    """Wait for one frame; EOFError when the other end is closed."""
    (length,) = _LENGTH.unpack(_exactly(pipe, _LENGTH.size))
    return pickle.loads(_exactly(pipe, length))  # noqa: S301 - from our own service


def serve(
    pipe: socket.socket,
    run: Callable[[Any], object],
    idle: Callable[[], bool],
    *,
    refusals: tuple[str, ...] = (),
) -> None:
    """Say hello, then answer every task with `run(task)` until the service is gone.

    While there is no task, `idle` does a piece of work that can wait; False: there is none left.
    """
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        pipe.sendall(frame(Hello(os.getpid(), refusals)))
        while True:
            while not select.select([pipe], [], [], 0)[0] and idle():
                pass
            pipe.sendall(frame(run(receive(pipe))))


def _exactly(pipe: socket.socket, size: int) -> bytes:
    content = pipe.recv(size, socket.MSG_WAITALL)
    if len(content) < size:
        raise EOFError
    return content
