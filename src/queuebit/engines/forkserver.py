"""A process that has imported everything, and forks ready workers from itself.

Run as `python -m queuebit.engines.forkserver FD MODULE`. It imports MODULE in its only thread (a
fork of a process with threads may hang), then obeys the control socket FD: eight bytes that say
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
import os
import select
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from queuebit.engines.pipe import Exit, frame

REQUEST = struct.Struct("!q")  # FORK, or the process id of a worker to kill
FORK = 0
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class ForkServer:
    """Forks, kills and reaps workers."""

    def __init__(self, control: socket.socket, work: Callable[[socket.socket], None]) -> None:
        self._control = control
        self._work = work
        self._pipes: dict[int, socket.socket] = {}  # of living workers, by process id
        self._woken, self._waker = socket.socketpair()

    def serve(self) -> None:
        """Obey until the service is gone; on return no worker is left."""
        self._waker.setblocking(False)
        signal.set_wakeup_fd(self._waker.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)  # a handler makes Python write to the waker
        while True:
            ready, _, _ = select.select([self._control, self._woken], [], [])
            if self._woken in ready:
                self._woken.recv(4096)
                self._reap(os.WNOHANG)
            if self._control in ready:
                request, pipes, _, _ = socket.recv_fds(self._control, REQUEST.size, 1)
                if not request:
                    break
                self._obey(REQUEST.unpack(request)[0], pipes)
        for pid in self._pipes:
            os.kill(pid, signal.SIGKILL)
        self._reap(0)

    def _obey(self, pid: int, pipes: list[int]) -> None:
        if pid != FORK:
            if pid in self._pipes:  # not reaped yet, so the id is still this worker's
                os.kill(pid, signal.SIGKILL)
            return
        pipe = socket.socket(fileno=pipes[0])
        server = os.getpid()
        try:
            child = os.fork()
        except OSError:  # no memory, too many processes: the service sees the pipe close
            traceback.print_exc()
            pipe.close()
            return
        if child == 0:
            self._become_worker(pipe, server)
        self._pipes[child] = pipe

    def _become_worker(self, pipe: socket.socket, server: int) -> NoReturn:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for other in (self._control, self._woken, self._waker, *self._pipes.values()):
                other.close()
            _die_with(server)
            self._work(pipe)
            code = 0
        except BaseException:  # noqa: BLE001 - nothing above this in the process
            traceback.print_exc()
        finally:
            with suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _reap(self, options: int) -> None:
        while self._pipes:
            pid, status = os.waitpid(-1, options)
            if pid == 0:
                return
            pipe = self._pipes.pop(pid)
            with suppress(OSError):  # a service that is gone need not know
                pipe.send(frame(Exit(os.waitstatus_to_exitcode(status))), socket.MSG_DONTWAIT)
            pipe.close()


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
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the service, which then closes us
    control = socket.socket(fileno=int(sys.argv[1]))
    work = importlib.import_module(sys.argv[2]).main
    gc.collect()
    gc.freeze()  # so that no worker's collector writes to, and copies, the memory all share
    ForkServer(control, work).serve()


if __name__ == "__main__":
    main()
