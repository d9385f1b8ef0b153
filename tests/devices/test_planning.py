"""How a circuit is run, and what is refused before anything runs."""

import itertools
import time
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.circuit.classical import expr, types

from queuebit.config import BackendConfig
from queuebit.devices.device import Device, Experiment
from queuebit.devices.pieces import surely_all_fits
from queuebit.devices.planning import Limits
from queuebit.errors import InvalidInput

GIB = 2**30


def line(device: Device) -> list[int]:
    """A long path of coupled qubits, by depth-first search."""
    coupled: dict[int, list[int]] = {}
    for low, high in device.target["cz"]:
        coupled.setdefault(low, []).append(high)
    best: list[int] = []
    stack = [[0]]
    while stack and len(best) < 40:
        path = stack.pop()
        best = max(best, path, key=len)
        stack.extend([*path, qubit] for qubit in coupled[path[-1]] if qubit not in path)
    return best


def layers(device: Device, qubits: int, depth: int) -> QuantumCircuit:
    """Entangling layers along a line, every qubit measured."""
    path = line(device)[:qubits]
    rng = np.random.default_rng(5)
    circuit = QuantumCircuit(device.num_qubits, qubits)
    for layer in range(depth):
        for qubit in path:
            circuit.sx(qubit)
            circuit.rz(rng.random(), qubit)
        for low, high in itertools.islice(itertools.pairwise(path), layer % 2, None, 2):
            circuit.cz(low, high)
    circuit.measure(path, range(qubits))
    return circuit


def experiment(circuit: QuantumCircuit, shots: int) -> Experiment:
    return Experiment(circuit, np.zeros((1, 0)), shots)


def test_a_wide_shallow_circuit_runs_exactly(torino):
    samples = torino.sample([experiment(layers(torino, 30, 2), 500)], seed=1)

    assert samples.metadata["noise"] == "exact"
    assert samples.metadata["max_component_qubits"] == 30


def test_a_circuit_too_big_for_everything_is_refused_before_it_runs():
    """The message says what was needed, what there is, and what to try."""
    small = Device(BackendConfig(name="t", snapshot="torino"), Limits(GIB, seconds=100))
    start = time.perf_counter()

    with pytest.raises(InvalidInput) as refused:
        small.sample([experiment(layers(small, 36, 60), 100_000)])
    assert time.perf_counter() - start < 5
    assert refused.value.code == 3248
    assert "Circuit 0 is too big for this simulated QPU: it connects 36 qubits" in str(
        refused.value
    )
    assert "by 1050 operations, and 2160 of all are not Clifford" in str(refused.value)
    assert "for 100000 shots (limit 0.98 GiB, 100 s)" in str(refused.value)
    assert "fewer shots" in refused.value.solution


def test_check_refuses_what_sample_would_refuse():
    small = Device(BackendConfig(name="t", snapshot="torino"), Limits(GIB, seconds=100))
    fitting = experiment(layers(small, 4, 3), 100)
    small.check([fitting])

    with pytest.raises(InvalidInput, match="Circuit 1"):
        small.check([fitting, experiment(layers(small, 36, 60), 100_000)])


def any_circuit(rng: np.random.Generator, bits: int) -> QuantumCircuit:
    """Joined in parts or as a whole, measured in the middle, at times depending on it."""
    circuit = QuantumCircuit(bits, bits)
    for _ in range(rng.integers(0, 20 * bits)):
        first, second = map(int, rng.choice(bits, 2, replace=False))
        match rng.integers(0, 12):
            case 0:
                circuit.measure(first, second)
            case 1:
                circuit.barrier()
            case 2:
                circuit.reset(first)
            case 3:
                circuit.rz(Parameter(f"a{len(circuit.data)}"), first)
            case 4 if rng.random() < 0.1:
                with circuit.for_loop(range(int(rng.integers(1, 1_000)))):
                    circuit.cz(first, second)
            case 5 | 6 | 7 | 8:
                circuit.cz(first, second)
            case _:
                circuit.sx(first)
    if rng.random() < 0.8:
        circuit.measure(range(bits), range(bits))
    return circuit


