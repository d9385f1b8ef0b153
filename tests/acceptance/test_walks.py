"""The unmodified client against a live service: all that users of the modes do, in every release.

What they run, the walks beside this file, says `QiskitRuntimeService()` and knows nothing of
Queuebit.
"""

import json

import pytest
from tests.client.conftest import ROOT

WALK = ROOT / "tests" / "acceptance" / "walk.py"
SINCE = {
    "chooses_by_itself": (0, 48),
    "runs_the_executor": (0, 46),
    "learns_noise_of_boxes": (0, 46),
    "samples_on_the_executor": (0, 47),
    "averages_on_the_executor": (0, 48),
}

MISSING = {"deletes_jobs": (0, 44)}  # which only this release has not

pytestmark = pytest.mark.timeout(300)


def test_everything_that_users_do_works(client):
    told = [json.loads(line) for line in client.run(WALK).splitlines() if line.startswith("{")]

    failed = [one for one in told if one["end"] == "failed"]
    assert not failed, "\n".join(f"{one['step']}: {one['why']}" for one in failed)
    absent = {one["step"] for one in told if one["end"] == "absent"}
    assert absent == {
        *(name for name, since in SINCE.items() if client.release < since),
        *(name for name, release in MISSING.items() if client.release == release),
    }
    assert len(told) > 30
