"""A worker that does what a task's program id says. Starts fast: it imports no Qiskit."""

import ctypes
import logging
import os
import pickle
import signal
import socket
import sys
import time
from pathlib import Path

from queuebit.core.model import Reason
from queuebit.engines.pipe import frame, receive, serve
from queuebit.engines.task import Outcome, Task


def main(pipe):
    setup = receive(pipe)
    folder = setup.payloads
    with (folder / "starts").open("a") as file:
        file.write(f"{os.getpid()}\n")
    if (folder / "broken").exists():
        raise SystemExit("the test wants no worker to start")
    serve(pipe, lambda task: _run(task, folder, pipe), lambda: False)


def _run(task: Task, folder: Path, pipe: socket.socket) -> Outcome:  # noqa: PLR0911 - one a script
    with (folder / f"{task.job_id}.begun").open("a") as file:
        file.write(f"{os.getpid()}\n")
    what, _, how = task.program_id.partition(":")
    match what:
        case "echo":
            return Outcome(metrics={"job": task.job_id, "size": len(how)}, log=(how,))
        case "nap":
            time.sleep(float(how))
            return Outcome(metrics={"job": task.job_id})
        case "by-hand":  # ends when the test writes the outcome
            while not (folder / f"{task.job_id}.outcome").exists():
                time.sleep(0.002)
            return pickle.loads((folder / f"{task.job_id}.outcome").read_bytes())
        case "confinement":
            return Outcome(metrics=_confinement())
        case "busy":  # like a simulation: native code that lets no Python run
            return Outcome(usage_ms=sum(range(10**12)))
        case "signal":
            os.kill(os.getpid(), getattr(signal, how))
        case "chatter":  # like a library that quotes what it cannot read
            return _chatter(how)
        case "segfault":
            ctypes.string_at(0)
        case "exit":
            raise SystemExit(int(how))
        case "answer":  # dies in the middle of its answer
            pipe.sendall(frame(Outcome(log=("x" * 1000,)))[: int(how)])
            os.kill(os.getpid(), signal.SIGKILL)
    return Outcome(error=Reason(message=f"unknown script {task.program_id}", code=1))


def _chatter(how: str) -> Outcome:
    for stream in (sys.stdout, sys.stderr):
        print(how, file=stream, flush=True)
    os.write(1, how.encode())
    os.write(2, f"{how} thread panicked at crates/qpy/src/lib.rs:7:1: {how}".encode())
    logging.getLogger("queuebit.scripted").warning("our own line")
    return Outcome()


def _confinement() -> dict[str, object]:
    """What this process could do beside its work."""
    status = dict(
        line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines()
    )
    try:
        with socket.create_connection(("127.0.0.1", int(os.environ["OMP_TEST_PORT"])), timeout=5):
            reaches = True
    except OSError:
        reaches = False
    return {
        "variables": sorted(os.environ),
        "no_new_privs": status["NoNewPrivs"],
        "reaches_network": reaches,
        "umask": status["Umask"],
    }
