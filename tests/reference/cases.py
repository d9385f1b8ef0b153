"""Cases of the differential test: which device, method and program, and which circuits."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from tests.reference.methods import AS_PLANNED, METHODS
from tests.reference.random_circuits import DIVISIONS, Made, Profile, random_circuit

from queuebit.config import BackendConfig
from queuebit.devices.device import Device
from queuebit.devices.noise import Noise

DEVICES = ("manila", "fractional", "torino", "boston", "burlington", "brisbane")
BLOCKS = frozenset(DIVISIONS)


@dataclass(frozen=True)
class Pub:
    """A circuit, values of its parameters of shape (*shape, P), and shots."""

    circuit: QuantumCircuit
    values: NDArray[np.float64]
    shots: int

    @property
    def rows(self) -> NDArray[np.float64]:
        """Shape (n, P)."""
        return self.values.reshape(prod(self.values.shape[:-1]), self.values.shape[-1])

    @property
    def given(self) -> NDArray[np.float64] | None:
        """The values as a user gives them: none for a circuit without parameters, at one row."""
        return self.values if self.values.size or self.values.ndim > 1 else None

    def larger(self) -> "Pub":
        """Eight times as many shots; of one shot per row, eight times as many rows."""
        if self.shots == 1 and self.values.ndim > 1:
            return replace(self, values=np.concatenate([self.values] * 8))
        return replace(self, shots=8 * self.shots)

    def without(self, at: int) -> "Pub":
        """Without one of the circuit's instructions."""
        circuit, columns = self.circuit.copy_empty_like(), list(self.circuit.parameters)
        for number, instruction in enumerate(self.circuit.data):
            if number != at:
                circuit.append(instruction)
        left = self.values[..., [columns.index(p) for p in circuit.parameters]]
        return replace(self, circuit=circuit, values=left)


