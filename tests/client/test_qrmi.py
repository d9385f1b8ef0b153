"""QRMI, with which Slurm and other schedulers reach IBM's QPUs, against a live service."""

import pytest
from tests.client.conftest import NEWEST, ROOT

from queuebit.config import InstanceConfig

WALK = ROOT / "tests" / "client" / "qrmi_walk.py"

pytestmark = pytest.mark.timeout(300)


def test_qrmi_lists_acquires_runs_reads_and_releases(running):
    key = (running.data / "api-key").read_text().strip()
    crn = InstanceConfig(name="local").crn

    out = running.run(NEWEST, "-W", "ignore", WALK, running.url, key, crn)

    assert out.endswith("all done\n")
