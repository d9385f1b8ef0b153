"""IBM's qauvern, which shares out QPU time between instances, against a live service.

It knows IBM's own hosts alone, so it comes by the environment that `queuebit login --env` prints.
"""

import re
from pathlib import Path

import httpx
import pytest
from tests.client.conftest import NEWEST

QAUVERN = "from qauvern.cli import main; main()"
CRN = "QISKIT_IBM_INSTANCE"

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def environment(running) -> dict[str, str]:
    """Of a shell in which `login --env` was evaluated, for a manager of the instance chemistry."""
    key = (running.data / "api-key").read_text().strip()
    with httpx.Client(base_url=f"{running.url}/api/v1/queuebit") as http:
        http.headers["Authorization"] = f"apikey {key}"
        http.post("/instances", json={"name": "chemistry"}).raise_for_status()
        http.put("/instances/chemistry/users/local", json={"role": "manager"}).raise_for_status()
    where = ["--url", running.url, "--data", running.data, "--instance", "chemistry"]
    printed = running.queuebit("login", "--env", *where)
    return dict(re.findall(r"^export (\w+)=(\S+)$", printed, re.MULTILINE)) | {
        "IBMCLOUD_API_KEY": key
    }


def account(environment: dict[str, str]) -> str:
    return environment[CRN].split(":")[6].removeprefix("a/")


@pytest.fixture
def qauvern(running, environment):
    """Runs a command of qauvern, which must succeed; returns what it printed."""

    def ran(*arguments: object) -> str:
        return running.run(NEWEST, "-c", QAUVERN, *arguments, **environment)

    return ran


@pytest.fixture
def config(qauvern, running, environment, tmp_path: Path) -> Path:
    """The file that `qauvern configure` writes, of all instances of the plan."""
    httpx.patch(
        f"{running.url}/api/v1/queuebit/instances/chemistry",
        headers={"Authorization": f"apikey {environment['IBMCLOUD_API_KEY']}"},
        json={"allocation_seconds": 7200, "limit_seconds": 3600},
    ).raise_for_status()
    file = tmp_path / "config.yaml"
    qauvern("configure", "-a", account(environment), "-p", "premium", "-o", file)
    return file


def test_configure_finds_the_instances_of_a_plan_with_their_limits(config, environment):
    text = config.read_text()

    assert set(re.findall(r"name: (\w+)", text)) == {"local", "chemistry"}
    assert f"crn: {environment[CRN]!r}\n  limit_seconds: 3600\n" in text


def test_instances_and_account_are_shown(config, qauvern, environment):
    listed = qauvern("instances", "-c", config)
    shown = qauvern("show", "-c", config)

    for told in (listed, shown):
        assert re.search(r"chemistry .* 2\.0h .* 1\.0h ", told), told
    assert f"Account ID: {account(environment)}" in shown
    assert "Plan: premium" in shown


def test_limits_and_allocations_are_set(config, qauvern, running, environment):
    head, *entries = re.split(r"^(?=- )", config.read_text(), flags=re.MULTILINE)
    (own,) = (entry for entry in entries if environment[CRN] in entry)
    config.write_text(head + own.replace("limit_seconds: 3600", "limit_seconds: 1800"))

    analysis = qauvern("analyze", "-c", config, "--format", "json")
    done = qauvern("optimize", "-c", config, "--yes")

    assert "chemistry" in analysis
    assert "Successfully updated 1 instances" in done
    assert "Failed" not in done
    usage = httpx.get(
        f"{running.url}/api/v1/instances/usage",
        headers={
            "Authorization": f"apikey {environment['IBMCLOUD_API_KEY']}",
            "Service-CRN": environment[CRN],
        },
    )
    assert usage.json()["usage_limit_seconds"] == 1800
