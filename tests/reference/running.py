"""Runs cases, and compares what comes out with the reference."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp
from qiskit_ibm_runtime import QuantumProgram, RuntimeDecoder, RuntimeEncoder
from qiskit_ibm_runtime.decoders.executor.decoder import ExecutorResultDecoder
from qiskit_ibm_runtime.models import BackendProperties
from samplomatic import build
from samplomatic.transpiler import generate_boxing_pass_manager
from scipy.stats import norm
from tests.programs.quantum_programs import body
from tests.reference.cases import Case, device
from tests.reference.comparison import Chances, Verdict, compare
from tests.reference.interpreter import Interpreter
from tests.reference.methods import Used, forced
from tests.reference.noise import Noise

from queuebit.devices.device import Device, Experiment
from queuebit.devices.propagation import Budget
from queuebit.errors import InvalidInput
from queuebit.programs import program


@dataclass(frozen=True)
class Outcome:
    """What became of a case."""

    verdict: Verdict
    methods: frozenset[str] = frozenset()
    refused: str = ""
    """Why it was refused before it ran."""


def run(one: Case, *, again: bool = False) -> Outcome:
    """Run a case and compare; `again`: a second time, with other bits and more of them."""
    if again:
        larger = {id(pub): pub.larger() for pub in one.pubs}
        one = replace(one, pubs=tuple(larger[id(pub)] for pub in one.pubs))
    return RUNS[one.kind](one, (one.seed * 2 + again) % 2**31)


def _chances(
    qpu: Device, noise: Callable[[int], Noise], circuit: QuantumCircuit, rows: NDArray[np.float64]
) -> list[Chances]:
    """Of each row, all of the circuit's bits; `noise` by the row's number."""
    known: dict[Any, Chances] = {}
    found = []
    for row, values in enumerate(rows):
        model = noise(row)
        key = (values.tobytes(), str(model.methods))
        if key not in known:
            known[key] = Interpreter(model, qpu.dt).probabilities(circuit, values.tolist())
        found.append(known[key])
    return found


@cache
def _properties(name: str) -> BackendProperties:
    """As a client reads them."""
    return BackendProperties.from_dict(device(name).snapshot.properties())


def _noise(one: Case, used: Used, experiment: int) -> Callable[[int], Noise]:
    return lambda row: Noise(_properties(one.device), used.by_qubit(experiment, row))


def _ideal(one: Case) -> Callable[[int], Noise]:
    return lambda row: Noise(_properties(one.device), "none", "none")


def _of_registers(circuit: QuantumCircuit, chances: Chances) -> Chances:
    """Of the bits that a result shows: one register after the other."""
    places = [circuit.find_bit(bit).index for register in circuit.cregs for bit in register]
    found: Chances = {}
    for bits, chance in chances.items():
        seen = tuple(bits[at] for at in places)
        found[seen] = found.get(seen, 0.0) + chance
    return found


def _least(verdicts: Sequence[Verdict]) -> Verdict:
    if not verdicts:
        return Verdict(1.0, "nothing was measured")
    least = min(verdicts, key=lambda one: one.p_value)
    return Verdict(min(1.0, least.p_value * len(verdicts)), least.by)


def _sample(one: Case, seed: int) -> Outcome:
    qpu = device(one.device)
    experiments = [Experiment(pub.circuit, pub.rows, pub.shots) for pub in one.pubs]
    with forced(one.method) as used:
        try:
            qpu.check(experiments)
        except InvalidInput as refusal:
            return Outcome(Verdict(1.0, ""), refused=refusal.message)
        bits = qpu.sample(experiments, seed=seed).bits
    chances = [
        _chances(qpu, _noise(one, used, at), pub.circuit, pub.rows)
        for at, pub in enumerate(one.pubs)
    ]
    found = [compare(known, made) for known, made in zip(chances, bits, strict=True)]
    found = [Verdict(v.p_value, f"PUB {at}: {v.by}") for at, v in enumerate(found)]
    if len(one.pubs) > 1 and one.pubs[0] is one.pubs[1]:
        # Row by row beside each other: neighbours must be drawn by themselves.
        both = [known for pair in zip(*chances[:2], strict=True) for known in pair]
        found.append(
            compare(both, np.stack(bits[:2], axis=1).reshape(len(both), -1, bits[0].shape[2]))
        )
    return Outcome(_least(found), frozenset(used.names()))


def _stages(program_id: str, params: bytes, qpu: Device) -> str:
    """All stages of a job; what `validate` accepted must run."""
    program._plans = program._Plans()
    prepared = program.prepare(program_id, params, qpu)
    measured = program.quantum(program_id, prepared.work, qpu)
    return program.finish(program_id, prepared.work, measured.raw, qpu).decode()


def _refusal(program_id: str, params: bytes, qpu: Device) -> str:
    program._plans = program._Plans()
    try:
        program.validate(program_id, params, qpu)
    except InvalidInput as refusal:
        return refusal.message or "refused without a word"
    return ""


def _frame(pubs: list[Any], options: dict[str, Any], **others: Any) -> bytes:
    frame = {"pubs": pubs, "options": options, "version": 2, "support_qiskit": True}
    return json.dumps(frame | others, cls=RuntimeEncoder).encode()


def _sampler(one: Case, seed: int) -> Outcome:
    qpu = device(one.device)
    pubs = [[pub.circuit, pub.given, pub.shots] for pub in one.pubs]
    params = _frame(pubs, {"simulator": {"seed_simulator": seed}})
    with forced(one.method) as used:
        if refused := _refusal("sampler", params, qpu):
            return Outcome(Verdict(1.0, ""), refused=refused)
        result = json.loads(_stages("sampler", params, qpu), cls=RuntimeDecoder)
    found = []
    for at, pub in enumerate(one.pubs):
        shape = pub.values.shape[:-1]
        found.append(
            _compared(
                pub.circuit,
                _chances(qpu, _noise(one, used, at), pub.circuit, pub.rows),
                {name: value.to_bool_array("little") for name, value in result[at].data.items()},
                (*shape, pub.shots),
            )
        )
    return Outcome(_least(found), frozenset(used.names()))


def _compared(
    circuit: QuantumCircuit,
    chances: list[Chances],
    data: dict[str, NDArray[np.bool_]],
    shape: tuple[int, ...],
) -> Verdict:
    """Registers of a result, each of `shape` and its bits."""
    assert list(data) == [register.name for register in circuit.cregs]
    for register in circuit.cregs:
        assert data[register.name].shape == (*shape, len(register)), register
    bits = np.concatenate(list(data.values()), axis=-1).reshape(len(chances), shape[-1], -1)
    return compare([_of_registers(circuit, known) for known in chances], bits)


def _twirled_sampler(one: Case, seed: int) -> Outcome:
    """Without noise, twirling changes nothing; with it, each randomization is one more circuit."""
    pubs = [[pub.circuit, pub.given, pub.shots * 20] for pub in one.pubs]
    params = _frame(pubs, {"simulator": {"seed_simulator": seed}, **one.options})
    perfect = device(one.device, ideal=True)
    if refused := _refusal("sampler", params, perfect):
        return Outcome(Verdict(1.0, ""), refused=refused)
    with forced(one.method):
        result = json.loads(_stages("sampler", params, perfect), cls=RuntimeDecoder)
    found = []
    for at, pub in enumerate(one.pubs):
        shape = pub.values.shape[:-1]
        data = {name: value.to_bool_array("little") for name, value in result[at].data.items()}
        chances = _chances(perfect, _ideal(one), pub.circuit, pub.rows)
        found.append(_compared(pub.circuit, chances, data, (*shape, pub.shots * 20)))
    few = [[*pub[:2], own.shots] for pub, own in zip(pubs, one.pubs, strict=True)]
    params = _frame(few, {"simulator": {"seed_simulator": seed}, **one.options})
    verdict, used = intercepted(one, "sampler", params)
    return Outcome(_least([*found, verdict]), used)


def intercepted(one: Case, program_id: str, params: bytes) -> tuple[Verdict, frozenset[str]]:
    """Whether the circuits that a program makes of `params` have the bits of the reference.

    Those of its last round, on the case's device by the case's method.
    """
    qpu = device(one.device)
    seen: list[tuple[Sequence[Experiment], Any]] = []
    sample = qpu.sample

    def recording(experiments: Sequence[Experiment], **others: Any) -> Any:
        samples = sample(experiments, **others)
        seen.append((experiments, samples.bits))
        return samples

    with forced(one.method) as used, patch.object(qpu, "sample", recording):
        _stages(program_id, params, qpu)
    experiments, bits = seen[-1]
    found = [
        compare(_chances(qpu, _noise(one, used, at), made.circuit, made.values), bits[at])
        for at, made in enumerate(experiments)
    ]
    found = [Verdict(v.p_value, f"experiment {at}: {v.by}") for at, v in enumerate(found)]
    return _least(found), frozenset(used.names())


def _executed(made: QuantumProgram, seed: int, qpu: Device) -> tuple[bytes, str]:
    """The parameters of a job, and why it is refused."""
    params = json.dumps(body(made, experimental={"simulator": {"seed_simulator": seed}})).encode()
    return params, _refusal("executor", params, qpu)


def _executor(one: Case, seed: int) -> Outcome:
    qpu = device(one.device)
    made = QuantumProgram(shots=one.pubs[0].shots)
    for pub in one.pubs:
        made.append_circuit_item(pub.circuit, circuit_arguments=pub.values)
    with forced(one.method) as used:
        params, refused = _executed(made, seed, qpu)
        if refused:
            return Outcome(Verdict(1.0, ""), refused=refused)
        result = ExecutorResultDecoder.decode(_stages("executor", params, qpu))
    found = []
    for at, pub in enumerate(one.pubs):
        shape = pub.values.shape[:-1]
        chances = _chances(qpu, _noise(one, used, at), pub.circuit, pub.rows)
        names = [register.name for register in pub.circuit.cregs]
        data = {name: np.asarray(result[at][name]) for name in names}
        found.append(_compared(pub.circuit, chances, data, (*shape, made.shots)))
    return Outcome(_least(found), frozenset(used.names()))


def _samplex(one: Case, seed: int) -> Outcome:
    """Items with a samplex: randomizations and sets of values, on a QPU without noise."""
    perfect = device(one.device, ideal=True)
    rng = np.random.default_rng(one.seed)
    made, twirling = QuantumProgram(shots=int(rng.choice([1, 5]))), one.options["twirling"]
    manager = generate_boxing_pass_manager(
        enable_gates=twirling["enable_gates"], enable_measures=twirling["enable_measure"]
    )
    shapes = []
    for pub in one.pubs:
        template, samplex = build(manager.run(pub.circuit))
        arguments = {}
        if samplex.parameters:
            columns = [list(pub.circuit.parameters).index(p) for p in samplex.parameters]
            arguments = {"parameter_values": pub.rows[:, columns]}
        shapes.append((24 * pub.shots // made.shots, len(pub.rows)))
        made.append_samplex_item(
            template, samplex=samplex, samplex_arguments=arguments, shape=shapes[-1]
        )
    with forced(one.method) as used:
        params, refused = _executed(made, seed, perfect)
        if refused:
            return Outcome(Verdict(1.0, ""), refused=refused)
        result = ExecutorResultDecoder.decode(_stages("executor", params, perfect))
    found = []
    for at, (pub, shape) in enumerate(zip(one.pubs, shapes, strict=True)):
        data = {}
        for register in pub.circuit.cregs:
            bits = np.asarray(result[at][register.name])
            flips = f"measurement_flips.{register.name}"
            data[register.name] = (
                bits ^ np.asarray(result[at][flips]) if flips in result[at] else bits
            )
        chances = _chances(perfect, _ideal(one), pub.circuit, pub.rows)
        found.append(_compared(pub.circuit, chances * shape[0], data, (*shape, made.shots)))
    return Outcome(_least(found), frozenset(used.names()))


def _observable(one: Case) -> SparsePauliOp:
    labels = one.options["observable"]
    return SparsePauliOp(list(labels), list(labels.values()))


def _estimator(one: Case, seed: int) -> Outcome:
    """Values on a QPU without noise are within their errors; bits are those of the circuits."""
    (pub,), qpu = one.pubs, device(one.device, ideal=True)
    values = pub.values if pub.circuit.num_parameters else None
    pubs = [[pub.circuit, one.options["observable"], values, pub.shots**-0.5]]
    options = {"seed_estimator": seed}
    if one.options["level"]:
        options["twirling"] = {"shots_per_randomization": 1 if pub.shots < 1000 else 16}
    params = _frame(pubs, options, resilience_level=one.options["level"])
    if refused := _refusal("estimator", params, qpu):
        return Outcome(Verdict(1.0, ""), refused=refused)
    data = json.loads(_stages("estimator", params, qpu), cls=RuntimeDecoder)[0].data
    observable = _observable(one)
    interpreter = Interpreter(_ideal(one)(0), qpu.dt)
    rows = pub.rows if pub.circuit.num_parameters else pub.rows[:1]
    wanted = [interpreter.expectation(pub.circuit, observable, row.tolist()) for row in rows]
    # Of nearly certain outcomes the measured spread may be 0 by chance.
    floor = 3 * float(np.abs(observable.coeffs).sum()) / pub.shots
    z = np.abs(np.ravel(data.evs) - wanted) / np.hypot(np.ravel(data.stds), floor)
    found = [Verdict(float(2 * norm.sf(one)), "an expectation value") for one in z]
    few = _frame([[*pubs[0][:3], 0.2]], options, resilience_level=one.options["level"])
    verdict, used = intercepted(one, "estimator", few)
    return Outcome(_least([*found, verdict]), used)


def _propagation(one: Case, seed: int) -> Outcome:
    (pub,), qpu = one.pubs, device(one.device)
    readout, observable = one.options["readout"], _observable(one)
    try:
        made = qpu.propagate(
            pub.circuit, pub.rows, [observable], readout=readout, budget=Budget(10**5, 1e-12)
        )
    except InvalidInput as refusal:
        return Outcome(Verdict(1.0, ""), refused=refusal.message)
    noise = Noise(_properties(one.device), "stabilizer", readout)
    interpreter = Interpreter(noise, qpu.dt)
    wanted = [interpreter.expectation(pub.circuit, observable, row.tolist()) for row in pub.rows]
    wrong = np.abs(made.values[:, 0] - wanted).max()
    right = wrong < 1e-6 and made.bounds.max() < 1e-6
    verdict = Verdict(1.0 if right else 0.0, f"a value is off by {wrong:.3g}")
    return Outcome(verdict, frozenset({"pauli_propagation"}))


RUNS: dict[str, Callable[[Case, int], Outcome]] = {
    "device": _sample,
    "sampler": _sampler,
    "executor": _executor,
    "twirled sampler": _twirled_sampler,
    "samplex": _samplex,
    "estimator": _estimator,
    "propagation": _propagation,
}
