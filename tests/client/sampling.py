"""Every option of the sampler, through the client, checked by physics. Run by test_sampler_options.

Knows nothing of Queuebit. Prints the checks that held; a failing one ends it.
"""

import sys

import numpy as np
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Parameter
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import QiskitRuntimeService, SamplerV2
from qiskit_ibm_runtime.exceptions import IBMRuntimeError
from qiskit_ibm_runtime.execution_span import TwirledSliceSpanV2

service = QiskitRuntimeService()
backend = service.backend(sys.argv[1])
manager = generate_preset_pass_manager(backend=backend, optimization_level=3, seed_transpiler=3)
TIMEOUT = 300


def submit(pubs, shots=None, **options):
    """A job with a seed, so that it measures the same every time."""
    sampler = SamplerV2(backend, options={"simulator": {"seed_simulator": 17}} | options)
    return sampler.run(pubs, shots=shots)


def distance(first, second):
    """Total variation distance of two counts."""
    shots = sum(first.values()), sum(second.values())
    keys = {*first, *second}
    return sum(abs(first.get(k, 0) / shots[0] - second.get(k, 0) / shots[1]) for k in keys) / 2


def ghz(size):
    circuit = QuantumCircuit(size)
    circuit.h(0)
    for qubit in range(size - 1):
        circuit.cx(qubit, qubit + 1)
    circuit.measure_all()
    return manager.run(circuit)


def rotated():
    circuit = QuantumCircuit(2, 2)
    circuit.rx(Parameter("t"), 0)
    circuit.cx(0, 1)
    circuit.measure([0, 1], [0, 1])
    return manager.run(circuit)


def teleported(angle):
    """Qubit 0's state, carried to qubit 2 by two bits."""
    qubits = QuantumRegister(3, "q")
    phase, flip, out = (ClassicalRegister(1, name) for name in ("phase", "flip", "out"))
    circuit = QuantumCircuit(qubits, phase, flip, out)
    circuit.ry(angle, 0)
    circuit.h(1)
    circuit.cx(1, 2)
    circuit.cx(0, 1)
    circuit.h(0)
    circuit.measure(0, phase)
    circuit.measure(1, flip)
    with circuit.if_test((flip, 1)):
        circuit.x(2)
    with circuit.if_test((phase, 1)):
        circuit.z(2)
    circuit.measure(2, out)
    return manager.run(circuit)


def counted():
    """A loop over an x, a switch on what was measured."""
    circuit = QuantumCircuit(QuantumRegister(2, "q"), ClassicalRegister(1, "a"))
    circuit.add_register(ClassicalRegister(1, "b"))
    with circuit.for_loop(range(3)):
        circuit.x(0)
    circuit.measure(0, 0)
    with circuit.switch(circuit.cregs[0]) as case:
        with case(1):
            circuit.x(1)
        with case(case.DEFAULT):
            circuit.reset(1)
    circuit.measure(1, 1)
    return manager.run(circuit)


four, sweep = ghz(4), rotated()
angles = np.linspace(0, np.pi, 6).reshape(3, 2)
both = {"enable_gates": True, "enable_measure": True}
dd = {"enable": True, "sequence_type": "XY4"}
jobs = {
    "plain": submit([four, (sweep, angles, 500)], shots=4000),
    "again": submit([four, (sweep, angles, 500)], shots=4000),
    "twirled": submit([four, (sweep, angles, 500)], shots=4000, twirling=both),
    "decoupled": submit([four], shots=4000, dynamical_decoupling=dd),
    "all": submit(
        [four], shots=4000, dynamical_decoupling=dd, twirling={**both, "strategy": "all"}
    ),
    "kerneled": submit(
        [four, (sweep, angles, 50)],
        shots=4000,
        execution={"meas_type": "kerneled", "init_qubits": False, "rep_delay": 300e-6},
    ),
    "averaged": submit([(sweep, angles)], shots=4000, execution={"meas_type": "avg_kerneled"}),
    "dynamic": submit([teleported(0.0), teleported(np.pi), teleported(np.pi / 3), counted()], 2000),
    "experimental": submit([four], shots=10, experimental={"foo": {"bar": 1}}),
}
results = {name: job.result(timeout=TIMEOUT) for name, job in jobs.items()}
plain = results["plain"][0].data.meas

counts = plain.get_counts()
assert counts["0000"] + counts["1111"] > 0.6 * 4000, counts
assert abs(counts["0000"] - counts["1111"]) < 0.25 * 4000, counts
shares = [
    [results[name][1].data.c[index].get_counts() for index in np.ndindex(3, 2)]
    for name in ("plain", "twirled")
]
ones = [row.get("11", 0) / 500 for row in shares[0]]
assert np.allclose(ones, np.sin(angles.ravel() / 2) ** 2, atol=0.12), ones
print("correlations")

assert plain == results["again"][0].data.meas
print("same seed same bits")

twirled = results["twirled"]
assert twirled[0].data.meas.num_shots == 4000
assert twirled[0].metadata["num_randomizations"] == 32
assert twirled[1].metadata["num_randomizations"] == 8
assert twirled[1].data.c.shape == (3, 2)
(span,) = twirled.metadata["execution"]["execution_spans"]
assert isinstance(span, TwirledSliceSpanV2), span
assert span.mask(1).shape == (3, 2, 500)
assert distance(counts, twirled[0].data.meas.get_counts()) < 0.08
assert max(map(distance, *shares)) < 0.15
print("twirling")

for name in ("decoupled", "all"):
    seen = results[name][0].data.meas.get_counts()
    assert seen["0000"] + seen["1111"] > 0.5 * 4000, seen
    assert distance(counts, seen) < 0.15, (counts, seen)
print("decoupling")

points = results["kerneled"][0].data.meas
assert (points.shape, points.dtype) == ((4000, 4), np.complex128)
assert results["kerneled"][1].data.c.shape == (3, 2, 50, 2)
words, times = np.unique(points.real > 0, axis=0, return_counts=True)
classified = {
    "".join(map(str, word[::-1].astype(int))): int(n) for word, n in zip(words, times, strict=True)
}
assert classified == counts  # the same seed
means = results["averaged"][0].data.c
assert (means.shape, means.dtype) == ((3, 2, 2), np.complex128)
assert (np.diff(means.real.ravel()[::2]) > 0).all(), means
print("kerneled")

up, down, third, loop = (pub.data for pub in results["dynamic"])
assert up.out.get_counts().get("0", 0) > 1600
assert down.out.get_counts().get("1", 0) > 1600
assert abs(third.out.get_counts()["1"] / 2000 - 0.25) < 0.1
assert {*third.phase.get_counts()} == {*third.flip.get_counts()} == {"0", "1"}
assert loop.a.get_counts()["1"] > 1700
assert loop.b.get_counts()["1"] > 1700
print("dynamic circuits")

assert results["experimental"][0].data.meas.num_shots == 10


def refusal(**options):
    """What the service says to a dynamic circuit with these options."""
    try:
        submit([teleported(0.0)], 10, **options)
    except IBMRuntimeError as error:
        return str(error)
    raise AssertionError(f"{options} was accepted")


assert "options.execution.fast: there is no such option" in refusal(
    experimental={"execution": {"fast": True}}
)
told = refusal(twirling={"enable_gates": True})
assert "twirling cannot be used with dynamic circuits" in told, told
assert "1208" in told, told
print("refusals")
