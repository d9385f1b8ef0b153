"""QRMI, with which Slurm and other schedulers reach IBM's QPUs, against a live service."""

import pytest
from tests.client.conftest import NEWEST, ROOT
from tests.fakes_tenants import crn_of

from queuebit.config import InstanceConfig

WALK = ROOT / "tests" / "client" / "qrmi_walk.py"

pytestmark = pytest.mark.timeout(300)


def test_qrmi_lists_acquires_runs_reads_and_releases(running):
    key = (running.data / "api-key").read_text().strip()
    crn = crn_of(InstanceConfig(name="local"))

    out = running.run(NEWEST, "-W", "ignore", WALK, running.url, key, crn)

    assert out.endswith("all done\n")
