"""The client's executor, and its primitives on it, against a live service."""

import pytest
from tests.client.conftest import NEWEST, ROOT

WALK = ROOT / "tests" / "client" / "executor_walk.py"

pytestmark = pytest.mark.timeout(300)


def test_the_executor_and_the_primitives_on_it_are_right(running):
    where = ["--url", running.url, "--data", str(running.data), "--instance", "local"]
    running.queuebit("login", *where)

    out = running.run(NEWEST, "-W", "ignore", WALK)

    assert out.endswith("all executed\n")
