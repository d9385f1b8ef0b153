"""Who asks too often, too slowly or too much is refused, and nobody else."""

import contextlib
import json
import socket
import time

import httpx
import pytest
from tests.api.conftest import ADA, ALICE, SAMPLER
from tests.rest.conftest import Small

from queuebit.api import connection_slots, connections
from queuebit.api.rates import Rate
from queuebit.config import PlanConfig

ASK = b"GET /api/v1/versions HTTP/1.1\r\nHost: x\r\n\r\n"


def connect(small: Small) -> socket.socket:
    return socket.create_connection(("127.0.0.1", httpx.URL(small.url).port or 0), timeout=20)


def answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the next answer; 0 where it was dropped without one."""
    with contextlib.suppress(ConnectionResetError), connection.makefile("rb") as stream:
        line = stream.readline()
        if line:
            headers = {}
            while (text := stream.readline()) not in (b"\r\n", b""):
                name, _, value = text.decode().partition(":")
                headers[name.lower()] = value.strip()
            return int(line.split()[1]), headers, stream.read(int(headers["content-length"]))
    return 0, {}, b""


def is_told(answer: httpx.Response) -> bool:
    """429 in IBM's form, with the time to wait."""
    told = answer.json()["errors"][0]
    seconds = int(answer.headers["retry-after"])
    return answer.status_code == 429 and told["code"] == 1202 and 1 <= seconds <= 60


def test_a_rate_frees_one_at_a_time():
    rate = Rate()

    taken = [rate.take("a", 3, at) for at in (0, 0, 0, 0, 19.9, 20, 20, 200, 200, 200, 200)]

    assert [wait == 0 for wait in taken] == [True] * 3 + [False] * 2 + [True, False] + [
        True,
        True,
        True,
        False,
    ]
    assert taken[3] == pytest.approx(20)
    assert rate.take("b", 3, 0) == 0


def test_a_rate_forgets_who_is_quiet():
    rate = Rate()
    for number in range(5_000):
        rate.take(str(number), 60, number)

    assert len(rate._free_at) <= 1_001


def test_a_key_that_asks_too_often_is_refused_and_no_other(start):
    with start(key_requests_per_minute=3) as small, httpx.Client(base_url=small.url) as http:
        path = "/api/v1/queuebit/instances"
        ada = [http.get(path, headers=small.headers(ADA)) for _ in range(5)]
        alice = http.get(path, headers=small.headers(ALICE, "other"))
        nobody = http.get("/api/v1/versions")

    assert [one.status_code for one in ada] == [200] * 3 + [429] * 2
    assert is_told(ada[-1])
    assert (alice.status_code, nobody.status_code) == (200, 200)


def test_an_address_that_asks_too_often_is_refused_and_no_other(start):
    with start(address_requests_per_minute=2) as small, httpx.Client(base_url=small.url) as http:
        own = [http.get("/api/v1/versions") for _ in range(3)]
        other = http.get("/api/v1/versions", headers={"X-Forwarded-For": "10.9.9.9"})
        probe = http.get("/health")

    assert [one.status_code for one in own] == [200, 200, 429]
    assert is_told(own[-1])
    assert (other.status_code, probe.status_code) == (200, 200)


def test_a_user_submits_as_many_jobs_a_minute_as_the_plan_says(start):
    plans = (PlanConfig(name="premium", submits_per_minute=2),)
    with start(plans=plans) as small, httpx.Client(base_url=small.url) as http:

        def submit(key: str, instance: str) -> httpx.Response:
            headers = small.headers(key, instance)
            return http.post("/api/v1/jobs", headers=headers, json=SAMPLER)

        ada = [submit(ADA, "lab") for _ in range(3)]
        elsewhere, alice = submit(ADA, "other"), submit(ALICE, "other")
        held = small.digest()
        again = submit(ADA, "lab")

        assert [one.status_code for one in ada] == [200, 200, 429]
        assert is_told(again)
        assert small.digest() == held
        assert (elsewhere.status_code, alice.status_code) == (200, 200)


def test_a_key_has_so_many_requests_under_way(start):
    with start(key_requests_max=1) as small:
        body = json.dumps(SAMPLER).encode()
        fields = [*small.headers().items(), ("Host", "x"), ("Content-Length", str(len(body)))]
        head = "".join(f"{name}: {value}\r\n" for name, value in fields)
        with connect(small) as slow, httpx.Client(base_url=small.url) as http:
            slow.sendall(f"POST /api/v1/jobs HTTP/1.1\r\n{head}\r\n".encode() + body[:-1])
            statuses = []
            while 429 not in statuses and len(statuses) < 100:  # until the first is under way
                told = http.get("/api/v1/jobs", headers=small.headers())
                statuses.append(told.status_code)
            slow.sendall(body[-1:])
            assert answer(slow)[0] == 200
            afterwards = http.get("/api/v1/jobs", headers=small.headers())

    assert statuses[-1] == 429
    assert afterwards.status_code == 200


