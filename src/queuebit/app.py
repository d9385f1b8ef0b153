"""Builds the service and runs it; the only file that names concrete classes."""

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import socket
import ssl
import threading
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from queuebit import scheduling
from queuebit.api.certificates import Certificate, name_in, tunnel_context
from queuebit.api.health import Gate
from queuebit.api.identity import open_identity
from queuebit.api.parts import Parts
from queuebit.api.repeats import Repeats
from queuebit.api.routes import create_app
from queuebit.api.server import listen, make_server, serve
from queuebit.api.trail import Watch
from queuebit.clock import Clock, FastClock, SystemClock
from queuebit.config import SIMULATED, Config
from queuebit.core.model import BackendState, Job
from queuebit.core.scheduler import Scheduler
from queuebit.devices.loading import describe
from queuebit.driver import Driver
from queuebit.engines.checks import Checks
from queuebit.engines.pool import ProcessPool
from queuebit.engines.task import Engine
from queuebit.engines.watched import WatchedEngine
from queuebit.errors import ConfigError
from queuebit.patience import until_done
from queuebit.runner import Runner, clear_up
from queuebit.store.database import Database, Loaded
from queuebit.store.faults import is_full
from queuebit.store.pairing import is_paired, pair
from queuebit.store.payloads import Payloads
from queuebit.store.room import Reserve
from queuebit.traces import open_traces
from queuebit.upkeep import Upkeep

log = logging.getLogger(__name__)

Result = TypeVar("Result")


class Service:
    """A whole service on one data folder.

        async with Service(Config(port=0)) as service:
            print(service.url, service.key)
            await service.serve_forever()

    Whatever was unfinished when it stopped, or was killed, goes on when the next one starts.
    """

    url: str
    """Where it answers: http://127.0.0.1:8888."""
    key: str | None
    """API key of the local user; None where users are configured."""
    driver: Driver
    database: Database

    def __init__(
        self, config: Config, *, engine: Engine | None = None, clock: Clock | None = None
    ) -> None:
        self.config = config
        self._engine = engine
        self._clock = clock
        self._stopping = asyncio.Event()
        self._main: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Return when it answers."""
        ready = asyncio.Event()
        self._main = asyncio.create_task(self._run(ready))
        waiting = asyncio.create_task(ready.wait())
        try:
            await asyncio.wait({self._main, waiting}, return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            self._main.cancel()
            await asyncio.wait({self._main})
            raise
        finally:
            waiting.cancel()
        if self._main.done():
            self._main.result()  # raises what kept it from starting
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop: answer what was asked, leave what runs to the next start."""
        assert self._main is not None
        self.stop()
        await asyncio.wait({self._main})
        if error is None or self._main.exception() is not error:
            self._main.result()

    def stop(self) -> None:
        """Have it stop soon; from another thread, through `loop.call_soon_threadsafe`."""
        self._stopping.set()

    async def serve_forever(self) -> None:
        """Return when it was told to stop, by `stop`, SIGINT or SIGTERM; raise if it fails.

        It fails if records cannot be saved: only a restart from the store is the true state then.
        """
        assert self._main is not None
        with _signals(self.stop):
            await asyncio.wait({self._main})
        self._main.result()

    async def _run(self, ready: asyncio.Event) -> None:
        async with AsyncExitStack() as stack:
            try:
                await self._serve(stack, ready)
            except BaseExceptionGroup as group:
                raise _first(group) from None

    async def _serve(self, stack: AsyncExitStack, ready: asyncio.Event) -> None:
        """Listen, open everything from the bottom upwards, answer, and close it downwards."""
        config = self.config
        stack.enter_context(_locked(config.data))
        self._reserve = Reserve(config.data, config.reserve_mb * 2**20)
        self._reserve.open_for_start()
        listener = stack.enter_context(listen(config.host, config.port))
        gate, tunnels = Gate(), tunnel_context(config.data)
        watch = Watch(traces=open_traces())
        server = make_server(
            gate,
            tunnels,
            tls=_tls(config),
            trusted_proxies=config.trusted_proxies,
            limits=config,
            malformed=watch.metrics.malformed,
        )
        self.url = _url(config, listener.getsockname()[1])
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(serve(server, listener))
            parts, runner = await self._open(stack, watch)
            trail = parts.watch.trail.run(self.database.audit, config.audit_days)
            watching = group.create_task(trail)
            upkeep = Upkeep(config, self.database, parts.payloads, self._reserve, parts.clock)
            tending = group.create_task(upkeep.run())
            running = group.create_task(runner.run())  # before the driver, which commands it
            driving = group.create_task(self.driver.run())
            gate.open(create_app(parts))
            ready.set()
            await self._stopping.wait()
            server.should_exit = True
            await serving
            watching.cancel()
            tending.cancel()
            driving.cancel()  # before the runner: what is stopped now is no news
            running.cancel()

    async def _open(self, stack: AsyncExitStack, watch: Watch) -> tuple[Parts, Runner]:
        """Make everything that the API stands on; `stack` closes it."""
        config = self.config
        snapshots = {backend.name: describe(backend) for backend in config.offered}
        stack.push_async_callback(asyncio.to_thread, watch.traces.close)
        folder = config.data / "payloads"
        payloads = Payloads(folder)
        self.database = Database(config.database_url)
        stack.push_async_callback(self.database.close)
        await self._open_database(payloads)
        await asyncio.to_thread(self._reserve.keep)
        identity, self.key = await open_identity(config, self.database.tenants)
        loaded = await self.database.load()
        for record_id, fault in loaded.set_aside.items():
            log.error("record is damaged", extra={"id": record_id, "fault": fault})
        _check_backends(config, loaded)
        await clear_up(self.database, payloads)
        clock = self._clock or _clock(config, loaded)
        records = identity.directory.instances.values()
        instances = scheduling.instances(records, config.plans)
        scheduler = Scheduler(
            scheduling.backends(config),
            loaded.records,
            loaded.last_seq,
            instances=instances,
            charges=await self.database.charges(scheduling.usage_since(instances, clock.now())),
        )
        workers = self._engine or ProcessPool(
            backends=config.offered,
            payloads=folder,
            workers=_workers(config),
            checkers=1,
            memory_bytes=config.worker_memory_mb * 2**20 or None,
            log_format=config.log_format,
            log_level=config.log_level,
            network=_needs_network(config),
            variables=config.worker_variables,
        )
        if isinstance(workers, ProcessPool):
            watch = replace(watch, staff=workers.staff)
        engine = WatchedEngine(workers, watch.metrics, watch.traces)
        stack.push_async_callback(engine.close)
        await engine.start()
        runner = Runner(
            engine=engine,
            database=self.database,
            payloads=payloads,
            clock=clock,
            real_timing={known.name for known in config.backends if known.timing == "real"},
        )
        self.driver = Driver(
            scheduler,
            self.database,
            runner,
            clock,
            last_at=loaded.last_at,
            times=runner.times,
            metrics=watch.metrics,
            patience_s=config.database_wait_s,
            save_failed=self._save_failed,
        )
        runner.bind(self.driver.send, self.driver.calibrated)
        repeats = Repeats(payloads, self.database, clock, config.speed)
        await repeats.recall()
        parts = Parts(
            repeats=repeats,
            config=config,
            identity=identity,
            database=self.database,
            payloads=payloads,
            driver=self.driver,
            checks=Checks(engine, _workers(config)),
            clock=clock,
            snapshots=snapshots,
            watch=watch,
            reserve=self._reserve,
        )
        stack.push_async_callback(parts.undertakings.close)  # before the engine's
        return parts, runner

    def _save_failed(self, error: BaseException) -> None:
        """Leave the database the room that is reserved for it."""
        if is_full(error):
            self._reserve.give_up()

    async def _open_database(self, payloads: Payloads) -> None:
        """Open the database, as the one who decides, with the folder that belongs to it."""
        data, database, url = self.config.data, self.database, self.config.shown_database_url
        holder = f"process {os.getpid()} on {socket.gethostname()} with data {data}"

        async def work() -> str:
            await database.open()
            return await database.lead(holder)

        wait_s = self.config.database_wait_s
        await until_done(database.lock, f"lock database {url}", most_s=wait_s)
        database_id = await until_done(work, f"open database {url}", most_s=wait_s)
        if not await asyncio.to_thread(is_paired, data, database_id):
            stored = await asyncio.to_thread(payloads.jobs)
            await asyncio.to_thread(
                pair, data, url, database_id, stored, await database.known_jobs()
            )
            await asyncio.to_thread(payloads.sweep)


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """`asyncio.run` on uvloop, where there is one."""
    try:
        import uvloop  # noqa: PLC0415 - not made for every system
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


