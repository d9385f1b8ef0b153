"""Expectation values by Pauli propagation, against density matrices."""

import itertools

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.quantum_info import PTM, DensityMatrix, SparsePauliOp, SuperOp, random_pauli_list

from queuebit.config import BackendConfig
from queuebit.devices.classical import unit_s
from queuebit.devices.device import Device, Experiment
from queuebit.devices.frames import lindblad
from queuebit.devices.planning import Limits
from queuebit.devices.propagation import Budget
from queuebit.devices.protocol import Expectations
from queuebit.errors import InvalidInput

FINE = Budget(max_terms=10_000, atol=1e-13)


def some_circuit(angle: float | Parameter) -> QuantumCircuit:
    """Clifford gates and others on five qubits, all native to fake_manila."""
    circuit = QuantumCircuit(5)
    for layer in range(3):
        for qubit in range(5):
            circuit.sx(qubit)
            circuit.rz(angle * (qubit + 1) if (qubit + layer) % 2 else np.pi / 2, qubit)
            circuit.sx(qubit)
        for low in range(layer % 2, 4, 2):
            circuit.cx(low, low + 1)
        circuit.delay(15, layer, unit="us")
        circuit.x(layer + 1)
        circuit.rz(-np.pi, layer)
    circuit.cx(1, 0)
    return circuit


def density(device: Device, circuit: QuantumCircuit) -> DensityMatrix:
    """With the diagonal of each error, one operation after another."""
    state = DensityMatrix.from_label("0" * circuit.num_qubits)
    for one in circuit.data:
        at = [circuit.find_bit(bit).index for bit in one.qubits]
        if one.name == "delay":
            seconds = one.operation.params[0] * unit_s(one.operation.unit, device.dt)
            error = device.noise.relaxation(at[0], seconds)
        else:
            state = state.evolve(one.operation, at)
            error = device.noise.error(one.name, tuple(at))
        if error is not None:
            state = state.evolve(SuperOp(PTM(np.diag(np.diag(error)))), at)
    return state


def observables() -> list[SparsePauliOp]:
    some = random_pauli_list(5, 12, seed=5, phase=False)
    weights = np.random.default_rng(1).normal(size=12)
    return [
        SparsePauliOp(["ZIIII", "IZZII"], [1.0, -0.5]),
        SparsePauliOp(some, weights),
        SparsePauliOp(["IIIII"], [2.0]),
        SparsePauliOp(["XY"]),  # fewer qubits than the circuit: its first ones
    ]


def test_values_are_those_of_the_density_matrix(manila):
    angle = Parameter("a")
    values = np.array([[0.3], [np.pi / 2], [-1.1]])
    found = manila.propagate(some_circuit(angle), values, observables(), budget=FINE)

    for row, (value,) in enumerate(values):
        state = density(manila, some_circuit(float(value)))
        for column, observable in enumerate(observables()):
            idle = SparsePauliOp("I" * (5 - observable.num_qubits))
            whole = idle.tensor(observable) if idle.num_qubits else observable
            expected = state.expectation_value(whole).real
            assert found.values[row, column] == pytest.approx(expected, abs=1e-9)
    assert found.bounds.max() < 1e-9
    assert found.metadata["method"] == "pauli_propagation"
    assert found.metadata["noise"] == "twirled"


def test_a_measurement_at_the_end_leaves_no_coherence(manila):
    """As in a sampled job, where it comes before the measurement of the observable."""
    circuit = some_circuit(0.3)
    terms = [SparsePauliOp(label) for label in ("IIIIX", "IIIIY", "IIIIZ", "IIIXZ")]
    values = np.zeros((1, 0))
    before = manila.propagate(circuit, values, terms, readout="biased").values[0]
    circuit.add_register(ClassicalRegister(1, "c"))
    circuit.measure(0, 0)
    after = manila.propagate(circuit, values, terms, readout="biased").values[0]
    p01, p10 = manila.noise.readout(0)

    assert after[:2] == pytest.approx([p10 - p01] * 2)
    assert after[2:] == pytest.approx(before[2:])
    assert np.abs(before[:2] - after[:2]).max() > 0.01


