"""`queuebit doctor` finds what is wrong, and says what mends it."""

import importlib.metadata
import json
import socket
from datetime import UTC, datetime, timedelta

import pytest
import trustme

from queuebit.cli import doctor

CHECKS = [
    "python",
    "packages",
    "settings",
    "data folder",
    "service",
    "devices",
    "database",
    "login",
    "bell job",
]


def findings(outcome):
    return {finding["check"]: finding for finding in json.loads(outcome.out)}


@pytest.fixture
def quick(monkeypatch):
    """Leaves the Bell job out, which other tests run."""
    monkeypatch.setattr(
        doctor, "_bell", lambda _: doctor.Finding(check="bell job", found="left out")
    )


@pytest.fixture
def certified(queuebit, tmp_path, monkeypatch, quick):
    """Runs a command where a certificate is set that ends in some days."""

    def certify(days):
        ends = datetime.now(UTC) + timedelta(days=days)
        begins = ends - timedelta(days=90)
        issued = trustme.CA().issue_cert("qpu", not_before=begins, not_after=ends)
        issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "cert.pem")
        for setting in ("CERT", "KEY"):
            monkeypatch.setenv(f"QUEUEBIT_TLS_{setting}", str(tmp_path / "cert.pem"))
        return queuebit

    return certify


def test_all_is_well_with_a_service(logged_in):
    outcome = logged_in("doctor", "--json")

    found = findings(outcome)
    assert outcome.code == 0
    assert list(found) == CHECKS
    assert [finding["mend"] for finding in found.values()] == [""] * len(CHECKS)
    assert "of the shots agree" in found["bell job"]["found"]


def test_all_is_well_before_the_first_start_but_for_the_login(queuebit, home):
    outcome = queuebit("doctor", "--json")

    found = findings(outcome)
    assert outcome.code == 0
    assert found["login"]["mend"] == "queuebit login, once it serves"
    assert found["database"]["found"] == "none yet; the first start makes it"
    assert found["bell job"]["found"].startswith("on a temporary service")
    assert list(home.iterdir()) == []  # it looks, and leaves nothing


def test_it_prints_a_table(logged_in, quick):
    out = logged_in("doctor").out

    assert [line.split()[0] for line in out.splitlines()[1:]] == [
        check.split()[0] for check in CHECKS
    ]


def test_a_broken_database_is_serious(queuebit, home, quick):
    (home / ".queuebit").mkdir()
    (home / ".queuebit" / "queuebit.db").write_text("this is no database, whatever it is" * 100)

    outcome = queuebit("doctor", "--json")

    assert outcome.code == 1
    assert findings(outcome)["database"]["serious"]
    assert "queuebit.db" in findings(outcome)["database"]["found"]


def test_a_data_folder_that_is_a_file_is_serious(queuebit, home, quick):
    (home / "taken").write_text("")

    outcome = queuebit("doctor", "--json", "--data", home / "taken")

    assert outcome.code == 1
    assert findings(outcome)["data folder"]["found"] == f"{home}/taken cannot be written"


def test_a_wrong_setting_is_serious(queuebit, monkeypatch, quick):
    monkeypatch.setenv("QUEUEBIT_SPEED", "0")

    outcome = queuebit("doctor", "--json")

    assert outcome.code == 1
    assert "speed" in findings(outcome)["settings"]["found"]


def test_a_device_that_cannot_start_is_serious(queuebit, tmp_path, quick):
    config = tmp_path / "lab.toml"
    config.write_text('[[backends]]\nname = "lab"\ndevice = "fridge"\n')

    outcome = queuebit("doctor", "--json", "--config", config)

    assert outcome.code == 1
    assert findings(outcome)["devices"]["serious"]
    assert findings(outcome)["devices"]["found"].startswith(
        "backend lab: there is no device 'fridge' in this installation; there are: simulated"
    )


@pytest.mark.parametrize(
    ("days", "code", "told"), [(-1, 1, "expired at"), (3, 0, "renew it"), (60, 0, "")]
)
def test_a_certificate_that_ends(certified, days, code, told):
    outcome = certified(days)("doctor", "--json")

    found = findings(outcome)["certificate"]
    assert outcome.code == code
    assert found["serious"] is (code == 1)
    assert told in found["found"] + found["mend"]
    assert bool(found["mend"]) is (days < 60)


def test_accounts_that_cannot_be_read(queuebit, home, quick):
    (home / ".qiskit").mkdir()
    (home / ".qiskit" / "qiskit-ibm.json").write_text("{")

    assert findings(queuebit("doctor", "--json"))["login"]["mend"] == (
        "mend the file or move it away"
    )


def test_a_port_that_something_else_has(queuebit, monkeypatch, quick):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("QUEUEBIT_PORT", str(taken.getsockname()[1]))

        outcome = queuebit("doctor", "--json")

    assert "another --port" in findings(outcome)["service"]["mend"]


def test_a_service_that_went_away(logged_in, home, quick):
    file = home / ".qiskit" / "qiskit-ibm.json"
    file.write_text(file.read_text().replace("http://127.0.0.1:", "http://127.0.0.2:"))

    found = findings(logged_in("doctor", "--json"))

    assert "no service answers" in found["service"]["found"]
    assert "queuebit serve" in found["service"]["mend"]


def test_a_variable_that_leads_the_client_elsewhere(logged_in, monkeypatch, quick):
    monkeypatch.setenv("QISKIT_IBM_TOKEN", "of IBM")

    assert findings(logged_in("doctor", "--json"))["environment"]["found"] == "QISKIT_IBM_TOKEN set"


def test_a_package_out_of_range_and_one_that_is_missing(queuebit, monkeypatch, quick):
    wanted = ["qiskit<1", "no-such-package-of-ours>=1", "pytest<1; extra == 'never'"]
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: wanted)

    outcome = queuebit("doctor", "--json")

    version = importlib.metadata.version("qiskit")
    assert outcome.code == 1
    assert findings(outcome)["packages"]["found"] == (
        f"qiskit {version} is not <1, no-such-package-of-ours is missing"
    )
