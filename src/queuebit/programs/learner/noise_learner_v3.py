"""The noise learner for layers that are given as boxes: what `NoiseLearnerV3` sends.

Boxes of gates are learned as Pauli-Lindblad noise, boxes of measurements as flips of the readout.
"""

import base64
import binascii
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import ModuleType
from typing import Any

import numpy as np
from ibm_quantum_schemas.common import F64TensorModel
from ibm_quantum_schemas.noise_learner_v3 import version_0_1, version_0_2, version_0_3
from numpy.typing import NDArray
from qiskit import QuantumCircuit, QuantumRegister
from qiskit.circuit import BoxOp

from queuebit.devices.protocol import Experiment, Qpu
from queuebit.errors import InvalidInput
from queuebit.programs import limits
from queuebit.programs.learner.learning import Layer, Learned, Learning, Noise, Settings
from queuebit.programs.options import NoiseLearnerV3Options, parse, rep_delay_s
from queuebit.programs.seeds import Use, generator
from queuebit.programs.wire import qpy

SCHEMAS: dict[str, ModuleType] = {"v0.1": version_0_1, "v0.2": version_0_2, "v0.3": version_0_3}
"""By what the job says, in what it is answered."""
VERSION = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A learning job that can run, unless it is over a limit."""

    learning: Learning
    layers: list[Layer]
    depths: list[int]
    rep_delay_s: float
    schema_version: str
    seed: int | None = None
    """There is no such option."""

    def outline(self) -> list[Experiment]:
        """What will run, before it is drawn."""
        return self.learning.outline()

    def experiments(self) -> tuple[list[Experiment], "Done"]:
        """What the device shall run, and what makes a result of it."""
        experiments, learned = self.learning.experiments(generator(self.seed, Use.LEARNING))
        measures = [layer.measures for layer in self.layers]
        return experiments, Done(learned, measures, self.depths, self.schema_version)

    def over_limits(self) -> Iterator[InvalidInput]:
        """The limits that the job breaks."""
        yield from limits.executions((circuits, shots) for circuits, shots, _ in self.learning.runs)
        yield from limits.bits(self.learning.runs)


@dataclass(frozen=True, slots=True)
class Done:
    """What makes a result of bits."""

    learned: Learned
    measures: list[bool]
    depths: list[int]
    schema_version: str

    def result(self, bits: Sequence[NDArray[np.bool_]], start: datetime, stop: datetime) -> bytes:
        """The job's result as JSON text, in the schema of the job; when it ran is not told."""
        del start, stop
        schema = SCHEMAS[self.schema_version]
        data = [
            _result(noise, self._metadata(measures=measures), schema)
            for noise, measures in zip(self.learned.noise(bits), self.measures, strict=True)
        ]
        text: str = schema.NoiseLearnerV3ResultsModel(data=data).model_dump_json()
        return text.encode()

    def _metadata(self, *, measures: bool) -> dict[str, Any]:
        """No shot is discarded: without post selection there are no qubits that it checks.

        The oldest schema has no success rates, and leaves them out.
        """
        if measures:
            return {
                "learning_protocol": "trex",
                "post_selection": {"fraction_kept": 1.0, "success_rates": {}},
            }
        return {
            "learning_protocol": "lindblad",
            "post_selection": {
                "fraction_kept": dict.fromkeys(self.depths, 1.0),
                "success_rates": {depth: {} for depth in self.depths},
            },
        }


def plan(params: dict[str, Any], device: Qpu) -> Plan:
    """The job that decoded parameters ask for; InvalidInput if it cannot run."""
    if unknown := sorted(set(params) - {"schema_version", "instructions", "options", "version"}):
        raise InvalidInput(f"params.{unknown[0]}: there is no such parameter", 1208)
    version = params["schema_version"]
    if not isinstance(version, str) or version not in SCHEMAS:
        raise InvalidInput(
            f"params.schema_version is {str(version)[:50]!r}, must be one of {', '.join(SCHEMAS)}",
            1208,
        )
    if params.get("version", VERSION) != VERSION:
        raise InvalidInput(
            f"params.version is {str(params['version'])[:50]!r}, must be {VERSION}", 1208
        )
    options = parse(NoiseLearnerV3Options, params.get("options"))
    layers = _layers(_circuit(params.get("instructions")), device)
    depths = sorted(set(options.layer_pair_depths))
    settings = Settings(options.num_randomizations, options.shots_per_randomization, tuple(depths))
    return Plan(
        learning=Learning(layers, settings, device),
        layers=layers,
        depths=depths,
        rep_delay_s=rep_delay_s(options, device),
        schema_version=version,
    )


def _circuit(given: object) -> QuantumCircuit:
    """The circuit whose instructions are the layers."""
    match given:
        case {"circuit_b64": str() as text, "qpy_version": int() as version}:
            pass
        case _:
            raise InvalidInput(
                "params.instructions must have circuit_b64, a circuit as text, and qpy_version, a "
                "number",
                1208,
            )
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInput(f"params.instructions.circuit_b64: {error}", 1208) from None
    circuit = qpy.load(content, boxes=True)
    if content[6] != version:  # after "QISKIT"
        raise InvalidInput(
            f"params.instructions.qpy_version is {version}, but the circuit's is {content[6]}", 1208
        )
    return circuit


def _layers(circuit: QuantumCircuit, device: Qpu) -> list[Layer]:
    """The circuit's instructions; it has only qubits that they touch, of the device's register."""
    if not circuit.data:
        raise InvalidInput("params.instructions has no layers", 1208)
    register = QuantumRegister(device.num_qubits, "q")
    place = {qubit: i for i, qubit in enumerate(register)}
    layers = []
    for number, instruction in enumerate(circuit.data):
        operation = instruction.operation
        if not isinstance(operation, BoxOp):
            raise InvalidInput(
                f"layer {number}: expected a 'box' but found {instruction.name[:50]!r}", 1208
            )
        if strange := [qubit for qubit in instruction.qubits if qubit not in place]:
            raise InvalidInput(
                f"layer {number}: every qubit must be part of {register}, and {strange[0]} is not",
                1208,
                "Use the register of a circuit that was transpiled for the backend.",
            )
        at = tuple(place[qubit] for qubit in instruction.qubits)
        if error := device.isa_error(_alone(operation, at, device)):
            raise InvalidInput(f"layer {number}: {error}", 1517, "Transpile it for the backend.")
        layers.append(Layer(operation, at))
    return layers


def _alone(box: BoxOp, qubits: Sequence[int], device: Qpu) -> QuantumCircuit:
    """What is in a box, on the device's qubits."""
    circuit = QuantumCircuit(device.num_qubits, box.num_clbits)
    circuit.compose(box.body, qubits, circuit.clbits, inplace=True)
    return circuit


def _result(noise: Noise, metadata: dict[str, Any], schema: ModuleType) -> Any:
    return schema.NoiseLearnerV3ResultModel(
        generators_sparse=[
            [(paulis, list(where))] for paulis, where, _ in noise.pauli_map.to_sparse_list()
        ],
        num_qubits=noise.pauli_map.num_qubits,
        rates=F64TensorModel.from_numpy(np.array(noise.pauli_map.rates)),
        rates_std=F64TensorModel.from_numpy(noise.rates_std),
        metadata=metadata,
    )
