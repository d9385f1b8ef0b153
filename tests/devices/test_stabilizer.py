"""Clifford parts by Stim, against the exact state, Aer and what theory says."""

import itertools
import time

import numpy as np
import pytest
import stim
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.circuit.library import get_standard_gate_name_mapping
from qiskit.quantum_info import Operator, pauli_basis
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel, ReadoutError, pauli_error

from queuebit.config import BackendConfig
from queuebit.devices.channels import Channels
from queuebit.devices.clifford import KNOWN, TURNS, Gate, Turn, is_clifford, quarters
from queuebit.devices.device import Device, Experiment
from queuebit.devices.noise import Noise
from queuebit.devices.planning import Cost, Limits, Plan
from queuebit.devices.reading import read_whole, split
from queuebit.errors import InvalidInput

HALF = np.pi / 2


class Twirled(Noise):
    """What the stabilizer method promises: of each error and of waiting, the diagonal."""

    def error(self, name, qubits):
        found = super().error(name, qubits)
        return None if found is None else np.diag(np.diag(found))

    def relaxation(self, qubit, seconds):
        return np.diag(np.diag(super().relaxation(qubit, seconds)))


class Quiet(Noise):
    """No errors at all."""

    def error(self, name, qubits):
        return None

    def readout(self, qubit, name="measure"):
        return 0.0, 0.0


def device(snapshot: str, noise: type[Noise]) -> Device:
    made = Device(BackendConfig(name=f"fake_{snapshot}", snapshot=snapshot))
    made.noise = noise(made.target, made.snapshot)
    return made


@pytest.fixture
def forced(monkeypatch):
    """Everything runs by Stim, in chunks of 700 shots."""

    def force():
        monkeypatch.setattr(
            "queuebit.devices.pieces.plan",
            lambda task, limits: [Plan("stabilizer", np.arange(task.rows), [], Cost(0, 0), 1, 700)],
        )

    return force


def rotated(circuit: QuantumCircuit, angle: float | Parameter, qubit: int) -> None:
    """A rotation about x, as devices make it."""
    circuit.rz(HALF, qubit)
    circuit.sx(qubit)
    circuit.rz(angle + np.pi, qubit)
    circuit.sx(qubit)
    circuit.rz(5 * HALF, qubit)


def kicked(device: Device, steps: int, angle: float | Parameter) -> QuantumCircuit:
    """Steps of the kicked Ising model on all working pairs; every qubit measured."""
    pairs = {
        tuple(sorted(pair)): pair for pair, known in device.target["cz"].items() if known.error < 1
    }
    layers: list[list[tuple[int, int]]] = [[], [], []]
    for pair in pairs.values():
        free = [one for one in layers if not any(set(pair) & set(other) for other in one)]
        if free:
            free[0].append(pair)
    circuit = QuantumCircuit(device.num_qubits)
    for _ in range(steps):
        for qubit in range(device.num_qubits):
            rotated(circuit, angle, qubit)
        for low, high in itertools.chain(*layers):
            circuit.rz(HALF, low)
            circuit.rz(HALF, high)
            circuit.cz(low, high)
    circuit.measure_all()
    return circuit


def as_stim(name: str, angles: tuple[float, ...]) -> stim.Circuit:
    circuit = stim.Circuit("I 0")
    for piece in KNOWN[name]:
        if isinstance(piece, Gate):
            circuit.append(piece.name, piece.slots)
        elif count := int(quarters(angles[piece.parameter])[0]):
            circuit.append(TURNS[piece.axis][count - 1], piece.slots)
    return circuit


def test_every_clifford_gate_is_what_qiskit_calls_so():
    gates = get_standard_gate_name_mapping()
    seen = 0
    for name, pieces in KNOWN.items():
        number = 1 + max([p.parameter for p in pieces if isinstance(p, Turn)], default=-1)
        for counts in itertools.product(range(-1, 4), repeat=number):
            angles = tuple(count * HALF for count in counts)
            circuit = as_stim(name, angles)
            if gates[name].num_qubits > 1:
                circuit.append("I", [1])
            ours = circuit.to_tableau().to_unitary_matrix(endian="little")
            theirs = Operator(gates[name].base_class(*angles))

            assert theirs.equiv(Operator(ours), atol=1e-6), (name, counts)
            seen += 1
    assert seen > 200


