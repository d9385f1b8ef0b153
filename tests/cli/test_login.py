"""`queuebit login`, judged by the real client."""

import json
import os
import re
import shutil
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from qiskit_ibm_runtime import QiskitRuntimeService
from tests.fakes_tenants import crn_of

from queuebit.cli import login
from queuebit.config import InstanceConfig

DEAD_PROXY = "http://127.0.0.1:9"


def accounts(home):
    return json.loads((home / ".qiskit" / "qiskit-ibm.json").read_text())


def in_python(code, **variables):
    """What a program of the user prints."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


USE = """
from qiskit_ibm_runtime import QiskitRuntimeService
print(*sorted(backend.name for backend in QiskitRuntimeService().backends()))
"""


def test_the_client_finds_the_service_by_the_account(queuebit, home, queuebit_service):
    service = queuebit_service

    outcome = queuebit("login", "--url", service.url, "--data", service.data)

    assert outcome.code == 0
    assert "service = QiskitRuntimeService()\n" in outcome.out
    assert in_python(USE) == "fake_fez fake_manila fake_torino\n"


def test_it_works_behind_a_site_proxy(logged_in):
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "ALL_PROXY"), DEAD_PROXY)

    assert in_python(USE, **proxies) == "fake_fez fake_manila fake_torino\n"
    assert logged_in("backends").code == 0


def test_it_works_where_the_environment_bypasses_proxies(logged_in):
    assert in_python(USE, NO_PROXY="*") == "fake_fez fake_manila fake_torino\n"


def test_only_the_owner_reads_the_account(logged_in, home):
    assert (home / ".qiskit" / "qiskit-ibm.json").stat().st_mode & 0o777 == 0o600


def test_other_accounts_stay_and_the_former_default_is_told(queuebit, home, queuebit_service):
    service = queuebit_service
    file = home / ".qiskit" / "qiskit-ibm.json"
    QiskitRuntimeService.save_account(
        token="of IBM", filename=str(file), name="ibm", set_as_default=True
    )

    outcome = queuebit("login", "--url", service.url, "--token", service.key)

    assert accounts(home)["ibm"]["token"] == "of IBM"
    assert accounts(home)["queuebit"]["is_default_account"]
    assert "The default was 'ibm': QiskitRuntimeService(name='ibm')." in outcome.out


def test_it_need_not_be_the_default(queuebit, home, queuebit_service):
    service = queuebit_service

    outcome = queuebit(
        "login", "--url", service.url, "--token", service.key, "--name", "lab", "--no-default"
    )

    assert "QiskitRuntimeService(name='lab')" in outcome.out
    assert "is_default_account" not in accounts(home)["lab"]


def test_a_second_login_replaces_the_first(logged_in, home, queuebit_service):
    service = queuebit_service

    assert logged_in("login", "--url", service.url, "--token", service.key).code == 0
    assert list(accounts(home)) == ["queuebit"]


def test_nothing_is_saved_if_the_key_is_wrong(refused, home, queuebit_service):
    refused("login", "--url", queuebit_service.url, "--token", "x")

    assert not (home / ".qiskit").exists()


def test_an_instance_that_the_key_may_not_use(refused, queuebit_service):
    service = queuebit_service

    told = refused("login", "--url", service.url, "--token", service.key, "--instance", "lab")

    assert told == "no instance 'lab' for this key: it may use local"


def test_the_instance_may_be_given_by_its_crn(queuebit, home, queuebit_service):
    service = queuebit_service
    crn = crn_of(InstanceConfig(name="local"))

    outcome = queuebit("login", "--url", service.url, "--token", service.key, "--instance", crn)

    assert outcome.code == 0
    assert accounts(home)["queuebit"]["instance"] == "local"


def test_the_local_key_is_for_this_machine(refused):
    assert refused("login", "--url", "http://10.1.2.3:8888") == (
        "give --token: http://10.1.2.3:8888 is on another machine; if it is on this one, give "
        "--data"
    )


def test_a_service_that_never_started_here(refused, home):
    assert refused("login") == (
        f"there is no {home}/.queuebit/api-key: start the service first, or give its folder with "
        "--data, or a key with --token"
    )


def test_an_account_file_that_cannot_be_written(refused, home, queuebit_service):
    service = queuebit_service
    (home / ".qiskit").write_text("a file where the folder should be")

    told = refused("login", "--url", service.url, "--token", service.key)

    assert told.startswith(f"{home}/.qiskit/qiskit-ibm.json cannot be ")


@pytest.fixture
def environment(queuebit, queuebit_service):
    """What `login --env` prints, as a shell reads it."""
    service = queuebit_service
    outcome = queuebit("login", "--env", "--url", service.url, "--data", service.data)
    assert outcome.code == 0
    listing = subprocess.run(
        ["env", "-i", "sh", "-c", f"{outcome.out}\n/usr/bin/env"],
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(line.split("=", 1) for line in listing.stdout.splitlines())


def test_the_environment_alone_leads_any_client_here(environment, home):
    environment.pop("PWD", None)

    assert in_python(USE, **environment) == "fake_fez fake_manila fake_torino\n"
    assert not (home / ".qiskit" / "qiskit-ibm.json").exists()


def test_the_environment_names_the_instance_by_crn_and_the_bundle_for_every_library(environment):
    bundles = {
        environment[name] for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
    }

    assert environment["QISKIT_IBM_INSTANCE"] == crn_of(InstanceConfig(name="local"))
    assert len(bundles) == 1


ASKS = """
import httpx, ssl, urllib.request
url = "https://quantum.cloud.ibm.com/api/v1/versions"
print(httpx.get(url).status_code, urllib.request.urlopen(url).status)
"""


def test_the_standard_library_and_httpx_trust_the_tunnel_by_the_environment(environment):
    environment.pop("PWD", None)

    assert in_python(ASKS, **environment) == "200 200\n"


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_curl_trusts_the_tunnel_by_the_environment(environment):
    url = "https://quantum.cloud.ibm.com/api/v1/versions"
    asked = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", url]
    variables = os.environ | environment
    done = subprocess.run(asked, env=variables, capture_output=True, text=True, check=False)

    assert (done.stdout, done.stderr) == ("200", "")


def test_the_bundle_trusts_the_world_and_the_tunnel_but_holds_no_key(environment):
    bundle = environment["REQUESTS_CA_BUNDLE"]
    context = ssl.create_default_context(cafile=bundle)

    names = [dict(pair[0] for pair in c["subject"]) for c in context.get_ca_certs()]

    assert "Queuebit on this machine" in [name.get("commonName") for name in names]
    assert len(names) > 50
    assert "PRIVATE" not in Path(bundle).read_text()


def test_the_environment_tells_the_fingerprint(queuebit, queuebit_service):
    service = queuebit_service
    certificate = x509.load_pem_x509_certificate((service.data / "tunnel.pem").read_bytes())

    told = queuebit("login", "--env", "--url", service.url, "--data", service.data).out

    fingerprint = certificate.fingerprint(hashes.SHA256()).hex(":").upper()
    assert f"# The tunnel's certificate, SHA-256: {fingerprint}\n" in told


def test_a_proxy_that_opens_no_tunnel_is_named(refused, answers):
    told, url = answers
    item = {"name": "local", "crn": "crn:1"}
    told["/v3/resources/search"] = (200, "application/json", json.dumps({"items": [item]}))

    assert refused("login", "--env", "--url", url, "--token", "x").startswith(
        f"{url} opens no tunnel (501 Unsupported method ('CONNECT')): is it behind a reverse proxy"
    )


def test_the_port_way_needs_no_tunnel_and_no_names(queuebit, home, queuebit_service):
    service = queuebit_service

    told = queuebit(
        "login", "--url", service.url, "--data", service.data, "--way", "port", "--name", "a/b"
    ).out

    exports = dict(re.findall(r"^ *export (\w+)=(\S+)$", told, re.MULTILINE))
    assert accounts(home)["a/b"]["url"] == f"{service.url}/experimental"
    assert set(exports) == {"IAM_URL", "GLOBAL_SEARCH_URL", "GLOBAL_CATALOG_URL"}
    use = USE.replace("Service()", "Service(name='a/b')")
    assert in_python(use, **exports) == "fake_fez fake_manila fake_torino\n"
    assert queuebit("backends", "--name", "a/b").code == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--url", "http://h", "--ca", "f"), "--ca is for https: http://h shows no certificate"),
        (("--url", "https://h", "--ca", "/none"), "/none cannot be read: No such file or directo"),
        (("--url", "https://h", "--way", "proxies"), "--way proxies is for http: the client would"),
        (("--url", "https://h:1", "--way", "names"), "--way names leaves the port out, and https:"),
        (("--url", "https://h", "--way", "names", "--env"), "--env is a way of its own: leave"),
    ],
)
def test_ways_that_lead_nowhere(refused, words, told):
    assert refused("login", "--token", "x", *words).startswith(told)


def test_who_sends_a_key_in_the_clear_is_told(capsys):
    login._tell_dangers("http://127.0.0.1:8888")
    login._tell_dangers("https://qpu.example.org")
    assert capsys.readouterr().err == ""

    login._tell_dangers("http://qpu.example.org")
    assert "cross the network in the clear" in capsys.readouterr().err
