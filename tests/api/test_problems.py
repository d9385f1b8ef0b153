import json

import pytest
from tests.api.conftest import SAMPLER, Api

from queuebit.api import problems
from queuebit.errors import advised

UNKNOWN_JOB = "0123456789abcdefghij"


def one(answer) -> dict:
    """The one error of an answer, which must be told in both forms."""
    told = answer.json()
    (error,) = told["errors"]
    assert set(error) == {"code", "message", "solution", "more_info"}
    assert told["error"]["code"] == error["code"]
    # The client puts ", Error code: 1208." behind it.
    whole = advised(error["message"], error["solution"])
    assert told["error"]["message"] == whole.removesuffix(".")
    assert told["trace"] == answer.headers["uber-trace-id"]
    return error


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, problems.NOT_FOUND),
        ("GET", "/jobs/", 404, problems.NOT_FOUND),
        ("PUT", "/jobs", 405, problems.METHOD_NOT_ALLOWED),
        ("GET", f"/jobs/{UNKNOWN_JOB}", 404, problems.JOB_NOT_FOUND),
        ("DELETE", f"/jobs/{UNKNOWN_JOB}", 404, problems.JOB_NOT_FOUND),
        ("GET", f"/jobs/{UNKNOWN_JOB}/results", 404, problems.JOB_NOT_FOUND),
        ("GET", f"/jobs/{UNKNOWN_JOB}/metrics", 404, problems.JOB_NOT_FOUND),
        ("GET", f"/jobs/{UNKNOWN_JOB}/logs", 404, problems.JOB_NOT_FOUND),
        ("POST", f"/jobs/{UNKNOWN_JOB}/cancel", 404, problems.JOB_NOT_FOUND),
        ("GET", "/sessions/x", 404, problems.NOT_FOUND),
        ("DELETE", "/sessions/x/close", 404, problems.NOT_FOUND),
        ("GET", "/backends/fake_nowhere/configuration", 404, problems.NOT_FOUND),
        ("GET", "/backends/fake_nowhere/properties", 404, problems.NOT_FOUND),
        ("GET", "/backends/fake_nowhere/status", 404, problems.NOT_FOUND),
        ("GET", "/6d0b0d5c-0000-5000-8000-000000000000", 404, problems.NOT_FOUND),
        ("GET", "/jobs?pending=perhaps", 400, problems.INVALID_REQUEST),
        ("GET", "/jobs?created_after=yesterday", 400, problems.INVALID_REQUEST),
        ("GET", "/jobs?sort=up", 400, problems.INVALID_REQUEST),
    ],
)
async def test_every_error_is_told_in_both_forms(
    api: Api, method: str, path: str, status: int, code: int
):
    answer = await api.ask(method, path)

    assert (answer.status_code, one(answer)["code"]) == (status, code)


