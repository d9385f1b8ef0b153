"""Changes of a job that change nothing but chance, or only what they should.

They need no reference, so that circuits may be larger than it can take. Bits of one seed are
promised for the same job only, so results are compared as samples.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import BoxOp, ForLoopOp, Instruction, Parameter
from qiskit.circuit.classical import expr
from tests.reference.cases import BLOCKS, Pub, device
from tests.reference.comparison import same
from tests.reference.methods import METHODS, forced
from tests.reference.random_circuits import Profile, random_circuit

from queuebit.devices.device import Experiment

P_VALUE = 1e-5
"""Chance alone fails one in 100,000 of these tests; their seeds are fixed."""
SEEDS = range(2)


def sample(method: str, pubs: Sequence[Pub], seed: int, name: str = "torino") -> list[NDArray]:
    """Bits of each PUB, shape (rows, shots, bits)."""
    with forced(method):
        experiments = [Experiment(pub.circuit, pub.rows, pub.shots) for pub in pubs]
        return device(name).sample(experiments, seed=seed).bits


def rows_of(pub: Pub, bits: NDArray) -> list[NDArray]:
    """All shots of equal sets of values together, in the order of the values."""
    _, inverse = np.unique(pub.rows, axis=0, return_inverse=True)
    return [bits[inverse == at].reshape(-1, bits.shape[-1]) for at in range(inverse.max() + 1)]


def random_pub(seed: int, method: str, **features: object) -> Pub:
    """Eight qubits of torino, with one shot for each of 128 rows or 400 for each of four."""
    rng = np.random.default_rng(seed)
    static = {"qubits": 5, "operations": 25, "clifford": method == "stabilizer"}
    profile = replace(
        Profile(**static), parameters=True, delays=True, spans=True, signs=True, **features
    )
    made = random_circuit(device("torino").target, profile, rng)
    count, shots = [(128, 1), (4, 400)][seed % 2]
    return Pub(made.circuit, made.values[rng.integers(0, len(made.values), count)], shots)


def dynamic(method: str) -> dict[str, object]:
    """Features that the method can run."""
    if method == "stabilizer":
        return {"remeasured": True}
    return {"remeasured": True, "stores": True, "control": BLOCKS, "floats": True}


@pytest.fixture(params=METHODS)
def method(request) -> str:
    return request.param


@pytest.mark.parametrize("shots", [1, 200])
def test_permuted_rows_have_permuted_results(method, shots):
    """Nine connected qubits, turned by 0 or pi; what each row must show is nearly certain."""
    angle, size = Parameter("a"), 9
    path = list(range(size))
    circuit = QuantumCircuit(QuantumRegister(size), ClassicalRegister(size, "c"))
    for qubit in path:
        circuit.sx(qubit)
        circuit.rz(angle, qubit)
        circuit.sx(qubit)
    for qubit in path[:-1]:
        pair = (qubit, qubit + 1)
        circuit.cz(*(pair if pair in device("torino").target["cz"] else pair[::-1]))
    circuit.measure(path, path)
    values = np.array([[0.0], [np.pi]] * 8)[np.random.default_rng(5).permutation(16)]
    (bits,) = sample(method, [Pub(circuit, values, shots)], 3)
    (turned,) = sample(method, [Pub(circuit, values[::-1], shots)], 4)

    for rows, found in ((values, bits), (values[::-1], turned)):
        right = (found == (rows[:, :, None] == 0)).mean(axis=(1, 2))
        assert right.mean() > 0.85
        assert shots == 1 or right.min() > 0.85


@pytest.mark.parametrize("seed", SEEDS)
def test_permuting_the_rows_of_any_circuit_permutes_its_results(method, seed):
    pub = random_pub(seed, method, **dynamic(method))
    order = np.random.default_rng(seed).permutation(len(pub.rows))
    permuted = replace(pub, values=pub.values[order])
    (first,) = sample(method, [pub], seed)
    (second,) = sample(method, [permuted], seed + 100)

    verdict = same(rows_of(pub, first), rows_of(permuted, second))
    assert verdict.p_value > P_VALUE, pub.circuit.draw(idle_wires=False)


@pytest.mark.parametrize("seed", SEEDS)
def test_splitting_a_jobs_pubs_into_two_jobs_changes_nothing_but_chance(method, seed):
    pubs = [random_pub(10 * seed + at, method, **dynamic(method)) for at in range(3)]
    together = sample(method, pubs, seed)
    apart = [*sample(method, pubs[:1], seed), *sample(method, pubs[1:], seed)]

    for pub, first, second in zip(pubs, together, apart, strict=True):
        verdict = same(rows_of(pub, first), rows_of(pub, second))
        assert verdict.p_value > P_VALUE or np.array_equal(first, second)


def idle_qubit(circuit: QuantumCircuit) -> QuantumCircuit:
    """A qubit more, which is turned and never measured."""
    made = QuantumCircuit(QuantumRegister(device("torino").num_qubits, "q"))
    made.add_bits(circuit.clbits)
    for register in circuit.cregs:
        made.add_register(register)
    used = {circuit.find_bit(qubit).index for one in circuit.data for qubit in one.qubits}
    free = next(qubit for qubit in range(made.num_qubits) if qubit not in used)
    made.x(free)
    made.compose(circuit, range(circuit.num_qubits), circuit.clbits, inplace=True, copy=False)
    made.sx(free)
    return made


def barriers(circuit: QuantumCircuit) -> QuantumCircuit:
    """One after every instruction, of all qubits."""
    made = circuit.copy_empty_like()
    for one in circuit.data:
        made.append(one)
        made.barrier()
    return made


def unused_register(circuit: QuantumCircuit) -> QuantumCircuit:
    """Three bits more, which nobody writes."""
    made = circuit.copy()
    made.add_register(ClassicalRegister(3, "unused"))
    return made


def delay_of_nothing(circuit: QuantumCircuit) -> QuantumCircuit:
    """A delay of 0 dt before every instruction."""
    made = circuit.copy_empty_like()
    for one in circuit.data:
        for qubit in one.qubits:
            made.delay(0, qubit, "dt")
        made.append(one)
    return made


def unrolled(circuit: QuantumCircuit) -> QuantumCircuit:
    """Its outermost `for` loops, turn by turn."""
    made = circuit.copy_empty_like()
    for one in circuit.data:
        if not isinstance(one.operation, ForLoopOp):
            made.append(one)
            continue
        indices, turn, block = one.operation.params
        for index in indices:
            if isinstance(turn, expr.Var):
                once: Instruction = ForLoopOp((index,), turn, block)
            elif turn in block.parameters:
                once = BoxOp(block.assign_parameters({turn: index}))
            else:
                once = BoxOp(block)
            made.append(once, one.qubits, one.clbits)
    return made


@pytest.mark.parametrize("change", [idle_qubit, barriers, unused_register, delay_of_nothing])
@pytest.mark.parametrize("seed", SEEDS)
def test_what_does_nothing_changes_nothing(method, seed, change):
    features = dynamic(method) | ({"stores": False} if change is idle_qubit else {})
    pub = random_pub(seed, method, **features)
    changed = replace(pub, circuit=change(pub.circuit))
    (first,) = sample(method, [pub], seed)
    (second,) = sample(method, [changed], seed + 100)
    width = pub.circuit.num_clbits

    assert not second[:, :, width:].any()
    verdict = same(rows_of(pub, first), rows_of(pub, second[:, :, :width]))
    assert verdict.p_value > P_VALUE, pub.circuit.draw(idle_wires=False)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_loop_is_its_turns_one_after_the_other(method, seed):
    if not dynamic(method).get("control"):
        pytest.skip("it runs no loops")
    pub = random_pub(seed, method, **dynamic(method) | {"control": frozenset({"for_loop"})})
    changed = replace(pub, circuit=unrolled(pub.circuit))
    (first,) = sample(method, [pub], seed)
    (second,) = sample(method, [changed], seed + 100)

    verdict = same(rows_of(pub, first), rows_of(pub, second))
    assert verdict.p_value > P_VALUE, pub.circuit.draw(idle_wires=False)
