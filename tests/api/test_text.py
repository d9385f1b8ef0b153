"""Text that no database stores: NUL (PostgreSQL), and halves of characters (any)."""

import json

import pytest
from tests.api.conftest import SAMPLER, Api
from tests.api.test_problems import one

from queuebit.api import problems

JSON = {"Content-Type": "application/json"}
NUL, HALF = "a\0b", "a\ud800b"


@pytest.mark.parametrize("text", [NUL, HALF])
@pytest.mark.parametrize(
    "changes",
    [
        lambda text: {"tags": [text]},
        lambda text: {"runtime": text},
        lambda text: {"program_id": text},
        lambda text: {"backend": text},
        lambda text: {"session_id": text},
        lambda text: {"log_level": text},
        lambda text: {text: 1},
    ],
)
async def test_a_job_with_such_text_is_refused(api: Api, changes, text: str):
    body = json.dumps(SAMPLER | changes(text))  # escaped, as JSON may have it

    answer = await api.ask("POST", "/jobs", content=body)

    assert (answer.status_code, one(answer)["code"]) == (400, problems.INVALID_REQUEST)
    assert "NUL" in one(answer)["message"] or "halves" in one(answer)["message"]
    assert await api.is_empty()


@pytest.mark.parametrize("text", [NUL, HALF])
async def test_a_tag_of_such_text_is_refused(api: Api, text: str):
    job_id = await api.submit(tags=["a"])

    answer = await api.ask(
        "PUT", f"/jobs/{job_id}/tags", content=json.dumps({"tags": [text]}), headers=JSON
    )

    assert (answer.status_code, one(answer)["code"]) == (400, problems.INVALID_REQUEST)
    assert one(answer)["message"].startswith("Request validation of the request failed: tags.0: ")
    assert (await api.details(job_id)).tags == ("a",)


@pytest.mark.parametrize("text", [NUL, HALF])
@pytest.mark.parametrize("name", ["backend", "backend_name", "mode"])
async def test_a_session_of_such_text_is_refused(api: Api, name: str, text: str):
    wish = {"mode": "batch", "backend": "fake_manila"} | {name: text}

    answer = await api.ask("POST", "/sessions", content=json.dumps(wish), headers=JSON)

    assert (answer.status_code, one(answer)["code"]) == (400, problems.INVALID_REQUEST)
    assert one(answer)["message"].startswith(f"Request validation of the request failed: {name}: ")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/jobs/a%00b"),
        ("GET", "/jobs/a%00b/results"),
        ("DELETE", "/jobs/a%00b"),
        ("POST", "/jobs/a%00b/cancel"),
        ("GET", "/sessions/a%00b"),
        ("DELETE", "/sessions/a%00b/close"),
        ("GET", "/jobs?tags=a%00b"),
        ("GET", "/jobs?program=%00"),
        ("GET", "/jobs?session_id=%00"),
        ("GET", "/workloads?search=%00"),
        ("GET", "/workloads?tags=x&tags=%00"),
        ("GET", "/backends/%00/status"),
    ],
)
async def test_nobody_is_asked_for_such_text(api: Api, method: str, path: str):
    answer = await api.ask(method, path)

    assert (answer.status_code, one(answer)["code"]) == (400, problems.INVALID_REQUEST)
    assert "NUL" in one(answer)["message"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/queuebit/users/me/keys", {f"k{i}": i for i in range(50_000)}),
        ("POST", "/queuebit/users/me/keys", {"label": list(range(100_000))}),
        ("POST", "/sessions", {"mode": "batch", "backend": "fake_manila", "x": [{}] * 50_000}),
        ("PUT", "/jobs/nosuchjob/tags", {"tags": [1] * 100_000}),
        ("POST", "/jobs", SAMPLER | {"tags": [1] * 20_000}),
        ("POST", "/queuebit/estimates", SAMPLER | {"tags": [1] * 20_000}),
    ],
)
async def test_a_body_of_many_members_is_refused_before_it_is_checked(
    api: Api, method: str, path: str, body, monkeypatch: pytest.MonkeyPatch
):
    def never(*_args: object) -> None:
        raise AssertionError("each of its errors would be told")

    monkeypatch.setattr(problems, "invalid", never)
    answer = await api.ask(method, path, content=json.dumps(body), headers=JSON)

    assert (answer.status_code, one(answer)["code"]) == (400, problems.INVALID_REQUEST)
    assert "more than" in one(answer)["message"]


async def test_members_with_such_names_are_refused(api: Api):
    body = json.dumps({"label": "laptop", HALF: 1})

    answer = await api.ask("POST", "/queuebit/users/me/keys", content=body, headers=JSON)

    assert (answer.status_code, one(answer)["code"]) == (400, problems.INVALID_REQUEST)


def test_a_message_that_holds_half_a_character_can_be_sent():
    told = json.loads(bytes(problems.problem(400, 1208, f"there is no {HALF}").body))

    assert told["error"]["message"] == "there is no a\\ud800b"
