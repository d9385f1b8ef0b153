"""The executor: a quantum program's circuits, run as they are.

Qiskit's sampler, estimator and noise learner of the future are clients of it: they twirl and
mitigate before they submit and after they fetch (qiskit_ibm_runtime.executor_sampler and others).
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from qiskit import QuantumCircuit

from queuebit.devices.protocol import Experiment, Qpu
from queuebit.devices.sweeps import swept_error
from queuebit.errors import InvalidInput
from queuebit.programs import dynamic, kernels, limits
from queuebit.programs.circuits.timing import Timing, timing
from queuebit.programs.executor.items import Item, over_limits
from queuebit.programs.executor.payload import VERSIONS, Payload, read, told_of
from queuebit.programs.executor.samplexes import Arrays
from queuebit.programs.options import (
    EXECUTION,
    SEED_MAX,
    SHOTS_MAX,
    Execution,
    Honoured,
    experiment,
    inside,
    refuse,
    refused_experiments,
)
from queuebit.programs.options import rep_delay_s as rep_delay_in_range
from queuebit.programs.seeds import Use, generator

# What `experimental` may hold: the sampler's client puts the first two there itself.
HONOURED: Honoured = (*EXECUTION, ("simulator", "seed_simulator"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """An executor job that can run, unless it is over a limit."""

    payload: Payload
    shots_s: list[float]
    """Per item, seconds of one shot; 1 where all are one chunk."""
    widths: list[NDArray[np.float64] | None]
    """Per item, the spread of its bits' IQ points, shape (clbits, 2); None: none are asked for."""
    timings: list[Timing] | None
    seed: int | None
    rep_delay_s: float

    def experiments(self) -> tuple[list[Experiment], "Done"]:
        """What the device shall run, and what makes a result of it."""
        payload = self.payload
        rng = generator(self.seed, Use.CIRCUITS)
        experiments, results = [], []
        for number, item in enumerate(payload.items):
            with told_of(number):
                values, drawn = item.values(rng)
            experiments.append(Experiment(item.circuit, values, payload.shots))
            results.append(
                ItemDone(
                    item.shape,
                    item.fields,
                    drawn,
                    self.widths[number],
                    None if self.timings is None else self.timings[number],
                    item.chunk,
                    self.shots_s[number] + self.rep_delay_s,
                )
            )
        return experiments, Done(
            version=payload.version.name,
            items=results,
            shots=payload.shots,
            level=payload.level,
            stretches=bool(_set(payload, "stretch_values")),
            seed=self.seed,
            role=payload.role,
            passed=payload.passed,
        )

    def over_limits(self) -> Iterator[InvalidInput]:
        """The limits that the job breaks."""
        items, shots = self.payload.items, self.payload.shots
        yield from over_limits(items)
        yield from limits.executions([(item.size, shots) for item in items])
        measured = [(item.size, shots, item.circuit.num_clbits) for item in items]
        yield from limits.bits(measured)
        if self.payload.level in ("kerneled", "both"):
            yield from limits.points(measured)
        yield from limits.sizes([item.circuit for item in items], "item")


@dataclass(frozen=True, slots=True)
class ItemDone:
    """What makes one item's results of its bits."""

    shape: tuple[int, ...]
    fields: dict[str, list[int]]
    """Positions of each classical register's bits."""
    drawn: Arrays
    widths: NDArray[np.float64] | None
    timing: Timing | None
    chunk: int | None
    """Elements per chunk; None: all items are one chunk."""
    shot_s: float
    """Seconds of one shot on the real QPU, with the delay after it."""

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What makes a result of bits."""

    version: str
    items: list[ItemDone]
    shots: int
    level: str
    stretches: bool
    seed: int | None
    role: str | None
    passed: Any

    def result(self, bits: Sequence[NDArray[np.bool_]], start: datetime, stop: datetime) -> bytes:
        """The result's JSON text, in the version of the schema that the job came in."""
        version = VERSIONS[self.version]
        models = version.models
        rng = generator(self.seed, Use.POINTS)
        data = []
        for item, measured in zip(self.items, bits, strict=True):
            arrays = item.drawn | self._fields(item, measured, rng)
            results = {name: version.tensor.from_numpy(array) for name, array in arrays.items()}
            metadata = self._metadata(item, models)
            data.append(models.QuantumProgramResultItemModel(results=results, metadata=metadata))
        spans = list(self._spans(start, stop, models))
        result = models.QuantumProgramResultModel(
            data=data, metadata=models.MetadataModel(chunk_timing=spans)
        ).model_dump(mode="json")
        # As they came: the models would read tensors into them, and write numbers their own way.
        if "passthrough_data" in result:
            result["passthrough_data"] = self.passed
        if "semantic_role" in result:
            result["semantic_role"] = self.role
        return json.dumps(result, separators=(",", ":")).encode()

    def _fields(
        self, item: ItemDone, measured: NDArray[np.bool_], rng: np.random.Generator
    ) -> Arrays:
        """Arrays of the classical registers, as the level of measurement has them."""
        arrays: Arrays = {}
        for name, places in item.fields.items():
            bits = measured[..., places].reshape(*item.shape, self.shots, len(places))
            if self.level in ("classified", "both"):
                arrays[name] = bits
            if item.widths is None:
                continue
            widths = item.widths[places]
            if self.level in ("kerneled", "both"):
                arrays[f"{name}_iq"] = kernels.iq(bits, widths, rng)
            if self.level == "avg_kerneled":
                means = [kernels.iq(one, widths, rng).mean(axis=0) for one in measured[..., places]]
                arrays[f"{name}_avg_iq"] = np.reshape(means, (*item.shape, len(places)))
        return arrays

    def _metadata(self, item: ItemDone, models: Any) -> Any:
        if not hasattr(models, "ItemMetadataModel"):  # v0.1 has none
            return None
        told = None
        if item.timing is not None:
            told = models.SchedulerTimingModel(
                timing=item.timing.text, circuit_duration=item.timing.duration
            )
        return models.ItemMetadataModel(
            scheduler_timing=told, stretch_values=[] if self.stretches else None
        )

    def _spans(self, start: datetime, stop: datetime, models: Any) -> Iterator[Any]:
        """When each chunk ran: the time from `start` to `stop`, shared as the QPU would need it."""
        chunks = list(self._chunks())
        weights = [
            sum((end - first) * self.items[number].shot_s for number, first, end in parts)
            for parts in chunks
        ]
        ends = np.cumsum(weights) / sum(weights)
        begun = start
        for parts, share in zip(chunks, ends, strict=True):
            ended = start + (stop - start) * float(share)
            told = [self._chunk_part(part, models.ChunkPart) for part in parts]
            yield models.ChunkSpan(start=begun, stop=ended, parts=told)
            begun = ended

    def _chunks(self) -> Iterator[list[tuple[int, int, int]]]:
        """Each chunk's parts: an item, and from which of its elements to which."""
        if any(item.chunk is None for item in self.items):  # then all are, says the schema
            yield [(number, 0, item.size) for number, item in enumerate(self.items)]
            return
        for number, item in enumerate(self.items):
            for first in range(0, item.size, item.chunk or item.size):
                yield [(number, first, min(first + (item.chunk or 0), item.size))]

    def _chunk_part(self, part: tuple[int, int, int], model: Any) -> Any:
        number, first, end = part
        axes = list(range(len(self.items[number].shape)))
        told = {
            "idx_item": number,
            "size": end - first,
            "permutation": axes,
            "element_range": (first, end, 1),
        }
        return model(**{name: told[name] for name in model.model_fields})


