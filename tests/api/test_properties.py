"""How good a backend is, now and then: one set of properties per calibration."""

from typing import Any

import pytest
from tests.api.conftest import START, Api

from queuebit.api.backends import PropertiesAnswer
from queuebit.config import CalibrationConfig, Config
from queuebit.core.events import Restarted, Tick
from queuebit.core.model import Calibrated

HOUR_MS = 3_600_000
MANILA = "/backends/fake_manila"
# The first ends after 1 h 1 min, the second 1 h 1 min later.
DATES = ["2024-05-27T18:27:23.000Z", "2026-09-21T15:14:20.000Z", "2026-09-21T16:15:20.000Z"]


@pytest.fixture
def config(config: Config) -> Config:
    """As elsewhere, with a backend that drifts."""
    manila, *others = config.backends
    drifts = CalibrationConfig(kind="full", every_s=3_600, lasts_s=60, drift=0.5)
    manila = manila.model_copy(update={"calibrations": (drifts,)})
    return config.model_copy(update={"backends": (manila, *others)})


async def properties(api: Api, updated_before: str | None = None) -> dict[str, Any]:
    query = "" if updated_before is None else f"?updated_before={updated_before}"
    answer = await api.ask("GET", f"{MANILA}/properties{query}")
    PropertiesAnswer.model_validate_json(answer.content)
    told: dict[str, Any] = answer.json()
    return told


async def metrics(api: Api) -> dict[str, Any]:
    devices = (await api.ask("GET", "/backends")).json()["devices"]
    told = {one["name"]: one["performance_metrics"] for one in devices}
    found: dict[str, Any] = told["fake_manila"]
    return found


async def calibrate(api: Api) -> None:
    """Let time pass until one has ended."""
    for ms in (HOUR_MS, 60_000):
        api.clock.advance(ms)
        for _ in range(2):
            await api.send(Tick())


async def test_the_set_in_force_at_an_instant_is_told(api: Api):
    await api.send(Restarted())
    sets = [await properties(api)]
    for _ in range(2):
        await calibrate(api)
        sets.append(await properties(api))

    assert [told["last_update_date"] for told in sets] == DATES
    assert len({told["qubits"][0][0]["value"] for told in sets}) == 3
    for at, told in {
        "2020-01-01T00:00:00Z": sets[0],  # before anything was known
        "2026-09-21T15:14:19.999Z": sets[0],
        DATES[1]: sets[1],
        "2026-09-21T18:15:20%2B02:00": sets[2],
        "2026-09-21T16:15:20": sets[2],  # no zone: UTC
        "9999-12-31T23:59:59Z": sets[2],
    }.items():
        assert await properties(api, at) == told, at


async def test_the_list_tells_the_medians_of_the_newest_set(api: Api):
    await api.send(Restarted())
    before = await metrics(api)
    await calibrate(api)

    assert (await metrics(api)).keys() == before.keys()
    assert await metrics(api) != before


async def test_a_backend_without_calibrations_has_the_snapshots(api: Api):
    await api.send(Restarted())
    await calibrate(api)
    told = (await api.ask("GET", "/backends/fake_lagos/properties")).json()

    assert told["last_update_date"] < "2026"


async def test_every_stage_gets_the_set_that_is_known_when_it_begins(api: Api):
    api.workers.going_on.set()
    await api.send(Restarted())
    await api.submit()
    await calibrate(api)
    await api.submit()

    first = Calibrated(at=START + HOUR_MS + 60_000, drawn=1, drift=0.5)
    assert [task.calibrated for task in api.workers.validated] == [None, first]
