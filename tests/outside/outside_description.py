"""What clients are told of the device of `outside_device.py`: two qubits in a line."""

from queuebit.devices.description import Given

CONFIGURATION = {
    "backend_name": "outside",
    "backend_version": "7.0.0",
    "n_qubits": 2,
    "basis_gates": ["x", "cz"],
    "gates": [
        {"name": "x", "parameters": [], "qasm_def": "", "coupling_map": [[0], [1]]},
        {"name": "cz", "parameters": [], "qasm_def": "", "coupling_map": [[0, 1]]},
    ],
    "coupling_map": [[0, 1]],
    "supported_instructions": ["x", "cz", "measure"],
    "default_rep_delay": 100.0,
    "dt": 1.0,
    "online_date": "2026-01-01T00:00:00Z",
    "max_shots": 1000,
}
READOUT = [{"date": "2026-01-01T00:00:00Z", "name": "readout_error", "unit": "", "value": 0.25}]
PROPERTIES = {
    "backend_name": "outside",
    "backend_version": "7.0.0",
    "last_update_date": "2026-01-01T00:00:00Z",
    "qubits": [READOUT, READOUT],
    "gates": [],
    "general": [],
}


def describe(config):
    return Given(config.name, CONFIGURATION, PROPERTIES, source="the QPU in room 12")