def test_check_refuses_exactly_what_sample_would_refuse():
    """Also near the limits, where it must plan, and beyond them, where it must not guess."""
    rng = np.random.default_rng(7)
    device = Device(BackendConfig(name="t", snapshot="manila"))

    def refuses(limits: Limits, work: list[Experiment], way: Callable) -> bool:
        device._limits = limits
        try:
            way(work)
        except InvalidInput:
            return True
        return False

    seen = Counter()
    for _ in range(600):
        bits = int(rng.integers(2, 15))
        circuit = any_circuit(rng, bits)
        rows, shots = int(rng.integers(1, 20)), int(10 ** rng.uniform(0, 5))
        one = Experiment(circuit, np.zeros((rows, circuit.num_parameters)), shots)
        limits = Limits(
            6 * rows * shots * bits + int(16 * 2 ** (bits * rng.uniform(0.5, 2))),
            seconds=10 ** rng.uniform(-2, 3),
        )
        device._limits = limits
        short = surely_all_fits(one, device._limits_of([one]))
        refused = refuses(limits, [one], device._plan)
        seen[short, refused] += 1

        assert refuses(limits, [one], device.check) == refused

    assert seen.keys() == {(True, False), (False, False), (False, True)}
    assert min(seen.values()) > 30, seen


def test_qubits_that_share_only_a_classical_bit_are_counted_together():
    circuit = QuantumCircuit(16, 1)
    circuit.cz(0, 1)
    for at in range(4_000):
        circuit.measure(at % 16, 0)
    work = [experiment(circuit, 330)]
    # Enough for two qubits, and for sixteen neither as a state vector nor as a chain.
    small = Device(BackendConfig(name="t", snapshot="manila"), Limits(2_000, seconds=4))

    for way in (small._plan, small.check):
        with pytest.raises(InvalidInput, match="it connects 16 qubits"):
            way(work)


def test_checking_many_small_circuits_makes_no_plans(torino, monkeypatch):
    monkeypatch.setattr("queuebit.devices.pieces.plan", None)

    torino.check([experiment(layers(torino, 5, 10), 4096) for _ in range(10)])


def test_little_memory_means_more_rounds_not_other_results(torino, same_distribution):
    narrow = Device(BackendConfig(name="t", snapshot="torino"), Limits(200_000, seconds=1e9))
    circuit = layers(torino, 8, 3)
    work = [Experiment(circuit, np.zeros((1, 0)), 3000)]
    plan = narrow._plan(work)[0].plan
    bits = narrow.sample(work, seed=2).bits[0][0]
    much = torino.sample(work, seed=1).bits[0][0]

    assert plan.method == "density_matrix"
    assert plan.shots_at_once < 3000
    same_distribution(bits, much)


def test_a_deep_wide_circuit_of_few_shots_runs_by_trajectories(torino):
    work = [experiment(layers(torino, 14, 12), 2)]
    plan = torino._plan(work)[0].plan

    assert plan.method in {"statevector", "matrix_product_state"}
    samples = torino.sample(work, seed=1)
    assert samples.bits[0].shape == (1, 2, 14)
    assert samples.metadata["noise"] == "twirled"
    assert samples.metadata["method"] == plan.method


def test_predictions_are_of_the_right_size(torino):
    """Within a factor of 30 on any machine: it decides between methods that differ by more."""
    work = [experiment(layers(torino, 10, 10), 1000)]
    predicted = torino._plan(work)[0].plan.cost.seconds
    start = time.perf_counter()
    torino.sample(work, seed=1)
    took = time.perf_counter() - start

    assert predicted / 30 < took < predicted * 30


def test_parts_without_parameters_run_once_for_all_sets_of_values(torino):
    circuit = QuantumCircuit(133, 4)
    circuit.sx(0)
    circuit.cz(0, 1)
    circuit.sx(5)
    circuit.rz(Parameter("a"), 5)
    circuit.cz(5, 6)
    circuit.measure([0, 1, 5, 6], [0, 1, 2, 3])
    pieces = torino._plan([Experiment(circuit, np.zeros((50, 1)), 10)])

    assert [piece.repeated for piece in pieces] == [True, False]


def test_input_variables_are_refused(torino):
    circuit = QuantumCircuit(1, 1)
    circuit.add_input("a", types.Bool())
    circuit.measure(0, 0)

    with pytest.raises(InvalidInput, match="circuit 0 has input variables"):
        torino.check([experiment(circuit, 1)])


def test_more_bits_than_fit_into_memory_are_refused():
    small = Device(BackendConfig(name="t", snapshot="torino"), Limits(GIB))
    circuit = QuantumCircuit(133)
    circuit.measure_all()

    with pytest.raises(InvalidInput, match=r"1\.33e\+09 measured bits need .* GiB of memory") as no:
        small.check([experiment(circuit, 10_000_000)])
    assert no.value.code == 3248


def test_a_part_of_classical_bits_alone_runs_by_any_method(torino, monkeypatch):
    monkeypatch.setattr("queuebit.devices.planning.EXACT_PATIENCE_S", -1.0)
    circuit = QuantumCircuit(1, 2)
    circuit.store(circuit.clbits[1], expr.lift(True))
    bits = torino.sample([experiment(circuit, 20)], seed=1).bits[0][0]

    assert bits.tolist() == [[False, True]] * 20