def clifford() -> QuantumCircuit:
    """Measured in the middle and twice into one bit, reset, delayed."""
    circuit = QuantumCircuit(5, 5)
    for qubit in (1, 2, 3, 4):
        circuit.sx(qubit)
        circuit.rz((qubit - 2) * HALF, qubit)
        circuit.sx(qubit)
    circuit.cx(2, 3)
    circuit.x(1)
    circuit.measure(1, 0)
    circuit.cx(1, 2)
    circuit.delay(30, 2, unit="us")
    circuit.sx(2)
    circuit.reset(3)
    circuit.sx(3)
    circuit.cx(3, 4)
    circuit.measure(2, 4)
    circuit.measure([1, 2, 3, 4], [1, 4, 3, 2])
    return circuit


def test_it_agrees_with_the_exact_state(one, forced, same_distribution):
    twirled = device("manila", Twirled)
    exact = one(twirled, clifford(), 40_000)
    forced()
    work = [Experiment(clifford(), np.zeros((1, 0)), 40_000)]
    samples = twirled.sample(work, seed=4)

    same_distribution(samples.bits[0][0], exact)
    assert samples.metadata["method"] == "stabilizer"
    assert samples.metadata["noise"] == "twirled"
    assert np.array_equal(twirled.sample(work, seed=4).bits[0], samples.bits[0])
    assert not np.array_equal(twirled.sample(work, seed=5).bits[0], samples.bits[0])


def test_sets_of_values_agree_each_on_its_own(forced, same_distribution):
    twirled = device("manila", Twirled)
    angle, other = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(3, 3)
    circuit.sx(0)
    circuit.rz(2 * angle + HALF, 0)
    circuit.sx(0)
    circuit.cx(0, 1)
    circuit.rz(other, 1)
    circuit.sx(1)
    circuit.cx(1, 2)
    circuit.measure([0, 1, 2], [2, 0, 1])
    values = HALF * np.array([[0, 0], [0.5, 3], [1, -1], [-0.5, 6], [0.5, 2]])
    work = [Experiment(circuit, values, 8_000)]
    exact = twirled.sample(work, seed=1)
    forced()
    found = twirled.sample(work, seed=2)

    for ours, theirs in zip(found.bits[0], exact.bits[0], strict=True):
        same_distribution(ours, theirs)
    assert exact.metadata["noise"] == "exact"


def test_it_agrees_with_aers_stabilizers_on_a_device(torino, forced):
    """Chances and correlations within 5 standard deviations; without errors all would read 0."""
    path, shots = [0, 1, 2, 3, 4, 15, 22, 21, 20, 19], 2_000
    ours, theirs = QuantumCircuit(133, 10), QuantumCircuit(10, 10)
    model = NoiseModel(basis_gates=["sx", "cz"])
    known = set()

    def add(name: str, *places: int) -> None:
        qubits = tuple(path[place] for place in places)
        getattr(ours, name)(*qubits)
        getattr(theirs, name)(*places)
        chances = torino.noise.twirl(name, qubits)
        if chances is not None and (name, places) not in known:
            known.add((name, places))
            labels = pauli_basis(len(places)).to_labels()
            error = pauli_error(list(zip(labels, chances, strict=True)))
            model.add_quantum_error(error, name, places, warnings=False)

    for depth in range(8):
        for place in range(10):
            add("sx", place)
        for low in [*range(0, 9, 2), *range(1, 9, 2)] * 2 * (1 + depth % 3):
            forward = (path[low], path[low + 1]) in torino.target["cz"]
            add("cz", *((low, low + 1) if forward else (low + 1, low)))
    for place, qubit in enumerate(path):
        p01, p10 = torino.noise.readout(qubit)
        model.add_readout_error(ReadoutError([[1 - p01, p01], [p10, 1 - p10]]), [place])
    ours.measure(path, range(10))
    theirs.measure(range(10), range(10))
    aer = AerSimulator(method="stabilizer", noise_model=model, max_parallel_threads=1)
    memory = aer.run(theirs, shots=shots, memory=True, seed_simulator=3).result().get_memory()
    expected = np.array([[bit == "1" for bit in shot[::-1]] for shot in memory])
    forced()
    found = torino.sample([Experiment(ours, np.zeros((1, 0)), 20 * shots)], seed=4).bits[0][0]

    assert 0.02 < found.mean() < 0.4
    found, expected = [np.pad(bits, ((0, 0), (0, 1))) for bits in (found, expected)]  # and a 0

    for first, second in itertools.combinations(range(11), 2):
        same = [(bits[:, first] ^ bits[:, second]).mean() for bits in (found, expected)]
        spread = np.sqrt(1.05 * max(same[0] * (1 - same[0]), 1e-3) / shots)
        assert abs(same[0] - same[1]) < 5 * spread, (first, second, same)