@pytest.mark.parametrize("readout", ["none", "biased", "twirled"])
def test_an_observable_of_identities_is_its_coefficient(manila, readout):
    """No qubit of the circuit reaches it."""
    values = np.zeros((2, 0))
    found = manila.propagate(
        some_circuit(0.3), values, [SparsePauliOp("IIIII", 0.5)], readout=readout
    )

    assert found.values == pytest.approx(np.full((2, 1), 0.5))
    assert not found.bounds.any()


def test_readout_errors_shift_or_damp_what_is_measured(manila):
    circuit, observable = some_circuit(0.4), SparsePauliOp(["ZZIIZ", "IIZII"], [1.0, 0.3])
    chances = density(manila, circuit).probabilities().reshape((2,) * 5)
    for qubit in range(5):
        p01, p10 = manila.noise.readout(qubit)
        wrong = np.array([[1 - p01, p10], [p01, 1 - p10]])
        chances = np.moveaxis(np.tensordot(wrong, chances, (1, 4 - qubit)), 0, 4 - qubit)
    signs = observable.to_matrix().diagonal().real
    ways = {
        readout: manila.propagate(
            circuit, np.zeros((1, 0)), [observable], readout=readout, budget=FINE
        ).values[0, 0]
        for readout in ("none", "biased", "twirled")
    }
    factors = [1 - sum(manila.noise.readout(qubit)) for qubit in range(5)]
    single = manila.propagate(
        circuit, np.zeros((1, 0)), [SparsePauliOp("IIZII")], budget=FINE
    ).values[0, 0]
    triple = ways["none"] - 0.3 * single

    assert ways["biased"] == pytest.approx(chances.ravel() @ signs, abs=1e-9)
    assert ways["twirled"] == pytest.approx(
        triple * factors[0] * factors[3] * factors[4] + 0.3 * single * factors[2], abs=1e-9
    )
    assert len({round(way, 4) for way in ways.values()}) == 3


@pytest.mark.parametrize("rotations", [0, 1, 2])
@pytest.mark.parametrize(
    "labels", [["IIIIZ"], ["IIIZZ"], ["ZZZZZ"], ["IIIIZ", "IIZZI"], ["IIIZZ", "IIIII"]]
)
def test_terms_that_the_readout_adds_are_counted_in_the_limit(manila, rotations, labels):
    """Each biased readout doubles the terms, before any rotation does."""
    circuit = QuantumCircuit(5)
    for qubit in range(5):
        circuit.sx(qubit)
        circuit.rz(0.3 if qubit < rotations else np.pi, qubit)
        circuit.sx(qubit)
    observable = SparsePauliOp(labels)

    def found(budget: Budget | None) -> Expectations:
        values = np.zeros((1, 0))
        return manila.propagate(circuit, values, [observable], readout="biased", budget=budget)

    expected = found(FINE)
    assert expected.bounds.max() < 1e-9
    assert found(None).values == pytest.approx(expected.values, abs=1e-3)
    assert found(None).bounds.max() < 1e-3


def test_a_limit_on_terms_holds_for_what_the_readout_adds(manila):
    circuit = some_circuit(0.3)
    fine, coarse = (
        manila.propagate(
            circuit, np.zeros((1, 0)), [SparsePauliOp("ZZZZZ")], readout="biased", budget=budget
        )
        for budget in (FINE, Budget(max_terms=3, atol=1e-9))
    )

    assert coarse.metadata["truncation"]["terms"] <= 3
    assert np.abs(coarse.values - fine.values)[0, 0] <= coarse.bounds[0, 0]


def test_what_was_dropped_bounds_the_error(manila):
    fine = manila.propagate(some_circuit(0.3), np.zeros((1, 0)), observables(), budget=FINE)
    coarse = manila.propagate(
        some_circuit(0.3), np.zeros((1, 0)), observables(), budget=Budget(atol=0.05)
    )
    off = np.abs(coarse.values - fine.values)

    assert (off <= coarse.bounds + 1e-12).all()
    assert off.max() > 1e-6  # it did drop something


def test_rates_belong_to_the_channel(torino):
    chances = torino.noise.twirl("cz", (0, 1))
    rates = lindblad(chances)
    labels = range(16)
    signs = np.array([[_commute(one, other) for other in labels] for one in labels])
    damped = np.exp(-((1 - signs) @ rates))

    assert damped == pytest.approx(signs @ chances, abs=1e-12)
    assert (rates[1:] > 0).all()


