"""Runs tasks on worker processes of this machine.

A fork server (`forkserver.py`) makes the workers; the pool talks with each through a socket of its
own. Workers share nothing, no lock and no queue, so any of them may be killed at any moment without
harm to the others. A socket that closes is the news of a death.
"""

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import ClassVar, cast

from queuebit import memory
from queuebit.config import BackendConfig
from queuebit.core.model import Reason, Stage
from queuebit.engines.forkserver import FORK, REQUEST
from queuebit.engines.isolation import environment
from queuebit.engines.pipe import Exit, Hello, Setup, frame, take
from queuebit.engines.task import (
    CODE_TEMPORARY,
    LACK_OF_MEMORY,
    Outcome,
    Staff,
    Task,
    out_of_memory,
    took_too_long,
)
from queuebit.errors import ConfigError, ServiceFault

DEATHS_MAX = 3  # a task that ended so many workers is not given to another
PAUSE_MIN_S = 0.05  # before the next start, when a worker dies without having done anything;
PAUSE_MAX_S = 5.0  # doubled each time
CLOSE_MAX_S = 2.0  # then the fork server is killed, and the kernel kills the workers
HALF_AN_ANSWER = "killed while it answered"

ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",  # the cores are Aer's; and a fork server must have one thread
    "MKL_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",  # workers share the cores: waiting must not burn them
    "QISKIT_PARALLEL": "FALSE",  # workers are the parallelism; they start no processes
    "MALLOC_ARENA_MAX": "2",  # one heap per thread would keep what every thread once needed
}
"""For the native libraries of workers, unless the service's own environment says otherwise."""

log = logging.getLogger(__name__)


class ProcessPool:
    """As many warm workers as asked for, always. Implements `engines.task.Engine`.

    Tasks wait in order of arrival. Of `workers`, all but one run a quantum stage at most, so the
    short tasks (a client waits for `validate`) never stand behind simulations only. One more is
    there for each of `checkers`, which is how many slow checks may run (`checks`).
    """

    worker_module: ClassVar[str] = "queuebit.engines.worker"
    """Its `main(pipe)` is a worker. Only the fork server imports it: Qiskit takes seconds."""

    def __init__(  # noqa: PLR0913 - each is a setting
        self,
        *,
        backends: Sequence[BackendConfig],
        payloads: Path,
        workers: int,
        checkers: int = 0,
        memory_bytes: int | None = None,
        log_format: str = "text",
        log_level: str = "warning",
        network: bool = False,
        variables: Sequence[str] = (),
    ) -> None:
        """`memory_bytes`: what each worker may take; None: its share of what is there now.

        `network` and `variables`: see `isolation`.
        """
        self._network = network
        self._environment = {**ENVIRONMENT, **environment(os.environ, variables)}
        share = memory.available_bytes() * 9 // 10 // (workers + checkers)
        self._setup = Setup(
            backends=tuple(backends),
            payloads=payloads,
            memory_bytes=memory_bytes or share,
        )
        self._logging = [log_format, log_level]
        self._workers = workers + checkers
        self._deaths = 0
        self._keepers: list[asyncio.Task[None]] = []
        self._quantum = asyncio.Semaphore(max(1, workers - 1))
        # The worker that worked last goes first: its caches are warmest. Dead ones are skipped.
        self._idle: asyncio.LifoQueue[_Worker] = asyncio.LifoQueue()
        self._living: set[_Worker] = set()
        self._server: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    async def start(self) -> None:
        """Start the workers; returns when the first can work.

        ServiceFault if none can; why stands on standard error. ConfigError, with the reasons, if a
        device cannot start.
        """
        first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._open_server()
        self._keepers = [asyncio.create_task(self._keep(first)) for _ in range(self._workers)]
        try:
            await first
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Kill every worker and wait for the end of all processes.

        A `run` that is under way does not return any more; whoever awaits it cancels it.
        """
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        self._keepers.clear()
        if self._control is not None:
            self._control.close()  # the fork server kills its workers and exits
            self._control = None
        if self._server is not None:
            await asyncio.to_thread(_wait_for_exit, self._server)
            self._server = None

    async def run(self, task: Task) -> Outcome:
        """Run `task`; cancelling kills its worker, and is done when that is dead."""
        deaths: list[str] = []
        async with self._quantum if task.stage is Stage.QUANTUM else nullcontext():
            while len(deaths) < DEATHS_MAX:
                worker = await self._next_idle()
                try:
                    outcome = await worker.ask(task)
                except asyncio.CancelledError:
                    worker.stopped = True
                    self._request(worker.pid)
                    await asyncio.wait([worker.gone], timeout=CLOSE_MAX_S)
                    raise
                if outcome is not None:
                    self._idle.put_nowait(worker)
                    return outcome
                if not worker.end:  # nobody told: the fork server died, so all its workers do
                    family = [w.gone for w in self._living if w.server is worker.server]
                    await asyncio.wait({worker.gone, *family}, timeout=CLOSE_MAX_S)
                deaths.append(worker.end or "killed")
                told = {"job": task.job_id, "stage": task.what, "end": worker.end}
                log.warning("worker died", extra=told)
                if worker.is_over_budget:
                    return took_too_long(task)
                if LACK_OF_MEMORY.search(worker.words):
                    return out_of_memory(task, self._setup.memory_bytes)
        return _too_deadly(task, deaths)

    def staff(self) -> Staff:
        """How the workers are."""
        alive = tuple(one.pid for one in self._living if one.is_alive and one.pid)
        return Staff(wanted=self._workers, pids=alive, deaths=self._deaths)

    async def _next_idle(self) -> "_Worker":
        while True:
            worker = await self._idle.get()
            if worker.is_alive:
                return worker

    async def _keep(self, first: asyncio.Future[None]) -> None:
        """Have one worker, and another when that dies; `first` tells of the pool's first."""
        pause_s = 0.0
        while True:
            try:
                worker = await self._start_worker()
            except OSError as error:  # no descriptor or process is free
                if not first.done():
                    first.set_exception(error)
                pause_s = min(PAUSE_MAX_S, max(PAUSE_MIN_S, 2 * pause_s))
                log.warning("worker cannot start", extra={"fault": str(error)})
                await asyncio.sleep(pause_s)
                continue
            await worker.ready
            if worker.is_alive:
                self._idle.put_nowait(worker)
                if worker.refusals:
                    log.error("devices cannot start", extra={"why": "; ".join(worker.refusals)})
                if not first.done() and worker.refusals:
                    first.set_exception(ConfigError("; ".join(worker.refusals)))
                elif not first.done():
                    first.set_result(None)
            elif not first.done():
                first.set_exception(ServiceFault("no worker process could start"))
            await worker.gone
            self._living.discard(worker)
            self._deaths += not worker.stopped
            if worker.stopped or worker.outcomes:
                pause_s = 0.0
            else:  # it may die at every start: do not burn the processor
                pause_s = min(PAUSE_MAX_S, max(PAUSE_MIN_S, 2 * pause_s))
                log.warning("worker died idle", extra={"end": worker.end, "pause_s": pause_s})
                await asyncio.sleep(pause_s)

    async def _start_worker(self) -> "_Worker":
        ours, theirs = socket.socketpair()
        with theirs:
            if not self._request(FORK, theirs):  # the fork server is gone, its workers too
                self._open_server()
                self._request(FORK, theirs)
        loop = asyncio.get_running_loop()
        _, worker = await loop.create_unix_connection(_Worker, sock=ours)
        worker.server = self._server
        self._living.add(worker)
        worker.send(self._setup)
        return worker

    def _request(self, pid: int, pipe: socket.socket | None = None) -> bool:
        """Have the fork server kill worker `pid`, or fork one for `pipe`; False if it is gone."""
        if self._control is None:
            return False
        fds = [] if pipe is None else [pipe.fileno()]
        try:
            socket.send_fds(self._control, [REQUEST.pack(pid)], fds)
        except OSError:
            return False
        return True

    def _open_server(self) -> None:
        """Start a fork server, in place of any that is there."""
        if self._control is not None:
            self._control.close()
        if self._server is not None:
            self._server.kill()
            self._server.wait()
        self._control, theirs = socket.socketpair()
        fd = str(theirs.fileno())
        # The modules that are found here are found there, and no others (-P).
        path = os.pathsep.join(filter(None, sys.path))
        with theirs:
            module = ["-P", "-m", "queuebit.engines.forkserver", fd, self.worker_module]
            forms = self._logging
            forms.append("network" if self._network else "no-network")
            self._server = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, *module, *forms],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={**self._environment, "PYTHONPATH": path},
                start_new_session=True,  # Ctrl-C in the terminal does not reach it
            )


