"""What every test may use."""

import os

import pytest

# A test's service is gone before its disk is full; a reserve for each would fill ours.
os.environ.setdefault("QUEUEBIT_RESERVE_MB", "0")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rewrite",
        action="store_true",
        help="write what happens now into the stories of tests/core/stories; then read the diff",
    )
    parser.addoption(
        "--seeds", type=int, default=300, help="how many seeds of tests/sim to simulate"
    )
    parser.addoption("--seed", type=int, help="the only seed of tests/sim to simulate")
    parser.addoption(
        "--clients",
        default="both",
        help="releases of the client for tests/acceptance: all that are installed, or some: 0.46.1",
    )
