"""Qiskit Aer as a device: whole circuits as state vectors, on the CPU or on a GPU.

    [[backends]]
    name = "gpu_fez"
    snapshot = "fez"
    device = "aer"
    options = { device = "GPU", max_qubits = 32 }

It has no noise, and so is for circuits that are too large for the simulation that Queuebit has.
"""

import numpy as np
from qiskit_aer import AerSimulator

from queuebit.devices.base import TargetQpu
from queuebit.devices.protocol import Samples
from queuebit.devices.snapshot import Snapshot
from queuebit.devices.target import build_target
from queuebit.errors import ConfigError, InvalidInput, ServiceFault

OPTIONS = {"device": "CPU", "precision": "single", "max_qubits": 28}


class AerDevice(TargetQpu):
    """What the entry point names: called with the backend's configuration, once in each worker."""

    def __init__(self, config):
        options = OPTIONS | config.options
        if unknown := options.keys() - OPTIONS.keys():
            raise ConfigError(f"options: there is no {', '.join(sorted(unknown))}")
        offered = AerSimulator().available_devices()
        if options["device"] not in offered:
            raise ConfigError(
                f"Aer has no {options['device']} here, only {', '.join(offered)}; for a GPU, "
                "install qiskit-aer-gpu on a machine that has one with its CUDA driver"
            )
        if config.snapshot is None:
            raise ConfigError("name the snapshot whose qubits and gates it shall have")
        described = Snapshot(config)
        super().__init__(config.name, build_target(described), described)
        self._max_qubits = options["max_qubits"]
        self._simulator = AerSimulator(
            method="statevector",
            device=options["device"],
            precision=options["precision"],
            max_parallel_threads=1,  # there is a worker per processor
        )

    def check(self, experiments):
        """Called before a job is accepted, so that its user is told at once."""
        for index, one in enumerate(experiments):
            ops = [op for op in one.circuit.data if op.name not in {"barrier", "delay"}]
            used = len({qubit for op in ops for qubit in op.qubits})
            if used > self._max_qubits:
                raise InvalidInput(
                    f"Circuit {index} uses {used} qubits; {self.name} simulates "
                    f"{self._max_qubits}.",
                    3248,
                    "Use fewer qubits.",
                )

    def sample(self, experiments, *, seed=None):
        """Bits of every experiment: (sets of values, shots, classical bits)."""
        bits = [self._run(one, seed) for one in experiments]
        return Samples(bits, {"method": "statevector", "noise": "none"})

    def _run(self, one, seed):
        circuit = one.circuit
        shape = (len(one.values), one.shots, circuit.num_clbits)
        if not circuit.num_clbits:
            return np.zeros(shape, dtype=bool)
        # Aer makes a circuit of each set of values; without parameters all of them are one circuit.
        binds = dict(zip(circuit.parameters, one.values.T.tolist(), strict=True))
        result = self._simulator.run(
            circuit,
            shots=one.shots if binds else shape[0] * one.shots,
            memory=True,
            seed_simulator=seed,
            parameter_binds=[binds] if binds else None,
        ).result()
        if not result.success:
            raise ServiceFault(f"Aer: {result.status}")
        made = [_bits(run.data.memory, circuit.num_clbits) for run in result.results]
        return np.concatenate(made).reshape(shape)


def _bits(memory, width):
    """One row per shot of Aer's numbers in hexadecimal, whose bit 0 is the circuit's first."""
    size = (width + 7) // 8
    packed = b"".join(int(shot, 16).to_bytes(size, "little") for shot in memory)
    rows = np.frombuffer(packed, dtype=np.uint8).reshape(len(memory), size)
    return np.unpackbits(rows, axis=1, bitorder="little")[:, :width].astype(bool)
