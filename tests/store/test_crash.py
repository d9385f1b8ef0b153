"""A save that returned survives `kill -9`; one that did not is there whole or not at all."""

import random
import signal
import subprocess
import sys

from tests.store import saver
from tests.store.saver import JOBS, made, over, told

from queuebit.store.database import Database

LIVES = 3


def save_until_killed(url: str, after: int) -> list[int]:
    """Kill a saver some time after its save number `after`; what it said it had saved."""
    with subprocess.Popen(
        [sys.executable, saver.__file__, url], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        first = [process.stdout.readline() for _ in range(after)]
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.readlines()
    assert process.returncode == -signal.SIGKILL
    return [int(line) for line in [*first, *rest]]


async def test_no_save_that_returned_is_lost(url: str, request):
    rng = random.Random(request.node.nodeid)
    acknowledged: list[int] = []

    for _ in range(LIVES):
        life = save_until_killed(url, after=rng.randint(1, 60))
        acknowledged += life
        database = Database(url)
        await database.open()
        loaded = await database.load()
        for seq in life[:-1]:  # the next save, acknowledged as well, ended its jobs
            await check_saved(database, seq, ended=True)
        # The save under way when the process died: all of it or nothing.
        under_way = life[-1] + 1 + JOBS
        if loaded.last_seq >= under_way:
            assert loaded.last_seq == under_way + JOBS
            await check_saved(database, life[-1], ended=True)
            await check_saved(database, under_way, ended=False)
        else:
            assert loaded.last_seq == under_way - 1
            await check_saved(database, life[-1], ended=False)
        await database.close()

    assert len(set(acknowledged)) == len(acknowledged) >= LIVES


async def check_saved(database: Database, seq: int, *, ended: bool) -> None:
    """All of the save that began with `seq` is there, to the last field."""
    batch, jobs = made(seq)
    details = {detail.id: detail for detail in told(seq)}
    found = await database.workload(batch.id)
    assert found is not None
    assert (found.record, found.details) == (batch, details[batch.id])
    for job in jobs:
        stored = await database.job(job.id)
        assert stored is not None, f"{job.id} was acknowledged and is lost"
        assert stored.details == details[job.id]
        assert stored.record == (over(job) if ended else job)
