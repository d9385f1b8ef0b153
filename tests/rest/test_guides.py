"""What IBM's guides for REST send, against a live service.

The guides are `cloud-setup-rest-api`, `sampler-rest-api`, `estimator-rest-api`,
`primitives-rest-api` and `execution-modes-rest-api` of Qiskit/documentation. Their circuits are for
a QPU whose qubits are coupled otherwise, so they are put on fake_manila's.
"""

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import Parameter
from qiskit.qasm3 import dumps
from qiskit_ibm_runtime.fake_provider import FakeManilaV2

BACKEND = "fake_manila"
PLAIN = """
OPENQASM 3;
include "stdgates.inc";
qreg q[2];
creg c[2];
x q[0];
cx q[0], q[1];
c[0] = measure q[0];
c[1] = measure q[1];
"""
MEAS = """
OPENQASM 3.0;
include "stdgates.inc";
bit[2] meas;
rz(pi/2) $1;
sx $1;
rz(pi) $1;
x $2;
cx $2, $1;
sx $1;
rz(pi/2) $1;
"""
MEASURED = MEAS + "meas[0] = measure $1;\nmeas[1] = measure $2;\n"
DECOUPLING = {
    "enable": True,
    "sequence_type": "XpXm",
    "extra_slack_distribution": "middle",
    "scheduling_method": "alap",
}
TWIRLING = {
    "enable_gates": True,
    "enable_measure": True,
    "num_randomizations": "auto",
    "shots_per_randomization": "auto",
    "strategy": "active-accum",
}
ZNE = {
    "measure_mitigation": True,
    "zne_mitigation": True,
    "zne": {"extrapolator": ["exponential", "linear"], "noise_factors": [1, 3, 5]},
}
MODES = {
    "transpilation": {"optimization_level": 1},
    "twirling": {"enable_gates": True, "enable_measure": True},
}


class Guide:
    """A reader of the guides, who has come as far as a token and a CRN."""

    def __init__(self, http: httpx.Client, key: str) -> None:
        self.http = http
        # As the page has it, the misspelt content type too.
        token = self.http.post(
            "/identity/token",
            headers={"Content-Type": "application/x-www-form-urlendcoded"},
            content=f"grant_type=urn:ibm:params:oauth:grant-type:apikey&apikey={key}",
        )
        assert token.status_code == 200, token.text
        assert set(token.json()) >= {"access_token", "refresh_token", "expires_in", "expiration"}
        found = self.http.post(
            "/v3/resources/search", json={}, headers={"Authorization": f"apikey {key}"}
        )
        self.headers = {
            "Authorization": f"Bearer {token.json()['access_token']}",
            "Service-CRN": found.json()["items"][0]["crn"],
        }

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        return self.http.request(method, f"/api/v1{path}", headers=self.headers, **more)

    def submit(self, program_id: str, pubs: list[Any], options: Any = None, **more: Any):
        params = {"pubs": pubs} | ({} if options is None else {"options": options})
        version = more.pop("version", None)
        if version is not None:
            params["version"] = version
        body = {"program_id": program_id, "backend": BACKEND, "params": params} | more
        return self.ask("POST", "/jobs", json=body)

    def results(self, *args: Any, **more: Any) -> list[dict[str, Any]]:
        answer = self.submit(*args, **more)
        assert answer.status_code == 200, answer.text
        job = f"/jobs/{answer.json()['id']}"
        while (state := self.ask("GET", job).json()["state"])["status"] in {"Queued", "Running"}:
            time.sleep(0.05)
        assert state["status"] == "Completed", state
        return json.loads(self.ask("GET", f"{job}/results").text)["results"]


@pytest.fixture(scope="module")
def guide(queuebit_service) -> Iterator[Guide]:
    with httpx.Client(base_url=queuebit_service.url, timeout=60) as http:
        yield Guide(http, queuebit_service.key)


def test_the_setup_guide_reads_the_usage(guide: Guide):
    usage = guide.ask("GET", "/usage")

    assert usage.status_code == 200
    assert usage.json().keys() == guide.ask("GET", "/instances/usage").json().keys()
    assert "usage_consumed_seconds" in usage.json()


def test_the_sampler_guide(guide: Guide):
    first, second = guide.results("sampler", [[PLAIN], [PLAIN, None, 500]])

    assert len(first["data"]["c"]["samples"]) == 4096
    samples = second["data"]["c"]["samples"]
    assert len(samples) == 500
    assert samples.count("0x3") > 400


@pytest.mark.parametrize("version", [None, "2"])
@pytest.mark.parametrize(
    "options", [{"dynamical_decoupling": DECOUPLING}, {"twirling": TWIRLING}, MODES]
)
def test_the_samplers_options(guide: Guide, options, version):
    (result,) = guide.results("sampler", [[MEASURED]], options, version=version)

    assert len(result["data"]["meas"]["samples"]) == 4096
    assert result["data"]["meas"]["num_bits"] == 2


def test_the_guides_for_parameterized_circuits(guide: Guide):
    theta, phi = Parameter("theta"), Parameter("phi")
    circuit = QuantumCircuit(2)
    circuit.rx(theta, 0)
    circuit.ry(phi, 1)
    circuit.cx(0, 1)
    circuit.measure_all()
    text = dumps(transpile(circuit, FakeManilaV2(), optimization_level=1, seed_transpiler=1))

    (named,) = guide.results("sampler", [[text, {"theta": 1.57, "phi": 3.14}, 500]])
    (listed,) = guide.results("sampler", [[text, [1, 2], 500]])

    samples = named["data"]["meas"]["samples"]
    assert len(samples) == len(listed["data"]["meas"]["samples"]) == 500
    # As the guide prints them: 0x1 and 0x2, each about half.
    assert samples.count("0x1") + samples.count("0x2") > 400
    assert samples.count("0x1") > 150


