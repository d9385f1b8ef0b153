"""A process that has imported everything, and forks ready workers from itself.

Run as `python -m queuebit.engines.forkserver FD MODULE FORM LEVEL NETWORK`: FORM and LEVEL are for
its logs, and NETWORK is "network" or "no-network".
It imports MODULE in its only thread (a fork of a process with threads may hang), then obeys the
control socket FD: eight bytes that say
which worker to kill, or 0 to fork one, whose pipe comes with them. A worker runs MODULE.main(pipe).
End of file means that the service is gone, in whatever way: every worker is killed.

multiprocessing has such a server too. Its workers first run the program that the service was
started from (`__main__`) again, which imports the whole service into each of them and, in a user's
script without `if __name__ == "__main__"`, fails; its preload, environment and process are one for
the whole interpreter, so the first to use it decides; an import error while preloading is dropped;
and its workers outlive a killed service for as long as a simulation lasts.
"""

import ctypes
import gc
import importlib
import logging
import os
import re
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

from queuebit import logs
from queuebit.engines.isolation import isolate
from queuebit.engines.pipe import Exit, frame
from queuebit.engines.task import LACK_OF_MEMORY

log = logging.getLogger(__name__)

REQUEST = struct.Struct("!q")  # FORK, or the process id of a worker to kill
FORK = 0
WORDS_MAX = 4_096  # bytes of a worker's last words
TELL_S = 10.0  # how often the log tells of what a worker's libraries write
KNOWN = re.compile(
    rf"{LACK_OF_MEMORY.pattern}|panicked at [\w./-]+\.rs:\d+"
    r"|terminate called after throwing an instance of '[\w:]+'|Segmentation fault"
)
"""What native libraries say of themselves."""
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(slots=True)
class _Worker:
    """A living worker, as its fork server knows it."""

    pipe: socket.socket
    stderr: int
    """What it writes to standard error can be read here; -1: no more."""
    words: bytes = b""
    """The last of that: native libraries tell there why they end the process."""
    unsaid: int = 0
    """Bytes of it that no line of the log has told of."""
    told_at: float = float("-inf")

    def listen(self) -> bool:
        """Take what it wrote to standard output and error; False: there was nothing.

        The log tells how much that was, and what of it is known to be no user's: a library may
        quote what it could not read.
        """
        try:
            written = os.read(self.stderr, 65_536)
        except OSError:  # nothing now, or closed
            written = b""
        self.words = (self.words + written)[-WORDS_MAX:]
        self.unsaid += len(written)
        now = time.monotonic()
        if self.unsaid and (not written or now - self.told_at >= TELL_S):
            said = "; ".join(dict.fromkeys(KNOWN.findall(self.words.decode(errors="replace"))))
            log.warning("a library wrote", extra={"bytes": self.unsaid, "said": said or None})
            self.unsaid, self.told_at = 0, now
        return bool(written)

    def hush(self) -> None:
        """Listen to it no more."""
        if self.stderr >= 0:
            os.close(self.stderr)
        self.stderr = -1


class ForkServer:
    """Forks, kills and reaps workers."""

    def __init__(self, control: socket.socket, work: Callable[[socket.socket], None]) -> None:
        self._control = control
        self._work = work
        self._workers: dict[int, _Worker] = {}  # the living ones, by process id
        self._woken, self._waker = socket.socketpair()

    def serve(self) -> None:
        """Obey until the service is gone; on return no worker is left."""
        self._waker.setblocking(False)
        signal.set_wakeup_fd(self._waker.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)  # a handler makes Python write to the waker
        while True:
            talking = {one.stderr: one for one in self._workers.values() if one.stderr >= 0}
            watched: list[Any] = [self._control, self._woken, *talking]
            ready, _, _ = select.select(watched, [], [])
            for stderr in talking.keys() & set(ready):
                if not talking[stderr].listen():  # closed, though the worker may live
                    talking[stderr].hush()
            if self._woken in ready:
                self._woken.recv(4096)
                self._reap(os.WNOHANG)
            if self._control in ready:
                request, pipes, _, _ = socket.recv_fds(self._control, REQUEST.size, 1)
                if not request:
                    break
                self._obey(REQUEST.unpack(request)[0], pipes)
        for pid in self._workers:
            os.kill(pid, signal.SIGKILL)
        self._reap(0)

    def _obey(self, pid: int, pipes: list[int]) -> None:
        if pid != FORK:
            if pid in self._workers:  # not reaped yet, so the id is still this worker's
                os.kill(pid, signal.SIGKILL)
            return
        pipe = socket.socket(fileno=pipes[0])
        server = os.getpid()
        stderr, theirs = os.pipe()
        try:
            child = os.fork()
        except OSError:  # no memory, too many processes: the service sees the pipe close
            log.exception("no worker can be forked")
            pipe.close()
            os.close(stderr)
        else:
            if child == 0:
                logs.redirect(os.fdopen(os.dup(2), "w", 2**16))
                os.dup2(theirs, 1)
                os.dup2(theirs, 2)
                os.close(stderr)
                self._become_worker(pipe, server)
            os.set_blocking(stderr, False)
            self._workers[child] = _Worker(pipe, stderr)
        os.close(theirs)

    def _become_worker(self, pipe: socket.socket, server: int) -> NoReturn:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for other in (self._control, self._woken, self._waker):
                other.close()
            for worker in self._workers.values():
                worker.pipe.close()
                worker.hush()
            _die_with(server)
            self._work(pipe)
            code = 0
        except BaseException:  # nothing above this in the process
            log.critical("worker ended by an exception", exc_info=True)
        finally:
            with suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _reap(self, options: int) -> None:
        while self._workers:
            pid, status = os.waitpid(-1, options)
            if pid == 0:
                return
            worker = self._workers.pop(pid)
            while worker.listen():
                pass
            news = Exit(os.waitstatus_to_exitcode(status), worker.words.decode(errors="replace"))
            with suppress(OSError):  # a service that is gone need not know
                worker.pipe.send(frame(news), socket.MSG_DONTWAIT)
            worker.pipe.close()
            worker.hush()


def _die_with(server: int) -> None:
    """Have the kernel kill this process when its parent `server` ends, and first of all others."""
    if sys.platform != "linux":  # there, a killed server's workers end with their present task
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != server:  # it ended before the line above
        os._exit(1)
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123 - no Path
        file.write("500")  # when memory is short, a worker goes before the service


def main() -> None:
    """Import the module and serve."""
    form, level, network = sys.argv[3:6]
    logs.configure(form, level)
    os.umask(0o077)  # results are nobody else's, whatever the mode of their folder
    isolate(network=network == "network")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the service, which then closes us
    control = socket.socket(fileno=int(sys.argv[1]))
    work = importlib.import_module(sys.argv[2]).main
    gc.collect()
    gc.freeze()  # so that no worker's collector writes to, and copies, the memory all share
    ForkServer(control, work).serve()


if __name__ == "__main__":
    main()
