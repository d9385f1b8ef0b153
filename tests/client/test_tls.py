"""The unmodified client over TLS: by names behind nginx, by one port, by its environment alone."""

import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import trustme
from tests.client.conftest import NEWEST, OLDEST, ROOT, clean_environment, free_port

from queuebit import testing

HOST = "qpu.example.org"
NAMES = re.findall(rf"\S+\.{HOST}\b", (ROOT / "examples" / "nginx.conf").read_text())
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

pytestmark = pytest.mark.timeout(300)

# Names of the test lead to this machine, and port 443 to nginx: in place of DNS and root's rights.
RESOLVER = """
import socket
ask = socket.getaddrinfo
def getaddrinfo(host, port, *more, **named):
    if str(host).endswith("{host}"):
        return ask("127.0.0.1", {port} if port == 443 else port, *more, **named)
    return ask(host, port, *more, **named)
socket.getaddrinfo = getaddrinfo
"""

PROGRAM = """
import warnings
from urllib3.exceptions import InsecureRequestWarning
warnings.simplefilter("error", InsecureRequestWarning)
warnings.filterwarnings("error", message="Unable to retrieve IBM Cloud access token")
from qiskit import QuantumCircuit
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import Batch, QiskitRuntimeService, SamplerV2
service = QiskitRuntimeService()
backend = service.backend("fake_manila")
circuit = QuantumCircuit(1)
circuit.x(0)
circuit.measure_all()
isa = generate_preset_pass_manager(backend=backend, optimization_level=0).run(circuit)
with Batch(backend=backend) as batch:
    job = SamplerV2(mode=batch).run([isa], shots=100)
print(job.result()[0].data.meas.get_counts()["1"] > 50, batch.details()["mode"])
"""
DONE = "True batch\n"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA):
    """Files of a certificate for all names, its key, and the authority's own."""
    folder = tmp_path_factory.mktemp("certificates")
    issued = authority.issue_cert(HOST, *NAMES)
    for pem in issued.cert_chain_pems:
        pem.write_to_path(folder / "cert.pem", append=True)
    issued.private_key_pem.write_to_path(folder / "key.pem")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    return folder


@pytest.fixture(scope="module")
def secure(certificate: Path):
    """A service that speaks TLS."""
    with testing.service(
        tls_cert=certificate / "cert.pem", tls_key=certificate / "key.pem"
    ) as running:
        assert running.url.startswith(f"https://{HOST}:")
        yield running


@pytest.fixture(scope="module")
def proxy_port(tmp_path_factory, certificate: Path, queuebit_service):
    """The port of an nginx with the example's configuration, in front of an ordinary service."""
    if NGINX is None:
        pytest.skip("nginx is not installed: .ci/run installs nginx-light")
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    site = (ROOT / "examples" / "nginx.conf").read_text()
    for old, new in (
        ("127.0.0.1:8888", queuebit_service.url.removeprefix("http://")),
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        (f"/etc/ssl/{HOST}/fullchain.pem", f"{certificate}/cert.pem"),
        (f"/etc/ssl/{HOST}/privkey.pem", f"{certificate}/key.pem"),
    ):
        assert site.count(old) == 1
        site = site.replace(old, new)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    user = "user root;" if os.geteuid() == 0 else ""  # whose folder it is
    (folder / "nginx.conf").write_text(
        f"{user} daemon off; pid {folder}/pid; error_log stderr;\nworker_processes 1; events {{}}\n"
        f"http {{ access_log off;\n{paths}{site}}}\n"
    )
    command = [NGINX, "-p", folder, "-e", "stderr", "-c", folder / "nginx.conf"]
    process = subprocess.Popen(command)
    try:
        wait_for(port, process)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            httpx.get(f"http://127.0.0.1:{port}/")  # "plain HTTP was sent to HTTPS port"
        except httpx.HTTPError:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


