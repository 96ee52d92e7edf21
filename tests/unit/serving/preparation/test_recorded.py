"""What pods were asked lately is read from one of them, and missing it holds nothing up."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from modelyard_serving.preparation.recorded import MAX_REQUESTS, recorded
from modelyard_serving.protocol.dialect import HttpRequest
from modelyard_serving.recent import Remembered
from modelyard_serving.reference import Address, FetchError, Page

URL, TOKEN = "http://web.ml.svc/modelyard/recent", "t" * 16
Ask = Callable[[Address, int, str], Page]


def remembered(seq: int) -> Remembered:
    return Remembered(seq, "mlflow", HttpRequest(b"{}"), b"{}", 0.1)


def pod(requests: int, *, changes_at: int | None = None) -> Ask:
    """A Service whose pod remembers so many requests, and behind which another pod answers from some time on."""

    def ask(address: Address, after: int, token: str) -> Page:
        assert (address, token) == (Address("web.ml.svc", 80), TOKEN)
        instance = "b" if changes_at is not None and after >= changes_at else "a"
        return Page(instance, "3", tuple(remembered(seq) for seq in range(after + 1, min(after + 64, requests) + 1)))

    return ask


def refuses(address: Address, after: int, token: str) -> Page:
    raise FetchError("HTTP status 401")


@pytest.mark.parametrize(
    ("ask", "number"),
    [
        (pod(0), 0),
        (pod(5), 5),
        (pod(100), 100),
        (pod(1000), MAX_REQUESTS),
        (pod(1000, changes_at=64), 64),
        (refuses, 0),
    ],
    ids=["nothing", "one page", "two pages", "more than are taken", "another pod", "no answer"],
)
def test_the_requests_of_one_pod(ask: Ask, number: int) -> None:
    assert [each.seq for each in recorded(URL, TOKEN, ask)] == list(range(1, number + 1))


@pytest.mark.parametrize(("url", "token"), [(None, TOKEN), (URL, None)])
def test_without_a_service_or_a_token_nobody_is_asked(url: str | None, token: str | None) -> None:
    assert recorded(url, token, refuses) == []
