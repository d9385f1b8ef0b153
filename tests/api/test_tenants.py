"""Instances, users, keys and roles, as administrators and managers change them."""

import asyncio
from datetime import UTC, datetime

import pytest
from tests.api.conftest import ADA, ALICE, BOB, Api
from tests.api.test_problems import one

from queuebit.api import problems


@pytest.fixture
async def grace(api: Api) -> str:
    """The key of a user whom an administrator added."""
    assert (await api.ask("POST", "/queuebit/users", key=ADA, json={"name": "grace"})).is_success
    made = await api.ask("POST", "/queuebit/users/grace/keys", key=ADA, json={"label": "first"})
    key: str = made.json()["key"]
    return key


async def chemistry(api: Api, **settings: object) -> str:
    """The CRN of an instance that an administrator added."""
    wish = {"name": "chemistry"} | settings
    made = await api.ask("POST", "/queuebit/instances", key=ADA, json=wish)
    assert made.status_code == 201, made.text
    crn: str = made.json()["crn"]
    return crn


async def granted(api: Api, role: str, *, key: str = ADA, user: str = "grace") -> int:
    path = f"/queuebit/instances/chemistry/users/{user}"
    return (await api.ask("PUT", path, key=key, json={"role": role})).status_code


async def test_a_user_with_a_role_in_a_new_instance_submits_to_it(api: Api, grace: str):
    crn = await chemistry(api, plan="open", tags=["Team-C"])
    before = await api.ask("GET", "/jobs", key=grace, headers={"Service-CRN": crn})
    assert await granted(api, "member") == 204

    after = await api.ask("GET", "/jobs", key=grace, headers={"Service-CRN": crn})
    found = await api.http.post(
        "/v3/resources/search", json={}, headers={"Authorization": f"apikey {grace}"}
    )

    assert (before.status_code, after.status_code) == (404, 200)
    (item,) = found.json()["items"]
    assert (item["name"], item["crn"], item["tags"]) == ("chemistry", crn, ["team-c"])


async def test_who_manages_an_instance_says_who_uses_it_and_nobody_else_does(api: Api, grace: str):
    await chemistry(api)
    assert await granted(api, "manager", user="alice") == 204

    assert await granted(api, "reader", key=ALICE) == 204
    assert await granted(api, "manager", key=grace) == 403  # a reader of it
    assert await granted(api, "manager", key=BOB) == 404  # knows nothing of it
    assert await granted(api, "member", key=ALICE, user="nobody") == 404
    listed = await api.ask("GET", "/queuebit/instances", key=ALICE)
    users = {each["name"]: each["users"] for each in listed.json()["instances"]}
    assert users["chemistry"] == [
        {"name": "alice", "role": "manager"},
        {"name": "grace", "role": "reader"},
    ]
    assert users["lab"] is None  # a member is not told


async def test_what_the_configuration_declares_is_changed_there(api: Api):
    asked = [
        await api.ask("PATCH", "/queuebit/instances/lab", key=ADA, json={"plan": "open"}),
        await api.ask("DELETE", "/queuebit/instances/lab", key=ADA),
        await api.ask("DELETE", "/queuebit/users/alice", key=ADA),
        await api.ask("PATCH", "/queuebit/users/ada", key=ADA, json={"admin": False}),
        await api.ask("DELETE", "/queuebit/instances/lab/users/alice", key=ADA),
    ]
    keys = await api.ask("GET", "/queuebit/users/me/keys", key=ADA)
    key_id = keys.json()["keys"][0]["id"]
    asked.append(await api.ask("DELETE", f"/queuebit/users/me/keys/{key_id}", key=ADA))

    assert [answer.status_code for answer in asked] == [409] * 6
    assert all("declared in the configuration" in one(answer)["message"] for answer in asked)


