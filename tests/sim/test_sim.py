"""A whole service on one seed: its clients, lost workers, failed saves, deaths and restarts.

scripts/test tests/sim/test_sim.py --seeds 1000     # seeds 0 to 999
scripts/test tests/sim/test_sim.py --seed 17        # what a failing seed prints
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.sim.disk import MemoryPayloads
from tests.sim.world import simulate

from queuebit.store.payloads import Payloads

ROOT = Path(__file__).parent.parent.parent


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        seed = metafunc.config.getoption("--seed")
        seeds = range(metafunc.config.getoption("--seeds")) if seed is None else [seed]
        metafunc.parametrize("seed", seeds)


def test_everything_accepted_ends_once_and_is_charged_once(seed: int) -> None:
    try:
        simulate(seed)
    except BaseException as error:
        error.add_note(f"scripts/test tests/sim/test_sim.py --seed {seed}")
        raise


def test_a_seed_tells_everything() -> None:
    """The same world in another process, where sets have another order."""
    seeds = range(3)
    script = (
        "from tests.sim.world import simulate; "
        f"print(*(simulate(seed).digest for seed in {seeds!r}))"
    )
    there = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "7"},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )

    assert there.stdout.split() == [simulate(seed).digest for seed in seeds]


def test_the_worlds_are_full_of_trouble() -> None:
    """Else the rest proves nothing."""
    reports = [simulate(seed) for seed in range(8)]

    assert sum(report.jobs for report in reports) > 100
    assert sum(report.starts for report in reports) > 30
    assert sum(report.faults for report in reports) > 300


@pytest.fixture(params=["memory", "folder"])
def payloads(request: pytest.FixtureRequest, tmp_path: Path) -> Payloads:
    return MemoryPayloads() if request.param == "memory" else Payloads(tmp_path)


def test_payloads_in_memory_are_as_good_as_real_ones(payloads: Payloads) -> None:
    for job_id in ("a", "b", "c"):
        payloads.write(job_id, "params", b"old", durable=True)
        payloads.write(job_id, "raw.1", job_id.encode(), durable=False)
    payloads.write("a", "params", b"new", durable=True)

    payloads.discard("b", ["params", "never.there"])
    payloads.delete("c")
    payloads.delete("unknown")

    assert payloads.read("a", "params") == b"new"
    assert payloads.read("b", "raw.1") == b"b"
    for job_id, name in (("b", "params"), ("c", "raw.1"), ("c", "params"), ("d", "params")):
        with pytest.raises(FileNotFoundError):
            payloads.read(job_id, name)
    assert sorted(payloads.marked()) == ["a", "b"]
    payloads.settle("b")
    assert payloads.marked() == ["a"]
    with pytest.raises(FileNotFoundError):
        payloads.read("b", "raw.1")
    with pytest.raises(ValueError, match="plain"):
        payloads.write("../a", "params", b"", durable=True)
