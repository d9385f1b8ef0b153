"""Several slashes in a path are one, on every route."""

import re

import pytest
from tests.api.conftest import ALICE, SAMPLER, Api

FORM = {"grant_type": "urn:ibm:params:oauth:grant-type:apikey", "apikey": ALICE}


@pytest.mark.parametrize("path", ["//identity/token", "///identity//token"])
async def test_a_token_is_made_whatever_the_slashes(api: Api, path: str):
    answer = await api.http.request("POST", f"http://queuebit{path}", data=FORM)

    assert answer.status_code == 200
    assert answer.json()["access_token"]


async def test_every_route_answers_as_with_one_slash(api: Api):
    job_id = await api.submit()
    document = (await api.http.get("/openapi.json")).json()
    names = {"name": "fake_manila", "job_id": job_id}
    routes = [path for path, methods in document["paths"].items() if "get" in methods]
    paths = [re.sub(r"{(\w+)}", lambda found: names.get(found[1], "none"), one) for one in routes]

    for path in [*paths, "/health", "/docs"]:
        expected = await api.http.get(f"http://queuebit{path}", headers=api.headers())
        for more in (f"/{path}", path.replace("/", "//")):
            answer = await api.http.get(f"http://queuebit{more}", headers=api.headers())

            assert answer.status_code == expected.status_code, more
            assert answer.headers.get("content-type") == expected.headers.get("content-type"), more


async def test_a_body_is_limited_whatever_the_slashes(api: Api):
    answer = await api.ask("POST", "//sessions", content=b"x" * (2**20 + 1))
    submitted = await api.ask("POST", "//jobs", json=SAMPLER)

    assert (answer.status_code, submitted.status_code) == (413, 200)