async def test_an_instance_with_work_stays(api: Api, grace: str):
    crn = await chemistry(api)
    await granted(api, "member")
    job = {"program_id": "sampler", "backend": "fake_manila", "params": {"pubs": []}}
    submitted = await api.ask("POST", "/jobs", key=grace, headers={"Service-CRN": crn}, json=job)
    busy = await api.ask("DELETE", "/queuebit/instances/chemistry", key=ADA)
    await api.finish(submitted.json()["id"])

    gone = await api.ask("DELETE", "/queuebit/instances/chemistry", key=ADA)
    after = await api.ask("GET", "/jobs", key=grace, headers={"Service-CRN": crn})

    assert (busy.status_code, one(busy)["code"]) == (409, problems.CONFLICT)
    assert (gone.status_code, after.status_code) == (204, 404)


async def test_a_removed_user_is_out_at_once(api: Api, grace: str):
    inside = await api.ask("GET", "/queuebit/users/me", key=grace)

    assert (await api.ask("DELETE", "/queuebit/users/grace", key=ADA)).status_code == 204

    assert (inside.status_code, inside.json()["name"]) == (200, "grace")
    assert (await api.ask("GET", "/queuebit/users/me", key=grace)).status_code == 401


async def test_users_make_and_revoke_their_own_keys_and_no_others(api: Api, grace: str):
    made = (await api.ask("POST", "/queuebit/users/me/keys", key=grace, json={})).json()
    listed = (await api.ask("GET", "/queuebit/users/me/keys", key=made["key"])).json()["keys"]

    assert sorted(key["label"] for key in listed) == ["", "first"]
    assert made["key"] not in str(listed)
    path = f"/queuebit/users/grace/keys/{made['id']}"
    assert (await api.ask("DELETE", path, key=ALICE)).status_code == 404
    assert (await api.ask("DELETE", path, key=grace)).status_code == 204
    assert (await api.ask("GET", "/queuebit/users/me", key=made["key"])).status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/queuebit/users", None),
        ("POST", "/queuebit/users", {"name": "eve"}),
        ("PATCH", "/queuebit/users/alice", {"admin": True}),
        ("DELETE", "/queuebit/users/bob", None),
        ("POST", "/queuebit/instances", {"name": "eve"}),
        ("PATCH", "/queuebit/instances/lab", {"plan": "open"}),
        ("DELETE", "/queuebit/instances/lab", None),
    ],
)
async def test_only_administrators_administer(api: Api, method: str, path: str, body: dict | None):
    before = api.parts.identity.directory

    answer = await api.ask(method, path, key=ALICE, json=body)

    assert (answer.status_code, one(answer)["code"]) == (403, problems.NOT_AUTHORIZED)
    assert api.parts.identity.directory is before


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"name": "x", "plan": "gold"}, "There is no plan 'gold'."),
        ({"name": "no/slash"}, "name"),
        ({"name": "lab2", "allocation_seconds": -1}, "allocation_seconds"),
        ({"name": "lab2", "colour": "red"}, "colour"),
        ({"plan": "open"}, "name"),
    ],
)
async def test_a_wrong_instance_is_refused_by_the_rule(api: Api, body: dict, told: str):
    answer = await api.ask("POST", "/queuebit/instances", key=ADA, json=body)

    assert answer.status_code == 400
    assert told in one(answer)["message"]


async def test_the_last_administrator_stays(api: Api):
    identity = api.parts.identity
    await api.ask("POST", "/queuebit/users", key=ADA, json={"name": "root", "admin": True})
    key = (await api.ask("POST", "/queuebit/users/root/keys", key=ADA, json={})).json()["key"]
    await identity.remove(identity.directory.users["ada"])

    answer = await api.ask("DELETE", "/queuebit/users/me", key=key)
    demoted = await api.ask("PATCH", "/queuebit/users/root", key=key, json={"admin": False})

    assert (answer.status_code, demoted.status_code) == (409, 409)
    assert one(answer)["message"] == "User root is the only administrator."


async def chemistry_again(api: Api) -> tuple[str, str, str]:
    """CRN and one job of an instance that was removed, and the CRN of the next of its name."""
    crn = await chemistry(api, account="A")
    await granted(api, "member", user="alice")
    job = {"program_id": "sampler", "backend": "fake_manila", "params": {"pubs": []}}
    made = await api.ask("POST", "/jobs", headers={"Service-CRN": crn}, json=job)
    job_id: str = made.json()["id"]
    await api.finish(job_id)
    assert (await api.ask("DELETE", "/queuebit/instances/chemistry", key=ADA)).status_code == 204
    return crn, job_id, await chemistry(api, account="A")


