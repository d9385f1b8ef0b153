"""A worker process: runs one stage of one job after the other.

Only the fork server imports this, once and in its only thread: Qiskit takes seconds to import, and
an import in a thread that ends crashes later. Everything that a stage needs is imported here.
"""

import ctypes
import logging
import pickle
import resource
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from math import ceil
from typing import Any

import numpy as np
import qiskit_aer.noise  # noqa: F401 - devices import it when they need it; here it is shared

import queuebit.devices.device  # noqa: F401 - likewise
from queuebit import logs, memory
from queuebit.config import SIMULATED, BackendConfig, MockConfig
from queuebit.core.model import Calibrated, Reason, Stage
from queuebit.devices import loading
from queuebit.devices.mock import mocked
from queuebit.devices.protocol import Qpu
from queuebit.engines.job_bodies import split_body
from queuebit.engines.pipe import Setup, receive, serve
from queuebit.engines.task import CHECK_CPU_S, LACK_OF_MEMORY, Outcome, Task, out_of_memory
from queuebit.errors import ConfigError, QueuebitError, RequestError, ServiceFault
from queuebit.programs import program
from queuebit.programs.estimates import Estimate
from queuebit.store.faults import is_passing, said
from queuebit.store.payloads import INPUTS, Payloads

CODE_INTERNAL = 9999  # IBM: internal error

log = logging.getLogger(__name__)


class Worker:
    """What a worker keeps between tasks: its devices."""

    def __init__(
        self, backends: Sequence[BackendConfig], payloads: Payloads, memory_bytes: int = 0
    ) -> None:
        self._configs = {backend.name: backend for backend in backends}
        self._devices: dict[str, Qpu] = {}
        self._calibrated: dict[str, Calibrated | None] = {}  # as which they were made
        self._payloads = payloads
        self._memory_bytes = memory_bytes
        self._cold = list(self._configs)  # backends whose devices may be made in idle time

    def run(self, task: Task) -> Outcome:
        """Run `task`; never raises."""
        with logs.about(job=task.job_id, stage=task.stage or "validate", backend=task.backend):
            return self._run(task)

    def _run(self, task: Task) -> Outcome:
        began = time.perf_counter_ns()
        try:
            outcome = self._stage(task)
        except RequestError as error:
            reason = Reason(message=str(error), code=error.code, solution=error.solution)
            # A job that was let in is not charged for a rule that should have kept it out.
            was_accepted = task.stage is not None
            outcome = Outcome(error=reason, status=error.status, service_fault=was_accepted)
        except MemoryError:
            outcome = out_of_memory(task, self._memory_bytes)
        except Exception as error:
            if is_passing(error):
                return Outcome(held=said(error))
            log.exception("task failed")
            told = str(error) if isinstance(error, QueuebitError) else type(error).__name__
            outcome = (
                out_of_memory(task, self._memory_bytes)
                if LACK_OF_MEMORY.search(str(error))
                else _fault(task, told)
            )
        _return_memory()
        if task.stage is None:
            return outcome
        spent_ms = (time.perf_counter_ns() - began) // 1_000_000
        return replace(outcome, metrics={**outcome.metrics, f"{task.stage}_ms": spent_ms})

    def refusals(self) -> tuple[str, ...]:
        """Make the devices from outside; why some of them cannot run.

        The service does not start with such a device. Later it may: that backend's jobs fail.
        """
        found = []
        for name, config in self._configs.items():
            if config.device != SIMULATED:
                try:
                    self._device(name)
                except ConfigError as error:
                    found.append(str(error))
        return tuple(found)

    def warm_up(self) -> bool:
        """Make one more device; False if all are there."""
        if not self._cold:
            return False
        name = self._cold.pop()
        try:
            self._device(name)
        except Exception:
            log.exception("device could not be made", extra={"backend": name})
        return True

    def _stage(self, task: Task) -> Outcome:
        if task.stage is not None:
            return self._staged(task)
        with _budget(CHECK_CPU_S):
            return self._checked(task)

    def _checked(self, task: Task) -> Outcome:
        """Look at what a user has sent, which may be anything."""
        if task.is_split:
            return split_body(self._payloads, task.job_id)
        device = self._device(task.backend, task.calibrated)
        params = self._read(task, INPUTS)
        if task.only_estimate:
            told, over = program.estimate(task.program_id, params, device)
            return Outcome(estimated_ms=told.estimated_ms, metrics=_metrics(told, over))
        return Outcome(estimated_ms=program.validate(task.program_id, params, device).estimated_ms)

    def _staged(self, task: Task) -> Outcome:
        device = self._device(task.backend, task.calibrated)
        match task.stage:
            case Stage.PREPARE:
                prepared = program.prepare(task.program_id, self._read(task, INPUTS), device)
                self._write(task, "prepared", prepared.work)
                return Outcome(
                    estimated_ms=prepared.estimated_ms, metrics=prepared.metrics, log=prepared.log
                )
            case Stage.QUANTUM:
                work = self._load(task, "prepared")
                measured = program.quantum(task.program_id, work, device)
                self._write(task, "raw", measured.raw)
                return Outcome(
                    usage_ms=measured.usage_ms, metrics=measured.metrics, log=measured.log
                )
            case Stage.FINISH:
                work, raw = self._load(task, "prepared"), self._load(task, "raw")
                result = program.finish(task.program_id, work, raw, device)
                self._payloads.write(task.job_id, f"result.{task.run}", result, durable=True)
                return Outcome()
            case _:
                raise ServiceFault("there is nothing to run while a job waits for the QPU")

    def _device(self, name: str, calibrated: Calibrated | None = None) -> Qpu:
        """Backend `name` as `calibrated` has left it; None: as it was last seen.

        The latest is kept and no other: a backend never goes back to what it was.
        """
        config = self._configs[name]
        if isinstance(config, MockConfig):
            return mocked(name, self._device(config.of))
        if config.device != SIMULATED:
            calibrated = None
        is_stale = calibrated is not None and self._calibrated.get(name) != calibrated
        if is_stale or name not in self._devices:
            self._devices[name] = loading.make(config, calibrated)
            self._calibrated[name] = calibrated
        return self._devices[name]

    def _read(self, task: Task, name: str) -> bytes:
        return self._payloads.read(task.job_id, name)

    def _load(self, task: Task, name: str) -> object:
        return pickle.loads(self._read(task, f"{name}.{task.run}"))  # noqa: S301 - from `_write`

    def _write(self, task: Task, name: str, thing: object) -> None:
        """Keep `thing` for a later stage; after a crash the job starts again, so not durably."""
        content = pickle.dumps(thing, protocol=pickle.HIGHEST_PROTOCOL)
        self._payloads.write(task.job_id, f"{name}.{task.run}", content, durable=False)


