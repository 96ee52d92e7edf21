"""Which URLs an installation sends to."""

from __future__ import annotations

import pytest

from modelyard.notify.hosts import UrlRefused, check_url


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://ci.example.com/hooks", ["*"]),
        ("http://10.0.0.1:8080/", ["*"]),
        ("https://CI.Example.com:8443/hooks?x=1", ["ci.example.com"]),
        ("https://ci.example.com./hooks", ["other", "*.EXAMPLE.com"]),
        ("http://[::1]:80/", ["::1"]),
    ],
)
def test_a_url_whose_host_matches_is_allowed(url: str, allowed: list[str]) -> None:
    assert check_url(url, allowed)


@pytest.mark.parametrize(
    ("url", "allowed", "message"),
    [
        ("https://169.254.169.254/latest", ["*.example.com"], "lets no webhook be at 169.254.169.254"),
        ("https://example.com", ["*.example.com"], "lets no webhook be at example.com"),
        ("https://evil.com/ci.example.com", ["ci.example.com"], "lets no webhook be at evil.com"),
        ("https://ci.example.com@evil.com/", ["ci.example.com"], "must not hold a user"),
        ("https://ci.example.com.evil.com/", ["*.example.com"], "lets no webhook be at ci.example.com.evil.com"),
        ("https://ci.example.com", [], "it allows nothing"),
        ("ftp://ci.example.com", ["*"], "must be http://<host>"),
        ("https:///path", ["*"], "must be http://<host>"),
        ("https://host:99999/", ["*"], "url is none"),
        ("https://[::1/", ["*"], "url is none"),
    ],
)
def test_any_other_url_is_refused_with_a_reason(url: str, allowed: list[str], message: str) -> None:
    with pytest.raises(UrlRefused, match=message):
        check_url(url, allowed)
