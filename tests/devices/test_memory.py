"""What a simulation needs is at most what was predicted, by the peak of a real process."""

import json
import subprocess
import sys
from pathlib import Path

SLACK = 32 * 2**20
"""Of any simulation: Aer's and Stim's own libraries, texts, small arrays."""


def test_no_method_needs_more_memory_than_predicted():
    script = Path(__file__).with_name("peaks.py")
    done = subprocess.run(
        [sys.executable, script], check=True, capture_output=True, text=True, timeout=250
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]

    assert {one["method"] for one in found} == {
        "single",
        "density_matrix",
        "stabilizer",
        "statevector",
        "matrix_product_state",
        "pauli_propagation",
    }
    for one in found:
        assert one["needed"] <= one["predicted"] + SLACK, one
        # Nor is it made up: what is large was said to be large, within a factor.
        assert one["predicted"] <= 6 * (one["needed"] + SLACK), one