async def test_bodies_that_are_not_known_to_exist_are_told_too(api: Api):
    answers = [
        await api.ask("PUT", f"/jobs/{UNKNOWN_JOB}/tags", json={"tags": []}),
        await api.ask("PATCH", "/sessions/x", json={"accepting_jobs": False}),
    ]

    assert [(answer.status_code, one(answer)["code"]) for answer in answers] == [
        (404, problems.JOB_NOT_FOUND),
        (404, problems.NOT_FOUND),
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"nonsense",
        b'{"program_id": "sampler",}',
        b'{"program_id" "sampler"}',
        b'{"program_id": sampler, "backend": "fake_manila"}',
        b'{"program_id": "sampler", "params": {"pubs": [}',
        b'{"program_id": "sampler"} {}',
        b'{"program_id": "\xff", "backend": "fake_manila"}',
        b"\xff\xfe{\x00}\x00",
        b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
async def test_malformed_json_is_a_400(api: Api, body: bytes):
    answer = await api.ask("POST", "/jobs", content=body)

    assert (answer.status_code, one(answer)["code"]) == (400, problems.INVALID_REQUEST)
    assert not api.workers.validated


@pytest.mark.parametrize("path", ["/sessions", "/jobs/x/tags"])
async def test_malformed_json_is_a_400_on_routes_with_small_bodies(api: Api, path: str):
    method = "POST" if path == "/sessions" else "PUT"
    answer = await api.ask(
        method, path, content=b"{nonsense", headers={"Content-Type": "application/json"}
    )

    assert (answer.status_code, one(answer)["code"]) == (400, problems.INVALID_REQUEST)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"program_id": None}, "program_id: Input should be a valid string"),
        ({"tags": "abc"}, "tags: Input should be a valid list"),
        ({"tags": [1]}, "tags.0: Input should be a valid string"),
        ({"cost": -1}, "cost: Input should be greater than or equal to 0"),
        ({"log_level": "loud"}, "log_level: Input should be 'critical', 'error'"),
        ({"session_id": "x" * 37}, "session_id: String should have at most 36 characters"),
        ({"calibration_id": "slow_gates"}, "calibration_id: is not supported by this service"),
        ({"remote_storage": {}}, "remote_storage: is not supported by this service"),
        ({"params": []}, "params is not a JSON object"),
        ({"backend": "fake_nowhere"}, "There is no backend 'fake_nowhere'"),
    ],
)
async def test_a_field_that_breaks_a_rule_is_named(api: Api, changes: dict, message: str):
    answer = await api.ask("POST", "/jobs", json=SAMPLER | changes)

    assert answer.status_code == 400
    assert message in one(answer)["message"]


async def test_a_missing_field_is_named(api: Api):
    answer = await api.ask("POST", "/jobs", json={"program_id": "sampler"})

    assert answer.status_code == 400
    assert one(answer)["message"] == (
        "Request validation of the request body failed: backend: Field required."
    )


@pytest.mark.parametrize("announced", [True, False])
async def test_an_oversize_body_is_a_413(api: Api, announced: bool):  # noqa: FBT001
    body = json.dumps(SAMPLER | {"params": {"pubs": "x" * 2**21}}).encode()

    async def chunks():
        for at in range(0, len(body), 65_536):
            yield body[at : at + 65_536]

    answer = await api.ask("POST", "/jobs", content=body if announced else chunks())

    assert (answer.status_code, one(answer)["code"]) == (413, problems.PAYLOAD_TOO_LARGE)
    assert one(answer)["message"] == "The request body is over the limit of 2 MiB."
    assert await api.is_empty()


async def test_bodies_other_than_jobs_have_a_small_limit(api: Api):
    wish = {"mode": "batch", "backend": "fake_manila", "note": "x" * 2**20}

    answer = await api.ask("POST", "/sessions", json=wish)

    assert (answer.status_code, one(answer)["code"]) == (413, problems.PAYLOAD_TOO_LARGE)


async def test_a_bug_of_ours_is_a_500_that_tells_nothing_of_our_insides(api: Api):
    api.store.usage_ms = None  # calling it is a TypeError

    answer = await api.ask("GET", "/instances/usage")

    assert (answer.status_code, one(answer)["code"]) == (500, problems.INTERNAL)
    assert "NoneType" not in answer.text
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    ("message", "solution", "told"),
    [
        ("job x is not final", "Wait for it.", "job x is not final. Wait for it"),
        ("Job x is not final.", "Wait for it.", "Job x is not final. Wait for it"),
        ("Job x is not final.", "", "Job x is not final"),
        ("is it final?", "Wait for it.", "is it final? Wait for it"),
    ],
)
def test_a_message_and_its_solution_are_sentences_whether_or_not_a_full_stop_was_given(
    message: str, solution: str, told: str
):
    """The client goes on with ", Error code: 1208."."""
    answer = json.loads(problems.problem(400, 1208, message, solution=solution).body)

    assert answer["error"]["message"] == told
    assert (answer["errors"][0]["message"], answer["errors"][0]["solution"]) == (message, solution)