def test_a_noiseless_ghz_state_is_all_or_nothing(forced):
    quiet = device("sherbrooke", Quiet)
    circuit = QuantumCircuit(127)
    circuit.h(0)
    for qubit in range(126):
        circuit.cx(qubit, qubit + 1)
    circuit.measure_all()
    forced()
    bits = quiet.sample([Experiment(circuit, np.zeros((1, 0)), 2_000)], seed=1).bits[0][0]

    assert (bits == bits[:, :1]).all()
    assert 0.45 < bits[:, 0].mean() < 0.55


def test_a_wide_deep_clifford_circuit_runs(torino):
    work = [Experiment(kicked(torino, 10, HALF), np.zeros((1, 0)), 1_000)]
    start = time.perf_counter()
    torino.check(work)
    assert time.perf_counter() - start < 5
    samples = torino.sample(work, seed=1)

    assert "stabilizer" in samples.metadata["method"]
    assert "twirled" in samples.metadata["noise"]
    assert samples.metadata["max_component_qubits"] > 100
    assert 0.3 < samples.bits[0].mean() < 0.7


def test_only_sets_of_values_that_are_clifford_run_so():
    narrow = Limits(2**30, seconds=200)
    small = Device(BackendConfig(name="t", snapshot="torino"), narrow)
    circuit = kicked(small, 4, Parameter("a"))
    easy = Experiment(circuit, np.array([[0.0], [HALF], [-HALF + 1e-12]]), 100)
    mixed = Experiment(circuit, np.array([[0.0], [0.3], [HALF]]), 4_000)

    assert small.fits([easy]) is None
    refusal = small.fits([mixed])
    assert "Circuit 0 is too big" in str(refusal)
    assert "(at 1 of its 3 sets of values)" in str(refusal)
    assert "multiples of pi/2" in refusal.solution
    with pytest.raises(InvalidInput):
        small.sample([mixed])
    small._limits = Limits(2**34, seconds=1e6)
    plans = {
        piece.plan.method: piece.plan.rows.tolist()
        for piece in small._plan([mixed])
        if piece.plan is not None and len(piece.part.qubits) > 100
    }
    assert plans == {"stabilizer": [0, 2], "matrix_product_state": [1]}


def test_what_is_not_clifford_is_known_by_the_set_of_values():
    circuit = QuantumCircuit(2, 2)
    circuit.rz(Parameter("a"), 0)
    circuit.rzz(Parameter("b") / 2, 0, 1)
    circuit.delay(100, 1)
    circuit.measure([0, 1], [0, 1])
    part = split(read_whole(circuit))[0]
    values = HALF * np.array([[0, 2], [1, 1], [3.5, 4], [-7, 6]])
    noise = device("manila", Noise).noise

    def able(ops) -> list[bool]:
        return is_clifford(ops, Channels(noise, 1e-9, circuit.parameters, values), 4).tolist()

    assert able(part.ops) == [True, False, False, True]
    circuit.t(0)
    assert able(split(read_whole(circuit))[0].ops) == [False] * 4
