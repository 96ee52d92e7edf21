"""What clients may do to connections, and what becomes of those."""

from __future__ import annotations

from contextlib import ExitStack, closing

import httpx
import pytest

from tests.unit.serving.hostile.conftest import CONNECTIONS
from tests.unit.serving.hostile.wire import BODY, Answer, Wire, exchange, post
from tests.unit.serving.processes import SECONDS, Server, eventually
from tests.unit.serving.prometheus import Scrape

CHUNKED = {"Content-Length": "-", "Transfer-Encoding": "chunked"}


def rejected(server: Server, reason: str) -> float:
    return Scrape(httpx.get(server.url + "/metrics", timeout=SECONDS).text)("modelyard_rejected_total", reason=reason)


@pytest.mark.parametrize(
    "begun",
    [b"POST /invocations HTTP/1.1\r\nX-Slow: ", b"POST /inv", post() + b"GET /ping HTTP/1.1\r\nX-Slow: "],
    ids=["in headers", "in the request line", "in a second request"],
)
def test_headers_that_do_not_come_in_time_are_not_waited_for(begun: bytes, server: Server, port: int) -> None:
    before = rejected(server, "slow")
    with closing(Wire(port)) as wire:
        wire.send(begun)
        if begun.startswith(post()):
            assert wire.answer().status == 200
        wire.drip(b"x" * 10_000, 0.1)
        assert wire.answer().status == 408
    assert rejected(server, "slow") == before + 1


def test_a_connection_without_a_request_is_closed(port: int) -> None:
    with closing(Wire(port)) as wire:
        assert wire.answer() == Answer(None)


@pytest.mark.parametrize(
    ("head", "drip"),
    [
        (post(body=b"", headers={"Content-Length": "10000"}), b" " * 10_000),
        (post(body=b"", headers=CHUNKED), b"1\r\n \r\n" * 5000),
    ],
    ids=["declared", "chunked"],
)
def test_bodies_that_do_not_come_in_time_are_not_waited_for(head: bytes, drip: bytes, port: int) -> None:
    with closing(Wire(port)) as wire:
        wire.send(head)
        wire.drip(drip, 0.1)
        assert wire.answer().status == 408


def test_a_body_that_does_not_end_is_cut_off_at_the_limit(server: Server, port: int) -> None:
    chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    with closing(Wire(port)) as wire:
        wire.send(post(body=b"", headers=CHUNKED))
        for _ in range(80):
            if not wire.send(chunk):
                break
        assert wire.answer().status in (413, None)
    assert rejected(server, "too_long") >= 1


@pytest.mark.parametrize(
    "head",
    [
        b"GET /ping HTTP/1.1\r\nX-Long: " + b"x" * 10_000_000,
        b"GET /" + b"x" * 10_000_000,
        b"GET /ping HTTP/1.1\r\n" + b"".join(b"X-%d: 1\r\n" % number for number in range(300)) + b"\r\n",
    ],
    ids=["a long header", "a long path", "many headers"],
)
def test_headers_have_a_limit(head: bytes, port: int) -> None:
    assert exchange(port, head).status in (431, None)


def test_idle_connections_give_way_to_new_ones(server: Server, port: int) -> None:
    before = rejected(server, "connections")
    with ExitStack() as stack:
        for _ in range(3 * CONNECTIONS):
            stack.enter_context(closing(Wire(port)))
        # Not one of them has sent anything, and the server answers at once.
        assert server.predict().status_code == 200
        assert rejected(server, "connections") > before


