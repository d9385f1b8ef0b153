"""A quantum compute service that you run yourself and that speaks Qiskit Runtime's API."""

__version__ = "0.1.0"
