"""The sampler's options with the newest and the oldest client, against one live service."""

import re

import pytest
from tests.client.conftest import CONFIG, NEWEST, OLDEST, ROOT, serve

SCRIPT = ROOT / "tests" / "client" / "sampling.py"
CHECKS = (
    "correlations, same seed same bits, twirling, decoupling, kerneled, dynamic circuits, refusals"
)

# It has loops and a switch, which IBM's QPUs do not take.
BACKENDS = """
[[backends]]
name = "fake_torino"
snapshot = "torino"
dynamic_circuits = "all"
"""

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with serve(tmp_path_factory.mktemp("service"), settings=CONFIG + BACKENDS) as running:
        yield running


@pytest.mark.parametrize("python", [NEWEST, OLDEST], ids=["newest", "oldest"])
def test_every_option_does_what_it_says(running, python):
    if not python.exists():
        pytest.skip("`make setup` installs the oldest client")
    where = ["--url", running.url, "--data", str(running.data), "--instance", "local"]
    told = running.queuebit("login", "--env", *where)
    environment = dict(re.findall(r"^export (\w+)=(\S+)$", told, re.MULTILINE))

    out = running.run(python, "-W", "ignore", SCRIPT, "fake_torino", **environment)

    assert out.split("\n")[:-1] == CHECKS.split(", ")
