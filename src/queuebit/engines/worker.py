"""A worker process: runs one stage of one job after the other.

Only the fork server imports this, once and in its only thread: Qiskit takes seconds to import, and
an import in a thread that ends crashes later. Everything that a stage needs is imported here.
"""

import ctypes
import logging
import pickle
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import qiskit_aer.noise  # noqa: F401 - devices import it when they need it; here it is shared

from queuebit.config import BackendConfig
from queuebit.core.model import Reason, Stage
from queuebit.devices.device import Device
from queuebit.engines.pipe import receive, serve
from queuebit.engines.task import Outcome, Task
from queuebit.errors import RequestError, ServiceFault
from queuebit.programs import program
from queuebit.store.payloads import Payloads

CODE_INTERNAL = 9999  # IBM: internal error

log = logging.getLogger(__name__)


class Worker:
    """What a worker keeps between tasks: its devices."""

    def __init__(self, backends: Sequence[BackendConfig], payloads: Payloads) -> None:
        self._configs = {backend.name: backend for backend in backends}
        self._devices: dict[str, Device] = {}
        self._payloads = payloads
        self._cold = list(self._configs)  # backends whose devices may be made in idle time

    def run(self, task: Task) -> Outcome:
        """Run `task`; never raises."""
        began = time.perf_counter_ns()
        try:
            outcome = self._stage(task)
        except RequestError as error:
            reason = Reason(message=str(error), code=error.code, solution=error.solution)
            outcome = Outcome(error=reason, status=error.status)
        except MemoryError:
            outcome = _fault(task, "there is not enough memory for it")
        except Exception as error:
            log.exception("task failed: job=%s stage=%s", task.job_id, task.stage)
            outcome = _fault(
                task, str(error) if isinstance(error, ServiceFault) else type(error).__name__
            )
        _return_memory()
        if task.stage is None:
            return outcome
        spent_ms = (time.perf_counter_ns() - began) // 1_000_000
        return replace(outcome, metrics={**outcome.metrics, f"{task.stage}_ms": spent_ms})

    def warm_up(self) -> bool:
        """Make one more device; False if all are there."""
        if not self._cold:
            return False
        name = self._cold.pop()
        try:
            self._device(name)
        except Exception:
            log.exception("device could not be made: backend=%s", name)
        return True

    def _stage(self, task: Task) -> Outcome:
        device = self._device(task.backend)
        match task.stage:
            case None if task.only_estimate:
                told, over = program.estimate(task.program_id, self._read(task, "params"), device)
                return Outcome(estimated_ms=told.estimated_ms, metrics=_metrics(told, over))
            case None:
                told = program.validate(task.program_id, self._read(task, "params"), device)
                return Outcome(estimated_ms=told.estimated_ms)
            case Stage.PREPARE:
                prepared = program.prepare(task.program_id, self._read(task, "params"), device)
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
            case Stage.READY:
                raise ServiceFault("there is nothing to run while a job waits for the QPU")

    def _device(self, name: str) -> Device:
        if name not in self._devices:
            self._devices[name] = Device(self._configs[name])
        return self._devices[name]

    def _read(self, task: Task, name: str) -> bytes:
        return self._payloads.read(task.job_id, name)

    def _load(self, task: Task, name: str) -> object:
        return pickle.loads(self._read(task, f"{name}.{task.run}"))  # noqa: S301 - from `_write`

    def _write(self, task: Task, name: str, thing: object) -> None:
        """Keep `thing` for a later stage; after a crash the job starts again, so not durably."""
        content = pickle.dumps(thing, protocol=pickle.HIGHEST_PROTOCOL)
        self._payloads.write(task.job_id, f"{name}.{task.run}", content, durable=False)


def main(pipe: socket.socket) -> None:
    """Be a worker of the service at the other end of `pipe`."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s")
    np.random.seed()  # noqa: NPY002 - forked workers would all draw the same numbers
    backends, folder = receive(pipe)
    worker = Worker(backends, Payloads(Path(folder)))
    serve(pipe, worker.run, worker.warm_up)


def _metrics(told: program.Estimate, over: Sequence[RequestError]) -> dict[str, Any]:
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
    stage = "validation" if task.stage is None else f"stage {task.stage}"
    reason = Reason(message=f"The {stage} failed: {what}", code=CODE_INTERNAL)
    return Outcome(error=reason, service_fault=True)


def _return_memory() -> None:
    """Give freed memory back to the system: under 1 ms, and the next big job may be elsewhere."""
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
