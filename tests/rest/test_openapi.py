"""docs/openapi.json is what the code says, and says all of it."""

import json
import re
import runpy
from pathlib import Path

import httpx
import pytest
from tests.rest.conftest import Small

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "docs" / "openapi.json").read_text("utf-8"))
OPERATIONS = [
    pytest.param(operation, id=f"{method.upper()} {path}")
    for path, methods in SCHEMA["paths"].items()
    for method, operation in methods.items()
]


def test_the_file_is_what_the_code_says():
    written = (ROOT / "docs" / "openapi.json").read_text("utf-8")

    assert runpy.run_path(str(ROOT / "scripts" / "openapi.py"))["text"]() == written, (
        "run scripts/openapi, and read the diff"
    )


def test_every_answer_in_the_table_is_in_the_file():
    """The page names what is particular to a route; the file has the rest too."""
    page = (ROOT / "docs" / "endpoints.md").read_text("utf-8")
    rows = re.findall(r"^\| ([A-Z]+) \| `([^`]+)` \|.*\| ([\d, ]+) \|$", page, re.MULTILINE)
    known = {
        (method.upper(), path): set(operation["responses"])
        for path, methods in SCHEMA["paths"].items()
        for method, operation in methods.items()
    }

    assert len(rows) >= len(known) > 50
    for method, path, statuses in rows:
        if (method, path) in known:
            assert set(statuses.split(", ")) <= known[method, path], (method, path)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_is_told_in_full(operation: dict):
    assert operation["description"].strip()
    assert "security" in operation
    assert any(status[0] == "2" for status in operation["responses"])
    assert all(re.fullmatch(r"\d\d\d", status) for status in operation["responses"])
    assert all(parameter["description"] for parameter in operation.get("parameters", []))
    for content in operation.get("requestBody", {}).get("content", {}).values():
        assert content["example"]
    for status, told in operation["responses"].items():
        if status[0] in "45":
            assert told["content"]["application/json"]["schema"], status
    if operation["security"]:
        assert "401" in operation["responses"]


def test_the_page_for_people_loads_nothing(small: Small):
    answer = httpx.get(f"{small.url}/docs")

    assert answer.status_code == 200
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    for path in SCHEMA["paths"]:
        assert path in answer.text
    assert not re.search(r"<(script|link|img|iframe)|src=|url\(|@import", answer.text)
    assert not re.search(r'href="?\'?(https?:)?//', answer.text)


def test_what_is_served_is_the_file(small: Small):
    assert httpx.get(f"{small.url}/openapi.json").json() == SCHEMA
