"""The unmodified client against a live service: the newest, and the oldest that we promise.

What they run, `examples/guide.py` and `walk.py`, says `QiskitRuntimeService()` and knows nothing of
Queuebit.
"""

import ast
import re

import pytest
from tests.client.conftest import NEWEST, OLDEST, ROOT

GUIDE = ROOT / "examples" / "guide.py"
WALK = ROOT / "tests" / "client" / "walk.py"

pytestmark = pytest.mark.timeout(300)


def exports(text):
    """The environment that `queuebit login --env` prints."""
    return dict(re.findall(r"^export (\w+)=(\S+)$", text, re.MULTILINE))


@pytest.fixture(scope="module")
def newest(running):
    """Runs a script with the newest client after one `queuebit login`."""
    where = ["--url", running.url, "--data", str(running.data), "--instance", "quick"]
    running.queuebit("login", *where)
    return lambda script, *arguments: running.run(NEWEST, "-W", "ignore", script, *arguments)


@pytest.fixture(scope="module")
def oldest(running):
    """Runs a script with the oldest client, which is led here by its environment alone."""
    assert OLDEST.exists(), "`make setup` installs the oldest client"
    where = ["--url", running.url, "--data", str(running.data), "--instance", "quick"]
    environment = exports(running.queuebit("login", "--env", *where))
    assert "REQUESTS_CA_BUNDLE" in environment
    return lambda script, *arguments: running.run(OLDEST, script, *arguments, **environment)


@pytest.fixture(params=["newest", "oldest"])
def client(request):
    return request.getfixturevalue(request.param)


def test_the_guides_snippets_run_in_order(client):
    out = client(GUIDE, "--max-circuits", "20")

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


def test_a_fresh_batch_has_the_guides_details(client):
    out = client(GUIDE, "--max-circuits", "1")

    details = ast.literal_eval(next(line for line in out.splitlines() if line.startswith("{'id'")))
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


def test_everything_that_the_client_offers_works(client):
    assert "all of it works" in client(WALK)