@dataclass(frozen=True)
class Case:
    """Something to run."""

    seed: int
    kind: str
    device: str
    method: str
    pubs: tuple[Pub, ...]
    options: dict[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        """In words, with its circuits."""
        parts = [f"case {self.seed}: {self.kind} on {self.device} by {self.method} {self.options}"]
        for pub in self.pubs:
            parts.append(str(pub.circuit.draw(idle_wires=False, fold=150)))
            parts.append(f"shots {pub.shots}, values {pub.values.tolist()}"[:600])
        return "\n".join(parts)


class Ideal(Noise):
    """No errors at all."""

    def error(self, name: str, qubits: tuple[int, ...]) -> None:
        return None

    def coherence(self, qubit: int) -> tuple[float, float]:
        return float("inf"), float("inf")

    def readout(self, qubit: int, name: str = "measure") -> tuple[float, float]:
        return 0.0, 0.0


@cache
def device(name: str, *, ideal: bool = False) -> Device:
    """The simulated QPU of a snapshot."""
    made = Device(BackendConfig(name=f"fake_{name}", snapshot=name, dynamic_circuits="all"))
    if ideal:
        made.noise = Ideal(made.target, made.snapshot)
    return made


def case(seed: int) -> Case:
    """The case of this number."""
    rng = np.random.default_rng(seed)
    kinds = list(KINDS)
    weights = np.array([KINDS[kind][0] for kind in kinds])
    kind = kinds[int(rng.choice(len(kinds), p=weights / weights.sum()))]
    return KINDS[kind][1](seed, kind, rng)


def _profile(rng: np.random.Generator, **fixed: Any) -> Profile:
    """Features at random; those in `fixed` are as given."""
    made = Profile(
        qubits=int(rng.integers(1, 7 if rng.random() < 0.15 else 5)),
        operations=int(rng.integers(4, 17)),
        stores=bool(rng.random() < 0.4),
        remeasured=bool(rng.random() < 0.6),
        delays=bool(rng.random() < 0.4),
        spans=bool(rng.random() < 0.5),
        units=bool(rng.random() < 0.5),
        durations=bool(rng.random() < 0.5),
        parameters=bool(rng.random() < 0.6),
        signs=bool(rng.random() < 0.5),
        clifford=bool(rng.random() < 0.25),
        floats=bool(rng.random() < 0.3),
    )
    return replace(made, **fixed)


def _pub(made: Made, rng: np.random.Generator, *, largest: int = 32) -> Pub:
    """With one shot per row or many, and its rows repeated in a random order."""
    distinct, columns = made.values.shape
    if rng.random() < 0.4:
        shape, shots = [(largest,), (largest // 4, 4), (2, largest // 8, 4)][rng.integers(3)], 1
    else:
        shape = [(), (3,), (2, 2), (1,), (6,)][rng.integers(5)]
        shots = int(rng.choice([2, 7, 200, 600]))
    rows = rng.integers(0, distinct, prod(shape))
    return Pub(made.circuit, made.values[rows].reshape(*shape, columns), shots)


def _sampled(seed: int, kind: str, rng: np.random.Generator) -> Case:
    """For the device itself, the sampler and the executor."""
    name = str(rng.choice(DEVICES))
    qpu = device(name)
    control = BLOCKS & set(qpu.target.operation_names) if kind != "device" else BLOCKS
    method = str(rng.choice(METHODS))
    dynamic = method != "stabilizer" and rng.random() < 0.6
    pubs = []
    for _ in range(int(rng.integers(1, 4))):
        profile = _profile(rng, control=control if dynamic else frozenset())
        if kind != "device":  # what the client sends holds no units of delays
            profile = replace(profile, units=False, durations=False)
        if method == "stabilizer":
            profile = replace(profile, clifford=rng.random() < 0.8, stores=False)
        pubs.append(_pub(random_circuit(qpu.target, profile, rng), rng))
    if rng.random() < 0.15:  # once more, to be drawn by itself
        pubs.insert(0, pubs[0])
    if kind == "executor":
        pubs = [replace(pub, shots=pubs[0].shots) for pub in pubs]
    return Case(seed, kind, name, method, tuple(pubs))


def _static(qpu: Device, rng: np.random.Generator, **fixed: Any) -> Made:
    """A circuit of gates, and delays perhaps, with measurements at the end."""
    still = {"stores": False, "remeasured": False, "units": False, "durations": False}
    profile = _profile(rng, **still | fixed)
    return random_circuit(qpu.target, replace(profile, qubits=min(3, profile.qubits)), rng)


def _twirled(seed: int, kind: str, rng: np.random.Generator) -> Case:
    gates, measures = [(True, True), (True, False), (False, True)][rng.integers(3)]
    twirling: dict[str, Any] = {"enable_gates": gates, "enable_measure": measures}
    if rng.random() < 0.6:
        twirling["shots_per_randomization"] = 1
    else:
        twirling["num_randomizations"] = int(rng.choice([3, 12]))
    twirling["strategy"] = str(rng.choice(["active", "active-accum", "active-circuit", "all"]))
    options = {"twirling": twirling}
    name, fixed = str(rng.choice(["manila", "torino", "brisbane"])), {}
    if kind == "samplex":
        # samplomatic tells the flips of a bit in one of its registers only.
        name, fixed = "manila", {"plain": True, "delays": False}
    elif rng.random() < 0.3:
        sequence = str(rng.choice(["XX", "XpXm", "XY4"]))
        options["dynamical_decoupling"] = {"enable": True, "sequence_type": sequence}
    elif rng.random() < 0.4:
        fixed = {"remeasured": True}
        if not gates:
            fixed |= {"control": BLOCKS & set(device(name).target.operation_names), "stores": True}
    pubs = []
    for _ in range(int(rng.integers(1, 3))):
        made = _static(device(name), rng, **fixed)
        shape = [(), (2,), (2, 2)][rng.integers(3)]
        rows = rng.integers(0, len(made.values), prod(shape))
        pubs.append(Pub(made.circuit, made.values[rows].reshape(*shape, made.values.shape[1]), 12))
    return Case(seed, kind, name, str(rng.choice(METHODS)), tuple(pubs), options)


def _with_observables(seed: int, kind: str, rng: np.random.Generator) -> Case:
    name = str(rng.choice(DEVICES))
    made = _static(device(name), rng, spans=False)
    circuit = made.circuit
    if rng.random() < 0.7:
        circuit = circuit.remove_final_measurements(inplace=False)
    used = sorted({circuit.find_bit(q).index for one in circuit.data for q in one.qubits}) or [0]
    labels = {}
    for _ in range(int(rng.integers(1, 4))):
        label = ["I"] * circuit.num_qubits
        for qubit in used:
            label[-1 - qubit] = str(rng.choice(list("IXYZ")))
        labels["".join(label)] = float(rng.normal())
    columns = [list(made.circuit.parameters).index(p) for p in circuit.parameters]
    values = made.values[:, columns]
    options = {"observable": labels, "level": int(rng.integers(0, 3))}
    options["readout"] = str(rng.choice(["none", "biased", "twirled"]))
    return Case(seed, kind, name, AS_PLANNED, (Pub(circuit, values, 4000),), options)


KINDS: dict[str, tuple[float, Callable[[int, str, np.random.Generator], Case]]] = {
    "device": (40, _sampled),
    "sampler": (25, _sampled),
    "executor": (8, _sampled),
    "twirled sampler": (8, _twirled),
    "samplex": (7, _twirled),
    "estimator": (6, _with_observables),
    "propagation": (6, _with_observables),
}
"""How often each is made, and by what."""
