"""What headers and bodies ask of the server, whatever the protocol."""

from __future__ import annotations

import pytest

from modelyard_serving.errors import RequestError
from modelyard_serving.protocol.dialect import HttpRequest
from modelyard_serving.web.requests import RequestIds, query_of, require_few_values, seconds_of


@pytest.mark.parametrize("given", [b"a", b"7b0e-1 x", b"x" * 128])
def test_a_request_keeps_its_name(given: bytes) -> None:
    assert RequestIds().of({b"x-request-id": given}) == given


@pytest.mark.parametrize("given", [None, b"", b"x" * 129, b"\xc3\xa9", b"a\x00b", b"a\nb"])
def test_a_request_without_a_proper_name_gets_one_of_its_own(given: bytes | None) -> None:
    ids = RequestIds()
    names = {ids.of({} if given is None else {b"x-request-id": given}) for _ in range(3)}
    assert len(names) == 3
    assert given not in names


@pytest.mark.parametrize(("given", "seconds"), [(None, 60), (b"0.5", 0.5), (b"1e9", 60), (b"inf", 60)])
def test_a_client_may_ask_for_less_time(given: bytes | None, seconds: float) -> None:
    assert seconds_of({} if given is None else {b"x-request-timeout": given}, 60) == seconds


@pytest.mark.parametrize("given", [b"", b"soon", b"0", b"-1", b"nan", b"\xff"])
def test_a_time_that_is_none_is_refused(given: bytes) -> None:
    with pytest.raises(RequestError, match="X-Request-Timeout must be a positive number"):
        seconds_of({b"x-request-timeout": given}, 60)


def test_the_last_of_a_parameter_counts() -> None:
    assert query_of(b"") == {}
    assert query_of(b"method=a&x=&method=predict%5Fproba") == {"method": "predict_proba", "x": ""}


JSON = {b"content-type": b"application/json"}


@pytest.mark.parametrize(
    "request_",
    [
        HttpRequest(b'{"a": [1, 2]}', JSON),
        HttpRequest(b"1,2,3,4,5,6,7", {b"content-type": b"text/csv"}),
        # Behind the header of a V2 request there are numbers, not text.
        HttpRequest(b"{}" + b"," * 100, {b"inference-header-content-length": b"2"}),
        HttpRequest(b"," * 100, {b"inference-header-content-length": b"x"}),
    ],
)
def test_few_values_are_read(request_: HttpRequest) -> None:
    require_few_values(request_, 4)


@pytest.mark.parametrize(
    "request_",
    [
        HttpRequest(b'{"a": [1, 2, 3, 4]}', JSON),
        HttpRequest(b"[[[[[]]]]]"),
        HttpRequest(b"[1,2,3,4,5]....", {b"inference-header-content-length": b"11"}),
    ],
)
def test_more_values_are_refused(request_: HttpRequest) -> None:
    with pytest.raises(RequestError, match="holds 5 values; more than 4 are not read") as raised:
        require_few_values(request_, 4)
    assert raised.value.status == 413
