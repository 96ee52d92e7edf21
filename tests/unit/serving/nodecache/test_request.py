from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard_serving.fetch.sign import KeySigner
from modelyard_serving.nodecache.request import Endpoints, Refused, parse

ENDPOINTS = Endpoints(["http://minio.ns.svc:9000", "https://*.s3.eu-west-1.amazonaws.com", "https://s3.example.com"])
ITEM = {"etag": '"abc-2"', "size": 10}
QUERY = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0a"
URL = f"http://minio.ns.svc:9000/models/churn/1/MLmodel?{QUERY}"


def asked(url: Any = URL, **changed: Any) -> Any:
    return parse(json.dumps({**ITEM, "url": url, **changed}).encode(), ENDPOINTS)


def status(*args: Any, **changed: Any) -> int:
    with pytest.raises(Refused) as refused:
        asked(*args, **changed)
    return refused.value.status


@pytest.mark.parametrize(
    ("endpoint", "bucket"),
    [("http://minio.ns.svc:9000", "models"), ("https://s3.example.com:443", "my.models"), (None, "models")],
)
@pytest.mark.parametrize("key", ["churn/1/MLmodel", "a b/é+%2e~&=/(x)!'*.pkl", "..a/b..", "a//b"])
@pytest.mark.parametrize("token", [None, "to/ken=="])
def test_what_pods_sign_is_taken(endpoint: str | None, bucket: str, key: str, token: str | None) -> None:
    url = KeySigner("AKID", "secret", token, "eu-west-1", endpoint).get(bucket, key)
    assert asked(url).url == url


def test_what_is_kept_does_not_depend_on_who_asks() -> None:
    one, two = (
        KeySigner("A", "x", None, "r", "https://s3.example.com"),
        KeySigner("B", "y", "t", "r", "https://s3.example.com:443"),
    )
    assert asked(one.get("models", "a")).key == asked(two.get("models", "a")).key


@pytest.mark.parametrize(
    "other",
    [
        {"url": URL.replace("MLmodel", "mlmodel")},
        {"url": URL.replace("http://minio.ns.svc:9000", "https://s3.example.com")},
        {"etag": '"abd-2"'},
        {"size": 11},
    ],
)
def test_what_differs_is_kept_apart(other: dict[str, Any]) -> None:
    assert asked(**{"url": URL, **other}).key != asked().key


@pytest.mark.parametrize(
    "place",
    [
        "http://minio.ns.svc",
        "http://minio.ns.svc:9001",
        "https://minio.ns.svc:9000",
        "http://evil.minio.ns.svc:9000",
        "https://s3.eu-west-1.amazonaws.com",
        "https://evils3.eu-west-1.amazonaws.com",
        "https://a.s3.example.com",
        "http://[::1]:9000",
        "http://0x7f000001:9000",
        "file:///etc",
        "gopher://minio.ns.svc:9000",
    ],
)
def test_other_places_are_refused(place: str) -> None:
    assert status(f"{place}/models/a?{QUERY}") == 403


@pytest.mark.parametrize(
    "url",
    [
        f"http://user@minio.ns.svc:9000/models/a?{QUERY}",
        f"http://minio.ns.svc:9000@evil/models/a?{QUERY}",
        f"http://minio.ns.svc:9000/models/../other/a?{QUERY}",
        f"http://minio.ns.svc:9000/models/%2e%2e/a?{QUERY}",
        f"http://minio.ns.svc:9000/models/%61?{QUERY}",
        f"http://minio.ns.svc:9000/models/%zz?{QUERY}",
        f"http://minio.ns.svc:9000/models/a%2fb?{QUERY}",
        f"http://minio.ns.svc:9000/models\\a?{QUERY}",
        f"http://minio.ns.svc:9000/models/?{QUERY}",
        f"http://minio.ns.svc:9000/?{QUERY}",
        f"http://minio.ns.svc:9000?{QUERY}",
        f"{URL}&versionId=1",
        f"{URL}&acl",
        f"{URL}&partNumber=1",
        f"{URL}&response-content-type=a",
        f"{URL}&X-Amz-Signature=0b",
        f"{URL}#a",
        URL.partition("?")[0],
        "http://minio.ns.svc:99999/models/a",
        "http://minio.ns.svc:9000/models/a b",
        "http://minio.ns.svc:9000/models/a\r\nX: y",
        "",
        None,
        7,
    ],
)
def test_what_could_mean_something_else_is_refused(url: Any) -> None:
    assert status(url) == 400


@pytest.mark.parametrize(
    "changed",
    [
        {"etag": None},
        {"etag": "abc"},
        {"etag": 'W/"abc"'},
        {"etag": '"a\r\nX: y"'},
        {"etag": '"a", "b"'},
        {"etag": "*"},
        {"size": 0},
        {"size": -1},
        {"size": True},
        {"size": 1.5},
        {"size": 2**60},
        {"more": 1},
    ],
)
def test_malformed_requests_are_refused(changed: dict[str, Any]) -> None:
    assert status(**changed) == 400


@given(
    st.binary(max_size=200)
    | st.builds(
        lambda value: json.dumps(value).encode(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["url", "etag", "size"]), inner),
        ),
    )
)
def test_any_other_body_is_refused(body: bytes) -> None:
    with pytest.raises(Refused):
        parse(body, ENDPOINTS)


@given(st.text(max_size=300))
def test_any_other_url_is_refused(url: str) -> None:
    with pytest.raises(Refused):
        asked(url)


@pytest.mark.parametrize(
    "pattern", ["", "minio:9000", "ftp://minio", "http://", "http://a/b?c", "http://u@a", "http://*"]
)
def test_endpoints_must_be_origins(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"no http|there is none"):
        Endpoints([pattern])