@contextmanager
def _budget(seconds: int) -> Iterator[None]:
    """Have the kernel kill this process, by SIGXCPU, if what is inside takes too long.

    Counted is the time of all threads on the processor, in whole seconds.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (ceil(time.process_time()) + seconds, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def main(pipe: socket.socket) -> None:
    """Be a worker of the service at the other end of `pipe`."""
    np.random.seed()  # noqa: NPY002 - forked workers would all draw the same numbers
    setup: Setup = receive(pipe)
    worker = Worker(setup.backends, Payloads(setup.payloads), setup.memory_bytes)
    refusals = worker.refusals()
    memory.limit_to(setup.memory_bytes)
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))  # it would be as large as the worker
    serve(pipe, worker.run, worker.warm_up, refusals=refusals)


def _metrics(told: Estimate, over: Sequence[RequestError]) -> dict[str, Any]:
    """An estimate, as JSON; the size is that of the largest circuit."""
    return {
        "overhead_ms": told.overhead_ms,
        "circuits": told.circuits,
        "executions": told.executions,
        "qubits": max([qubits for qubits, _ in told.sizes], default=0),
        "depth": max([depth for _, depth in told.sizes], default=0),
        "limits": [
            {"code": one.code, "message": one.message, "solution": one.solution} for one in over
        ],
    }


def _fault(task: Task, what: str) -> Outcome:
    """Our own failure: a short message for the user; the log has the traceback."""
    reason = Reason(message=f"The {task.what} failed: {what}", code=CODE_INTERNAL)
    return Outcome(error=reason, service_fault=True)


def _return_memory() -> None:
    """Give freed memory back to the system: under 1 ms, and the next big job may be elsewhere."""
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
