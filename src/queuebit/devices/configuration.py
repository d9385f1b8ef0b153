"""A snapshot's configuration as IBM's API tells one today.

The files of `qiskit_ibm_runtime.fake_provider` were taken from IBM's service between 2019 and 2026.
Old ones lack members, name instructions that nobody can run any more, and hold placeholders.
"""

from collections.abc import Iterable
from typing import Any

from queuebit.devices.drift import FAULTY_ERROR

Json = dict[str, Any]

# "The `for`, `while`, and `switch` instructions are not supported" (IBM's guide "Execute dynamic
# circuits"); the newest files do not name them.
_BRANCHES = ("if_else",)
_CONTROL_FLOW = (*_BRANCHES, "while_loop", "for_loop", "switch_case")
NON_UNITARY = ("measure", "reset", "delay")
_DYNAMIC = ("qasm3", "dynamic_circuits")  # what the fake provider and the client filter on
_SPEEDS = ("clops", "clops_h", "clops_v")
# OpenQASM 2 definitions in the words of IBM's own configurations.
_FRACTIONAL = {
    "rx": "gate rx(theta) q { U(theta, -pi/2, pi/2) q; }",
    "rzz": "gate rzz(theta) a, b { cx a, b; U(0, 0, theta) b; cx a, b; }",
}


def modern(found: Json, properties: Json, *, fractional: bool, loops: bool) -> Json:
    """The configuration of a snapshot, of which nothing is nonsense.

    `found` and `properties` are its files. With `fractional` it also offers those of rx and rzz
    that `properties` hold data of; with `loops` it also offers the control flow that IBM's QPUs no
    longer take, and that old files name.
    """
    told = _without_placeholders(found)
    for key in ("coords", "u_channel_lo", "supported_features"):
        told.setdefault(key, [])
    told["open_pulse"] = False  # neither here nor at IBM any more
    told["gates"] = [_complete(gate) for gate in told["gates"]]
    added = calibrated_fractional(properties) if fractional else []
    told["basis_gates"] = _unique([*told["basis_gates"], *added])
    told["gates"] += _described(told, properties)
    told["coupling_map"] = _used_pairs(told)
    told["supported_instructions"] = _instructions(told, _CONTROL_FLOW if loops else _BRANCHES)
    told["supported_features"] = _features(told)
    if "processor_type" in told:
        kind = told["processor_type"]
        told["processor_type"] = {**kind, "revision": str(kind.get("revision", ""))}
    return told


def calibrated_fractional(properties: Json) -> list[str]:
    """Names of the fractional gates that are calibrated at least somewhere."""
    calibrated = {
        gate["gate"]
        for gate in properties["gates"]
        for entry in gate["parameters"]
        if entry["name"] == "gate_error" and entry["value"] < FAULTY_ERROR
    }
    return [name for name in _FRACTIONAL if name in calibrated]


def offered(configuration: Json) -> frozenset[str]:
    """Names of everything that a circuit may hold."""
    return frozenset(configuration["supported_instructions"]) | {"measure"}


def speed(configuration: Json) -> Json | None:
    """CLOPS as the list of backends tells them; None: the snapshot knows none.

    "hardware" counts layers that the device runs; "virtual", of older devices, those of circuits.
    """
    for key, kind in (("clops_h", "hardware"), ("clops_v", "virtual"), ("clops", "virtual")):
        if value := configuration.get(key):
            return {"type": kind, "value": value}
    return None


def _without_placeholders(found: Json) -> Json:
    """Without what is the string "None", at any depth, and without speeds that are null."""
    return {
        key: _deep(value)
        for key, value in found.items()
        if value != "None" and not (key in _SPEEDS and value is None)
    }


def _deep(value: Any) -> Any:
    match value:
        case dict():
            return {key: _deep(one) for key, one in value.items() if one != "None"}
        case [dict(), *_]:
            return [_deep(one) for one in value]
    return value


def _complete(gate: Json) -> Json:
    """A gate with what the client's model and IBM's schema ask for; measure and reset have none."""
    return {**gate, "parameters": gate["parameters"] or [], "qasm_def": gate["qasm_def"] or ""}


def _described(told: Json, properties: Json) -> list[Json]:
    """Entries for the fractional gates that the basis has and `gates` lacks."""
    known = {gate["name"] for gate in told["gates"]}
    return [
        {"name": name, "parameters": ["theta"], "qasm_def": text, "coupling_map": wires}
        for name, text in _FRACTIONAL.items()
        if name in told["basis_gates"] and name not in known
        if (wires := _wires(name, properties))
    ]


def _wires(name: str, properties: Json) -> list[list[int]]:
    return [gate["qubits"] for gate in properties["gates"] if gate["gate"] == name]


def _used_pairs(told: Json) -> list[list[int]]:
    """The coupling map, but for pairs that no gate stands on, either way round."""
    used = {
        frozenset(wires)
        for gate in told["gates"]
        for wires in gate.get("coupling_map") or ()
        if len(wires) > 1
    }
    return [pair for pair in told.get("coupling_map") or [] if frozenset(pair) in used]


def _instructions(told: Json, control_flow: Iterable[str]) -> list[str]:
    """What can be run. Old files name pulses too, and gates of bases before theirs."""
    known = told.get("supported_instructions") or ["measure", "delay"]
    signatures = [one["name"] for one in told.get("instruction_signatures") or ()]
    others = {*NON_UNITARY, *control_flow, *signatures, "store"}
    return _unique([*told["basis_gates"], *(name for name in known if name in others)])


def _features(told: Json) -> list[str]:
    """The features, with those of dynamic circuits exactly if it has control flow."""
    known = told["supported_features"]
    if all(len(letter) == 1 for letter in known):  # a word that was taken for a list
        known = ["".join(known)] if known else []
    is_dynamic = not {*_CONTROL_FLOW}.isdisjoint(told["supported_instructions"])
    others = [feature for feature in known if feature not in _DYNAMIC]
    return [*others, *_DYNAMIC] if is_dynamic else others


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
