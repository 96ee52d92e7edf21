"""The last lines of a container's log, as the kubelet gives them."""

from __future__ import annotations

import pytest

from modelyard.cluster.client import ApiError, NotFound
from modelyard.cluster.pod_logs import last_lines
from tests.fakes.cluster import FakeClient

MIB = 1 << 20


class Kubelet(FakeClient):
    """Answers as the kubelet does: it goes back so many lines, and stops after so many bytes from there."""

    def __init__(self, log: bytes | ApiError) -> None:
        super().__init__()
        self.log = log
        self.queries: list[dict[str, str]] = []

    def read(
        self,
        path: str,
        query: list[tuple[str, str]] | None = None,
        headers: dict[str, str] | None = None,  # noqa: ARG002
    ) -> bytes:
        assert path == "/api/v1/namespaces/ml/pods/churn-0/log"
        asked = dict(query or [])
        self.queries.append(asked)
        if isinstance(self.log, ApiError):
            raise self.log
        lines = self.log.splitlines(keepends=True)[-int(asked["tailLines"]) :]
        return b"".join(lines)[: int(asked["limitBytes"])]


def test_the_last_lines_are_asked_for_and_returned() -> None:
    kubelet = Kubelet(b"".join(b"line %d\n" % number for number in range(500)))
    text = last_lines(kubelet, "ml", "churn-0", "trial", 200)
    assert text.splitlines() == [f"line {number}" for number in range(300, 500)]
    assert kubelet.queries == [{"container": "trial", "tailLines": "200", "limitBytes": str(MIB)}]


def test_of_long_lines_fewer_are_taken_but_the_last_ones() -> None:
    kubelet = Kubelet(
        b"".join(b"%04d" % number + b"x" * 100_000 + b"\n" for number in range(300)) + b"ValueError: no\n"
    )
    text = last_lines(kubelet, "ml", "churn-0", "trial", 200)
    assert text.endswith("\nValueError: no\n")
    assert len(text) < MIB
    assert [query["tailLines"] for query in kubelet.queries] == ["200", "50", "12", "3"]


def test_one_line_that_is_too_long_is_cut() -> None:
    assert len(last_lines(Kubelet(b"x" * 3 * MIB), "ml", "churn-0", "trial", 200)) == MIB


@pytest.mark.parametrize(
    "log",
    [
        NotFound(404, "NotFound", "pods churn-0 not found"),
        ApiError(400, "BadRequest", "container trial in pod churn-0 is waiting to start"),
        b"unable to retrieve container logs for containerd://abc",
        b"",
    ],
)
def test_where_there_is_no_log_there_is_no_text(log: bytes | ApiError) -> None:
    assert last_lines(Kubelet(log), "ml", "churn-0", "trial", 200) == ""


def test_bytes_that_are_no_text_do_no_harm() -> None:
    assert last_lines(Kubelet(b"\xff ok\n"), "ml", "churn-0", "trial", 200) == "\ufffd ok\n"


def test_a_refusal_is_raised() -> None:
    with pytest.raises(ApiError, match="forbidden"):
        last_lines(Kubelet(ApiError(403, "Forbidden", "forbidden")), "ml", "churn-0", "trial", 200)
