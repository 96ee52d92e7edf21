"""The page holds all of the description, runs nothing but its own script, and asks nothing of other servers."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import Any

from modelyard_serving.protocol.openapi.document import Described, describe
from modelyard_serving.protocol.openapi.page import CONTENT_SECURITY_POLICY, render
from tests.unit.serving.protocol.cases import METHODS, column, mlmodel

HOSTILE = "</script><script>alert(1)</script>"


class Page(HTMLParser):
    """What a browser would make of a page, as far as it is asked here."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self._open[-1] if self._open else "", []).append(data)


def page(model: str = "wine") -> tuple[dict[str, Any], Page]:
    document = describe(Described(mlmodel(column("a", "double"), column(model, "string")), METHODS, model, "3"))
    return document, Page(render(document))


def test_every_operation_can_be_tried() -> None:
    document, found = page()
    trials = {(attrs["data-method"], attrs["data-path"]) for _, attrs in found.tags if "data-path" in attrs}
    assert trials == {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    bodies = [json.loads(text) for text in found.texts["textarea"]]
    assert [list(body) for body in bodies[:2]] == [["dataframe_split"], ["instances"]]


def test_every_schema_that_is_linked_is_there() -> None:
    document, found = page()
    links = {attrs["href"] for tag, attrs in found.tags if tag == "a"}
    assert (
        {str(link).removeprefix("#") for link in links if str(link).startswith("#")}
        <= document["components"]["schemas"].keys()
        == {attrs["id"] for tag, attrs in found.tags if "id" in attrs}
    )


def test_nothing_comes_from_anywhere_else() -> None:
    _, found = page()
    links = [value for _, attrs in found.tags for key, value in attrs.items() if key in ("src", "href") and value]
    assert all(link.startswith("#") or link in ("openapi.json", "data:,") for link in links)


def test_names_are_no_markup() -> None:
    _, found = page(HOSTILE)
    assert sum(tag == "script" for tag, _ in found.tags) == 1
    assert HOSTILE in "".join(found.texts["h1"])


def test_the_policy_lets_only_the_pages_own_script_and_style_run() -> None:
    _, found = page()
    for tag in ("script", "style"):
        content = "".join(found.texts[tag])
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in CONTENT_SECURITY_POLICY
    assert CONTENT_SECURITY_POLICY.startswith("default-src 'none';")
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert not any(re.match("on|style", key) for _, attrs in found.tags for key in attrs)
