from __future__ import annotations

import pytest

from modelyard.sources.address import Address, joined, parse, shown
from modelyard.sources.errors import SourceNotFound


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://git.example/ml/churn.git", Address("https", "git.example", 443, "/ml/churn.git")),
        ("http://git.example:8080/x", Address("http", "git.example", 8080, "/x")),
        ("git://git.example/x", Address("git", "git.example", 9418, "/x")),
        ("https://ada@git.example/x", Address("https", "git.example", 443, "/x", "ada")),
        ("ssh://git.example/x", Address("ssh", "git.example", 22, "/x")),
        ("ssh://ada@git.example:2222/x", Address("ssh", "git.example", 2222, "/x", "ada")),
        ("ssh://git@git.example/~ada/x", Address("ssh", "git.example", 22, "~ada/x")),
        ("git@git.example:ml/churn.git", Address("ssh", "git.example", 22, "ml/churn.git")),
        ("git.example:/srv/churn.git", Address("ssh", "git.example", 22, "/srv/churn.git")),
        ("http://[::1]:8080/x", Address("http", "::1", 8080, "/x")),
    ],
)
def test_urls_are_read_as_git_reads_them(url: str, address: Address) -> None:
    assert parse(url) == address


@pytest.mark.parametrize("url", ["file:///etc/x", "/etc/x", "x", "ftp://git.example/x", "https:///x", "https://a:b/x"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(SourceNotFound):
        parse(url)


def test_a_url_is_shown_without_who_asks() -> None:
    assert shown("https://ada:secret@git.example/x@y") == "https://git.example/x@y"
    assert shown("git@git.example:x") == "git@git.example:x"


@pytest.mark.parametrize(
    ("base", "url", "whole"),
    [
        ("https://git.example/ml/churn.git", "../library.git", "https://git.example/ml/library.git"),
        ("https://git.example/ml/churn.git/", "../../x/y.git", "https://git.example/x/y.git"),
        ("https://git.example/ml/churn.git", "./part.git", "https://git.example/ml/churn.git/part.git"),
        ("git@git.example:ml/churn.git", "../library.git", "git@git.example:ml/library.git"),
        ("git@git.example:churn.git", "../library.git", "git@git.example:library.git"),
        ("ssh://git@git.example:22/ml/churn.git", "../library.git", "ssh://git@git.example:22/ml/library.git"),
        ("https://git.example/churn.git", "https://other.example/x", "https://other.example/x"),
    ],
)
def test_a_submodules_url_is_relative_to_its_parents(base: str, url: str, whole: str) -> None:
    assert joined(base, url) == whole


@pytest.mark.parametrize("base", ["https://git.example/churn.git", "git@git.example:churn.git", "ssh://h:22/x.git"])
def test_it_does_not_lead_out_of_the_server(base: str) -> None:
    with pytest.raises(SourceNotFound, match="leads out of"):
        joined(base, "../../other.git")


@pytest.mark.parametrize(
    ("url", "other", "trusts"),
    [
        ("https://git.example/a", "https://git.example/b", True),
        ("http://git.example:3000/a", "http://git.example:3000/b", True),
        ("git@git.example:a", "https://git.example/b", True),
        ("https://git.example/a", "ssh://git@git.example/b", True),
        ("https://git.example/a", "http://git.example/b", False),
        ("https://git.example/a", "https://git.example:8443/b", False),
        ("https://git.example/a", "https://git.example.evil/b", False),
        ("https://git.example/a", "https://other.example/b", False),
    ],
)
def test_credentials_are_for_the_same_host(url: str, other: str, trusts: bool) -> None:
    assert parse(url).trusts(parse(other)) is trusts
