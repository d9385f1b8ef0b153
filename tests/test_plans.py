"""A whole service with limits, shares and calibrations, on a clock that stands still, restarted."""

import asyncio
from pathlib import Path

import pytest
from tests.fakes_engine import ScriptedEngine

from queuebit import scheduling
from queuebit.app import Service
from queuebit.clock import VirtualClock
from queuebit.config import (
    BackendConfig,
    CalibrationConfig,
    Config,
    InstanceConfig,
    PlanConfig,
)
from queuebit.core.events import (
    BackendStatusSet,
    JobSubmitted,
    Rule,
    Step,
    Tick,
    WorkloadOpened,
)
from queuebit.core.model import BackendState, BackendStatus, Calibrated, JobStatus, Mode, Stage
from queuebit.engines.task import Outcome
from queuebit.store.details import JobDetails, WorkloadDetails
from queuebit.tenancy import declared

START = 1_790_000_000_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
MANILA = BackendConfig(name="q", snapshot="manila", lanes=1)
MONITOR = CalibrationConfig(kind="monitor", every_s=3_600, lasts_s=120, drift=0.25)


class Site:
    """One data folder, whose services come and go; its clock goes on."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.clock = VirtualClock(START)

    def service(self, *instances: InstanceConfig, **plan: object) -> Service:
        """A service of these instances, all on one plan, whose backend is calibrated hourly."""
        self.engine = ScriptedEngine()
        config = Config(
            data=self.data,
            port=0,
            backends=(MANILA.model_copy(update={"calibrations": (MONITOR,)}),),
            plans=(PlanConfig.model_validate({"name": "plan", **plan}),),
            instances=instances or (InstanceConfig(name="i", plan="plan"),),
        )
        self.running = Service(config, engine=self.engine, clock=self.clock)
        return self.running

    async def submit(self, job_id: str, by: str = "i", *, to: str | None = None) -> Step:
        event = JobSubmitted(job_id=job_id, instance=by, backend="q", workload_id=to)
        details = JobDetails(id=job_id, program_id="sampler")
        return await self.running.driver.send(event, details)

    async def open_session(self, workload_id: str, by: str) -> None:
        event = WorkloadOpened(
            workload_id=workload_id,
            instance=by,
            backend="q",
            mode=Mode.SESSION,
            max_ttl_ms=DAY_MS,
            interactive_ttl_ms=60_000,
            active_ttl_ms=DAY_MS,
            unused_ttl_ms=HOUR_MS,
        )
        await self.running.driver.send(event, WorkloadDetails(id=workload_id, user="u"))

    async def begins(self, job_id: str, stage: Stage) -> None:
        async with asyncio.timeout(5):
            task = await self.engine.begins(job_id)
        assert task.stage is stage

    async def run(self, job_id: str, usage_s: int = 0, *, until: Stage | None = None) -> None:
        """Have a job run to its end, or to the beginning of a stage."""
        for stage in (Stage.PREPARE, Stage.QUANTUM, Stage.FINISH):
            await self.begins(job_id, stage)
            if stage is until:
                return
            usage_ms = usage_s * 1_000 if stage is Stage.QUANTUM else 0
            self.engine.end(job_id, Outcome(usage_ms=usage_ms, estimated_ms=2_000))
        await self.running.driver.wait_for_end(job_id, 5)

    async def tick(self, ms: int) -> None:
        """Let time pass, and all that it brings about be saved."""
        self.clock.advance(ms)
        for _ in range(30):
            await asyncio.sleep(0)
        await self.running.driver.send(Tick())

    async def status(self, job_id: str) -> JobStatus:
        stored = await self.running.database.job(job_id)
        assert stored is not None
        return stored.record.status

    async def state(self) -> BackendState:
        (state,) = [
            record
            for record in (await self.running.database.load()).records
            if isinstance(record, BackendState)
        ]
        return state


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


# -- calibrations, on the clock


async def test_a_calibration_takes_the_qpu_for_as_long_as_it_lasts(site: Site):
    async with site.service():
        await site.tick(HOUR_MS)
        assert (await site.state()).calibrating == "monitor"
        await site.submit("a")
        await site.begins("a", Stage.PREPARE)
        site.engine.end("a")
        await site.tick(119_999)
        assert site.engine.working == []

        site.clock.advance(1)

        await site.begins("a", Stage.QUANTUM)
        ended = START + HOUR_MS + 120_000
        assert await site.state() == BackendState(
            id="q",
            scheduled=(("monitor", ended + HOUR_MS),),
            run=1,
            calibrated_at=ended,
            drawn=1,
            drift=0.25,
        )


async def test_a_calibration_cut_off_by_a_restart_is_done_again(site: Site):
    async with site.service():
        await site.tick(HOUR_MS)
    site.clock.advance(60_000)

    async with site.service():
        await site.submit("a")
        await site.begins("a", Stage.PREPARE)
        site.engine.end("a")
        await site.tick(119_999)
        assert site.engine.working == []
        assert ((await site.state()).run, (await site.state()).calibrating) == (2, "monitor")

        site.clock.advance(1)

        await site.begins("a", Stage.QUANTUM)


async def test_what_a_calibration_drew_holds_from_its_end_and_over_restarts(site: Site):
    drawn = Calibrated(at=START + HOUR_MS + 120_000, drawn=1, drift=0.25)
    async with site.service():
        await site.tick(HOUR_MS)
        await site.submit("a")
        await site.begins("a", Stage.PREPARE)
        assert site.engine.begun[-1].calibrated is None
        site.engine.end("a")
        site.clock.advance(120_000)
        await site.begins("a", Stage.QUANTUM)
        assert site.engine.begun[-1].calibrated == drawn

    async with site.service():
        await site.begins("a", Stage.PREPARE)
        assert site.engine.begun[-1].calibrated == drawn
        assert await site.running.database.calibrated("q", drawn.at) == drawn
        assert await site.running.database.calibrated("q", drawn.at - 1) is None


async def test_a_pause_outlives_a_restart(site: Site):
    pause = BackendStatusSet(backend="q", status=BackendStatus.PAUSED, reason="cold")
    async with site.service():
        await site.running.driver.send(pause)
        await site.submit("a")

    async with site.service():
        assert await site.status("a") is JobStatus.QUEUED
        assert (await site.state()).status_reason == "cold"

        await site.running.driver.send(
            BackendStatusSet(backend="q", status=BackendStatus.ONLINE, reason="")
        )

        await site.begins("a", Stage.PREPARE)


# -- the ledger, over restarts


async def test_a_limit_reached_before_a_restart_holds_until_the_window_rolls(site: Site):
    async with site.service(limit_s=10, window_days=1):
        await site.submit("a")
        await site.run("a", usage_s=10)
        await site.submit("b")
        assert await site.status("b") is JobStatus.QUEUED

    async with site.service(limit_s=10, window_days=1):
        await site.submit("c")
        leaves_at = (START // HOUR_MS + 1) * HOUR_MS + DAY_MS
        await site.tick(leaves_at - 1 - site.clock.now())
        assert site.engine.working == []

        site.clock.advance(1)

        await site.begins("b", Stage.PREPARE)


async def test_a_cost_limit_refuses_after_a_restart_until_it_is_raised(site: Site):
    plan = {"on_limit": "stop", "window_days": "none"}
    async with site.service(limit_s=10, **plan):
        await site.submit("a")
        await site.run("a", usage_s=10)

    async with site.service(limit_s=10, **plan):
        refusal = (await site.submit("b")).refusal
        assert refusal is not None
        assert refusal.rule is Rule.USAGE_LIMIT

    async with site.service(limit_s=11, **plan):
        assert (await site.submit("c")).refusal is None


async def test_shares_go_on_where_they_were_also_of_sessions(site: Site):
    instances = [InstanceConfig(name=name, plan="plan") for name in "ij"]
    async with site.service(*instances):
        await site.submit("a", "j")
        await site.run("a", usage_s=30)
        await site.open_session("S", "i")
        await site.submit("s", "i", to="S")
        await site.run("s", usage_s=1)
        await site.tick(60_000)  # the session is inactive, and charged for a minute
        await site.submit("b", "j")
        await site.submit("i1", "i")
        await site.submit("j1", "j")

    async with site.service(*instances):
        await site.run("b")
        await site.begins("j1", Stage.PREPARE)  # 30 s against 60 s


async def test_the_ledger_after_a_restart_counts_the_same_hours(tmp_path: Path):
    """It once left out what had ended in the window's first hour, but before the very instant."""
    config = Config(
        data=tmp_path,
        plans=(PlanConfig(name="plan", window_days=1),),
        instances=(InstanceConfig(name="i", plan="plan"),),
    )

    records = declared(config, None).instances.values()
    since = scheduling.usage_since(scheduling.instances(records, config.plans), START)

    assert since % HOUR_MS == 0
    assert 0 <= START - DAY_MS - since < HOUR_MS
