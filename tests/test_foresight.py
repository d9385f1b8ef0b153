"""Looking ahead costs little however many ask, and how long stages last is learnt."""

import asyncio

from queuebit.core.events import JobSubmitted
from queuebit.core.forward import Unknown
from queuebit.core.model import Backend, Job, Stage
from queuebit.core.scheduler import Scheduler
from queuebit.foresight import Foreseen, Foresight
from queuebit.stage_times import StageTimes


def submitted(*job_ids: str) -> Scheduler:
    scheduler = Scheduler([Backend(name="q", lanes=1)])
    for job_id in job_ids:
        scheduler.handle(JobSubmitted(job_id=job_id, instance="i", backend="q"), 0)
    return scheduler


def job(**changes) -> Job:
    about = {"id": "j", "seq": 1, "instance": "i", "backend": "q", "created_at": 0}
    return Job(**(about | changes))


async def test_the_first_start_and_the_last_end_of_several_are_told():
    looks = Foresight(submitted("a", "b", "c"), StageTimes())

    assert await looks.of(["b", "c"], 0) == Foreseen(start=2_125, end=3 * 2_125)


async def test_looks_that_cost_little_are_made_anew():
    scheduler = submitted("a", "b")
    looks = Foresight(scheduler, StageTimes())
    before = await looks.of(["b"], 0)
    scheduler.handle(JobSubmitted(job_id="c", instance="i", backend="q"), 0)

    assert await looks.of(["b"], 1_000_000) != before
    assert await looks.of(["c"], 0) == Foreseen(start=4_250, end=6_375)


async def test_a_dear_look_serves_all_who_ask_for_many_times_as_long():
    scheduler = submitted("a", "b")
    looks = Foresight(scheduler, StageTimes(), cheap_s=0.0, rest=1_000_000)

    told = await asyncio.gather(*(looks.of(["b"], now) for now in range(20)))
    scheduler.handle(JobSubmitted(job_id="c", instance="i", backend="q"), 0)

    assert told == [told[0]] * 20
    assert await looks.of(["b"], 1_000_000) == told[0]
    # But not for one that came since.
    assert (await looks.of(["c"], 1_000_000)).start == 1_000_000 + 3_250


async def test_one_unknown_end_is_the_end_of_all():
    scheduler = submitted("a")
    scheduler.index.backends["q"].backend = Backend(name="q", lanes=0)
    scheduler.handle(JobSubmitted(job_id="b", instance="i", backend="q"), 0)

    told = await Foresight(scheduler, StageTimes()).of(["a", "b"], 0)
    assert told == Foreseen(start=0, end=Unknown.NEVER)


def test_before_anything_was_seen_the_guesses_stand():
    times = StageTimes(real_timing={"real"})

    assert times(job(), Stage.PREPARE) == 1_000
    assert times(job(), Stage.FINISH) == 500
    assert times(job(estimated_ms=8_000), Stage.QUANTUM) == 2_000
    assert times(job(), Stage.QUANTUM) == 625
    assert times(job(backend="real", estimated_ms=8_000), Stage.QUANTUM) == 8_000


def test_what_was_seen_counts_the_latest_most_for_its_backend_alone():
    times = StageTimes()
    times.saw(job(), Stage.PREPARE, 100)
    assert times(job(), Stage.PREPARE) == 100
    times.saw(job(), Stage.PREPARE, 200)

    assert times(job(), Stage.PREPARE) == 120
    assert times(job(backend="other"), Stage.PREPARE) == 1_000


def test_the_quantum_stage_is_learnt_as_a_share_of_the_qpus_time():
    times = StageTimes()
    times.saw(job(estimated_ms=4_000), Stage.QUANTUM, 2_000)

    assert times(job(estimated_ms=30_000), Stage.QUANTUM) == 15_000


def test_frozen_times_learn_nothing_more():
    times = StageTimes()
    frozen = times.frozen()
    times.saw(job(), Stage.PREPARE, 7)

    assert (frozen(job(), Stage.PREPARE), times(job(), Stage.PREPARE)) == (1_000, 7)
