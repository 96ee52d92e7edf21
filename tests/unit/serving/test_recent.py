from __future__ import annotations

import json
import math
from typing import Any

import pytest

from modelyard_serving.protocol.dialect import HttpRequest
from modelyard_serving.recent import MAX_BYTES, MAX_ITEM_BYTES, MAX_PAGE_BYTES, Recent, write_page
from modelyard_serving.reference import PAGE, Address, FetchError, read_page


def remembered(recent: Recent) -> list[int]:
    return [each.seq for each in recent.page(0, 10_000)]


def add(recent: Recent, body: bytes = b"body", answer: bytes = b"answer") -> None:
    request = HttpRequest(body, {b"content-type": b"text/csv", b"authorization": b"secret"}, {"method": "predict"})
    recent.add("mlflow", request, answer, 0.5)


def test_only_the_newest_are_remembered() -> None:
    recent = Recent(3)
    for _ in range(5):
        add(recent)
    assert remembered(recent) == [3, 4, 5]


def test_their_bytes_are_bounded() -> None:
    recent = Recent(10_000)
    for _ in range(200):
        add(recent, b"x" * MAX_ITEM_BYTES)
    kept = recent.page(0, 1)[0].seq
    assert kept == 201 - MAX_BYTES // (MAX_ITEM_BYTES + len(b"answer"))


@pytest.mark.parametrize(("body", "answer"), [(MAX_ITEM_BYTES + 1, 1), (1, MAX_ITEM_BYTES + 1)])
def test_long_ones_are_passed_over(body: int, answer: int) -> None:
    recent = Recent(3)
    add(recent, b"x" * body, b"x" * answer)
    add(recent, b"x" * MAX_ITEM_BYTES, b"x" * MAX_ITEM_BYTES)
    assert remembered(recent) == [1]


def test_nothing_is_remembered_unless_asked_for() -> None:
    recent = Recent(0)
    add(recent)
    assert remembered(recent) == []


def test_pages_go_on_after_a_number_and_are_bounded_in_count_and_bytes() -> None:
    recent = Recent(100)
    for _ in range(50):
        add(recent, b"x" * MAX_ITEM_BYTES)
    first = recent.page(0, 1000)
    assert sum(each.size for each in first) <= MAX_PAGE_BYTES
    assert [each.seq for each in recent.page(first[-1].seq, 3)] == [first[-1].seq + number for number in (1, 2, 3)]
    assert recent.page(50, 10) == []


def test_a_page_is_read_as_it_was_written() -> None:
    recent = Recent(3)
    add(recent, b"\x00\xff", b'{"predictions": [NaN]}')
    page = read_page(write_page(recent.instance, "3", recent.page(0, 10)))
    assert (page.instance, page.version, list(page.requests)) == (recent.instance, "3", recent.page(0, 10))


def test_of_the_headers_only_those_that_say_how_to_read_the_body_are_kept() -> None:
    recent = Recent(3)
    add(recent)
    assert recent.page(0, 1)[0].request.headers == {b"content-type": b"text/csv"}
    assert b"secret" not in write_page(recent.instance, "3", recent.page(0, 10))


def test_a_page_of_an_older_server_holds_requests_to_invocations() -> None:
    page = read_page(json.dumps({"instance": "x", "version": "3", "requests": [REQUEST]}).encode())
    assert (page.requests[0].dialect, page.requests[0].request.query) == ("mlflow", {})


REQUEST: dict[str, Any] = {"seq": 1, "contentType": "text/csv", "body": "YQ==", "answer": "YQ==", "seconds": 0.1}


WRONG: tuple[dict[str, Any], ...] = (
    {"seq": 0},
    {"seq": True},
    {"seq": 2**63},
    {"seq": "1"},
    {"seconds": -1},
    {"seconds": math.nan},
    {"seconds": None},
    {"contentType": None},
    {"contentType": "x" * 1025},
    {"headerLength": 5},
    {"dialect": None},
    {"dialect": "x" * 17},
    {"query": []},
    {"query": {"method": 5}},
    {"body": "*"},
    {"body": None},
    {"answer": "A" * 100_000},
)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        b"[" * 200_000,
        json.dumps({"instance": 5, "version": "3", "requests": []}).encode(),
        json.dumps({"instance": "x", "version": 3, "requests": []}).encode(),
        json.dumps({"instance": "x" * 65, "version": "3", "requests": []}).encode(),
        json.dumps({"instance": "x", "version": "3", "requests": {}}).encode(),
        json.dumps({"instance": "x", "version": "3", "requests": [REQUEST] * (PAGE + 1)}).encode(),
        *(
            json.dumps({"instance": "x", "version": "3", "requests": [{**REQUEST, **wrong}]}).encode()
            for wrong in WRONG
        ),
        json.dumps({"instance": "x", "version": "3", "requests": [None]}).encode(),
    ],
)
def test_anything_else_than_a_page_is_refused(content: bytes) -> None:
    with pytest.raises(FetchError, match="no page of requests"):
        read_page(content)


def test_a_pod_is_addressed_by_a_bare_url() -> None:
    assert Address.parse("http://10.0.0.1:8080") == Address("10.0.0.1", 8080)
    assert Address.parse("http://[fd00::1]:8080/") == Address("fd00::1", 8080)


@pytest.mark.parametrize(
    "url", ["", "10.0.0.1", "https://10.0.0.1", "http://", "http://x:y", "http://x/p", "http://x?a=b", "http://u:p@x"]
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="is no"):
        Address.parse(url)
