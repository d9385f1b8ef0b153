"""What the newest client finds out of backends and usage, against a live service."""

import pytest
from tests.client.conftest import NEWEST, ROOT, serve

WALK = ROOT / "tests" / "client" / "backends_walk.py"
CONFIG = """
[[backends]]
name = "fez"
snapshot = "fez"
fractional = true
[[backends]]
name = "plain"
snapshot = "fez"
[[backends]]
name = "manila"
snapshot = "manila"
[[backends]]
name = "old"
snapshot = "london"
[[instances]]
name = "local"
limit_s = 600.4
"""

pytestmark = pytest.mark.timeout(300)


def test_backends_tell_their_qubits_and_gates_and_the_usage_is_whole(tmp_path):
    with serve(tmp_path, settings=CONFIG) as running:
        running.queuebit("login", "--url", running.url, "--data", running.data)

        out = running.run(NEWEST, "-W", "ignore", WALK)

    assert out.endswith("all found\n")
