import stat
import time
from pathlib import Path

import jwt
import pytest
from tests.api.conftest import ALICE, BOB, SAMPLER, START, Api
from tests.api.test_problems import one
from tests.fakes_tenants import MemoryTenants

from queuebit.api import problems
from queuebit.api.identity import open_identity
from queuebit.api.platform import KEY_GRANT
from queuebit.config import Config
from queuebit.errors import ConfigError, Unauthorized
from queuebit.tenancy import Grant, Role, new_key


async def token(api: Api, key: str = ALICE) -> str:
    answer = await api.http.post(
        "/identity/token",
        data={"grant_type": KEY_GRANT, "apikey": key, "response_type": "cloud_iam"},
    )
    assert answer.status_code == 200
    text: str = answer.json()["access_token"]
    return text


async def test_a_key_is_exchanged_for_a_token_that_the_client_can_read(api: Api):
    text = await token(api)
    claims = jwt.decode(text, options={"verify_signature": False})

    assert claims["sub"] == "alice"
    assert claims["exp"] - claims["iat"] == 86_400
    assert abs(claims["iat"] - time.time()) < 60  # wall clock, whatever the service's clock says


async def test_the_token_answer_is_as_iam_gives_it(api: Api):
    answer = await api.http.post(
        "/identity/token", content=f"grant_type={KEY_GRANT}&apikey={ALICE}"
    )
    told = answer.json()

    assert told["token_type"] == "Bearer"
    assert told["refresh_token"] == "not_supported"
    assert told["expires_in"] == 86_400
    assert isinstance(told["expiration"], int)


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"grant_type": KEY_GRANT, "apikey": "wrong"}, "BXNIM0415E"),
        ({"grant_type": KEY_GRANT}, "BXNIM0415E"),
        ({"apikey": ALICE}, "BXNIM0110E"),
        ({}, "BXNIM0110E"),
    ],
)
async def test_iam_refuses_in_its_own_form(api: Api, form: dict, code: str):
    answer = await api.http.post("/identity/token", data=form)

    assert (answer.status_code, answer.json()["errorCode"]) == (400, code)


async def test_a_token_opens_what_the_key_opens(api: Api):
    authorization = {"Authorization": f"Bearer {await token(api)}"}

    answer = await api.ask("GET", "/jobs", headers=authorization)

    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        ("", problems.NOT_AUTHORIZED),
        ("Basic YTpi", problems.NOT_AUTHORIZED),
        ("Bearer", problems.NOT_AUTHORIZED),
        ("apikey wrong", problems.INVALID_CREDENTIALS),
        ("Bearer nonsense", problems.INVALID_CREDENTIALS),
        ("Bearer " + jwt.encode({"sub": "alice"}, "x" * 32), problems.INVALID_CREDENTIALS),
        (
            "Bearer " + jwt.encode({"sub": "alice"}, None, algorithm="none"),
            problems.INVALID_CREDENTIALS,
        ),
    ],
)
async def test_nobody_comes_in_without_valid_credentials(api: Api, authorization: str, code: int):
    answer = await api.ask("GET", "/jobs", headers={"Authorization": authorization})

    assert (answer.status_code, one(answer)["code"]) == (401, code)
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_token_is_void_when_it_expires_or_its_key_is_gone(config: Config):
    identity, _ = await open_identity(config, MemoryTenants())
    secret = (config.data / "token-secret").read_text().strip()
    key = identity.directory.key_of(ALICE)
    assert key is not None
    now = int(time.time())
    claims = {"iss": "queuebit", "sub": "alice", "key": key.id, "iat": now, "exp": now + 100}
    expired = claims | {"iat": now - 500, "exp": now - 100}
    gone = claims | {"key": "other"}
    stolen = claims | {"sub": "bob"}

    assert identity.key(f"Bearer {jwt.encode(claims, secret)}").user == "alice"
    for void in (expired, gone, stolen):
        with pytest.raises(Unauthorized):
            identity.key(f"Bearer {jwt.encode(void, secret)}")


async def test_a_revoked_key_and_its_tokens_are_void_at_once(api: Api):
    identity = api.parts.identity
    text, key = new_key("alice", "laptop", START)
    await identity.put(key)
    bearer = {"Authorization": f"Bearer {await token(api, text)}"}
    before = [
        (await api.ask("GET", "/jobs", key=text)).status_code,
        (await api.ask("GET", "/jobs", headers=bearer)).status_code,
    ]

    await identity.remove(key)

    assert before == [200, 200]
    assert (await api.ask("GET", "/jobs", key=text)).status_code == 401
    assert (await api.ask("GET", "/jobs", headers=bearer)).status_code == 401
    assert (await api.ask("GET", "/jobs")).status_code == 200  # her other key


async def test_a_reader_reads_and_changes_nothing(api: Api):
    job_id = await api.submit()
    await api.parts.identity.put(Grant(user="alice", instance="lab", role=Role.READER))

    read = await api.ask("GET", f"/jobs/{job_id}")
    refused = await api.ask("POST", f"/jobs/{job_id}/cancel")

    assert read.status_code == 200
    assert (refused.status_code, one(refused)["code"]) == (403, problems.NOT_AUTHORIZED)
    assert one(refused)["message"] == (
        "This needs the role member in instance lab; yours is reader."
    )


@pytest.mark.parametrize(
    ("crn", "status", "code"),
    [
        ("", 400, problems.BAD_CRN),
        ("lab", 400, problems.BAD_CRN),
        ("crn:v1:nowhere", 404, problems.UNKNOWN_INSTANCE),
    ],
)
async def test_an_instance_must_be_named(api: Api, crn: str, status: int, code: int):
    answer = await api.ask("GET", "/jobs", headers={"Service-CRN": crn})

    assert (answer.status_code, one(answer)["code"]) == (status, code)


