"""IBM's guide "Run jobs in a batch", all its snippets in order, in every release of the client."""

import ast
import re

import pytest
from tests.client.conftest import ROOT

GUIDE = ROOT / "examples" / "guide.py"

pytestmark = pytest.mark.timeout(300)


def test_the_guides_snippets_run_in_order(client):
    out = client.run(GUIDE, "--max-circuits", "20")

    assert "Closed; usage: " in out
    # The guide's own output, whose numbers and dates differ from run to run.
    assert re.search(
        r"Result1: PrimitiveResult\(\[PubResult\(data=DataBin\(evs=np.ndarray\(<shape=\(3, 2\), "
        r"dtype=float64>\), stds=np.ndarray\(<shape=\(3, 2\), dtype=float64>\), "
        r"ensemble_standard_error=np.ndarray\(<shape=\(3, 2\), dtype=float64>\), shape=\(3, 2\)\), "
        r"metadata=\{'shots': 4096, 'target_precision': 0.015625, 'circuit_metadata': \{\}, "
        r"'resilience': \{\}, 'num_randomizations': 32\}\)\], metadata=\{'dynamical_decoupling': "
        r"\{'enable': False, 'sequence_type': 'XX', 'extra_slack_distribution': 'middle', "
        r"'scheduling_method': 'alap'\}, 'twirling': \{'enable_gates': False, 'enable_measure': "
        r"True, 'num_randomizations': 'auto', 'shots_per_randomization': 'auto', "
        r"'interleave_randomizations': True, 'strategy': 'active-accum'\}, 'resilience': "
        r"\{'measure_mitigation': True, 'zne_mitigation': False, 'pec_mitigation': False\}, "
        r"'version': 2\}\)",
        out,
    ), out
    assert re.search(
        r"Result2: PrimitiveResult\(\[SamplerPubResult\(data=DataBin\(meas=BitArray\(<shape="
        r"\(3, 2\), num_shots=4096, num_bits=2>\), shape=\(3, 2\)\), metadata="
        r"\{'circuit_metadata': \{\}\}\)\], metadata=\{'execution': \{'execution_spans': "
        r"ExecutionSpans\(\[DoubleSliceSpan\(<start='[-0-9 :]+', stop='[-0-9 :]+', size=24576>\)"
        r"\]\)\}, 'version': 2\}\)",
        out,
    ), out
    assert_fresh(
        ast.literal_eval(next(line for line in out.splitlines() if line.startswith("{'id'")))
    )


def assert_fresh(details):
    """The details of a batch without jobs, as the guide prints them."""
    backend = details.pop("backend_name")
    timestamps = details.pop("timestamps", None)  # shown since client 0.51
    assert re.fullmatch(r"[0-9a-f-]{36}", details.pop("id"))
    assert backend.startswith("fake_")
    assert timestamps is None or [entry["status"] for entry in timestamps] == ["open"]
    assert details == {
        "interactive_timeout": 2,  # the plan of the instance "quick"
        "max_time": 28800,
        "active_timeout": 28800,
        "state": "open",
        "accepting_jobs": True,
        "last_job_started": None,
        "last_job_completed": None,
        "started_at": None,
        "closed_at": None,
        "activated_at": None,
        "mode": "batch",
        "usage_time": None,
    }