async def test_who_gets_an_instance_of_a_used_name_sees_nothing_of_the_old_one(
    api: Api, grace: str
):
    crn, job_id, again = await chemistry_again(api)
    await granted(api, "manager")
    new = {"Service-CRN": again}

    jobs = await api.ask("GET", "/jobs", key=grace, headers=new)
    workloads = await api.ask("GET", "/workloads", key=grace, headers=new)
    one_job = await api.ask("GET", f"/jobs/{job_id}", key=grace, headers=new)
    results = await api.ask("GET", f"/jobs/{job_id}/results", key=grace, headers=new)
    usage = await api.ask("GET", "/instances/usage", key=grace, headers=new)
    old = await api.ask("GET", "/jobs", key=grace, headers={"Service-CRN": crn})

    assert again != crn
    assert (jobs.json()["count"], workloads.json()["total_count"]) == (0, 0)
    assert (one_job.status_code, results.status_code, old.status_code) == (404, 404, 404)
    assert usage.json()["usage_consumed_seconds"] == 0


async def test_a_removed_instance_gives_no_role_in_the_next_of_its_name(api: Api):
    _, _, again = await chemistry_again(api)

    asked = await api.ask("GET", "/jobs", headers={"Service-CRN": again})

    assert asked.status_code == 404  # alice was a member of the old one


async def test_a_user_of_a_used_name_has_nothing_of_the_old_one(api: Api, grace: str):
    await chemistry(api)
    await granted(api, "member")
    await api.ask("DELETE", "/queuebit/users/grace", key=ADA)
    made = await api.ask("POST", "/queuebit/users", key=ADA, json={"name": "grace"})

    assert (made.status_code, made.json()["roles"], made.json()["keys"]) == (201, [], 0)
    assert (await api.ask("GET", "/queuebit/users/me", key=grace)).status_code == 401
    names = (await api.ask("GET", "/queuebit/users", key=ADA)).json()["users"]
    assert [user["name"] for user in names].count("grace") == 1


async def test_a_leaked_key_is_revoked_with_all_that_was_made_with_it(api: Api, grace: str):
    """Also what a token of it made, and what that key made in turn."""
    token = await api.http.post(
        "/identity/token",
        data={"grant_type": "urn:ibm:params:oauth:grant-type:apikey", "apikey": grace},
    )
    bearer = {"Authorization": f"Bearer {token.json()['access_token']}"}
    second = await api.ask("POST", "/queuebit/users/me/keys", headers=bearer, json={})
    third = await api.ask("POST", "/queuebit/users/me/keys", key=second.json()["key"], json={})
    keys = (await api.ask("GET", "/queuebit/users/grace/keys", key=ADA)).json()["keys"]
    first = next(key for key in keys if key["label"] == "first")

    gone = await api.ask("DELETE", f"/queuebit/users/grace/keys/{first['id']}", key=ADA)

    assert second.json()["made_with"] == first["id"]
    assert third.json()["made_with"] == second.json()["id"]
    assert gone.status_code == 204
    for key in (grace, second.json()["key"], third.json()["key"]):
        assert (await api.ask("GET", "/queuebit/users/me", key=key)).status_code == 401


async def test_an_administrator_who_changes_keys_may_keep_what_the_old_one_made(api: Api):
    await api.ask("POST", "/queuebit/users", key=ADA, json={"name": "root", "admin": True})
    old = (await api.ask("POST", "/queuebit/users/root/keys", key=ADA, json={})).json()
    await api.ask("POST", "/queuebit/users", key=ADA, json={"name": "eve"})
    eve = (await api.ask("POST", "/queuebit/users/eve/keys", key=old["key"], json={})).json()

    path = f"/queuebit/users/root/keys/{old['id']}?keep_made=true"
    gone = await api.ask("DELETE", path, key=ADA)

    assert gone.status_code == 204
    assert (await api.ask("GET", "/queuebit/users/me", key=old["key"])).status_code == 401
    assert (await api.ask("GET", "/queuebit/users/me", key=eve["key"])).status_code == 200


