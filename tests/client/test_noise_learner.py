"""The noise learners of both clients against a live service."""

import re

import pytest
from tests.client.conftest import NEWEST, OLDEST, ROOT

WALK = ROOT / "tests" / "client" / "noise_learner_walk.py"

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize("client", [NEWEST, OLDEST], ids=["newest", "oldest"])
def test_noise_is_learned_and_taken_back(client, running):
    where = ["--url", running.url, "--data", str(running.data), "--instance", "local"]
    told = running.queuebit("login", "--env", *where)
    environment = dict(re.findall(r"^export (\w+)=(\S+)$", told, re.MULTILINE))

    out = running.run(client, "-W", "ignore", WALK, **environment)

    assert out.endswith("all learned\n")
