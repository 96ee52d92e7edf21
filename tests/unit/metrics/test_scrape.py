"""Evidence from pods and Prometheus servers that answer, and from those that do not."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from modelyard.api.rollout import Analysis, FigureVerdict
from modelyard.decide.analysis import Evidence, QueryResult, judge
from modelyard.metrics.scrape import LEASE_SECONDS, PodAddress, Scraper, Subject
from tests.unit.metrics.servers import Fake, raw, serving

TOKEN = "ab" * 32
PUT, METRICS, QUERY = "PUT /modelyard/replay", "GET /metrics", "GET /api/v1/query"


@pytest.fixture
def start() -> Iterator[Callable[..., Fake]]:
    with serving() as start:
        yield start


@pytest.fixture
def scraper() -> Iterator[Scraper]:
    """For servers that answer, be it late on a machine that is busy."""
    scraper = Scraper(timeout=30.0)
    yield scraper
    scraper.close()


@pytest.fixture
def hurried() -> Iterator[Scraper]:
    """For servers that hang; those beside them have to answer in time."""
    scraper = Scraper(timeout=3.0)
    yield scraper
    scraper.close()


def text(version: int, ok: int = 0, *, replayed: int = 0, started: float = 1e9, fetch_errors: int = 0) -> str:
    return f"""
