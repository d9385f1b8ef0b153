"""What the walks share: steps that are run one after another, each whatever became of the last.

Runs under whatever client is installed, with `QiskitRuntimeService()` and nothing else; needs no
test framework, since every release of the client has an environment of its own.
"""

import json
import os
import time
import traceback
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from uuid import uuid4

warnings.filterwarnings("ignore", message="Unverified HTTPS request")
warnings.filterwarnings("ignore", category=DeprecationWarning)

from qiskit import QuantumCircuit  # noqa: E402  the filters above come first
from qiskit.transpiler import generate_preset_pass_manager  # noqa: E402
from qiskit_ibm_runtime import QiskitRuntimeService, __version__  # noqa: E402

RELEASE = tuple(int(part) for part in __version__.split(".")[:2])
STEPS = []


def step(function):
    """A function of a `Desk` that is one step."""
    STEPS.append(function)
    return function


class Absent(Exception):
    """The client has no such thing."""


def run_all():
    """Run every step; print one line of JSON about each: its name, what became of it, and why."""
    desk = Desk()
    for function in STEPS:
        told = {"step": function.__name__, "end": "ok"}
        began = time.monotonic()
        try:
            function(desk)
        except Absent as why:
            told |= {"end": "absent", "why": str(why)}
        except Exception:  # noqa: BLE001 - any, and the next step is run
            told |= {"end": "failed", "why": traceback.format_exc(limit=-4)}
        print(json.dumps(told | {"seconds": time.monotonic() - began}), flush=True)


@dataclass
class Desk:
    """What a user has at hand: a service, a backend, circuits, and a tag that nobody else uses."""

    tag: str = field(default_factory=lambda: f"walk-{uuid4().hex}")

    @cached_property
    def service(self):
        return QiskitRuntimeService()  # the account, or the environment, leads to "quick"

    @cached_property
    def backend(self):
        return self.service.backend("fake_torino")

    @cached_property
    def manila(self):
        return self.service.backend("fake_manila")

    @cached_property
    def bell(self):
        circuit = QuantumCircuit(2)
        circuit.h(0)
        circuit.cx(0, 1)
        circuit.measure_all()
        return fitted(circuit, self.backend)

    @cached_property
    def slow(self):
        """Keeps the simulated QPU busy for a second or so."""
        return self._layers(30)

    @cached_property
    def endless(self):
        """Keeps the simulated QPU busy until it is cancelled."""
        return self._layers(500)

    def _layers(self, number):
        circuit = QuantumCircuit(10)
        for layer in range(number):
            circuit.sx(range(10))
            circuit.rz(0.3, range(10))  # else it is Clifford, and over at once
            for qubit in range(layer % 2, 9, 2):
                circuit.cz(qubit, qubit + 1)
        circuit.measure_all()
        return fitted(circuit, self.backend, level=0)


def fitted(circuit, backend, level=3):
    """The circuit as the backend takes it, on qubits that it reads well."""
    return generate_preset_pass_manager(level, backend=backend, seed_transpiler=1).run(circuit)


def connect(**changes):
    """Connect with the same key, but by arguments, and without an instance unless one is given."""
    if token := os.environ.get("QISKIT_IBM_TOKEN"):  # the rest the client reads from there, too
        ours = {"token": token}
    else:
        (saved,) = QiskitRuntimeService.saved_accounts().values()
        known = {"channel", "token", "url", "proxies", "verify"}
        ours = {name: value for name, value in saved.items() if name in known}
    return QiskitRuntimeService(**(ours | changes))


def wait_for(value, expected, seconds=60):
    """Poll `value` until it is `expected`."""
    deadline = time.monotonic() + seconds
    while (seen := value()) != expected:
        assert time.monotonic() < deadline, f"{seen!r} instead of {expected!r}"
        time.sleep(0.05)


def raises(error, call):
    """What the error says that `call` raises; fails if it raises none."""
    try:
        call()
    except error as raised:
        return str(raised)
    raise AssertionError(f"{error.__name__} was not raised")
