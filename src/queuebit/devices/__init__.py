"""Simulated QPUs: what jobs run on.

`snapshot` is what the API tells clients and needs no Qiskit; everything else runs in workers only.
"""