modelyard_info{{version="{version}"}} 1
process_start_time_seconds {started}
modelyard_requests_total{{code="200"}} {ok}
modelyard_request_seconds_bucket{{le="0.01"}} {ok}
modelyard_request_seconds_bucket{{le="+Inf"}} {ok}
modelyard_replay_info{{reference_version="3"}} 1
modelyard_replay_requests_total {replayed}
modelyard_replay_fetch_errors_total {fetch_errors}
modelyard_replay_difference_bucket{{le="0.0"}} {replayed}
modelyard_replay_difference_bucket{{le="+Inf"}} {replayed}
"""


def model(start: Callable[..., Fake], name: str, version: int, ok: int = 0, **rest: Any) -> Fake:
    fake = start(name)
    fake.answers = {METRICS: (200, text(version, ok, **rest)), PUT: (200, '{"replayed": 0}')}
    return fake


def subject(candidates: list[PodAddress], stables: list[PodAddress], **rest: Any) -> Subject:
    given: dict[str, Any] = {"key": "ml/churn/4", "token": TOKEN, **rest}
    return Subject(candidates=candidates, candidate_version="4", stables=stables, stable_version="3", **given)


def total(evidence: Evidence) -> tuple[int, int]:
    """Requests of the candidate, and of the stable version since its base."""
    assert evidence.candidate
    assert evidence.stable
    return sum(evidence.candidate.requests.values()), sum(evidence.stable.requests.values())


# Pods


def test_candidates_are_told_to_replay_and_measured(start: Callable[..., Fake], scraper: Scraper) -> None:
    candidates = [model(start, f"new-{k}", 4, replayed=60 + k) for k in range(2)]
    stables = [model(start, f"old-{k}", 3, ok=500) for k in range(2)]
    evidence = scraper.evidence(
        subject([fake.pod for fake in candidates], [fake.pod for fake in stables], restarts=1), Analysis()
    )
    assert evidence.candidate
    assert (evidence.candidate.pods, evidence.candidate.replay.requests) == (2, 121)
    assert (evidence.no_replay, evidence.silent, evidence.restarts, evidence.stable_version) == ("", "", 1, "3")
    for candidate in candidates:
        (lease,) = candidate.asked("PUT", "/modelyard/replay")
        assert lease.headers["Authorization"] == f"Bearer {TOKEN}"
        assert json.loads(lease.body) == {
            "from": [fake.pod.url for fake in stables],
            "version": "3",
            "seconds": LEASE_SECONDS,
        }
    # The token is for candidates alone.
    assert not any("Authorization" in request.headers for fake in stables for request in fake.requests)


@pytest.mark.parametrize(
    ("ip", "url"), [("10.244.0.5", "http://10.244.0.5:8080"), ("fd00::5", "http://[fd00::5]:8080")]
)
def test_a_pods_url(ip: str, url: str) -> None:
    assert PodAddress("pod", ip).url == url


def test_the_stable_versions_requests_count_from_the_candidates_first_one(
    start: Callable[..., Fake], scraper: Scraper
) -> None:
    new, old = model(start, "new", 4), model(start, "old", 3, ok=500)
    seen = []
    for of_new, of_old in ((0, 500), (0, 600), (5, 640), (9, 700)):
        new.answers[METRICS], old.answers[METRICS] = (200, text(4, of_new)), (200, text(3, of_old))
        seen.append(total(scraper.evidence(subject([new.pod], [old.pod]), Analysis())))
    assert seen == [(0, 0), (0, 0), (5, 40), (9, 100)]


def test_a_stable_pod_that_began_again_counts_from_zero(start: Callable[..., Fake], scraper: Scraper) -> None:
    new, old = model(start, "new", 4, ok=1), model(start, "old", 3, ok=500)
    assert total(scraper.evidence(subject([new.pod], [old.pod]), Analysis())) == (1, 0)
    old.answers[METRICS] = (200, text(3, 510, started=1e9 + 60))
    assert total(scraper.evidence(subject([new.pod], [old.pod]), Analysis())) == (1, 510)


def test_a_stable_pod_that_comes_later_counts_from_then_on(start: Callable[..., Fake], scraper: Scraper) -> None:
    new, one, other = model(start, "new", 4, ok=1), model(start, "old-1", 3, ok=100), model(start, "old-2", 3, ok=50)
    scraper.evidence(subject([new.pod], [one.pod]), Analysis())
    both = subject([new.pod], [one.pod, other.pod])
    assert total(scraper.evidence(both, Analysis())) == (1, 0)
    other.answers[METRICS] = (200, text(3, 57))
    assert total(scraper.evidence(both, Analysis())) == (1, 7)


def test_what_is_remembered_is_of_one_rollout_and_forgotten_with_it(
    start: Callable[..., Fake], scraper: Scraper
) -> None:
    new, old = model(start, "new", 4, ok=1), model(start, "old", 3, ok=500)
    first, second = subject([new.pod], [old.pod]), subject([new.pod], [old.pod], key="ml/churn/5")
    scraper.evidence(first, Analysis())
    old.answers[METRICS] = (200, text(3, 600))
    assert total(scraper.evidence(second, Analysis())) == (1, 0)
    assert total(scraper.evidence(first, Analysis())) == (1, 100)
    scraper.forget(first.key)
    scraper.forget(first.key)
    assert total(scraper.evidence(first, Analysis())) == (1, 0)


def test_a_stable_pod_that_is_silent_once_keeps_its_base(start: Callable[..., Fake], scraper: Scraper) -> None:
    new, old = model(start, "new", 4, ok=1), model(start, "old", 3, ok=500)
    both = subject([new.pod], [old.pod])
    scraper.evidence(both, Analysis())
    old.answers[METRICS] = (500, "")
    assert scraper.evidence(both, Analysis()).stable is None
    old.answers[METRICS] = (200, text(3, 520))
    assert total(scraper.evidence(both, Analysis())) == (1, 20)


# Why there is no replay


@pytest.mark.parametrize(
    ("changed", "answer", "old", "new", "reason"),
    [
        ({}, 200, {"ok": 1}, {}, ""),
        (
            {"recent_requests": 0},
            200,
            {"ok": 1},
            {},
            "the stable version's pods do not remember requests: spec.rest.recentRequests is 0",
        ),
        ({"token": None}, 200, {"ok": 1}, {}, "no control token in Secret modelyard-artifacts-reader"),
        ({"stables": []}, 200, {"ok": 1}, {}, "the stable version has no pods"),
        ({}, 200, {"ok": 0}, {}, "no request has reached the stable version yet"),
        (
            {},
            404,
            {"ok": 1},
            {},
            "the candidate takes no replay: its pods have no control token (MODELYARD_CONTROL_TOKEN)",
        ),
        ({}, 401, {"ok": 1}, {}, "the candidate takes no replay: its control token is another one: restart its pods"),
        ({}, 409, {"ok": 1}, {}, "the candidate takes no replay: it is the stable version itself"),
        ({}, 503, {"ok": 1}, {}, "the candidate takes no replay: it is not ready"),
        ({}, 500, {"ok": 1}, {}, "the candidate takes no replay: PUT /modelyard/replay answered 500"),
        (
            {},
            200,
            {"ok": 1},
            {"fetch_errors": 3},
            "the candidate's pods cannot fetch requests from the stable version's: their logs say why",
        ),
        ({}, 200, {"ok": 1}, {"fetch_errors": 3, "replayed": 1}, ""),
    ],
)
def test_why_there_is_no_replay(  # noqa: PLR0917
    changed: dict[str, Any],
    answer: int,
    old: dict[str, int],
    new: dict[str, int],
    reason: str,
    start: Callable[..., Fake],
    scraper: Scraper,
) -> None:
    candidate, stable = model(start, "new", 4, **new), model(start, "old", 3, **old)
    candidate.answers[PUT] = (answer, "{}")
    given = {"candidates": [candidate.pod], "stables": [stable.pod], **changed}
    evidence = scraper.evidence(subject(given.pop("candidates"), given.pop("stables"), **given), Analysis())
    assert evidence.no_replay == reason
    judgement = judge(Analysis(), evidence, 0)
    assert judgement.verdict == FigureVerdict.INCONCLUSIVE
    assert reason in judgement.message


# Pods that do not answer as they should

HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("sent", "every", "reason"),
    [
        pytest.param(b"", None, "no answer within 3 s", id="says nothing"),
        pytest.param(HEAD + b"x-slow: a", 0.05, "no answer within 3 s", id="drips its head"),
        pytest.param(HEAD + b"content-length: 100000\r\n\r\nm", 0.05, "no answer within 3 s", id="drips its body"),
        pytest.param(b"220 smtp.example ESMTP\r\n", None, "no HTTP answer", id="speaks another protocol"),
        pytest.param(HEAD + b"content-length: 10\r\n\r\nabc", None, "no HTTP answer", id="breaks off"),
        pytest.param(HEAD + b"x: " + b"y" * 2**20, None, "no HTTP answer", id="has an endless head"),
        pytest.param(
            HEAD + b"\r\n" + b"x" * (2**20 + 1), None, "an answer of more than 1048576 bytes", id="is endless"
        ),
        pytest.param(HEAD + b"content-length: 2\r\n\r\n\xff\xfe", None, "GET /metrics: no text", id="is no text"),
        pytest.param(HEAD + b"content-length: 2\r\n\r\n{}", None, "GET /metrics: they cannot be read", id="is JSON"),
        pytest.param(HEAD + b"content-length: 0\r\n\r\n", None, "not those of a model server", id="is empty"),
        pytest.param(
            b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n",
            None,
            "GET /metrics answered 302",
            id="sends elsewhere",
        ),
    ],
)
def test_a_pod_that_answers_wrongly_is_left_out_in_time(
    sent: bytes, every: float | None, reason: str, start: Callable[..., Fake], hurried: Scraper
) -> None:
    good, old = model(start, "new", 4, ok=7), model(start, "old", 3, ok=1)
    with raw(sent, every=every) as bad:
        began = time.monotonic()
        evidence = hurried.evidence(subject([bad, good.pod], [old.pod]), Analysis())
        took = time.monotonic() - began
    assert evidence.candidate
    assert evidence.candidate.pods == 1
    assert evidence.silent.startswith("1 of 2 pods of the candidate tell nothing: ")
    assert reason in evidence.silent
    # The good pod takes the replay.
    assert evidence.no_replay == ""
    # Three seconds are the timeout; the rest is for a busy machine, and less than a server hangs or drips.
    assert took < 20


def test_pods_that_are_gone_are_no_error(scraper: Scraper) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        gone = PodAddress("gone", "127.0.0.1", closed.getsockname()[1])
    evidence = scraper.evidence(subject([gone], [gone]), Analysis())
    assert (evidence.candidate, evidence.stable) == (None, None)
    assert "1 of 1 pods of the candidate tell nothing: no connection" in evidence.silent
    assert "1 of 1 pods of the stable version tell nothing" in evidence.silent


def test_forty_hanging_pods_take_no_longer_than_one(hurried: Scraper) -> None:
    with raw(b"") as hanging:
        began = time.monotonic()
        evidence = hurried.evidence(subject([hanging] * 40, []), Analysis())
        took = time.monotonic() - began
    assert evidence.silent.startswith("40 of 40 pods of the candidate tell nothing: no answer within 3 s")
    assert took < 20


def test_proxies_of_the_environment_are_not_for_pods(
    start: Callable[..., Fake], scraper: Scraper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    new = model(start, "new", 4, ok=3)
    evidence = scraper.evidence(subject([new.pod], []), Analysis())
    assert evidence.candidate
    assert evidence.candidate.total == 3


# Prometheus


def checks(*names: str, url: str, query: str = "up") -> Analysis:
    return Analysis.model_validate(
        {"prometheus": [{"name": name, "url": url, "query": query, "max": "1"} for name in names]}
    )


def vector(*values: str) -> str:
    result = [{"metric": {}, "value": [1.7e9, value]} for value in values]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}})


def prometheus(scraper: Scraper, url: str, query: str = "up") -> QueryResult:
    return scraper.evidence(subject([], []), checks("check", url=url, query=query)).queries["check"]


@pytest.mark.parametrize(
    ("status", "body", "value", "problem"),
    [
        (200, vector("0.25"), 0.25, ""),
        (200, '{"status": "success", "data": {"resultType": "scalar", "result": [1.7e9, "3"]}}', 3.0, ""),
        (200, vector(), None, ""),
        (200, vector("1", "2"), None, "the query gives 2 numbers, not one"),
        (
            200,
            '{"status": "success", "data": {"resultType": "matrix", "result": []}}',
            None,
            "the query gives a matrix, not one number",
        ),
        (
            400,
            '{"status": "error", "errorType": "bad_data", "error": "parse error: unexpected end of input"}',
            None,
            "the server says: parse error: unexpected end of input",
        ),
        (503, '{"status": "error", "error": "' + "x" * 500 + '"}', None, "the server says: " + "x" * 120),
        (502, "{}", None, "the server answered 502"),
        (502, "<html>", None, "the server's answer (502) is not one of Prometheus' API"),
        (200, "{}", None, "the server's answer (200) is not one of Prometheus' API"),
        (200, "[]", None, "the server's answer (200) is not one of Prometheus' API"),
        (200, "[" * 100_000, None, "the server's answer (200) is not one of Prometheus' API"),
        (200, vector("much"), None, "the server's answer (200) is not one of Prometheus' API"),
        (307, "http://169.254.169.254/latest", None, "the server's answer (307) is not one of Prometheus' API"),
    ],
)
def test_what_a_prometheus_server_says(  # noqa: PLR0917
    status: int, body: str, value: float | None, problem: str, start: Callable[..., Fake], scraper: Scraper
) -> None:
    server = start()
    server.answers[QUERY] = (status, body)
    assert prometheus(scraper, server.pod.url) == QueryResult(value, problem)


def test_the_query_is_sent_with_the_versions_numbers(start: Callable[..., Fake], scraper: Scraper) -> None:
    server = start()
    server.answers["GET /prom/api/v1/query"] = (200, vector("1"))
    query = 'sum(rate(errors{version="{candidate}"}[1m])) / sum(rate(errors{version="{stable}"}[1m])) + 1 & x=y'
    assert prometheus(scraper, f"{server.pod.url}/prom/", query).value == 1.0
    (asked,) = server.requests
    expected = query.replace("{candidate}", "4").replace("{stable}", "3")
    assert parse_qs(urlsplit(asked.path).query) == {"query": [expected]}


def test_a_server_that_hangs_or_is_not_there(hurried: Scraper) -> None:
    with raw(b"") as hanging:
        assert prometheus(hurried, hanging.url).problem == "the server gave no answer within 3 s"
    assert prometheus(hurried, hanging.url).problem.startswith("the server gave no connection")
    assert prometheus(hurried, "http://no-such-host.invalid:9090").problem.startswith("the server gave no ")
    assert prometheus(hurried, "http://[::bad").problem.startswith("the server gave no HTTP answer")


def test_servers_that_may_not_be_asked_are_not(start: Callable[..., Fake]) -> None:
    def check(url: str) -> None:
        raise ValueError(f"this installation asks no {urlsplit(url).hostname}")

    server, scraper = start(), Scraper(timeout=1.0, check_url=check)
    assert prometheus(scraper, server.pod.url).problem == "this installation asks no 127.0.0.1"
    assert server.requests == []
    scraper.close()


def test_several_checks_keep_apart(start: Callable[..., Fake], scraper: Scraper) -> None:
    good, bad = start(), start()
    good.answers[QUERY] = (200, vector("0.5"))
    both = Analysis.model_validate(
        {
            "prometheus": [
                {"name": "bad", "url": bad.pod.url, "query": "a", "max": "1"},
                {"name": "good", "url": good.pod.url, "query": "b", "max": "1"},
            ]
        }
    )
    queries = scraper.evidence(subject([], []), both).queries
    assert queries["good"] == QueryResult(0.5)
    assert queries["bad"].problem == "the server's answer (404) is not one of Prometheus' API"
