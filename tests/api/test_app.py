import asyncio
import os
import signal
import sys
from pathlib import Path

import httpx
import pytest
from tests.api.conftest import SAMPLER
from tests.api.doubles import Workers
from tests.fakes_tenants import crn_of

from queuebit.app import Service, run
from queuebit.clock import FastClock, SystemClock
from queuebit.config import BackendConfig, Config
from queuebit.engines.task import Outcome, Task
from queuebit.errors import ConfigError
from queuebit.store.payloads import Payloads

MANILA = (BackendConfig(name="fake_manila", snapshot="manila"),)


def config_of(data: Path, **settings) -> Config:
    return Config(data=data, port=0, backends=MANILA, **{"reserve_mb": 0, **settings})


async def ask(service: Service, method: str, path: str, **more) -> httpx.Response:
    headers = {
        "Authorization": f"apikey {service.key}",
        "Service-CRN": crn_of(service.config.instances[0]),
    }
    async with httpx.AsyncClient(base_url=f"{service.url}/api/v1", headers=headers) as http:
        return await http.request(method, path, **more)


async def submit(service: Service) -> str:
    answer = await ask(service, "POST", "/jobs", json=SAMPLER)
    assert answer.status_code == 200, answer.text
    job_id: str = answer.json()["id"]
    return job_id


async def test_a_job_runs_and_is_there_after_a_restart(tmp_path: Path):
    workers = Workers()
    workers.on_finish = lambda task: Payloads(tmp_path / "payloads").write(
        task.job_id, f"result.{task.run}", b"{}", durable=True
    )
    async with Service(config_of(tmp_path), engine=workers) as service:
        job_id = await submit(service)
        workers.going_on.set()
        await service.driver.wait_for_end(job_id, 5)

    async with Service(config_of(tmp_path), engine=Workers()) as service:
        told = (await ask(service, "GET", f"/jobs/{job_id}")).json()
        result = await ask(service, "GET", f"/jobs/{job_id}/results")
        metrics = (await ask(service, "GET", f"/jobs/{job_id}/metrics")).json()

    assert (told["status"], told["params"]) == ("Completed", SAMPLER["params"])
    assert result.content == b"{}"
    assert metrics["circuits_execution_time_ns"] == 123


async def test_what_ran_when_it_stopped_runs_again(tmp_path: Path):
    async with Service(config_of(tmp_path), engine=Workers()) as service:
        job_id = await submit(service)

    workers = Workers()
    workers.going_on.set()
    async with Service(config_of(tmp_path), engine=workers) as service:
        await service.driver.wait_for_end(job_id, 5)
        metrics = (await ask(service, "GET", f"/jobs/{job_id}/metrics")).json()

    assert metrics["queuebit"]["stages"]["runs"] == 2
    assert metrics["usage"]["quantum_seconds"] == 2.1


async def test_what_was_paused_stays_paused_over_a_restart(tmp_path: Path):
    where = "/queuebit/backends/fake_manila"
    async with Service(config_of(tmp_path), engine=Workers()) as service:
        await ask(service, "PATCH", where, json={"status": "paused", "reason": "warm"})
        job_id = await submit(service)

    workers = Workers()
    workers.going_on.set()
    async with Service(config_of(tmp_path), engine=workers) as service:
        (device,) = (await ask(service, "GET", "/backends")).json()["devices"]
        waiting = (await ask(service, "GET", f"/jobs/{job_id}")).json()["status"]
        await ask(service, "PATCH", where, json={"status": "online"})
        await service.driver.wait_for_end(job_id, 5)
        ended = (await ask(service, "GET", f"/jobs/{job_id}")).json()["status"]

    assert device["status"] == {"name": "paused", "reason": "warm"}
    assert device["queue_length"] == 1
    assert (waiting, ended) == ("Queued", "Completed")


async def test_it_stops_at_once_though_clients_and_jobs_are_there(tmp_path: Path):
    service = Service(config_of(tmp_path, hold_ms=300), engine=Workers())
    loop = asyncio.get_running_loop()
    async with service, httpx.AsyncClient() as idle:
        await idle.get(f"{service.url}/api/v1/versions")  # and keeps its connection
        job_id = await submit(service)
        held = asyncio.create_task(ask(service, "GET", f"/jobs/{job_id}"))
        await asyncio.sleep(0.05)
        before = loop.time()
        service.stop()
        await service.serve_forever()
        took = loop.time() - before

    assert took < 2
    assert (await held).json()["status"] == "Running"  # what was asked is answered


async def test_a_client_that_goes_away_during_validation_leaves_nothing_behind(tmp_path: Path):
    validating, answered = asyncio.Event(), asyncio.Event()

    class SlowWorkers(Workers):
        ended = False

        async def run(self, task: Task) -> Outcome:
            validating.set()
            await answered.wait()
            self.ended = True
            return Outcome()

    workers = SlowWorkers()
    async with Service(config_of(tmp_path), engine=workers) as service:
        request = asyncio.create_task(submit(service))
        await validating.wait()
        assert list((tmp_path / "payloads").iterdir())
        request.cancel()
        await asyncio.wait({request})
        # The server hears of the closed connection before of what is asked on the next.
        assert (await ask(service, "GET", "/jobs")).json()["count"] == 0
        answered.set()
        service.stop()
        await service.serve_forever()
        left = list((tmp_path / "payloads").iterdir())

    assert left == []
    assert workers.ended  # it was not killed