class _Worker(asyncio.Protocol):
    """The service's end of one worker."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.pid = 0  # 0: not known yet
        self.server: object = None  # its fork server
        self.refusals: tuple[str, ...] = ()  # why some backends cannot run jobs
        self.end = ""  # how it died; empty: nobody told
        self.words = ""  # its last words on standard error
        self.is_over_budget = False  # it was killed for the processor time that a check took
        self.outcomes = 0  # tasks done
        self.stopped = False  # we wanted its death
        self.ready: asyncio.Future[None] = loop.create_future()  # it can work, or it is dead
        self.gone: asyncio.Future[None] = loop.create_future()
        self._answer: asyncio.Future[Outcome | None] | None = None
        self._transport: asyncio.WriteTransport | None = None  # None: it is dead
        self._buffer = bytearray()

    @property
    def is_alive(self) -> bool:
        return self._transport is not None

    async def ask(self, task: Task) -> Outcome | None:
        """What became of `task`; None if the worker died."""
        self._answer = asyncio.get_running_loop().create_future()
        if not self.send(task):
            return None
        return await self._answer

    def send(self, thing: object) -> bool:
        """Send `thing`; False if the worker is dead."""
        if self._transport is None:
            return False
        self._transport.write(frame(thing))
        return True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        try:
            for message in take(self._buffer):
                self._hear(message)
        except Exception:  # noqa: BLE001 - a death cut an answer short, and `Exit` filled it up
            self.end = HALF_AN_ANSWER

    def connection_lost(self, exc: Exception | None) -> None:
        del exc  # `Exit` says more
        self._transport = None
        if self._buffer:  # what is left of a frame
            self.end = HALF_AN_ANSWER
        for future in (self.ready, self.gone):
            if not future.done():
                future.set_result(None)
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(None)

    def _hear(self, message: object) -> None:
        match message:
            case Hello(pid=pid, refusals=refusals):
                self.pid, self.refusals = pid, refusals
                self.ready.set_result(None)
            case Exit(code=code, words=words):
                self.words = words
                self.is_over_budget = code == -signal.SIGXCPU
                self.end = f"signal {-code}" if code < 0 else f"exit status {code}"
            case Outcome() if self._answer is not None and not self._answer.done():
                self.outcomes += 1
                self._answer.set_result(message)


def _wait_for_exit(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(CLOSE_MAX_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _too_deadly(task: Task, deaths: list[str]) -> Outcome:
    reason = Reason(
        message=f"The {task.what} ended its worker process {len(deaths)} times "
        f"({', '.join(deaths)})",
        code=CODE_TEMPORARY,
        solution="Submit a smaller job; if that fails too, tell whoever runs the service.",
    )
    return Outcome(error=reason, service_fault=True)
