"""While somebody attacks, an honest user of another instance submits jobs and reads results."""

import os
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
JOBS = 4
GROWTH_MAX_MB = 150


@pytest.fixture(scope="module")
def attacks() -> Iterator[object]:
    sys.path.insert(0, str(BENCHMARKS))
    import attacks  # noqa: PLC0415 - a script beside the package

    yield attacks
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def victim(attacks) -> Iterator[tuple[int, int]]:
    """A service that may open 400 files: attackers have more."""
    with attacks.service(descriptors=400) as found:
        crn = attacks.crn_of(found[0], attacks.HONEST)
        with closing(attacks.Honest(found[0], crn)) as honest:
            honest.run(JOBS)
        yield found


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "name",
    [
        "silent",
        "half_heads",
        "trailers",
        "large_bodies",
        "nested_gates",
        "million_instructions",
        "brackets",
        "unread_lists",
        "announcements",
        "nonsense",
    ],
)
def test_others_go_on_working(attacks, victim: tuple[int, int], name: str):
    port, pid = victim
    process = psutil.Process(pid)
    before_mb = process.memory_info().rss / 2**20
    honest = attacks.Honest(port, attacks.crn_of(port, attacks.HONEST))

    target = attacks.Target(port, attacks.crn_of(port, attacks.ATTACKER))
    with closing(honest), attacks.attacked(target, name):
        honest.run(3 * JOBS)
        grown_mb = process.memory_info().rss / 2**20 - before_mb
        descriptors = len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - of the kernel

    assert honest.failures == []
    assert len(honest.results) == 3 * JOBS
    assert grown_mb < GROWTH_MAX_MB
    assert descriptors < 400