async def test_keys_expire_and_those_made_with_them_no_later(
    api: Api, grace: str, monkeypatch: pytest.MonkeyPatch
):
    identity = api.parts.identity
    now = identity.now_ms()
    soon = datetime.fromtimestamp(now / 1_000 + 60, UTC).isoformat()
    later = datetime.fromtimestamp(now / 1_000 + 600, UTC).isoformat()
    path = "/queuebit/users/me/keys"
    made = (await api.ask("POST", path, key=grace, json={"expires": soon})).json()
    child = (await api.ask("POST", path, key=made["key"], json={"expires": later})).json()
    past = await api.ask("POST", path, key=grace, json={"expires": "2020-01-01T00:00:00Z"})
    form = {"grant_type": "urn:ibm:params:oauth:grant-type:apikey", "apikey": made["key"]}
    token = (await api.http.post("/identity/token", data=form)).json()["access_token"]
    bearer = {"Authorization": f"Bearer {token}"}
    before = await api.ask("GET", "/queuebit/users/me", headers=bearer)

    monkeypatch.setattr(identity, "now_ms", lambda: now + 61_000)

    assert child["expires"] == made["expires"]
    assert (past.status_code, before.status_code) == (400, 200)
    assert (await api.ask("GET", "/queuebit/users/me", key=made["key"])).status_code == 401
    assert (await api.ask("GET", "/queuebit/users/me", headers=bearer)).status_code == 401
    assert (await api.http.post("/identity/token", data=form)).status_code == 400
    assert (await api.ask("GET", "/queuebit/users/me", key=grace)).status_code == 200


async def test_a_user_has_so_many_keys_and_no_more(api: Api, grace: str):
    most = api.parts.config.user_keys_max
    path = "/queuebit/users/me/keys"
    made = [await api.ask("POST", path, key=grace, json={}) for _ in range(most)]

    assert [one_.status_code for one_ in made] == [201] * (most - 1) + [409]
    assert f"{most} API keys" in one(made[-1])["message"]


@pytest.mark.parametrize(
    "gone", ["/queuebit/users/grace", "/queuebit/instances/chemistry/users/grace"]
)
async def test_who_was_removed_while_the_job_was_validated_submits_nothing(
    api: Api, grace: str, gone: str
):
    crn = await chemistry(api)
    await granted(api, "member")
    api.workers.may_validate.clear()
    job = {"program_id": "sampler", "backend": "fake_manila", "params": {"pubs": []}}
    asking = asyncio.create_task(
        api.ask("POST", "/jobs", key=grace, headers={"Service-CRN": crn}, json=job)
    )
    await api.workers.validating.wait()

    removed = await api.ask("DELETE", gone, key=ADA)
    api.workers.may_validate.set()
    answer = await asking

    assert removed.status_code == 204
    assert (answer.status_code, one(answer)["code"]) == (403, problems.NOT_AUTHORIZED)
    assert await api.is_empty()


async def test_an_instance_is_not_removed_under_a_job_that_comes_at_that_moment(
    api: Api, grace: str
):
    """Either the job is refused, or the instance stays: never a job without an instance."""
    crn = await chemistry(api)
    await granted(api, "member")
    job = {"program_id": "sampler", "backend": "fake_manila", "params": {"pubs": []}}
    submitting = [
        api.ask("POST", "/jobs", key=grace, headers={"Service-CRN": crn}, json=job)
        for _ in range(5)
    ]
    removing = api.ask("DELETE", "/queuebit/instances/chemistry", key=ADA)

    *submitted, removed = await asyncio.gather(*submitting, removing)

    accepted = [answer for answer in submitted if answer.status_code == 200]
    assert (removed.status_code == 204) == (not accepted)
    assert {answer.status_code for answer in submitted} <= {200, 403, 404}