@contextlib.contextmanager
def _locked(data: Path) -> Iterator[None]:
    """Hold the data folder: two services on one would each believe that it alone decides."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(data / "lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode().strip() or "unknown"
            raise ConfigError(
                f"data {data}: is in use by another service, process {holder}"
            ) from None
        with contextlib.suppress(OSError):  # it starts on a full disk, too
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _signals(stop: Any) -> Iterator[None]:
    """Call `stop` on SIGINT and SIGTERM; only the main thread may."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    wanted = (signal.SIGINT, signal.SIGTERM)
    for number in wanted:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in wanted:
            loop.remove_signal_handler(number)


def _tls(config: Config) -> ssl.SSLContext | None:
    """What the port speaks; None: plain HTTP."""
    if config.tls_cert is None or config.tls_key is None:
        return None
    return Certificate(config.tls_cert, config.tls_key).context


def _url(config: Config, port: int) -> str:
    """Where a client finds it; with TLS by a name that the certificate holds."""
    host = config.host
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104 - asked for by the operator
    scheme, usual = "http", 80
    if config.tls_cert is not None:
        scheme, usual, host = "https", 443, name_in(config.tls_cert, host)
    place = f"[{host}]" if ":" in host else host
    return f"{scheme}://{place}" if port == usual else f"{scheme}://{place}:{port}"


def _workers(config: Config) -> int:
    return config.workers or min(5, max(2, os.cpu_count() or 2))


def _needs_network(config: Config) -> bool:
    """Whether workers have a network: by default those whose devices may stand elsewhere."""
    if config.worker_network is not None:
        return config.worker_network
    return any(backend.device != SIMULATED for backend in config.backends)


def _clock(config: Config, loaded: Loaded) -> Clock:
    """A clock that does not step back behind what is on record."""
    system = SystemClock(start=loaded.last_at)
    return system if config.speed == 1 else FastClock(config.speed, start=system.now())


def _check_backends(config: Config, loaded: Loaded) -> None:
    """Refuse to start without a backend that stored work needs."""
    known = {backend.name for backend in config.offered}
    for record in loaded.records:
        if record.backend not in known and not isinstance(record, BackendState):
            kind = "job" if isinstance(record, Job) else record.mode
            raise ConfigError(
                f"backends: {record.backend} is not there, but {kind} {record.id} is unfinished; "
                f"configure it, or cancel this with a service that has it"
            )


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Find what went wrong first; the rest is its consequence."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
