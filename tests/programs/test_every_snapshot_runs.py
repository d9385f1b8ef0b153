"""Every snapshot runs a Bell circuit through sampler and estimator, server-side and client-side."""

import json

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, transpile
from qiskit.circuit.library import U3Gate
from qiskit_ibm_runtime.decoders.executor.decoder import ExecutorResultDecoder
from qiskit_ibm_runtime.decoders.executor_sampler.decoder import ClientSideSamplerResultDecoder
from qiskit_ibm_runtime.executor_sampler.prepare import prepare
from qiskit_ibm_runtime.options_models import SamplerOptions
from tests.programs.conftest import Perfect
from tests.programs.quantum_programs import body

from queuebit.config import BackendConfig
from queuebit.devices.device import Device
from queuebit.devices.snapshot import available

SHOTS = 1_000
SEED = {"simulator": {"seed_simulator": 7}}


def entangled(device: Device) -> tuple[QuantumCircuit, list[int]]:
    """A Bell circuit on the best pair that is told, or as near as one qubit comes, and where."""
    best = device.snapshot.listing["performance_metrics"].get("two_q_error_best")
    layout = [0] if best is None else best["qubits"]
    circuit = QuantumCircuit(len(layout))
    circuit.h(0)
    if best is not None:
        circuit.cx(0, 1)
    fitted = transpile(circuit, target=device.target, initial_layout=layout, optimization_level=1)
    return fitted, layout


@pytest.mark.parametrize("name", available())
def test_a_bell_circuit_runs(name, run, run_bytes):
    device = Device(BackendConfig(name="lab", snapshot=name))
    circuit, layout = entangled(device)
    measured = circuit.copy()
    measured.add_register(ClassicalRegister(len(layout), "c"))
    measured.measure(layout, range(len(layout)))
    observables = [
        {"".join(pauli if at in layout else "I" for at in reversed(range(device.num_qubits))): 1.0}
        for pauli in "ZX"
    ]

    (sampled,) = run("sampler", device, [(measured, None, SHOTS)], SEED)
    (estimated,) = run(
        "estimator", device, [(circuit, observables, None, 0.05)], SEED, resilience_level=0
    )
    made, _ = prepare([measured], SamplerOptions(), SHOTS, backend=None)
    made._semantic_role = "sampler_v2"
    params = json.dumps(body(made, experimental=SEED)).encode()
    executed = ExecutorResultDecoder.decode(run_bytes("executor", params, device).decode())
    (client_side,) = ClientSideSamplerResultDecoder.decode(executed)

    even = (0, 3) if len(layout) == 2 else (0, 1)
    lost = expected_loss(device, circuit, layout)
    for pub in (sampled, client_side):
        counts = pub.data.c.get_int_counts()
        shares = [counts.get(bits, 0) / SHOTS for bits in even]
        assert sum(counts.values()) == SHOTS
        assert sum(shares) > 1 - lost - 0.06  # four standard deviations
        assert all(abs(share - 0.5) < lost + 0.07 for share in shares)
    z, x = estimated.data.evs
    assert x > 1 - 2 * lost - 0.2
    assert z > 1 - 2 * lost - 0.2 if len(layout) == 2 else abs(z) < 2 * lost + 0.2
    assert np.all(estimated.data.stds < 0.06)


def expected_loss(device: Device, circuit: QuantumCircuit, layout: list[int]) -> float:
    """Chance that anything goes wrong in a shot, at most: the sum of all errors that are told."""
    lost = sum(
        device.target[one.name][tuple(circuit.find_bit(bit).index for bit in one.qubits)].error or 0
        for one in circuit.data
    )
    for qubit in layout:
        known = device.snapshot.properties()["qubits"][qubit]
        told = {entry["name"]: entry["value"] for entry in known}
        either = told["readout_error"]
        lost += max(told.get("prob_meas0_prep1", either), told.get("prob_meas1_prep0", either))
    return lost


@pytest.mark.parametrize("level", [0, 1])  # 1 flips outcomes at random, and learns the readout
def test_a_device_whose_basis_is_u3_measures_every_pauli(level, run):
    device = Device(BackendConfig(name="lab", snapshot="london"))
    device.noise = Perfect(device.target, device.snapshot)
    circuit = QuantumCircuit(5)
    circuit.append(U3Gate(1.0, 0.7, 0.2), [3])
    paulis = [{f"I{pauli}III": 1.0} for pauli in "XYZ"]

    (pub,) = run("estimator", device, [(circuit, paulis, None, 0.02)], SEED, resilience_level=level)

    bloch = [np.sin(1.0) * np.cos(0.7), np.sin(1.0) * np.sin(0.7), np.cos(1.0)]
    assert pub.data.evs == pytest.approx(bloch, abs=0.08)
