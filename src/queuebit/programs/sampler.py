"""The sampler: measured bits of circuits."""

import keyword
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.primitives.containers import DataBin, PrimitiveResult, SamplerPubResult
from qiskit_ibm_runtime.execution_span import (
    DoubleSliceSpan,
    ExecutionSpan,
    ExecutionSpans,
    TwirledSliceSpanV2,
)

from queuebit.devices.protocol import Experiment, Qpu
from queuebit.errors import InvalidInput
from queuebit.programs import fields, kernels, limits, pubs
from queuebit.programs.circuits.decoupling import decouple
from queuebit.programs.circuits.timing import timing
from queuebit.programs.circuits.twirling import Twirled, twirl
from queuebit.programs.fields import Outcomes
from queuebit.programs.options import (
    SHOTS_MAX,
    SamplerOptions,
    Twirling,
    parse,
    rep_delay_s,
    seed_of,
)
from queuebit.programs.seeds import Use, generator
from queuebit.programs.wire import codec

DEFAULT_SHOTS = 4096  # client 0.51, SamplerOptions.default_shots


@dataclass(frozen=True, slots=True)
class Pub:
    """What is needed of a PUB once its circuit has run."""

    shape: tuple[int, ...]
    shots: int
    """Of each circuit, in its result."""
    randomizations: int
    """0: it is not twirled."""
    shots_each: int
    """Of each randomization; if it is not twirled, all. What has run beyond `shots` is left out."""
    registers: dict[str, list[int]]
    """Positions in circuit.clbits of each classical register's bits."""
    metadata: dict[str, Any]

    @property
    def rows(self) -> int:
        """Sets of parameter values that the user gave."""
        return prod(self.shape)

    @property
    def runs(self) -> int:
        """Circuits that run, each `shots_each` times."""
        return self.rows * max(1, self.randomizations)


