"""Finds devices and their descriptions by name: our own, and those of installed packages.

Imports nothing of Qiskit by itself: the service process finds descriptions with it.
"""

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from queuebit.config import SIMULATED, BackendConfig
from queuebit.core.model import Calibrated
from queuebit.devices.description import Description
from queuebit.devices.snapshot import Snapshot
from queuebit.errors import ConfigError, QueuebitError

if TYPE_CHECKING:
    from queuebit.devices.protocol import Qpu

DEVICES = "queuebit.devices"
"""Group of entry points: a device's name, and what makes one of a BackendConfig, in a worker."""

DESCRIPTIONS = "queuebit.descriptions"
"""Group of entry points: a device's name, and what makes its description, in the service."""


def known() -> list[str]:
    """Names of all devices that are installed."""
    return [SIMULATED, *sorted(entry_points(group=DEVICES).names - {SIMULATED})]


def describe(config: BackendConfig) -> Description:
    """What clients are told of a backend; ConfigError if there is no such device or snapshot."""
    if config.device not in known():
        raise ConfigError(
            f"backend {config.name}: there is no device {config.device!r} in this installation; "
            f"there are: {', '.join(known())}"
        )
    if config.snapshot is not None:
        return Snapshot(config)
    found = entry_points(group=DESCRIPTIONS, name=config.device)
    if not found:
        raise ConfigError(
            f"backend {config.name}: device {config.device!r} brings no description of its own: "
            "name a snapshot that it is like"
        )
    described: Description = _made(config, next(iter(found)))
    return described


def make(config: BackendConfig, calibrated: Calibrated | None = None) -> "Qpu":
    """A device that is ready to run; ConfigError, with the reason, if it cannot.

    `calibrated` has left a simulated one as it is; one from outside knows that itself.
    """
    from queuebit.devices.protocol import Qpu  # noqa: PLC0415 - imports Qiskit

    if config.device == SIMULATED:
        from queuebit.devices.device import Device  # noqa: PLC0415 - imports Qiskit

        return Device(config, calibrated=calibrated)
    describe(config)
    device: Qpu = _made(config, next(iter(entry_points(group=DEVICES, name=config.device))))
    wanted = {*Qpu.__annotations__, *vars(Qpu)}
    missing = [name for name in sorted(wanted) if name[0] != "_" and not hasattr(device, name)]
    if missing:
        raise ConfigError(
            f"backend {config.name}: device {config.device!r} lacks {', '.join(missing)}"
        )
    return device


def _made(config: BackendConfig, entry_point: EntryPoint) -> Any:
    """Import the entry point's factory and call it."""
    try:
        factory: Callable[[BackendConfig], Any] = entry_point.load()
        return factory(config)
    except Exception as error:
        why = str(error) if isinstance(error, QueuebitError) else f"{type(error).__name__}: {error}"
        raise ConfigError(
            f"backend {config.name}: device {config.device!r} cannot start: {why}"
        ) from error