def test_connections_that_wait_for_their_answers_do_not_give_way(server: Server, port: int) -> None:
    with ExitStack() as stack:
        wires = []
        for _ in range(CONNECTIONS):
            wires.append(stack.enter_context(closing(Wire(port))))
            wires[-1].send(post(body=b"", headers={"Content-Length": "1000", "Expect": "100-continue"}))
            # Before the server has begun with its request, a connection is one that gives way.
            assert wires[-1].socket.recv(1000).startswith(b"HTTP/1.1 100 ")
        eventually(lambda: exchange(port, b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n").status in (503, None), "refusals")
        for wire in wires:
            wire.send(b" " * 1000)
        assert {wire.answer().status for wire in wires} <= {400, 408}


def test_pipelined_requests_are_answered_in_order_and_not_without_end(port: int) -> None:
    with closing(Wire(port)) as wire:
        wire.send((post() + post(body=b"{}")) * 20)
        assert [wire.answer().status for _ in range(40)] == [200, 400] * 20
    with closing(Wire(port)) as wire:
        wire.send(post() * 1000)
        statuses = []
        while (status := wire.answer().status) is not None:
            statuses.append(status)
            if status != 200:
                break
        assert set(statuses) <= {200, 400}
        assert len(statuses) < 1000


@pytest.mark.parametrize(
    ("request_", "statuses"),
    [
        (post(headers={"Content-Length": "-1"}), {400}),
        (post(headers={"Content-Length": "abc"}), {400}),
        (post(headers={"Content-Length": "9" * 30}), {400, 413}),
        (post(headers={"Content-Length": str(1 << 40)}), {413}),
        (post(headers={"Content-Length": "-"}), {400}),
        (post(headers={"Transfer-Encoding": "chunked"}), {400}),
        (post(body=b"zz\r\n", headers=CHUNKED), {400}),
        (post(body=b"FFFFFFFFFFFFFFFFFFFF\r\n", headers=CHUNKED), {400}),
        (post(headers={"Content-Length": "5"}), {400}),
        (post(version="HTTP/1.0"), {200}),
        (post(version="HTTP/9.9"), {400}),
        (post(path="http://elsewhere.example/invocations"), {200}),
        (post(path="*"), {400, 404}),
        (post(path="/../../etc/passwd"), {404}),
        (post(path="/%00%ff%2e%2e"), {404}),
        (post(path="/\xff"), {400, 404}),
        (post(path="/invocations?" + "a=b&" * 10_000), {200, 400}),
        (post(path="/invocations?method=" + "x" * 20_000), {400}),
        (post(headers={"Expect": "100-continue"}), {200}),
        (post(headers={"Content-Encoding": "gzip"}), {415}),
        (post(headers={"Content-Encoding": "deflate, br"}), {415}),
        (post(headers={"Content-Encoding": "identity"}), {200}),
        # As Java's HTTP client begins; behind it, the parser would take the body for HTTP/2.
        (post(headers={"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c"}), {200}),
        (post(headers={"X-Request-Timeout": "nan"}), {400}),
        (post(headers={"X-Request-Timeout": "1e999"}), {200}),
        (post(headers={"X-Request-Id": "x" * 5000}), {200}),
        (post(headers={"traceparent": "00-" + "0" * 32 + "-" + "0" * 16 + "-01"}), {200}),
        (b"HEAD /invocations HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", {405}),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", {400, 404, 405}),
        (b"CONNECT model:80 HTTP/1.1\r\nHost: x\r\n\r\n", {400, 404, 405}),
        (b"DELETE /ping HTTP/1.1\r\nHost: x\r\n\r\n", {405}),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100, {400}),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400}),
        (b"GET /ping HTTP/1.1\nHost: x\n\n", {200, 400}),
        (b"\r\n" * 50 + b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n", {200, 400}),
        (b"\0" * 1000, {400}),
    ],
    ids=lambda value: repr(value[:90]) if isinstance(value, bytes) else None,
)
def test_what_is_no_http_or_unusual_http_gets_an_answer(request_: bytes, statuses: set[int], port: int) -> None:
    answer = exchange(port, request_)
    assert answer.status in statuses, answer
    if answer.status != 200 and not request_.startswith(b"HEAD"):
        assert {"error_code", "message"} == set(answer.error)
        assert len(answer.body) < 5000


def test_what_follows_a_body_is_another_request_that_is_none(port: int) -> None:
    with closing(Wire(port)) as wire:
        wire.send(post(headers={"Content-Length": str(len(BODY))}) + b"trailing garbage\r\n\r\n")
        # What follows in the same packet may be told first, and the connection ends with it.
        statuses = [wire.answer().status, wire.answer().status]
        assert statuses in ([200, 400], [200, None], [400, None])