@dataclass(frozen=True, slots=True)
class Work:
    """The circuit of a PUB as it runs."""

    circuit: QuantumCircuit
    """The user's, or the template of its randomizations; decoupled if asked for."""
    rows: NDArray[np.float64]
    """Per set of the user's parameter values, a row."""
    twirled: Twirled | None
    widths: NDArray[np.float64] | None
    """Of the clouds that kerneled measurements are drawn from."""

    def drawn(
        self, pub: Pub, rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_] | None]:
        """A row of values per circuit that runs, and which of its outcomes are flipped.

        Randomizations come first: shapes (n R, P) and (n, R, clbits).
        """
        if self.twirled is None:
            return self.rows, None
        draws = self.twirled.draw(self.rows, pub.randomizations, rng)
        values = np.swapaxes(draws.values, 0, 1).reshape(pub.runs, draws.values.shape[-1])
        return values, np.swapaxes(draws.flips, 0, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A sampler job that can run, unless it is over a limit."""

    pubs: list[Pub]
    works: list[Work]
    options: SamplerOptions
    rep_delay_s: float
    tagged: bool

    @property
    def seed(self) -> int | None:
        """Of the simulated QPU, and of all that is random beside it."""
        return seed_of(self.options.simulator)

    def experiments(self) -> tuple[list[Experiment], "Done"]:
        """What the device shall run, and what makes a result of it."""
        rng = generator(self.seed, Use.CIRCUITS)
        experiments, flips = [], []
        for pub, work in zip(self.pubs, self.works, strict=True):
            values, flipped = work.drawn(pub, rng)
            experiments.append(Experiment(work.circuit, values, pub.shots_each))
            flips.append(flipped)
        done = Done(
            pubs=self.pubs,
            flips=flips,
            widths=[work.widths for work in self.works],
            averaged=self.options.execution.meas_type == "avg_kerneled",
            seed=self.seed,
            tagged=self.tagged,
        )
        return experiments, done

    def over_limits(self) -> Iterator[InvalidInput]:
        """The limits that the job breaks."""
        runs = [(pub.runs, pub.shots_each) for pub in self.pubs]
        widths = [work.circuit.num_clbits for work in self.works]
        yield from limits.executions(runs)
        yield from limits.bits((*run, width) for run, width in zip(runs, widths, strict=True))
        if self.options.execution.meas_type == "kerneled":
            yield from limits.points(
                (pub.rows, pub.shots, sum(map(len, pub.registers.values()))) for pub in self.pubs
            )
        yield from limits.twirled(sum(pub.rows for pub in self.pubs if pub.randomizations))
        yield from limits.sizes([work.circuit for work in self.works])


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What makes a result of bits."""

    pubs: list[Pub]
    flips: list[NDArray[np.bool_] | None]
    """Per PUB which outcomes are flipped, shape (randomizations, rows, clbits)."""
    widths: list[NDArray[np.float64] | None]
    """Per PUB, how kerneled measurements are spread; None: bits are wanted."""
    averaged: bool
    seed: int | None
    tagged: bool

    def result(self, bits: Sequence[NDArray[np.bool_]], start: datetime, stop: datetime) -> bytes:
        """The job's result as JSON text.

        Its metadata are as the guide prints them (Run jobs in a batch, Result2).
        """
        rng = generator(self.seed, Use.POINTS)
        results = []
        for pub, measured, flips, widths in zip(
            self.pubs, bits, self.flips, self.widths, strict=True
        ):
            outcomes = Outcomes(measured, pub.shape, pub.shots, max(1, pub.randomizations), flips)
            data: dict[str, Any] = {
                name: fields.classified(outcomes, where)
                if widths is None
                else fields.kerneled(outcomes, where, widths, rng, averaged=self.averaged)
                for name, where in pub.registers.items()
            }
            results.append(
                SamplerPubResult(DataBin(**data, shape=pub.shape), metadata=pub.metadata)
            )
        result = PrimitiveResult(
            results,
            metadata={
                "execution": {"execution_spans": ExecutionSpans([self._span(start, stop)])},
                "version": 2,
            },
        )
        return codec.encode(result, tagged=self.tagged)

    def _span(self, start: datetime, stop: datetime) -> ExecutionSpan:
        """When which data was taken; all PUBs are twirled, or none is."""
        if not any(pub.randomizations for pub in self.pubs):
            whole = {
                i: ((*pub.shape, pub.shots), slice(0, pub.rows), slice(0, pub.shots))
                for i, pub in enumerate(self.pubs)
            }
            return DoubleSliceSpan(start, stop, whole)
        twirled = {
            i: (
                (pub.randomizations, *pub.shape, pub.shots_each),
                True,  # randomizations are the first axis
                slice(0, pub.runs),
                slice(0, pub.shots_each),
                pub.shots,
            )
            for i, pub in enumerate(self.pubs)
        }
        return TwirledSliceSpanV2(start, stop, twirled)


def plan(text: bytes, device: Qpu) -> Plan:
    """The job that the parameters' JSON text asks for; InvalidInput if it cannot run."""
    params = codec.decode(text)
    frame = pubs.frame(params, ("shots",))
    options = parse(SamplerOptions, frame.options)
    _check_together(options)
    common = _shots(params.get("shots"), "params.shots")
    circuits, planned, values = [], [], []
    for number, pub in enumerate(frame.pubs):
        names = ("circuit", "parameter values", "shots")
        circuit, given, own_shots = pubs.parts(pub, number, names, required=1, device=device)
        shots = _shots(own_shots, f"PUB {number}, shots") or common
        bound = pubs.bindings(circuit, given, number)
        planned.append(_pub(circuit, bound.shape, shots, options, number))
        circuits.append(circuit)
        values.append(pubs.rows(circuit, bound))
    pubs.check_circuits(circuits, device, values)
    works = [
        _work(number, circuit, rows, options, device)
        for number, (circuit, rows) in enumerate(zip(circuits, values, strict=True))
    ]
    if options.timed:
        _tell_schedules(planned, works, device)
    return Plan(
        pubs=planned,
        works=works,
        options=options,
        rep_delay_s=rep_delay_s(options.execution, device),
        tagged=frame.tagged,
    )


def _tell_schedules(planned: Sequence[Pub], works: Sequence[Work], device: Qpu) -> None:
    """Into the PUBs' metadata, as the client's own sampler has them (0.51, executor_sampler)."""
    for number, (pub, work) in enumerate(zip(planned, works, strict=True)):
        with pubs.told_of(number):
            told = timing(work.circuit, device)
        pub.metadata["compilation"] = {
            "scheduler_timing": {"timing": told.text, "circuit_duration": told.duration}
        }


def _check_together(options: SamplerOptions) -> None:
    """Options may exclude each other (client 0.51, validate_meas_type_twirling)."""
    kind = options.execution.meas_type
    if kind != "classified" and options.twirling.enable_measure:
        raise InvalidInput(
            f"'meas_type={kind}' and measurement twirling are not compatible.",
            1208,
            "Set `twirling.enable_measure=False` or `execution.meas_type='classified'`.",
        )


def _pub(
    circuit: QuantumCircuit,
    shape: tuple[int, ...],
    shots: int | None,
    options: SamplerOptions,
    number: int,
) -> Pub:
    metadata: dict[str, Any] = {"circuit_metadata": circuit.metadata or {}}
    registers = _registers(circuit, number)
    if not options.twirling.enabled:
        shots = shots or options.default_shots or DEFAULT_SHOTS
        return Pub(shape, shots, 0, shots, registers, metadata)
    kept, randomizations, each = _split(options.twirling, shots, options.default_shots)
    metadata["num_randomizations"] = randomizations
    return Pub(shape, kept, randomizations, each, registers, metadata)


def _split(twirling: Twirling, asked: int | None, default: int | None) -> tuple[int, int, int]:
    """Shots in the result, randomizations, shots of each.

    "The shots value specified in a PUB or in the run() method is [...] always obeyed. [...] the
    product of num_randomizations and shots_per_randomization takes precedence over default_shots"
    (client 0.51, TwirlingOptions). So if the product is too small for a PUB's shots, there are more
    randomizations than the option says.
    """
    shots = asked or default or DEFAULT_SHOTS
    randomizations, each = twirling.split(shots)
    if asked is None and "auto" not in (
        twirling.num_randomizations,
        twirling.shots_per_randomization,
    ):
        shots = randomizations * each
    return shots, max(randomizations, ceil(shots / each)), each


def _work(
    number: int,
    circuit: QuantumCircuit,
    rows: NDArray[np.float64],
    options: SamplerOptions,
    device: Qpu,
) -> Work:
    widths, twirled, runs = None, None, circuit
    with pubs.told_of(number):
        if options.execution.meas_type != "classified":
            widths = kernels.spreads(kernels.places(circuit), device)
        if options.twirling.enabled:
            twirled = twirl(
                circuit,
                options.twirling,
                device,
                gates=bool(options.twirling.enable_gates),
                measures=bool(options.twirling.enable_measure),
            )
            runs = twirled.circuit
        if options.dynamical_decoupling.enable:
            runs = decouple(runs, options.dynamical_decoupling, device)
    return Work(runs, rows, twirled, widths)


def _shots(given: object, where: str) -> int | None:
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= SHOTS_MAX:
        raise InvalidInput(f"{where}: must be a number from 1 to {SHOTS_MAX}.", 1208)
    return given


def _registers(circuit: QuantumCircuit, number: int) -> dict[str, list[int]]:
    """The classical registers, which give the result's fields their names.

    Without one the result is empty (client 0.51, SamplerV2.run warns of that).
    """
    for register in circuit.cregs:
        name = register.name
        if not name.isidentifier() or keyword.iskeyword(name) or hasattr(DataBin, name):
            raise InvalidInput(
                f"PUB {number}: classical register {name[:50]!r}: the name cannot be a result "
                "field's, which is an identifier and no keyword.",
                1208,
            )
    return {
        register.name: [circuit.find_bit(bit).index for bit in register]
        for register in circuit.cregs
    }
