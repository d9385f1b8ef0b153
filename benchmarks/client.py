"""What a user waits for, through the real client, against what they would take instead.

    python benchmarks/client.py            all of it, about ten minutes on two cores
    python benchmarks/client.py --bell     the Bell jobs alone

All figures are from one run on one machine: read the ratios.
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import psutil
from qiskit import QuantumCircuit
from qiskit.circuit.random import random_circuit
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import Batch, EstimatorV2, SamplerV2
from qiskit_ibm_runtime.executor_estimator import Estimator
from qiskit_ibm_runtime.executor_sampler import Sampler
from qiskit_ibm_runtime.fake_provider import FakeTorino

import queuebit.testing

# The laptop's way to connect has one unverified request by design (docs/connecting.md).
warnings.filterwarnings("ignore", message="Unverified HTTPS request")
warnings.filterwarnings("ignore", message="The (Sampler|Estimator)V2 class is deprecated")
JOBS, CIRCUITS = 5, 100


def timed(call: Callable[[], Any]) -> float:
    """Seconds that `call` takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def median(call: Callable[[], Any], times: int) -> float:
    """Median of `times` runs after one that does not count, in seconds."""
    call()
    return statistics.median(timed(call) for _ in range(times))


def bell_circuit(backend: Any) -> QuantumCircuit:
    bell = QuantumCircuit(2)
    bell.h(0)
    bell.cx(0, 1)
    bell.measure_all()
    return generate_preset_pass_manager(1, backend=backend, seed_transpiler=1).run(bell)


def guide_circuits(backend: Any) -> list[list[QuantumCircuit]]:
    """The guide's partitioned circuits: random_circuit(5, 5), a hundred for each of five jobs."""
    circuits = []
    for seed in range(JOBS * CIRCUITS):
        circuit = random_circuit(5, 5, seed=seed)
        circuit.measure_active()
        circuits.append(circuit)
    isa = generate_preset_pass_manager(1, backend=backend, seed_transpiler=1).run(circuits)
    return [isa[i : i + CIRCUITS] for i in range(0, len(isa), CIRCUITS)]


def row(what: str, seconds: float, ratio: str = "") -> None:
    print(f"{what:<62} {seconds:9.3f} s  {ratio}", flush=True)


def bell(service: Any, started: float) -> None:
    backend = service.backend("fake_torino")
    circuit = bell_circuit(backend)
    sampler = SamplerV2(mode=backend)
    first = timed(lambda: sampler.run([circuit], shots=4096).result())
    row("Bell on 133 qubits, first job after the start", first)
    row("  start of the service until the client is connected", started)
    ours = median(lambda: sampler.run([circuit], shots=4096).result(), 15)
    with Batch(backend=backend) as batch:
        in_batch = SamplerV2(mode=batch)
        batched = median(lambda: in_batch.run([circuit], shots=4096).result(), 15)
    local = SamplerV2(mode=FakeTorino())
    theirs = median(lambda: local.run([circuit], shots=4096).result(), 1)
    row("Bell on 133 qubits, local testing mode", theirs)
    row("Bell on 133 qubits, service, job mode, warm", ours, f"1/{theirs / ours:.0f}")
    row("Bell on 133 qubits, service, in a batch, warm", batched, f"1/{theirs / batched:.0f}")


def primitives(service: Any) -> None:
    """A Bell job by the client-side primitives and by the others, in turn.

    Beside the time of all stands the processor time of the client: its own work, whatever the
    service does.
    """
    backend = service.backend("fake_torino")
    measured = bell_circuit(backend)
    bare = measured.remove_final_measurements(inplace=False)
    observable = SparsePauliOp("ZZ").apply_layout(measured.layout)
    level_0 = EstimatorV2(mode=backend, options={"resilience_level": 0})
    client_level_0 = Estimator(mode=backend)
    client_level_0.options.resilience_level = 0
    calls: dict[str, Callable[[], Any]] = {
        "SamplerV2": lambda: SamplerV2(mode=backend).run([measured]).result(),
        "client-side Sampler": lambda: Sampler(mode=backend).run([measured]).result(),
        "EstimatorV2": lambda: EstimatorV2(mode=backend).run([(bare, observable)]).result(),
        "client-side Estimator": lambda: Estimator(mode=backend).run([(bare, observable)]).result(),
        "EstimatorV2, level 0": lambda: level_0.run([(bare, observable)]).result(),
        "client-side Estimator, level 0": lambda: client_level_0.run([(bare, observable)]).result(),
    }
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for _ in range(16):
        for name, call in calls.items():
            own = time.process_time()
            whole = timed(call)
            seconds[name].append((whole, time.process_time() - own))
    for name, taken in seconds.items():
        whole, own = (statistics.median(one) for one in zip(*taken[1:], strict=True))
        row(f"Bell on 133 qubits, {name}", whole, f"of which the client computes {own:.3f} s")


def guide(service: Any) -> None:
    backend = service.backend("fake_torino")
    parts = guide_circuits(backend)

    def in_batch() -> None:
        with Batch(backend=backend):
            sampler = SamplerV2()
            jobs = [sampler.run(part) for part in parts]
        for job in jobs:
            job.result()

    def one_by_one() -> None:
        sampler = SamplerV2(mode=backend)
        for part in parts:
            sampler.run(part).result()

    def locally() -> None:
        sampler = SamplerV2(mode=FakeTorino())
        for part in parts:
            sampler.run(part).result()

    batch, single = [], []
    for _ in range(3):  # in turn, so that the machine's moods fall on both
        batch.append(timed(in_batch))
        single.append(timed(one_by_one))
    ours, alone = statistics.median(batch), statistics.median(single)
    theirs = timed(locally)
    what = f"{JOBS} jobs x {CIRCUITS} circuits"
    row(f"{what}, local testing mode", theirs)
    row(f"{what}, service, job mode, one by one", alone, f"1/{theirs / alone:.1f}")
    row(f"{what}, service, batch", ours, f"1/{theirs / ours:.1f} of local")
    row("  batch against job mode", ours, f"{ours / alone:.2f}x")


def memory() -> None:
    me = psutil.Process()
    for child in me.children(recursive=True):
        rss = child.memory_info().rss / 2**20
        unshared = child.memory_full_info().uss / 2**20
        print(
            f"process {' '.join(child.cmdline())[-40:]:<42} {rss:6.0f} MiB, own {unshared:6.0f} MiB"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bell", action="store_true", help="only the Bell jobs")
    only_bell = parser.parse_args().bell
    began = time.perf_counter()
    with queuebit.testing.service() as running:
        service = running.connect()
        bell(service, time.perf_counter() - began)
        primitives(service)
        if not only_bell:
            guide(service)
        memory()


if __name__ == "__main__":
    main()
