"""Bodies that are no requests: each gets an error in its protocol's form, which is short whatever was sent."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.unit.serving.hostile.bodies import PATHS, Case, cases
from tests.unit.serving.hostile.wire import exchange, post
from tests.unit.serving.processes import SECONDS, Server, eventually

KEYS = {"mlflow": {"error_code", "message"}, "v1": {"error"}, "v2": {"error"}}
MAX_ERROR_BYTES = 6 * 4200


@pytest.mark.parametrize("case", list(cases()), ids=lambda case: f"{case.protocol}: {case.name}")
def test_the_server_answers_and_lives(case: Case, port: int) -> None:
    headers = {"Content-Type": case.content_type}
    answer = exchange(port, post(PATHS[case.protocol], case.body, headers))
    assert answer.status in (200, 400, 404, 413, 415, 504), answer
    if answer.status != 200:
        assert set(answer.error) == KEYS[case.protocol]
        assert len(answer.body) < MAX_ERROR_BYTES, answer.body[:500]


class Pings:
    """How long the server takes to say that it is well, again and again."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self.seconds: list[float] = []

    def _ask(self) -> None:
        with httpx.Client(base_url=self._server.url, timeout=SECONDS) as http:
            while not self._ending.wait(0.005):
                begin = time.perf_counter()
                assert http.get("/ping").status_code == 200
                self.seconds.append(time.perf_counter() - begin)

    def __enter__(self) -> Pings:
        self._thread.start()
        # Its client takes a while to make.
        eventually(lambda: self.seconds, "a first answer")
        self.seconds.clear()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()


def peak_bytes(server: Server) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/json", b'{"dataframe_split": {"data": [%s[1]]}}' % (b"[1]," * 500_000), 413),
        ("application/json", b'{"dataframe_split": {"data": [%s[1]]}}' % (b"[1]," * 30_000), 400),
        ("text/csv", b"a\n" + b"1,2\n" * 1_000_001, 400),
    ],
)
def test_json_of_very_many_values_is_not_read(content_type: str, body: bytes, status: int, server: Server) -> None:
    headers = {"Content-Type": content_type}
    answer = httpx.post(server.url + "/invocations", content=body, headers=headers, timeout=SECONDS)
    assert answer.status_code == status
    assert ("more than 1000000 are not read" in answer.text) is (status == 413)


def test_a_long_body_neither_stops_the_others_nor_takes_all_memory(server: Server, port: int) -> None:
    """Bodies of many small values: a few bytes each as text, and many times as much as Python's objects."""
    size = 16 * 1024 * 1024
    bodies = [b'{"instances": [%s1]}' % (b"1," * (size // 2)), b'{"instances": [%s[]]}' % (b"[]," * (size // 3))]
    before = peak_bytes(server)
    with Pings(server) as pings:
        for body in bodies:
            answer = httpx.post(
                server.url + "/invocations", content=body, headers={"Content-Type": "application/json"}, timeout=SECONDS
            )
            assert answer.status_code == 413
            assert len(answer.content) < MAX_ERROR_BYTES
    assert pings.seconds
    assert peak_bytes(server) - before < 2 * 1024**3
