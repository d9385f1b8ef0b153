"""What a user gets wrong ends in one line on stderr."""

import hashlib
import json

import pytest

from queuebit import testing

NOWHERE = "http://127.0.0.1:9"  # the discard port: nobody listens


def as_json(**body):
    return 200, "application/json", json.dumps(body)


def test_no_command_is_help(queuebit):
    outcome = queuebit()

    assert outcome.code == 0
    for name in ("serve", "login", "demo", "doctor", "backends", "jobs", "workloads", "cancel"):
        assert name in outcome.out


def test_the_version(queuebit):
    assert queuebit("--version").out == "0.1.0\n"


def test_an_unknown_command_is_corrected(refused):
    assert refused("serv", code=2) == "No such command 'serv'. Did you mean 'serve', 'users'?"


def test_an_option_that_is_no_number(refused):
    told = refused("serve", "--port", "web", code=2)

    assert told.startswith("Invalid value for '--port'")


def test_a_missing_id(refused):
    assert refused("cancel", code=2) == "Missing argument 'ID'."


@pytest.mark.parametrize(
    "arguments",
    [
        ["jobs"],
        ["job", "x"],
        ["workloads"],
        ["backends"],
        ["pause", "x"],
        ["cancel", "x"],
        ["close", "x"],
    ],
)
def test_nobody_logged_in(refused, arguments):
    assert refused(*arguments) == "not logged in: queuebit login, or give --url and --token"


@pytest.mark.parametrize("arguments", [["jobs"], ["login"]])
def test_nobody_answers(refused, arguments):
    assert refused(*arguments, "--url", NOWHERE, "--token", "x") == (
        f"no service answers at {NOWHERE} ([Errno 111] Connection refused): "
        "queuebit serve starts one"
    )


@pytest.mark.parametrize(
    "url", ["nonsense", "ftp://host", "http://", "http://h:99999", "http://h/x"]
)
def test_a_url_that_is_none(refused, url):
    assert refused("jobs", "--url", url, "--token", "x") == (
        f"{url!r} is not the URL of a service, such as http://127.0.0.1:8888"
    )


def test_something_else_answers(refused, answers):
    told, url = answers
    told["/v3/resources/search"] = (200, "text/html", "<h1>Welcome</h1>")

    assert refused("jobs", "--url", url, "--token", "x") == (
        f"{url} is not a Queuebit service: /v3/resources/search answered '<h1>Welcome</h1>'"
    )


def test_something_else_answers_an_error(refused, answers):
    _, url = answers

    assert refused("jobs", "--url", url, "--token", "x") == (
        "POST /v3/resources/search: 404 Not Found <h1>no</h1>"
    )


def test_a_key_of_several_instances_must_choose(refused, answers):
    told, url = answers
    told["/v3/resources/search"] = as_json(
        items=[{"name": "a", "crn": "crn:1"}, {"name": "b", "crn": "crn:2"}]
    )

    assert refused("jobs", "--url", url, "--token", "x") == (
        "choose one with --instance: this key may use a, b"
    )


def test_a_refusal_of_the_service_is_told_with_its_solution(refused, queuebit_service):
    service = queuebit_service

    told = refused("job", "none", "--url", service.url, "--token", service.key)

    assert told.startswith("Job not found. Job ID: none. ")


def test_who_is_no_administrator(refused, queuebit):
    digest = hashlib.sha256(b"key").hexdigest()
    users = [{"name": "emmy", "key_sha256": digest, "instances": ["local"]}]
    with testing.service(users=users, workers=1) as service:
        where = ["--url", service.url, "--token", "key"]
        told = refused("pause", "fake_fez", *where)
        listed = queuebit("backends", *where).out

    assert told == "User emmy is not an administrator. Ask an administrator of the service."
    assert "paused" not in listed


def test_a_key_that_nobody_holds(refused, queuebit_service):
    url = queuebit_service.url

    assert refused("jobs", "--url", url, "--token", "x") == f"{url} does not know this API key"


def test_an_account_file_that_is_broken(refused, home):
    file = home / ".qiskit" / "qiskit-ibm.json"
    file.parent.mkdir()
    file.write_text("{")

    assert refused("jobs").startswith(f"{file} cannot be read: ")


def test_a_saved_key_is_not_sent_to_another_service(logged_in, refused):
    assert refused("jobs", "--url", NOWHERE) == f"the saved key is not for {NOWHERE}: give --token"
