"""A worker that needs too much memory fails its job, and nothing else."""

import asyncio
import json
import logging
import os
from pathlib import Path

import pytest
from qiskit import QuantumCircuit
from qiskit_ibm_runtime import RuntimeEncoder

from queuebit.config import BackendConfig
from queuebit.core.model import Stage
from queuebit.engines.pool import ProcessPool
from queuebit.engines.task import Outcome, Task
from queuebit.store.payloads import Payloads

OUTSIDE = str(Path(__file__).parents[1] / "outside")
LIMIT_MB = 300


def outside(name: str, **options: object) -> BackendConfig:
    return BackendConfig(name=name, device="outside", options=options)


@pytest.fixture
async def pool(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(OUTSIDE)
    circuit = QuantumCircuit(2, 1)
    circuit.measure(0, 0)
    params = {"pubs": [[circuit, None, 5]], "version": 2, "support_qiskit": True, "options": {}}
    backends = [
        outside("numpy", does="numpy", gib=900),
        outside("little", does="little by little", gib=1),
        outside("c", does="c++", gib=900),
        outside("modest", does="nap"),
    ]
    for backend in backends:
        content = json.dumps(params, cls=RuntimeEncoder).encode()
        Payloads(tmp_path).write(backend.name, "params", content, durable=False)
    pool = ProcessPool(
        backends=backends, payloads=tmp_path, workers=3, memory_bytes=LIMIT_MB * 2**20
    )
    stderr = os.dup(2)
    with (tmp_path / "stderr").open("wb") as file:  # of the fork server, and so of its workers
        os.dup2(file.fileno(), 2)
    try:
        await pool.start()
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
    yield pool
    await pool.close()


async def run(pool: ProcessPool, backend: str) -> Outcome:
    """The outcome of the job's quantum stage on `backend`."""
    for stage in (None, Stage.PREPARE, Stage.QUANTUM):
        outcome = await pool.run(
            Task(job_id=backend, run=1, stage=stage, program_id="sampler", backend=backend)
        )
        assert outcome.error is None or stage is Stage.QUANTUM, outcome
    return outcome


async def test_a_job_that_takes_too_much_fails_alone_and_at_once(pool, tmp_path, caplog):
    others = asyncio.create_task(run(pool, "modest"))

    with caplog.at_level(logging.WARNING):
        outcomes = {name: await run(pool, name) for name in ("numpy", "little", "c")}

    for name, outcome in outcomes.items():
        assert outcome.error is not None, name
        assert outcome.error.message == (
            f"The stage quantum needed more memory than its limit of {LIMIT_MB} MiB."
        )
        assert outcome.error.code == 3248
        assert "worker_memory_mb" in outcome.error.solution
        assert outcome.service_fault  # it was let in, so it is not charged
    deaths = [record for record in caplog.records if record.message == "worker died"]
    assert [record.job for record in deaths] == ["c"]  # once: it would die again
    assert "std::bad_alloc" in (tmp_path / "stderr").read_text()  # the operator reads it too
    assert (await others).error is None
    assert (await run(pool, "modest")).usage_ms == 1234
