"""What a calibration makes of a device's properties: dates, and values around the snapshot's.

Values are scattered around the snapshot's own and not around the last ones, so they never wander
off. Each is a pure function of the backend's name, the calibration's number and what it is a value
of: the service and every worker make the same set, and nobody need store or send it.
"""

import hashlib
import math
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from statistics import NormalDist
from typing import Any

from queuebit.core.model import Calibrated

Json = dict[str, Any]

FAULTY_ERROR = 1.0
"""IBM reports an error of 1 for a gate that is not calibrated."""

_ERROR_MAX = 0.5  # of what works: a coin
_SIGMAS_MAX = 3.0
_NORMAL = NormalDist()
_READ = ("prob_meas0_prep1", "prob_meas1_prep0")

Factor = Callable[..., float]
"""By how much the value that the arguments name is larger than the snapshot's."""


def recalibrated(properties: Json, name: str, calibrated: Calibrated) -> Json:
    """The properties of backend `name` as a calibration left them; `properties` is its snapshot's.

    T1, T2, readout errors and gate errors change. What is known of the device as a whole
    (`general`) is not measured anew and keeps its dates.
    """
    at = datetime.fromtimestamp(calibrated.at / 1000, UTC)
    date = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    qubits = [_values(entries) for entries in properties["qubits"]]
    gates = [_values(gate["parameters"]) for gate in properties["gates"]]
    if calibrated.drawn:
        factor, before = _factor(name, calibrated), qubits
        qubits = [_qubit(values, factor, number) for number, values in enumerate(before)]
        ratios = [_read_ratio(*each) for each in zip(before, qubits, strict=True)]
        for gate, values in zip(properties["gates"], gates, strict=True):
            if "gate_error" in values:
                by = _gate_factor(gate, factor, ratios)
                values["gate_error"] = _error(values["gate_error"], by)
    return {
        **properties,
        "last_update_date": date,
        "qubits": [
            _entries(entries, values, date)
            for entries, values in zip(properties["qubits"], qubits, strict=True)
        ],
        "gates": [
            {**gate, "parameters": _entries(gate["parameters"], values, date)}
            for gate, values in zip(properties["gates"], gates, strict=True)
        ],
    }


def _factor(name: str, calibrated: Calibrated) -> Factor:
    """A log-normal factor of median 1 for each quantity, within three standard deviations."""

    def factor(*what: object) -> float:
        text = "/".join(map(str, (name, calibrated.drawn, *what)))
        drawn = int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")
        sigmas = _NORMAL.inv_cdf((drawn + 0.5) / 2**48)
        return math.exp(calibrated.drift * max(-_SIGMAS_MAX, min(_SIGMAS_MAX, sigmas)))

    return factor


def _qubit(known: dict[str, float], factor: Factor, number: int) -> dict[str, float]:
    """The new values of one qubit."""
    new = dict(known)
    for name in ("T1", "T2"):
        if name in known:
            new[name] = known[name] * factor(name, number)
    if known.keys() >= {"T1", "T2"}:
        new["T2"] = min(new["T2"], 2 * new["T1"])
    for name in _READ:
        if name in known:
            new[name] = _error(known[name], factor(name, number))
    if "readout_error" in known:
        by = _read_ratio(known, new) or factor("readout_error", number)
        new["readout_error"] = _error(known["readout_error"], by)
    return new


def _read_ratio(known: dict[str, float], new: dict[str, float]) -> float | None:
    """By how much a qubit reads worse than it did; None if nothing is known of it.

    `readout_error` is the mean of the two chances, or nearly: so it stays.
    """
    before = sum(known.get(name, 0.0) for name in _READ)
    return sum(new[name] for name in _READ if name in new) / before if before else None


def _gate_factor(gate: Json, factor: Factor, ratios: list[float | None]) -> float:
    """All gates on the same qubits, either way round, have one factor.

    What measures is as much better or worse as the readout of its qubit.
    """
    at = sorted(gate["qubits"])
    by = ratios[at[0]] if gate["gate"].startswith("measure") else None
    return by or factor("gate", *at)


def _error(known: float, by: float) -> float:
    """A scattered error. What is perfect stays so, what is faulty too; the rest stays between."""
    if not 0.0 < known < FAULTY_ERROR:
        return known
    return min(known * by, max(known, _ERROR_MAX))


def _values(entries: Iterable[Json]) -> dict[str, float]:
    return {entry["name"]: entry["value"] for entry in entries}


def _entries(entries: Iterable[Json], values: dict[str, float], date: str) -> list[Json]:
    return [{**entry, "date": date, "value": values[entry["name"]]} for entry in entries]
