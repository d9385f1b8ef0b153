"""What a backend tells its clients, from a device snapshot that the client package carries.

Used by the service process as well as by workers, so it reads the JSON files themselves: importing
the client package would take seconds and load Qiskit.
"""

import importlib.util
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

from queuebit.config import SIMULATED, BackendConfig
from queuebit.core.model import Calibrated
from queuebit.devices.configuration import calibrated_fractional, modern, offered, speed
from queuebit.devices.drift import FAULTY_ERROR, recalibrated
from queuebit.errors import ConfigError

Json = dict[str, Any]


class Snapshot:
    """Configuration and properties of one backend, as IBM's REST API gives them.

    Implements `Description`. The dictionaries are made once and shared: callers must not change
    them.
    """

    def __init__(self, config: BackendConfig, calibrated: Calibrated | None = None) -> None:
        """As `calibrated` has left the device; None: as the snapshot found it."""
        assert config.snapshot is not None
        self._config = config
        self._calibrated = calibrated
        self.name = config.name
        self.snapshot = config.snapshot
        folder = _folder() / config.snapshot
        self._configuration_file = folder / f"conf_{config.snapshot}.json"
        self._properties_file = folder / f"props_{config.snapshot}.json"
        if not self._configuration_file.is_file() or not self._properties_file.is_file():
            raise ConfigError(
                f"backend {config.name}: there is no snapshot {config.snapshot!r}; "
                f"there are: {', '.join(available())}"
            )
        if config.fractional and not calibrated_fractional(self._raw_properties):
            raise ConfigError(
                f"backend {config.name}: fractional: snapshot {config.snapshot!r} has "
                "no calibrated rx or rzz gate"
            )

    @cached_property
    def configuration(self) -> Json:
        """JSON of GET /backends/{name}/configuration (docs/endpoints.md)."""
        told = modern(
            self._raw_configuration,
            self._raw_properties,
            fractional=self._config.fractional,
            loops=self._config.device != SIMULATED or self._config.dynamic_circuits == "all",
        )
        told["backend_name"] = self.name
        told["description"] = f"Simulated QPU (Queuebit), after {self.source}"
        # The client opens no session on a simulator, so a simulated QPU is none (decisions 25).
        told["simulator"] = False
        told["local"] = False
        told["online_date"] = _utc(told["online_date"])
        return told

    def properties(self, updated_before: datetime | None = None) -> Json:
        """JSON of GET /backends/{name}/properties (docs/endpoints.md).

        A snapshot holds one set, which held at all times: `updated_before` changes nothing, not
        even before its `last_update_date`, for which the oldest known one is the best answer. What
        calibrations made of it, and when, is in the store: `after` tells such a set.
        """
        del updated_before
        return self._properties

    def after(self, calibrated: Calibrated | None) -> "Snapshot":
        """The device as a calibration has left it; None: as the snapshot found it."""
        return Snapshot(self._config, calibrated)

    @cached_property
    def source(self) -> str:
        """Which real device, and when: "ibm_torino 1.0.54 as of 2025-02-26T20:26:08.000Z"."""
        real = self._raw_configuration
        date = _utc(self._raw_properties["last_update_date"])
        return f"{real['backend_name']} {real['backend_version']} as of {date}"

    @cached_property
    def listing(self) -> Json:
        """The device's fixed part of GET /backends: all but status and queue."""
        configuration = self.configuration
        listed: Json = {
            "name": self.name,
            "is_simulator": False,
            "qubits": configuration["n_qubits"],
            "physical_qubits": self._physical_qubits,
            "performance_metrics": self._performance(),
        }
        if kind := configuration.get("processor_type"):
            listed["processor_type"] = {"segment": None, **kind}
        if found := speed(configuration):
            listed["clops"] = found
        return listed

    @cached_property
    def _properties(self) -> Json:
        if self._calibrated is None:
            return self._found
        return recalibrated(self._found, self.name, self._calibrated)

    @cached_property
    def _found(self) -> Json:
        """The snapshot's own properties, of what is offered."""
        told: Json = self._raw_properties | {"backend_name": self.name}
        names = offered(self.configuration)
        told["gates"] = [gate for gate in told["gates"] if gate["gate"] in names]
        told["last_update_date"] = _utc(told["last_update_date"])
        for entry in _entries(told):
            entry["date"] = _utc(entry["date"])
            # Old snapshots write a micro sign, which the client's unit prefixes do not know.
            entry["unit"] = entry["unit"].replace("µ", "u").replace("\u03bc", "u")
        return told

    @cached_property
    def _raw_configuration(self) -> Json:
        raw: Json = json.loads(self._configuration_file.read_text())
        return raw

    @cached_property
    def _raw_properties(self) -> Json:
        raw: Json = json.loads(self._properties_file.read_text())
        return raw

    @property
    def _physical_qubits(self) -> int:
        """What the client's class of this snapshot says: Herons count their couplers too."""
        source = self._properties_file.with_name(f"fake_{self.snapshot}.py").read_text("utf-8")
        said = re.search(r"^    _physical_qubits = (\d+)$", source, re.MULTILINE)
        qubits: int = self.configuration["n_qubits"] if said is None else int(said[1])
        return qubits

    def _performance(self) -> Json:
        """Errors of what the Target has; uncalibrated gates (error 1) would only hide the rest."""
        qubits = self._properties["qubits"]
        working = {qubit for qubit, entries in enumerate(qubits) if _works(entries)}
        gates: list[tuple[float, str, list[int]]] = []
        for gate in self._properties["gates"]:
            if len(gate["qubits"]) != 2 or not working.issuperset(gate["qubits"]):  # noqa: PLR2004 - a pair
                continue
            error = _value(gate["parameters"], "gate_error")
            if error is not None and error < FAULTY_ERROR and _works(gate["parameters"]):
                gates.append((error, gate["gate"], gate["qubits"]))
        readout = [_value(qubits[qubit], "readout_error") for qubit in working]
        known = [error for error in readout if error is not None]
        metrics: Json = {}
        if gates:
            best, name, qubits = min(gates)
            middle = median(error for error, *_ in gates)
            metrics["two_q_error_best"] = {
                "value": best,
                "unit": "",
                "gate": name,
                "qubits": qubits,
            }
            metrics["two_q_error_median"] = {"value": middle, "unit": ""}
        if known:
            metrics["readout_error_median"] = {"value": median(known), "unit": ""}
        return metrics


