"""Administrators and users at the command line: instances, users, keys."""

import json

import pytest


def rows(text):
    return [line.split() for line in text.splitlines()]


@pytest.fixture
def chemistry(logged_in):
    """An instance that an administrator added."""
    made = logged_in("instances", "add", "chemistry", "--plan", "open", "--tag", "lab")
    yield made.out
    logged_in("instances", "remove", "chemistry")


@pytest.fixture
def grace(logged_in):
    """The key of a user whom an administrator added."""
    added = logged_in("users", "add", "grace")
    assert added.err == "Added user grace, with the API key\n"
    yield added.out.strip()
    logged_in("users", "remove", "grace")


def test_an_instance_is_added_changed_and_listed(logged_in, chemistry):
    changed = logged_in("instances", "change", "chemistry", "--limit-s", "90.5")
    (row,) = [row for row in rows(logged_in("instances", "list").out) if row[0] == "chemistry"]
    told = json.loads(logged_in("instances", "list", "--json").out)["instances"]

    assert chemistry.startswith("Added instance chemistry: crn:v1:")
    assert changed.out == "Changed instance chemistry.\n"
    assert row == ["chemistry", "open", "local", "36000", "s", "90.5", "s"]
    (one,) = [one for one in told if one["name"] == "chemistry"]
    assert (one["tags"], one["limit_seconds"], one["declared"]) == (["lab"], 90.5, False)


def test_a_user_gets_a_role_and_uses_it(queuebit, queuebit_service, chemistry, grace, logged_in):
    as_grace = ("--url", queuebit_service.url, "--token", grace, "--instance", "chemistry")
    alone = queuebit("jobs", *as_grace)
    granted = logged_in("instances", "grant", "chemistry", "grace", "--role", "reader")
    jobs = queuebit("jobs", *as_grace)
    users = rows(logged_in("users", "list").out)
    revoked = logged_in("instances", "revoke", "chemistry", "grace")
    after = queuebit("jobs", *as_grace)

    assert (alone.code, after.code) == (1, 1)
    assert granted.out == "User grace is now reader in instance chemistry.\n"
    assert (jobs.code, jobs.out) == (0, "No jobs.\n")
    assert ["grace", "chemistry", "(reader)", "1", "administrator"] in [row[:5] for row in users]
    assert revoked.out == "User grace may no longer use instance chemistry.\n"


def test_keys_are_made_and_revoked(queuebit, queuebit_service, grace):
    as_grace = ("--url", queuebit_service.url, "--token", grace)
    made = queuebit("keys", "add", "--label", "laptop", *as_grace)
    listed = json.loads(queuebit("keys", "list", "--json", *as_grace).out)["keys"]
    (laptop,) = [key for key in listed if key["label"] == "laptop"]
    revoked = queuebit("keys", "revoke", laptop["id"], *as_grace)
    with_it = queuebit("keys", "list", "--url", queuebit_service.url, "--token", made.out.strip())

    assert revoked.out == f"Revoked key {laptop['id']}.\n"
    assert with_it.code == 1
    assert "does not know this API key" in with_it.err
    assert made.out.strip() not in json.dumps(listed)


def test_who_is_no_administrator_is_told_so(queuebit, queuebit_service, grace):
    outcome = queuebit("users", "list", "--url", queuebit_service.url, "--token", grace)

    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == (
        "queuebit: User grace is not an administrator. Ask an administrator of the service.\n"
    )


def test_an_administrator_is_made_and_unmade(logged_in, grace):
    made = logged_in("users", "change", "grace", "--admin")
    unmade = logged_in("users", "change", "grace", "--no-admin")

    assert made.out == "User grace is now an administrator.\n"
    assert unmade.out == "User grace is no longer an administrator.\n"
