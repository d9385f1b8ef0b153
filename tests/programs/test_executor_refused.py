"""What the executor refuses, by name; and that all of its options are documented."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ibm_quantum_schemas.executor import version_2_0
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit_ibm_runtime import QuantumProgram
from samplomatic import build
from samplomatic.transpiler import generate_boxing_pass_manager
from tests.programs.quantum_programs import body, mixed

from queuebit.errors import InvalidInput, NotFound
from queuebit.programs import program
from queuebit.programs.executor import items


def refusal(params: dict[str, Any], device: Any) -> str:
    with pytest.raises(InvalidInput) as refused:
        program.validate("executor", json.dumps(params).encode(), device)
    return refused.value.message


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"options": {"rep_delay": 1.0}}, "rep_delay"),
        ({"options": {"experimental": {"twirling": {"x": 1}}}}, "experimental.twirling.x"),
        ({"options": {"experimental": {"simulator": {"seed_simulator": "1"}}}}, "seed_simulator"),
        ({"options": {"faster": True}}, "params.options.faster"),
        ({"quantum_program": {"meas_levels": "both"}}, "params.quantum_program.meas_levels"),
        ({"quantum_program": {"meas_level": "loud"}}, "meas_level"),
        ({"quantum_program": {"shots": 0}}, "shots"),
        ({"quantum_program": {"shots": 2**40}}, "shots"),
        ({"schema_version": "v3.0"}, "v3.0"),
        ({"schema_version": None}, "schema_version"),
    ],
)
def test_what_cannot_stand_is_refused_by_name(change, told, perfect):
    params = body(mixed())
    for name, value in change.items():
        params[name] = params[name] | value if isinstance(value, dict) else value

    assert told in refusal(params, perfect)


def test_a_samplex_that_leaves_values_open_is_refused(perfect):
    """samplomatic draws none for a delay that is a parameter: it would be what lies in memory."""
    circuit = QuantumCircuit(5, 1)
    circuit.cx(0, 1)
    circuit.delay(Parameter("span"), 0, "dt")
    circuit.rz(Parameter("a"), 0)
    circuit.cx(0, 1)
    circuit.measure(0, 0)
    template, samplex = build(generate_boxing_pass_manager().run(circuit))
    values = {"parameter_values": np.zeros((1, samplex.num_parameters))}
    made = QuantumProgram(shots=10)
    made.append_samplex_item(template, samplex=samplex, samplex_arguments=values, shape=(4, 1))

    told = "item 0: its samplex draws no value for 1 of its circuit's parameters"
    assert refusal(body(made), perfect) == told


def test_refusals_name_the_item(perfect):
    circuit = QuantumCircuit(5, 1)
    circuit.cx(0, 4)
    circuit.measure(0, 0)
    made = mixed()
    made.append_circuit_item(circuit)

    assert refusal(body(made), perfect).startswith("item 3: The instruction cx on qubits (0, 4)")


@pytest.mark.parametrize(
    ("limit", "value", "told"),
    [
        ("VALUES_MAX", 30, "values of parameters"),
        ("OUTPUT_BYTES_MAX", 30, "bytes drawn"),
        ("STEPS_MAX", 10, "steps of drawing"),
    ],
)
def test_limits_of_what_is_drawn(limit, value, told, perfect, monkeypatch):
    monkeypatch.setattr(items, limit, value)

    assert told in refusal(body(mixed()), perfect)


def test_the_executions_of_a_job_are_limited(perfect):
    params = body(mixed(shots=1_000_000))

    assert "19000000 executions" in refusal(params, perfect)


def test_calibrate_is_refused_by_its_name(perfect):
    params = {"schema_version": "v0.1", "options": {"experimental": {}}}

    with pytest.raises(NotFound, match="program 'calibrate' not found") as refused:
        program.validate("calibrate", json.dumps(params).encode(), perfect)

    assert refused.value.code == 1208


def test_every_option_of_ibms_schema_is_documented():
    text = (Path(__file__).parents[2] / "docs" / "programs.md").read_text()
    told = set(
        re.findall(r"^\| `(?:items\[\]\.)?(\w+)`", text.split("## The executor")[1], re.MULTILINE)
    )
    models = (
        version_2_0.OptionsModel,
        version_2_0.QuantumProgramModel,
        version_2_0.CircuitItemModel,
        version_2_0.SamplexItemModel,
    )
    fields = {name for model in models for name in model.model_fields} - {"items", "item_type"}

    assert fields <= told


def test_a_loop_has_no_fixed_schedule(torino):
    circuit = QuantumCircuit(1, 1)
    with circuit.for_loop(range(2)):
        circuit.x(0)
    made = QuantumProgram(shots=1)
    made.append_circuit_item(circuit)
    assert "for_loop" in refusal(body(made, scheduler_timing=True), torino)