@pytest.mark.parametrize("whole", [True, False])
def test_a_head_has_a_size(small: Small, whole: bool):  # noqa: FBT001
    with connect(small) as connection:
        connection.sendall(b"GET /api/v1/versions?x=" + b"y" * 70_000)
        if whole:
            connection.sendall(b" HTTP/1.1\r\nHost: x\r\n\r\n")
        status, _, body = answer(connection)

    assert status in {0, 431}  # 0: our answer was lost, as it was still sending
    assert status == 0 or json.loads(body)["error"]["code"] == 1208


def test_endless_headers_are_not_kept(small: Small):
    sent = 0
    with connect(small) as connection, contextlib.suppress(OSError):
        connection.sendall(b"GET / HTTP/1.1\r\n")
        while sent < 2**26:
            connection.sendall(b"X-%d: %s\r\n" % (sent, b"y" * 8_000))
            sent += 8_000

    assert sent < 2**26


@pytest.mark.parametrize("path", ["/api/v1/jobs", "/api/v1/sessions"])
def test_a_body_that_trickles_is_given_up(small: Small, monkeypatch, path: str):
    monkeypatch.setattr(connections, "CHECK_S", 0.2)
    monkeypatch.setattr(connection_slots, "SWEEP_S", 0.05)
    fields = [*small.headers().items(), ("Host", "x"), ("Content-Length", "1000")]
    head = "".join(f"{name}: {value}\r\n" for name, value in fields)
    with connect(small) as connection:
        connection.sendall(f"POST {path} HTTP/1.1\r\n{head}\r\n{{".encode())
        status, _, body = answer(connection)

    assert status == 408
    assert json.loads(body)["error"]["message"] == "The request body came too slowly"


def test_an_answer_that_nobody_takes_is_given_up(small: Small, monkeypatch):
    monkeypatch.setattr(connections, "CHECK_S", 0.2)
    monkeypatch.setattr(connection_slots, "SWEEP_S", 0.05)
    asked = 0
    with connect(small) as connection:
        connection.settimeout(10)
        with contextlib.suppress(ConnectionError):  # given up
            while asked < 100_000:
                connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")
                asked += 1
                if asked % 100 == 0:
                    time.sleep(0.05)
            raise AssertionError("it was never given up")


HUGE = 10**30
ABSURD = {
    "GET": [
        f"/jobs?offset={HUGE}",
        f"/jobs?limit=-{HUGE}",
        "/jobs?created_after=0001-01-01T00:00:00%2B23:59&created_before=9999-12-31T23:59:59-23:59",
        "/analytics/usage_grouped_by_date?group_by=instance&interval_end=0001-01-01T00:00:00Z",
        "/backends/fake_manila/properties?updated_before=0001-01-01T00:00:00Z",
        f"/queuebit/audit?before={HUGE}",
        *(f"{path}tags={'&tags='.join('abcdefghi')}" for path in ("/jobs?", "/workloads?")),
        "/workloads?" + "status=pending&" * 4_000,
        "/analytics/usage?" + "backend=x&" * 4_000,
        "/accounts/%00",
        "/jobs/%ff%fe",
        "/jobs/" + "x" * 60_000,
    ],
    "PUT": ["/jobs/x/tags"],
    "POST": ["/jobs", "/sessions", "/queuebit/instances", "/queuebit/users", "/queuebit/estimates"],
}
BODIES = [
    b'{"tags": [' + b"1," * 400_000 + b"1]}",
    b'{"tags": ' + b"[" * 400_000 + b"]" * 400_000 + b"}",
    b'{"tags": ' + b"9" * 900_000 + b"}",
    b'{"mode": "batch", "backend": "fake_manila", "max_ttl": 1e400}',
    b'{"name": "x", "limit_seconds": 1e308}',
    b'{"name": "\\u0000", "mode": "batch", "backend": "\\ud800"}',
]


def test_what_is_absurd_is_no_fault_of_ours(small: Small):
    with httpx.Client(base_url=small.url, headers=small.headers(), timeout=60) as http:
        asked = [("GET", path, b"") for path in ABSURD["GET"]] + [
            (method, path, body) for method in ("PUT", "POST") for path in ABSURD[method]
            for body in BODIES
        ]  # fmt: skip
        for method, path, body in asked:
            answer = http.request(
                method, f"/api/v1{path}", content=body, headers={"Content-Type": "application/json"}
            )
            assert answer.status_code < 500, (method, path[:80], body[:80])
            assert len(answer.content) < 300_000, (method, path[:80], body[:80])
        searched = http.post("/v3/resources/search", json={"search_cursor": "9" * 5_000})
        assert searched.status_code == 400


def test_wrong_keys_are_slowed_and_right_ones_from_the_same_address_are_not(start):
    with start(wrong_keys_per_minute=3) as small, httpx.Client(base_url=small.url) as http:
        path = "/api/v1/queuebit/instances"
        wrong = [http.get(path, headers=small.headers(f"guess-{n}")) for n in range(5)]
        form = {"grant_type": "urn:ibm:params:oauth:grant-type:apikey", "apikey": "guess"}
        token = http.post("/identity/token", data=form)
        right = http.get(path, headers=small.headers(ADA))

    assert [one.status_code for one in wrong] == [401] * 3 + [429] * 2
    assert is_told(wrong[-1])
    assert (token.status_code, right.status_code) == (429, 200)
