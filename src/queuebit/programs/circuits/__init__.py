"""Circuits made of circuits: twirled, decoupled, on fewer qubits."""