async def test_the_instance_of_somebody_else_does_not_exist(api: Api):
    answer = await api.ask("GET", "/jobs", key=BOB, instance="lab")

    assert (answer.status_code, one(answer)["code"]) == (404, problems.UNKNOWN_INSTANCE)


@pytest.mark.parametrize(("key", "instance"), [(BOB, "other"), (ALICE, "class")])
async def test_instances_see_nothing_of_each_other(api: Api, key: str, instance: str):
    opened = await api.ask("POST", "/sessions", json={"mode": "batch", "backend": "fake_manila"})
    session_id = opened.json()["id"]
    job_id = await api.submit(session_id=session_id)

    async def status(method: str, path: str, **more) -> int:
        return (await api.ask(method, path, key=key, instance=instance, **more)).status_code

    job, session = f"/jobs/{job_id}", f"/sessions/{session_id}"
    statuses = [
        await status("GET", job),
        await status("DELETE", job),
        await status("POST", f"{job}/cancel"),
        await status("PUT", f"{job}/tags", json={"tags": ["mine"]}),
        await status("GET", f"{job}/results"),
        await status("GET", f"{job}/metrics"),
        await status("GET", f"{job}/logs"),
        await status("GET", session),
        await status("PATCH", session, json={"accepting_jobs": False}),
        await status("DELETE", f"{session}/close"),
        await status("POST", "/jobs", json=SAMPLER | {"session_id": session_id}),
    ]
    listed = (await api.ask("GET", "/jobs", key=key, instance=instance)).json()

    assert statuses == [404] * len(statuses)
    assert listed == {"jobs": [], "count": 0, "limit": 200, "offset": 0}
    assert (await api.ask("GET", session)).json()["accepting_jobs"]
    assert (await api.ask("GET", job)).json()["tags"] == []


async def test_search_finds_only_the_instances_of_the_user(api: Api):
    search = {"query": "service_name:quantum-computing", "fields": ["crn", "name"]}
    found = {}
    for key in (ALICE, BOB):
        answer = await api.http.post(
            "/v3/resources/search?limit=100",
            json=search,
            headers={"Authorization": f"Bearer {await token(api, key)}"},
        )
        found[key] = answer.json()["items"]

    assert [item["name"] for item in found[ALICE]] == ["lab", "class"]
    assert [item["name"] for item in found[BOB]] == ["other"]
    assert all(item["doc"]["extensions"] for item in found[ALICE])  # or the client skips it
    assert found[ALICE][0]["tags"] == ["team-a"]


async def test_search_goes_through_pages_by_cursor(api: Api):
    async def page(cursor: str | None) -> dict:
        wish = {"query": "x"} | ({"search_cursor": cursor} if cursor else {})
        path = "/v3/resources/search?limit=1"
        answer = await api.http.post(path, json=wish, headers=api.headers())
        told: dict = answer.json()
        return told

    first = await page(None)
    second = await page(first["search_cursor"])

    assert [item["name"] for item in (*first["items"], *second["items"])] == ["lab", "class"]
    assert "search_cursor" not in second


@pytest.mark.parametrize("prefix", ["/api/v1", ""])
async def test_the_catalogue_knows_the_plans_by_the_ids_that_search_told(api: Api, prefix: str):
    headers = api.headers()
    found = await api.http.post("/v3/resources/search", json={}, headers=headers)
    ids = [item["service_plan_unique_id"] for item in found.json()["items"]]
    plans = [(await api.http.get(f"{prefix}/{one}", headers=headers)).json() for one in ids]

    assert [plan["overview_ui"]["en"]["display_name"] for plan in plans] == ["Premium", "Open"]
    assert [plan["metadata"]["pricing"]["type"] for plan in plans] == ["paid", "free"]


async def test_the_resource_controller_finds_instances_by_name_and_by_crn(api: Api):
    crn = api.headers()["Service-CRN"]
    escaped = crn.replace("/", "%2F").replace(":", "%3A")
    headers = api.headers()

    named = (await api.http.get("/v2/resource_instances?name=lab", headers=headers)).json()
    read = (await api.http.get(f"/v2/resource_instances/{escaped}", headers=headers)).json()

    assert (named["rows_count"], named["resources"][0]["crn"], named["next_url"]) == (1, crn, None)
    assert (read["crn"], read["name"]) == (crn, "lab")


@pytest.mark.parametrize("path", ["/v3/resources/search", "/v2/resource_instances", "/api/v1/x"])
async def test_platform_routes_need_credentials_too(api: Api, path: str):
    path = path.replace("x", next(iter(api.parts.identity.plans)))
    answer = await api.http.request("POST" if "search" in path else "GET", path, json={})

    assert answer.status_code == 401


async def test_without_users_there_is_one_whose_key_only_the_operator_can_read(tmp_path: Path):
    identity, key = await open_identity(Config(data=tmp_path), MemoryTenants())
    again, same = await open_identity(Config(data=tmp_path), MemoryTenants())
    assert key is not None

    assert same == key
    local = identity.user(identity.key(f"ApiKey {key}"))
    assert [tenant.instance.name for tenant in identity.tenants(local)] == ["local"]
    assert local.admin
    assert again.key(f"apikey {key}").user == "local"
    for file in (tmp_path / "api-key", tmp_path / "token-secret"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_an_empty_key_file_is_no_key(tmp_path: Path):
    (tmp_path / "api-key").touch()

    with pytest.raises(ConfigError, match="api-key is empty"):
        await open_identity(Config(data=tmp_path), MemoryTenants())
