"""The API for people: a page made from its OpenAPI, which loads nothing from anywhere."""

import json
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
summary { cursor: pointer; padding: .3rem 0 } summary code { font-weight: 600 }
code, pre { font: 13px/1.45 ui-monospace, monospace } pre { overflow: auto; padding: .6rem }
pre, .method { background: color-mix(in srgb, currentColor 8%, transparent); border-radius: 4px }
.method { display: inline-block; width: 4.2rem; text-align: center; margin-right: .6rem }
table { border-collapse: collapse } td { padding: .1rem .9rem .1rem 0; vertical-align: top }
details details, .inside { margin-left: 1rem } :root { color-scheme: light dark }
"""
# Nothing is run and nothing is fetched, whatever a text in the schema holds.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"

PATHS = ("/openapi.json", "/docs")


def install(app: FastAPI) -> None:
    """Have `app` answer GET /openapi.json and GET /docs."""
    told: dict[str, bytes] = {}  # made once, when somebody asks

    async def schema(_request: Request) -> Response:
        content = told.setdefault("schema", json.dumps(app.openapi()).encode())
        return Response(content, media_type="application/json")

    async def docs(_request: Request) -> Response:
        page = told.setdefault("docs", render(app.openapi()).encode())
        return HTMLResponse(page, headers={"Content-Security-Policy": _POLICY})

    app.add_route(PATHS[0], schema, ["GET"], include_in_schema=False)
    app.add_route(PATHS[1], docs, ["GET"], include_in_schema=False)


def render(schema: dict[str, Any]) -> str:
    """Tell an OpenAPI schema as one HTML page."""
    groups: dict[str, list[str]] = {}
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            told = "".join(_operation(path, method, operation))
            groups.setdefault(operation["tags"][0], []).append(told)
    body = "".join(f"<h2>{escape(tag)}</h2>{''.join(told)}" for tag, told in groups.items())
    models = "".join(
        f'<details id="{escape(name)}"><summary><code>{escape(name)}</code></summary>'
        f"<p>{escape(model.get('description', ''))}</p>{_code(model)}</details>"
        for name, model in sorted(schema["components"]["schemas"].items())
    )
    title = f"{schema['info']['title']} {schema['info']['version']}"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>"
        f"<p>{escape(schema['info']['summary'])}, as <a href='openapi.json'>OpenAPI</a>.</p>"
        f"{body}<h2>Schemas</h2>{models}</body></html>\n"
    )


def _operation(path: str, method: str, operation: dict[str, Any]) -> Iterator[str]:
    yield (
        f'<details><summary><span class="method">{method.upper()}</span>'
        f"<code>{escape(path)}</code></summary><div class=inside>"
    )
    yield "".join(f"<p>{escape(text)}</p>" for text in operation["description"].split("\n\n"))
    yield f"<p>Needs: {_needs(operation['security'])}.</p>"
    rows = [
        (f"<code>{escape(one['name'])}</code>", one["in"], _kind(one), escape(one["description"]))
        for one in operation.get("parameters", [])
    ]
    if rows:
        yield f"<h4>Parameters</h4>{_table(rows)}"
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"<h4>Body: {escape(kind)}</h4>{_code(content['example'])}{_schema(content)}"
    answers = [
        (f"<code>{status}</code>", escape(told["description"]), _models(told))
        for status, told in operation["responses"].items()
    ]
    yield f"<h4>Answers</h4>{_table(answers)}</div></details>"


def _needs(security: list[dict[str, Any]]) -> str:
    if not security:
        return "nothing"
    instance = ", and the header Service-CRN" if "instance" in security[0] else ""
    return f"a token or an API key{instance}"


def _models(told: dict[str, Any]) -> str:
    return ", ".join(_schema(content) for content in told.get("content", {}).values())


def _schema(content: dict[str, Any]) -> str:
    """A link to a schema of its own; others in full."""
    schema = content.get("schema", {})
    name = schema.get("$ref", "").rpartition("/")[2]
    if name:
        return f'<a href="#{escape(name)}">{escape(name)}</a>'
    return _code(schema) if schema else ""


def _kind(parameter: dict[str, Any]) -> str:
    schema = parameter["schema"]
    kinds = [one.get("type") for one in schema.get("anyOf", [schema])]
    return " or ".join(kind for kind in kinds if kind and kind != "null")


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    cells = ("".join(f"<td>{cell}</td>" for cell in row) for row in rows)
    return "<table>" + "".join(f"<tr>{row}</tr>" for row in cells) + "</table>"


def _code(value: Any) -> str:
    return f"<pre>{escape(json.dumps(value, indent=2))}</pre>"