def available() -> list[str]:
    """Names of all snapshots of the installed client package."""
    return sorted(
        folder.name
        for folder in _folder().iterdir()
        if (folder / f"conf_{folder.name}.json").is_file()
        and (folder / f"props_{folder.name}.json").is_file()
    )


def _folder() -> Path:
    # Asking for a submodule would import the package; asking for the package itself does not.
    spec = importlib.util.find_spec("qiskit_ibm_runtime")
    if spec is None or spec.origin is None:
        raise ConfigError("the package qiskit-ibm-runtime, which holds the snapshots, is missing")
    return Path(spec.origin).parent / "fake_provider" / "backends"


def _entries(properties: Json) -> Iterator[Json]:
    """Every {date, name, unit, value} in it."""
    for qubit in properties["qubits"]:
        yield from qubit
    for gate in properties["gates"]:
        yield from gate["parameters"]
    yield from properties["general"]


def _value(entries: list[Json], name: str) -> float | None:
    return next((float(entry["value"]) for entry in entries if entry["name"] == name), None)


def _works(entries: list[Json]) -> bool:
    """Whether a qubit or a gate is operational: it is unless it says that it is not."""
    return _value(entries, "operational") in (None, 1.0)


def _utc(written: str) -> str:
    """An ISO date of any zone as IBM writes it: 2025-02-26T20:26:08.000Z."""
    at = datetime.fromisoformat(written)
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
