"""The noise learner: the noise of the layers that twirling makes of circuits.

`NoiseLearner` sends circuits, and each is cut into layers of two-qubit gates here. `NoiseLearnerV3`
sends the layers, under the same program id and with a schema version (`noise_learner_v3`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit

from queuebit.devices.protocol import Experiment, Qpu
from queuebit.errors import InvalidInput
from queuebit.programs import limits
from queuebit.programs.circuits.twirling import twirl_gates
from queuebit.programs.estimator.bodies import INJECTING
from queuebit.programs.learner import layer_errors, layers, noise_learner_v3
from queuebit.programs.learner.learning import Layer, Learned, Learning, Settings
from queuebit.programs.options import NoiseLearnerOptions, Twirling, parse, seed_of
from queuebit.programs.seeds import Use, generator
from queuebit.programs.wire import codec

CIRCUITS_MAX = 1_000  # of one job
GATES_MAX = 100_000  # of a job's circuits; cutting them into layers takes about 0.1 ms each
VERSION = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A learning job that can run, unless it is over a limit."""

    learning: Learning
    layers: list[Layer]
    options: NoiseLearnerOptions
    rep_delay_s: float
    backend: str
    qpy_version: int

    @property
    def seed(self) -> int | None:
        """Of the simulated QPU, and of the twirling."""
        return seed_of(self.options.simulator)

    def outline(self) -> list[Experiment]:
        """What will run, before it is drawn."""
        return self.learning.outline()

    def experiments(self) -> tuple[list[Experiment], "Done"]:
        """What the device shall run, and what makes a result of it."""
        experiments, learned = self.learning.experiments(generator(self.seed, Use.LEARNING))
        metadata = {
            "backend": self.backend,
            "input_options": self.options.model_dump(
                exclude={"support_qiskit", "simulator", "experimental"}
            ),
        }
        gates = [layer_errors.gates_of(layer) for layer in self.layers]
        return experiments, Done(
            learned, gates, metadata, self.options.support_qiskit, self.qpy_version
        )

    def over_limits(self) -> Iterator[InvalidInput]:
        """The limits that the job breaks."""
        yield from limits.executions((circuits, shots) for circuits, shots, _ in self.learning.runs)
        yield from limits.bits(self.learning.runs)


@dataclass(frozen=True, slots=True)
class Done:
    """What makes a result of bits."""

    learned: Learned
    gates: list[QuantumCircuit]
    metadata: dict[str, Any]
    tagged: bool
    qpy_version: int

    def result(self, bits: Sequence[NDArray[np.bool_]], start: datetime, stop: datetime) -> bytes:
        """The job's result as JSON text; when it ran is not told.

        Circuits are written in the QPY of the job's own, which its client reads. Not as a
        NoiseLearnerResult: the client's decoder makes one of {"data", "metadata"} (client 0.51).
        """
        del start, stop
        errors = layer_errors.layer_errors(self.gates, self.learned.noise(bits))
        data = errors if self.tagged else [layer_errors.plain(error) for error in errors]
        return codec.text({"data": data, "metadata": self.metadata}, self.qpy_version)


def plan(text: bytes, device: Qpu) -> "Plan | noise_learner_v3.Plan":
    """The job that the parameters' JSON text asks for; InvalidInput if it cannot run."""
    params = codec.decode(text)
    if "schema_version" in params:
        return noise_learner_v3.plan(params, device)
    if unknown := sorted(set(params) - {"circuits", "options", "version"}):
        raise InvalidInput(f"params.{unknown[0]}: there is no such parameter", 1208)
    if params.get("version", VERSION) not in (VERSION, None):
        raise InvalidInput(
            f"params.version is {str(params['version'])[:50]!r}, must be {VERSION}", 1208
        )
    options = parse(NoiseLearnerOptions, params.get("options"))
    found = _layers(_circuits(params.get("circuits"), device), options, device)
    return Plan(
        learning=Learning(found, _settings(options), device),
        layers=found,
        options=options,
        rep_delay_s=device.rep_delay_s,
        backend=device.name,
        qpy_version=codec.qpy_version(codec.document(text)["circuits"]),
    )


def _settings(options: NoiseLearnerOptions) -> Settings:
    return Settings(
        options.num_randomizations,
        options.shots_per_randomization,
        tuple(options.layer_pair_depths),
    )


def _circuits(given: object, device: Qpu) -> list[QuantumCircuit]:
    if not isinstance(given, list) or not given:
        raise InvalidInput("params.circuits must be a list of one or more circuits", 1208)
    if len(given) > CIRCUITS_MAX:
        raise InvalidInput(
            f"{len(given)} circuits; the limit is {CIRCUITS_MAX}", 1208, "Split the job."
        )
    circuits = [
        codec.circuit(one, f"circuit {number}", device.dt) for number, one in enumerate(given)
    ]
    gates = sum(circuit.size() for circuit in circuits)
    if gates > GATES_MAX:
        raise InvalidInput(
            f"the circuits have {gates} gates; the limit is {GATES_MAX}",
            8031,
            "A layer is learned once, however often it occurs: send shorter circuits.",
        )
    for number, circuit in enumerate(circuits):
        if error := device.isa_error(circuit):
            raise InvalidInput(f"circuit {number}: {error}", 1517, "Transpile it for the backend.")
    return circuits


def _layers(
    circuits: Sequence[QuantumCircuit], options: NoiseLearnerOptions, device: Qpu
) -> list[Layer]:
    """The layers to learn: those that the estimator finds in the same circuits to mitigate them."""
    twirling = Twirling(strategy=options.twirling_strategy)
    found = []
    for number, circuit in enumerate(circuits):
        try:
            twirled = twirl_gates(circuit, twirling, device, **INJECTING)
        except InvalidInput as error:
            raise InvalidInput(f"circuit {number}: {error.message}", error.code) from None
        found.append(layers.sites(twirled))
    return list(layers.to_learn(found, options.max_layers_to_learn).values())