@pytest.mark.parametrize(
    "options",
    [
        None,
        {"resilience": ZNE},
        {"dynamical_decoupling": DECOUPLING},
        {"twirling": TWIRLING},
        {"resilience": ZNE, "dynamical_decoupling": DECOUPLING, "twirling": TWIRLING},
    ],
)
def test_the_estimator_guide(guide: Guide, options):
    (result,) = guide.results(
        "estimator", [[MEAS, {"IZI": 1, "IXI": 2.3}, None]], options, version="2"
    )

    assert set(result["data"]) >= {"evs", "stds"}
    assert isinstance(result["data"]["evs"], float)
    assert {"shots", "target_precision", "circuit_metadata", "resilience"} <= set(
        result["metadata"]
    )


def test_the_pub_of_the_estimator_guide_that_is_the_samplers_is_refused_by_name(guide: Guide):
    """It gives parameter values and shots where an estimator's PUB has observables and values."""
    answer = guide.submit("estimator", [[MEAS, {"theta": 1.57, "phi": 3.14}, 500]])

    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("PUB 0: ")


@pytest.mark.parametrize("mode", ["dedicated", "batch"])
def test_the_guide_to_the_modes(guide: Guide, mode: str):
    opened = guide.ask(
        "POST",
        "/sessions",
        json={"backend": BACKEND, "instance": "hub1/group1/project1", "mode": mode},
    )
    assert opened.status_code == 200, opened.text
    session = opened.json()["id"]
    values = "input float[64] a;\nbit[1] c;\nrz(a) $0;\nsx $0;\nc[0] = measure $0;\n"
    text = f'OPENQASM 3.0;\ninclude "stdgates.inc";\n{values}'
    one, two, three, four = "ZZI", "IXI", {"IZI": 2}, {"IZI": 1, "IIZ": 0.5}
    pubs = {
        "1 circuit, 4 observables": ("estimator", [[MEAS, [one, two, three, four]]]),
        "1 circuit, 4 observables, 2 parameter sets": (
            "estimator",
            [[text, [["Z"], ["X"], ["Y"], ["Z"]], [[0.1], [0.2]]]],
        ),
        "2 circuits, 2 observables": ("estimator", [[MEAS, one], [MEAS, two]]),
        "1 circuit, no parameters": ("sampler", [[MEASURED]]),
        "1 circuit, 3 parameter sets": ("sampler", [[text, [[0.1], [0.2], [0.3]]]]),
        "2 circuits, 1 parameter set": ("sampler", [[text, [0.1]], [MEASURED, None, 100]]),
    }

    for name, (program_id, given) in pubs.items():
        results = guide.results(program_id, given, MODES, session_id=session)
        assert len(results) == len(given), name

    closed = guide.ask("DELETE", f"/sessions/{session}/close")
    assert (closed.is_success, closed.text) == (True, "")


HALF = "\\ud800"
HALVES = {
    "a parameter": ("sampler", f'{{"pubs": [[Q]], "{HALF}x": 1}}'),
    "an option": ("sampler", f'{{"pubs": [[Q]], "options": {{"{HALF}": 1}}}}'),
    "an option's value": (
        "sampler",
        f'{{"pubs": [[Q]], "options": {{"dynamical_decoupling": {{"sequence_type": "{HALF}"}}}}}}',
    ),
    "a tag": ("sampler", f'{{"pubs": [[{{"__type__": "{HALF}", "__value__": 1}}]]}}'),
    "the version": ("sampler", f'{{"pubs": [[Q]], "version": "{HALF}"}}'),
    "a circuit": ("sampler", f'{{"pubs": [["OPENQASM 3.0; bit[1] {HALF};"]]}}'),
    "a comment": ("sampler", f'{{"pubs": [["OPENQASM 3.0; // {HALF}"]]}}'),
    "values by name": ("sampler", f'{{"pubs": [[Q, {{"{HALF}": 1}}]]}}'),
    "packed data": (
        "sampler",
        f'{{"pubs": [[{{"__type__": "QuantumCircuit", "__value__": "{HALF}"}}]]}}',
    ),
    "an observable": ("estimator", f'{{"pubs": [[Q, "{HALF}"]]}}'),
    "a term": ("estimator", f'{{"pubs": [[Q, {{"{HALF}": 1}}]]}}'),
    "a schema": ("executor", f'{{"schema_version": "{HALF}"}}'),
}


@pytest.mark.parametrize("path", ["/jobs", "/queuebit/estimates"])
@pytest.mark.parametrize("name", HALVES)
def test_half_a_character_is_refused_wherever_it_is(guide: Guide, name: str, path: str):
    program_id, params = HALVES[name]
    params = params.replace("[Q", f"[{json.dumps(MEASURED)}")
    body = f'{{"program_id": "{program_id}", "backend": "{BACKEND}", "params": {params}}}'

    answer = guide.ask("POST", path, content=body)

    assert answer.status_code == 400, answer.text
    assert "halves of characters" in answer.json()["error"]["message"]
