"""What clients are told of a backend. The service process uses it, so it needs no Qiskit."""

from collections.abc import Hashable
from datetime import datetime
from typing import Any, Protocol

Json = dict[str, Any]

# What the client's models ask for, and what is the same for every QPU here.
_CONFIGURATION: Json = {
    "simulator": False,  # the client opens no session on a simulator (decisions 25)
    "local": False,
    "conditional": False,
    "open_pulse": False,
    "memory": True,
    "coords": [],
    "u_channel_lo": [],
    "supported_features": [],
}


class Description(Hashable, Protocol):
    """Configuration and properties of one backend, as IBM's REST API gives them.

    The dictionaries are shared: callers must not change them.
    """

    @property
    def configuration(self) -> Json:
        """JSON of GET /backends/{name}/configuration (docs/endpoints.md)."""

    def properties(self, updated_before: datetime | None = None) -> Json:
        """JSON of GET /backends/{name}/properties, as of that date; None: of today."""

    @property
    def listing(self) -> Json:
        """The fixed part of its entry in GET /backends: all but status and queue."""

    @property
    def source(self) -> str:
        """What it stands for, in words: "ibm_torino 1.0.54 as of 2025-02-26"."""


class Given:
    """A description of dictionaries that are there, for devices from outside."""

    def __init__(self, name: str, configuration: Json, properties: Json, *, source: str) -> None:
        self._configuration = _CONFIGURATION | configuration | {"backend_name": name}
        self._properties = properties | {"backend_name": name}
        self._source = source

    @property
    def configuration(self) -> Json:
        """What was given; what is always the same is filled in."""
        return self._configuration

    def properties(self, updated_before: datetime | None = None) -> Json:
        """What was given; `updated_before` changes nothing."""
        del updated_before
        return self._properties

    @property
    def listing(self) -> Json:
        """Made of the configuration."""
        return {
            "name": self._configuration["backend_name"],
            "is_simulator": False,
            "qubits": self._configuration["n_qubits"],
            "physical_qubits": self._configuration.get(
                "physical_qubits", self._configuration["n_qubits"]
            ),
        }

    @property
    def source(self) -> str:
        """What was given."""
        return self._source
