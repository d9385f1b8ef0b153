"""What jobs of every program cost a worker, by stage, and what local testing mode costs.

Processor time of all threads, which other processes disturb least: the best of some rounds. The
stages run in this process, one after the other, as a worker runs them.
Run: .venv/bin/python benchmarks/programs.py            stages of all programs, half a minute
     .venv/bin/python benchmarks/programs.py --local    and what the client does locally, minutes
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.circuit.random import random_circuit
from qiskit.primitives.containers.observables_array import ObservablesArray
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import EstimatorV2, QuantumProgram, RuntimeEncoder, SamplerV2
from qiskit_ibm_runtime.executor_estimator import Estimator as ClientSideEstimator
from qiskit_ibm_runtime.fake_provider import FakeManilaV2, FakeTorino
from qiskit_ibm_runtime.options_models import ExecutorOptions
from qiskit_ibm_runtime.quantum_program.params_converters import QUANTUM_PROGRAM_PARAMS_CONVERTERS

from queuebit.config import BackendConfig
from queuebit.devices.device import Device
from queuebit.programs import program

STAGES = ("check", "prepare", "quantum", "finish")
LEARNING = {
    "shots_per_randomization": 128,
    "num_randomizations": 32,
    "layer_pair_depths": [0, 1, 4],
}
TWIRLED = {"enable_gates": True, "enable_measure": True}


@dataclass
class Work:
    """A job, as text and as what the client's primitives take."""

    name: str
    program_id: str
    pubs: list[Any]
    options: dict[str, Any]
    level: int | None = None

    @property
    def params(self) -> bytes:
        """As the client writes them."""
        frame: dict[str, Any]
        match self.program_id:
            case "executor":
                asked = QuantumProgram(shots=4096)
                for circuit in self.pubs:
                    asked.append_circuit_item(circuit)
                encoder = QUANTUM_PROGRAM_PARAMS_CONVERTERS["v2.0"].encoder
                frame = encoder(asked, ExecutorOptions()).model_dump(mode="json")
            case "noise-learner":
                frame = {"circuits": self.pubs, "options": self.options}
            case _:
                frame = {"pubs": self.pubs, "options": self.options}
                frame |= {"version": 2, "support_qiskit": True}
                frame |= {} if self.level is None else {"resilience_level": self.level}
        return json.dumps(frame, cls=RuntimeEncoder).encode()


def bell() -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure_all()
    return circuit


def works(passes: Any) -> list[Work]:
    """Bell, the guide's part of 100 circuits, and 3 observables at 2 sets of values."""
    first = passes.run(bell())
    many = passes.run([random_circuit(5, 5, measure=True, seed=seed) for seed in range(100)])
    turned = QuantumCircuit(2)
    turned.h(0)
    turned.ry(Parameter("a"), 1)
    turned.cx(0, 1)
    isa = passes.run(turned)
    observables = [[SparsePauliOp(one).apply_layout(isa.layout)] for one in ("ZZ", "XX", "IZ")]
    grid = [(isa, ObservablesArray.coerce(observables).tolist(), np.array([[[0.3], [1.1]]]))]
    learned = {"layer_noise_learning": LEARNING}
    pea = {"zne_mitigation": True, "zne": {"amplifier": "pea"}}
    return [
        Work("sampler, Bell", "sampler", [(first,)], {}),
        Work("sampler, Bell, twirled", "sampler", [(first,)], {"twirling": TWIRLED}),
        Work("sampler, 100 x 5 qubits", "sampler", [(one,) for one in many], {}),
        *(Work(f"estimator 3x2, level {n}", "estimator", grid, {}, n) for n in (0, 1, 2)),
        Work(
            "estimator 3x2, PEC",
            "estimator",
            grid,
            {"resilience": learned | {"pec_mitigation": True}},
        ),
        Work("estimator 3x2, PEA", "estimator", grid, {"resilience": learned | pea}),
        Work("executor, Bell", "executor", [first], {}),
        Work("executor, 100 x 5 qubits", "executor", many, {}),
        Work("noise learner, Bell", "noise-learner", [first], LEARNING),
    ]


def spent_ms(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    made = call()
    return (time.process_time() - start) * 1000, made


def stages(work: Work, device: Device) -> list[float]:
    """Of a job that nothing is known of yet, in milliseconds by stage."""
    named = (work.program_id, work.params, device)
    program._plans = program._Plans()  # noqa: SLF001 - each round reads the parameters anew
    check, _ = spent_ms(lambda: program.validate(*named))
    prepare, prepared = spent_ms(lambda: program.prepare(*named))
    quantum, measured = spent_ms(lambda: program.quantum(work.program_id, prepared.work, device))
    finish, _ = spent_ms(
        lambda: program.finish(work.program_id, prepared.work, measured.raw, device)
    )
    return [check, prepare, quantum, finish]


def local(work: Work, fake: Any) -> Callable[[], Any] | None:
    """The same job in the client's local testing mode; None where it leaves options out."""
    match work:
        case Work(program_id="sampler") if not work.options:
            return lambda: SamplerV2(mode=fake).run(work.pubs).result()
        case Work(program_id="estimator", level=0):
            options = {"resilience_level": 0}
            return lambda: EstimatorV2(mode=fake, options=options).run(work.pubs).result()
    return None


def client_side(work: Work, fake: Any) -> Callable[[], Any] | None:
    """The same job by the client's own twirling and mitigation, run locally.

    It simulates all of the backend's qubits, so the backend must be small.
    """
    if work.program_id != "estimator" or work.level is None:
        return None
    estimator = ClientSideEstimator(mode=fake)
    estimator.options.resilience_level = work.level
    return lambda: estimator.run(work.pubs).result()


def show(fake: Any, snapshot: str, rounds: int, other: Callable[..., Any] | None) -> None:
    device = Device(BackendConfig(name=f"fake_{snapshot}", snapshot=snapshot))
    passes = generate_preset_pass_manager(1, backend=fake, seed_transpiler=1)
    print(f"{snapshot + ', ms':28}" + "".join(f"{stage:>10}" for stage in (*STAGES, "all")))
    for work in works(passes):
        best = min((stages(work, device) for _ in range(rounds)), key=sum)
        print(f"{work.name:28}" + "".join(f"{ms:10.1f}" for ms in (*best, sum(best))), flush=True)
        if other and (call := other(work, fake)):
            took_ms, _ = spent_ms(call)
            print(
                f"    {other.__name__}: {took_ms:.0f} ms, 1/{took_ms / sum(best):.0f}", flush=True
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--local", action="store_true", help="what the client does locally, too")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    show(FakeTorino(), "torino", given.rounds, local if given.local else None)
    if given.local:
        show(FakeManilaV2(), "manila", given.rounds, client_side)


if __name__ == "__main__":
    main()
