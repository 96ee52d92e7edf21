"""The description as a page: `GET /docs`. It asks for nothing but itself, from nowhere."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

_STYLE = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
_SCRIPT = Path(__file__).with_name("page.js").read_text(encoding="utf-8")


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; script-src {_hash(_SCRIPT)}; style-src {_hash(_STYLE)}; connect-src 'self'; img-src data:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The header for the page: its own script and style may run, requests may go to its own server, nothing else."""
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def render(document: Mapping[str, Any]) -> str:
    """The page of an OpenAPI document that `describe` made."""
    info = document["info"]
    sections = "".join(_section(tag["name"], document["paths"]) for tag in document["tags"])
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        # Without it, browsers ask for /favicon.ico.
        '<link rel="icon" href="data:,">'
        f"<title>{escape(info['title'])}</title><style>{_STYLE}</style></head><body>"
        f"<header><h1>{escape(info['title'])}</h1><p>{escape(info['description'])} "
        '<a href="openapi.json">openapi.json</a></p></header>'
        f"<main>{sections}{_schemas(document['components']['schemas'])}</main>"
        f"<script>{_SCRIPT}</script></body></html>\n"
    )


def _section(tag: str, paths: Mapping[str, Any]) -> str:
    operations = [
        _operation(method, path, operation)
        for path, item in paths.items()
        for method, operation in item.items()
        if tag in operation["tags"]
    ]
    return f"<section><h2>{escape(tag)}</h2>{''.join(operations)}</section>"


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    return (
        f'<details class="operation {escape(method)}"><summary><b>{escape(method.upper())}</b> '
        f"<code>{escape(path)}</code> <span>{escape(operation['summary'])}</span></summary>"
        f"<p>{escape(operation.get('description', ''))}</p>"
        f"{_parameters(operation.get('parameters', []))}{_trial(method, path, operation)}"
        f"{_responses(operation['responses'])}</details>"
    )


def _parameters(parameters: list[Mapping[str, Any]]) -> str:
    if not parameters:
        return ""
    rows = "".join(
        f"<tr><td><code>{escape(each['name'])}</code></td><td>{escape(each['in'])}</td>"
        f"<td>{escape(each['description'])}</td><td>{_code(each['schema'])}</td></tr>"
        for each in parameters
    )
    return f"<table><tr><th>parameter</th><th>in</th><th></th><th>schema</th></tr>{rows}</table>"


def _trial(method: str, path: str, operation: Mapping[str, Any]) -> str:
    """What the script turns into a request: the fields of a form that is never submitted."""
    fields = ""
    content = operation.get("requestBody", {}).get("content", {})
    if content:
        options = "".join(f"<option>{escape(kind)}</option>" for kind in content)
        example = next(iter(content.values())).get("example")
        text = "" if example is None else json.dumps(example, indent=2, ensure_ascii=False)
        schema = next(iter(content.values()))["schema"]
        fields = (
            f'<label>Content-Type <select class="kind">{options}</select></label>'
            f'<label>Body <textarea class="body" rows="12" spellcheck="false">{escape(text)}</textarea></label>'
            f"<p>Schema: {_code(schema)}</p>"
        )
    choices: list[str] = next(
        (each["schema"]["enum"] for each in operation.get("parameters", []) if each["in"] == "query"), []
    )
    if choices:
        options = "".join(f"<option>{escape(each)}</option>" for each in choices)
        fields += f'<label>method <select class="query" name="method">{options}</select></label>'
    return (
        f'<div class="trial" data-method="{escape(method.upper())}" data-path="{escape(path)}">{fields}'
        '<button type="button">Send</button><pre class="answer" hidden></pre></div>'
    )


def _responses(responses: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{escape(status)}</td><td>{escape(response['description'])}</td>"
        f"<td>{''.join(_code(media['schema']) for media in response.get('content', {}).values())}</td></tr>"
        for status, response in responses.items()
    )
    return f"<table><tr><th>status</th><th></th><th>schema</th></tr>{rows}</table>"


def _schemas(components: Mapping[str, Any]) -> str:
    entries = "".join(
        f'<details id="{escape(name)}"><summary><code>{escape(name)}</code></summary>'
        f"<pre>{escape(json.dumps(schema, indent=2, ensure_ascii=False))}</pre></details>"
        for name, schema in components.items()
    )
    return f"<section><h2>Schemas</h2>{entries}</section>"


def _code(schema: Mapping[str, Any]) -> str:
    if reference := schema.get("$ref"):
        name = escape(reference.rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    return f"<code>{escape(json.dumps(schema))}</code>"