async def test_two_services_never_share_a_data_folder(tmp_path: Path):
    async with Service(config_of(tmp_path), engine=Workers()):
        with pytest.raises(ConfigError, match=f"in use by another service, process {os.getpid()}"):
            await Service(config_of(tmp_path), engine=Workers()).__aenter__()

    async with Service(config_of(tmp_path), engine=Workers()) as again:
        assert again.url


async def test_a_port_in_use_keeps_it_from_starting(tmp_path: Path):
    async with Service(config_of(tmp_path / "a"), engine=Workers()) as service:
        taken = config_of(tmp_path / "b").model_copy(
            update={"port": int(service.url.rpartition(":")[2])}
        )
        with pytest.raises(ConfigError, match="port"):
            await Service(taken, engine=Workers()).__aenter__()


async def test_it_does_not_start_without_a_backend_that_unfinished_work_needs(tmp_path: Path):
    async with Service(config_of(tmp_path), engine=Workers()) as service:
        job_id = await submit(service)

    lagos = BackendConfig(name="fake_lagos", snapshot="lagos")
    other = Config(data=tmp_path, port=0, backends=(lagos,))
    with pytest.raises(ConfigError, match=f"fake_manila is not there, but job {job_id}"):
        await Service(other, engine=Workers()).__aenter__()


async def test_payloads_without_a_job_are_swept_at_start(tmp_path: Path):
    async with Service(config_of(tmp_path), engine=Workers()) as service:
        job_id = await submit(service)
    payloads = Payloads(tmp_path / "payloads")
    payloads.write("orphan", "params", b"{}", durable=False)

    async with Service(config_of(tmp_path), engine=Workers()):
        assert payloads.read(job_id, "params")
        with pytest.raises(FileNotFoundError):
            payloads.read("orphan", "params")


class DiskFullError(Exception):
    pass


async def fail(*saved):
    raise DiskFullError


async def test_a_failed_save_ends_the_service(tmp_path: Path):
    """What was asked is never answered with a 5xx: the client would repeat what may be stored."""
    service = Service(config_of(tmp_path), engine=Workers())

    async def fill_the_disk() -> None:
        async with service:
            service.database.save = fail
            asking = asyncio.create_task(submit(service))
            try:
                await service.serve_forever()
            finally:
                with pytest.raises(httpx.TransportError):
                    await asking

    with pytest.raises(DiskFullError):
        await fill_the_disk()


async def test_a_failed_save_is_told_at_the_end_of_the_block_too(tmp_path: Path):
    service = await Service(config_of(tmp_path), engine=Workers()).__aenter__()
    service.database.save = fail
    with pytest.raises(httpx.TransportError):
        await submit(service)

    with pytest.raises(DiskFullError):
        await service.__aexit__(None, None, None)


async def test_what_takes_too_long_at_the_end_is_dropped_without_an_answer(tmp_path: Path):
    validating = asyncio.Event()

    class StuckWorkers(Workers):
        async def run(self, task: Task) -> Outcome:
            validating.set()
            await asyncio.Event().wait()
            return Outcome()

    async with Service(config_of(tmp_path), engine=StuckWorkers()) as service:
        asking = asyncio.create_task(submit(service))
        await validating.wait()

    with pytest.raises(httpx.TransportError):
        await asking
    assert list((tmp_path / "payloads").iterdir()) == []


async def test_speed_makes_the_clock_fast_and_never_steps_back(tmp_path: Path):
    settings = config_of(tmp_path, speed=1000.0)
    async with Service(settings, engine=Workers()) as service:
        await asyncio.sleep(0.05)  # 50 s
        job_id = await submit(service)
        before = (await service.database.job(job_id)).record.created_at

    async with Service(settings, engine=Workers()) as service:
        later = await submit(service)
        after = (await service.database.job(later)).record.created_at

    assert isinstance(service.driver._clock, FastClock)
    assert after > before


async def test_a_fast_clock_goes_on_behind_what_has_ended_and_was_deleted(tmp_path: Path):
    settings = config_of(tmp_path, speed=100_000.0)
    workers = Workers()
    workers.going_on.set()
    async with Service(settings, engine=workers) as service:
        await asyncio.sleep(0.05)  # more than an hour
        job_id = await submit(service)
        await service.driver.wait_for_end(job_id, 5)
        ended = (await service.database.job(job_id)).record.ended_at
        await ask(service, "DELETE", f"/jobs/{job_id}")

    async with Service(settings, engine=workers) as service:
        started = service.driver._clock.now()

    assert started >= ended > SystemClock().now() + 3_600_000


async def test_the_address_is_one_that_can_be_asked(tmp_path: Path):
    everywhere = config_of(tmp_path).model_copy(update={"host": "0.0.0.0"})
    async with Service(everywhere, engine=Workers()) as service:
        assert service.url.startswith("http://127.0.0.1:")
        assert (await ask(service, "GET", "/versions")).status_code == 200


PROGRAM = """
import asyncio, sys
from pathlib import Path
from queuebit.app import Service, run
from tests.api.test_app import config_of, Workers

async def main():
    async with Service(config_of(Path(sys.argv[1])), engine=Workers()) as service:
        loop = asyncio.get_running_loop()
        # Told once serve_forever waits, and so listens for signals.
        loop.call_soon(lambda: print(type(loop).__module__, service.url, flush=True))
        await service.serve_forever()
    print("stopped", flush=True)

run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_stops_it_gracefully(tmp_path: Path, number: int):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert (await process.stdout.readline()).startswith(b"uvloop http://127.0.0.1:")
    process.send_signal(number)

    assert await process.stdout.read() == b"stopped\n"
    assert await process.wait() == 0


def test_run_returns_what_its_coroutine_does():
    async def main() -> int:
        return 3

    assert run(main()) == 3