def _commute(one: int, other: int) -> int:
    sign = 1
    for _ in range(2):
        first, second = one % 4, other % 4
        sign *= -1 if first and second and first != second else 1
        one, other = one // 4, other // 4
    return sign


@pytest.fixture(scope="module")
def trotter(torino) -> QuantumCircuit:
    """Ten layers on every qubit of the device, and measurements at the end."""
    pairs = {
        tuple(sorted(pair)): pair for pair, known in torino.target["cz"].items() if known.error < 1
    }
    layers: list[list[tuple[int, int]]] = [[], [], []]
    for pair in pairs.values():
        free = [one for one in layers if not any(set(pair) & set(other) for other in one)]
        if free:
            free[0].append(pair)
    circuit = QuantumCircuit(torino.num_qubits)
    for _ in range(10):
        for qubit in range(torino.num_qubits):
            circuit.sx(qubit)
            circuit.rz(0.3, qubit)
            circuit.sx(qubit)
        for low, high in itertools.chain(*layers):
            circuit.cz(low, high)
    circuit.measure_all()
    return circuit


def test_every_qubit_of_a_device_can_be_entangled(torino, trotter):
    """Sampling it is refused, which says where to go; a few qubits' values are quick."""
    refusal = torino.fits([Experiment(trotter, np.zeros((1, 0)), 100_000)])
    far = SparsePauliOp.from_sparse_list([("Z", [62], 1.0), ("ZZ", [0, 1], 0.5)], 133)
    found = torino.propagate(trotter, np.zeros((1, 0)), [far], budget=Budget(20_000, 2e-3))

    assert "estimator" in refusal.solution
    assert found.metadata["max_component_qubits"] > 100
    assert np.isfinite(found.values).all()
    assert np.abs(found.values).max() < 1.5
    assert torino.propagates(trotter, np.zeros((1, 0)), [far]) is None


def test_what_takes_too_long_is_refused_before_it_runs(trotter):
    small = Device(BackendConfig(name="t", snapshot="torino"), Limits(2**30, seconds=5))
    work = (trotter, np.zeros((3, 0)), [SparsePauliOp.from_sparse_list([("Z", [62], 1)], 133)])
    refusal = small.propagates(*work)

    assert refusal.code == 3248
    assert "rotations by angles that are not multiples of pi/2" in str(refusal)
    assert "3 sets of values and 1 observables" in str(refusal)
    assert "(limit 5 s, 1 GiB)" in str(refusal)
    with pytest.raises(InvalidInput, match="too big for Pauli propagation"):
        small.propagate(*work)
    assert small.propagates(*work, budget=Budget(max_terms=100)) is None


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda c: (c.measure(0, 0), c.sx(0)), "through a measurement before other operations"),
        (lambda c: (c.sx(0), c.reset(0)), r"through reset \(qubits \(0,\)\)"),
        (lambda c: c.delay(Parameter("t"), 0), "through delay"),
        (lambda c: c.if_test((c.clbits[0], 1), QuantumCircuit(1), [0], []), "through if_else"),
    ],
)
def test_what_it_cannot_carry_is_refused_by_name(manila, spoil, message):
    circuit = QuantumCircuit(5, 1)
    circuit.reset(1)  # at the start: nothing to do
    spoil(circuit)
    refusal = manila.propagates(circuit, np.zeros((1, circuit.num_parameters)), [])

    with pytest.raises(InvalidInput, match=message):
        raise refusal


def test_gates_that_are_not_calibrated_are_refused(torino):
    name, wires = next(one for one in torino.faulty_gates if one[0] == "cz")
    circuit = QuantumCircuit(133)
    circuit.cz(*wires)
    observable = SparsePauliOp.from_sparse_list([("Z", [wires[0]], 1.0)], 133)

    with pytest.raises(InvalidInput, match=f"{name} on qubits .* is not calibrated"):
        torino.propagate(circuit, np.zeros((1, 0)), [observable])


def test_observables_are_checked(manila):
    wide, complex_ = SparsePauliOp("Z" * 6), SparsePauliOp("ZZZZZ", [1j])

    assert "has 6 qubits" in str(manila.propagates(QuantumCircuit(5), np.zeros((1, 0)), [wide]))
    assert "not real" in str(manila.propagates(QuantumCircuit(5), np.zeros((1, 0)), [complex_]))
