"""A service inside your test, reached by the real client.

    from queuebit import testing

    with testing.service() as running:
        runtime = running.connect()  # a QiskitRuntimeService

Queuebit is a pytest plugin too: the fixture `queuebit_service` is such a service, one for all
tests, and `queuebit_runtime` a client that is connected to it. Override the fixture
`queuebit_settings` to set what the service shall be like.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import Iterator
from concurrent import futures
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from queuebit.account import NO_VERIFY_WARNING, account, quiet_client

if TYPE_CHECKING:
    from qiskit_ibm_runtime import QiskitRuntimeService

    from queuebit.app import Service
    from queuebit.config import Config

STOP_TIMEOUT_S = 30.0  # to end the workers and write what is left


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A service that runs."""

    url: str
    key: str
    """API key of its only user; empty if the settings name users."""
    instance: str
    """Name of its first instance."""
    data: Path
    """Folder of all that it keeps."""

    def connect(self, **arguments: Any) -> "QiskitRuntimeService":
        """Connect the real client, which neither reads nor writes `~/.qiskit`.

        `arguments` are those of `QiskitRuntimeService`, and go before ours.
        """
        # Takes seconds to import, which loading the plugin shall not cost.
        from qiskit_ibm_runtime import QiskitRuntimeService  # noqa: PLC0415

        ours = account(self.url, token=self.key, instance=self.instance)
        with quiet_client():
            return QiskitRuntimeService(**(ours | arguments))


@contextlib.contextmanager
def service(**settings: Any) -> Iterator[Running]:
    """Run a service for the length of a `with` block; `settings` are those of `Config`.

    Unless they say otherwise it listens on any free port, keeps its data in a temporary folder
    and has two workers. Neither the environment nor a file sets anything. It lives in a thread,
    its workers in processes of their own; an error of its start is raised here.
    """
    # Not at the top for the plugin's sake, as in `connect`.
    from queuebit.sources import load  # noqa: PLC0415

    with contextlib.ExitStack() as stack:
        if "data" not in settings:
            folder = tempfile.TemporaryDirectory(prefix="queuebit-")
            settings["data"] = stack.enter_context(folder)
        config = load(None, {}, **({"port": 0, "workers": 2, "reserve_mb": 0} | settings))
        yield stack.enter_context(_hosted(config))


@contextlib.contextmanager
def _hosted(config: "Config") -> Iterator[Running]:
    """Run the service of `config` in a thread with an event loop of its own."""
    from queuebit.app import Service  # noqa: PLC0415 - as in `connect`

    service = Service(config)
    started: futures.Future[None] = futures.Future()
    loop = asyncio.new_event_loop()

    def live() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(_serve(service, started))

    with futures.ThreadPoolExecutor(1, thread_name_prefix="queuebit") as thread:
        life = thread.submit(live)
        try:
            futures.wait((started, life), return_when=futures.FIRST_COMPLETED)
            if life.done():
                life.result()  # raises what kept it from starting
            yield Running(
                url=service.url,
                key=service.key or "",
                instance=config.instances[0].name,
                data=config.data,
            )
        finally:
            with contextlib.suppress(RuntimeError):  # it has ended by itself
                loop.call_soon_threadsafe(service.stop)
        life.result(STOP_TIMEOUT_S)


async def _serve(service: "Service", started: "futures.Future[None]") -> None:
    async with service:
        started.set_result(None)
        await service.serve_forever()


try:
    import pytest
except ImportError:  # the fixtures are for those who have it
    pass
else:

    @pytest.fixture(scope="session")
    def queuebit_settings() -> dict[str, Any]:
        """Settings of `queuebit_service`, those of `Config`; override it in your conftest.py."""
        return {}

    @pytest.fixture(scope="session")
    def queuebit_service(queuebit_settings: dict[str, Any]) -> Iterator[Running]:
        """Run one service for all tests that ask for it."""
        with service(**queuebit_settings) as running:
            yield running

    @pytest.fixture(scope="session")
    def queuebit_runtime(queuebit_service: Running) -> "QiskitRuntimeService":
        """Connect a `QiskitRuntimeService` to `queuebit_service`."""
        return queuebit_service.connect()

    def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
        """Let tests that use the service live with the client's warning about its certificate."""
        mark = pytest.mark.filterwarnings(f"ignore:{NO_VERIFY_WARNING}")
        for item in items:
            if "queuebit_service" in getattr(item, "fixturenames", ()):
                item.add_marker(mark)