def plan(text: bytes, device: Qpu) -> Plan:
    """The job that the parameters' JSON text asks for; InvalidInput if it cannot run."""
    payload = read(text, device.dt)
    _check_options(payload)
    if payload.shots > SHOTS_MAX:
        raise InvalidInput(f"params.quantum_program.shots must be at most {SHOTS_MAX}", 1208)
    for number, item in enumerate(payload.items):
        if error := device.isa_error(item.circuit):
            raise InvalidInput(f"item {number}: {error}", 1517, "Transpile it for the backend.")
        rows = item.arguments
        if rows is not None and (error := swept_error(item.circuit, rows)):
            raise InvalidInput(f"item {number}: {error}", 1517, "Use other circuit arguments.")
        dynamic.check(item.circuit, device, f"item {number}")
    delay = getattr(payload.options, "rep_delay", None)
    timed = _set(payload, "scheduler_timing")
    circuits = [item.circuit for item in payload.items]
    points = payload.level != "classified"
    return Plan(
        payload=payload,
        shots_s=_shots_s(payload.items, device),
        widths=[
            kernels.spreads(kernels.places(circuit), device) if points else None
            for circuit in circuits
        ],
        timings=_timings(circuits, device) if timed else None,
        seed=_seed(payload),
        rep_delay_s=_rep_delay_s(delay, device),
    )


def _shots_s(items: Sequence[Item], device: Qpu) -> list[float]:
    """Seconds of one shot of each; only the shares of chunks follow from them."""
    if any(item.chunk is None for item in items):
        return [1.0] * len(items)
    return [device.duration_s(item.circuit) for item in items]


def _timings(circuits: Sequence[QuantumCircuit], device: Qpu) -> list[Timing]:
    timings = []
    for number, circuit in enumerate(circuits):
        with told_of(number):
            timings.append(timing(circuit, device))
    return timings


def _check_options(payload: Payload) -> None:
    """Refuses, by name, what is set and cannot be honoured."""
    refuse(refused_experiments(getattr(payload.options, "experimental", {}), HONOURED))


def _set(payload: Payload, name: str) -> bool:
    """Whether an option is on, where the executor or, in `experimental`, its clients put it."""
    experimental = getattr(payload.options, "experimental", {})
    return bool(getattr(payload.options, name, False) or experiment(experimental, name))


def _seed(payload: Payload) -> int | None:
    """The seed of the simulated QPU.

    The client keeps `simulator` options to itself; but its sampler, estimator and noise learner
    write down all of theirs in the data that is passed through.
    """
    experimental = getattr(payload.options, "experimental", {})
    seed = inside(experimental, "simulator", "seed_simulator")
    if seed is None:
        options = inside(payload.passed, "post_processor", "options")
        seed = inside(options, "simulator", "seed_simulator")
    if seed is None or type(seed) is not int:
        return None
    if not 0 <= seed <= SEED_MAX:
        raise InvalidInput(f"option simulator.seed_simulator must be 0 to {SEED_MAX}", 1208)
    return seed


def _rep_delay_s(given: float | None, device: Qpu) -> float:
    try:
        return rep_delay_in_range(Execution(rep_delay=given), device)
    except ValidationError:
        raise InvalidInput(f"option rep_delay: {given} is no delay in seconds", 1208) from None