@dataclass
class Home:
    """Where a user works, on a machine from which the names can be found."""

    folder: Path

    def run(self, *command: object, **environment: str) -> str:
        """What a command prints; it must succeed."""
        done = subprocess.run(
            [str(word) for word in command],
            env=clean_environment()
            | {"HOME": str(self.folder), "PYTHONPATH": str(self.folder)}
            | environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def queuebit(self, *arguments: object, **environment: str) -> str:
        return self.run(sys.executable, "-m", "queuebit", *arguments, **environment)

    def refused(self, *arguments: object) -> str:
        """What a `queuebit` command that must fail says, without ports."""
        with pytest.raises(AssertionError) as caught:
            self.queuebit(*arguments)
        told = str(caught.value).rpartition("queuebit: ")[2]
        return re.sub(r":\d+\b", "", told.splitlines()[0])


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return resolving(tmp_path, 443)


def resolving(folder: Path, port: int) -> Home:
    (folder / "sitecustomize.py").write_text(RESOLVER.format(host=HOST, port=port))
    return Home(folder)


def exports(text: str) -> dict[str, str]:
    return dict(re.findall(r"^ *export (\w+)=(\S+)$", text, re.MULTILINE))


def test_names_behind_a_reverse_proxy(tmp_path, proxy_port, certificate, queuebit_service):
    home, ca = resolving(tmp_path, proxy_port), certificate / "ca.pem"

    told = home.queuebit(
        "login", "--url", f"https://{HOST}", "--ca", ca, "--token", queuebit_service.key
    )
    needed = exports(told)

    assert needed == {
        "IAM_URL": f"https://iam.{HOST}",
        "REQUESTS_CA_BUNDLE": f"{tmp_path}/.qiskit/queuebit-ca.pem",
    }
    assert home.run(NEWEST, "-c", PROGRAM, **needed) == DONE
    assert "fake_manila" in home.queuebit("backends")  # our own commands find it too


def test_links_lead_back_through_the_reverse_proxy(proxy_port, certificate, queuebit_service):
    name = f"quantum.{HOST}"
    context = ssl.create_default_context(cafile=certificate / "ca.pem")
    with httpx.Client(
        base_url=f"https://127.0.0.1:{proxy_port}/api/v1", verify=context, timeout=60
    ) as http:
        http.headers.update({"Host": name, "Authorization": f"apikey {queuebit_service.key}"})
        instances = http.get("/queuebit/instances", extensions={"sni_hostname": name}).json()
        http.headers["Service-CRN"] = instances["instances"][0]["crn"]
        for _ in range(2):
            body = {"mode": "batch", "backend": "fake_manila"}
            http.post("/sessions", json=body, extensions={"sni_hostname": name}).raise_for_status()

        page = http.get("/workloads?limit=1", extensions={"sni_hostname": name}).json()

    assert page["next"]["href"].startswith(f"https://{name}/api/v1/workloads?limit=1&next=")


def test_one_name_and_any_port(home, secure, certificate):
    told = home.queuebit(
        "login", "--url", secure.url, "--ca", certificate / "ca.pem", "--data", secure.data
    )
    needed = exports(told)

    assert needed == {
        "IAM_URL": secure.url,
        "GLOBAL_SEARCH_URL": secure.url,
        "GLOBAL_CATALOG_URL": f"{secure.url}/api/v1",
        "REQUESTS_CA_BUNDLE": f"{home.folder}/.qiskit/queuebit-ca.pem",
    }
    assert home.run(NEWEST, "-c", PROGRAM, **needed) == DONE
    missing = findings(home.queuebit("doctor", "--json"))
    assert missing["bell job"]["mend"] == ""
    assert "export IAM_URL=" in missing["environment"]["mend"]


def test_the_oldest_client_by_its_environment(home, secure, certificate):
    """Its requests to IBM's names are tunnels: TLS inside the port's TLS, both verified."""
    assert OLDEST.exists(), "`make setup` installs the oldest client"
    words = ("--url", secure.url, "--ca", certificate / "ca.pem", "--data", secure.data)

    environment = exports(home.queuebit("login", "--env", *words))

    assert home.run(OLDEST, "-c", PROGRAM, **environment) == DONE
    well = findings(home.queuebit("doctor", "--json", **environment))
    assert [finding["mend"] for finding in well.values()] == [""] * len(well)
    assert well["login"]["found"].startswith("by HTTPS_PROXY")


def test_a_service_that_is_not_what_its_url_says(home, secure, certificate, queuebit_service):
    trusted = ("--token", "x", "--ca", certificate / "ca.pem")
    plain = queuebit_service.url
    other = certificate / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)

    mistrusted = home.refused("login", "--url", secure.url, "--token", "x", "--ca", other)
    public = home.refused("login", "--url", secure.url, "--token", "x")
    needs_tls = home.refused("login", "--url", secure.url.replace("https", "http"), "--token", "x")
    has_none = home.refused("login", "--url", plain.replace("http", "https"), *trusted)
    no_tunnel = home.refused("login", "--url", f"https://nowhere.{HOST}", *trusted)

    mend = "give the file of a private authority with --ca"
    assert mistrusted.startswith(f"no service answers at https://{HOST} ([SSL: CERTIFICATE_VERIFY_")
    assert (mistrusted.rpartition("): ")[2], public.rpartition("): ")[2]) == (mend, mend)
    assert needs_tls.endswith(f"it may speak TLS: https://{HOST}")
    assert has_none.endswith("it may be without TLS: http://127.0.0.1")
    assert no_tunnel.startswith(f"no service answers at https://iam.nowhere.{HOST} (")
    assert f"nor at https://nowhere.{HOST} (" in no_tunnel


def findings(text: str):
    return {finding["check"]: finding for finding in json.loads(text)}
