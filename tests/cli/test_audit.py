"""`queuebit audit`: who did what."""

import json

import httpx


def test_an_administrator_reads_who_did_what(logged_in, queuebit_service):
    logged_in("pause", "fake_fez", "--reason", "warm today")
    logged_in("resume", "fake_fez")
    for _ in range(2):
        headers = {"Authorization": "apikey wrong"}
        httpx.get(f"{queuebit_service.url}/api/v1/backends", headers=headers)

    table = logged_in("audit", "--action", "backend", "--limit", 2).out.splitlines()
    told = json.loads(logged_in("audit", "--target", "fake_fez", "--json", "--limit", 1).out)
    refused = logged_in("audit", "--refused", "--limit", 1).out

    assert [line.split()[3] for line in table[1:]] == ["local", "local"]
    assert "backend.status status=paused reason=warm today" in table[2]
    (entry,) = told["entries"]
    assert entry["detail"] == "status=online reason=available"
    assert told["next"] == entry["id"]
    assert "GET /backends status=401" in refused
    assert "refused" in refused


def test_nothing_is_told_of_who_did_nothing(logged_in):
    assert logged_in("audit", "--user", "nobody").out == "Nothing is recorded.\n"
