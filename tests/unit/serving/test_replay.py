"""Two servers, of which one replays what the other has answered."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import mlflow.sklearn
import pytest

from modelyard_serving.recent import Recent
from modelyard_serving.reference import Address, FetchError, fetch
from modelyard_serving.replay import Positions
from tests.unit.serving.echo import Actor
from tests.unit.serving.processes import SECONDS, Server, eventually, starting, upload
from tests.unit.serving.prometheus import Scrape

TOKEN = "0123456789abcdef" * 4
GOOD = {"Authorization": f"Bearer {TOKEN}"}
ROWS = [-2.0, -1.0, 1.0, 2.0, 3.0]
REQUESTS = 4


@dataclass
class Stage:
    """A reference (version 3), a candidate (version 4) and what they play."""

    directory: Path
    reference: Server
    candidate: Server

    def play(self, kind: str, fault: str = "", requests: int = REQUESTS) -> Change:
        """Ask the reference, have the candidate replay it, and return what that has changed in its metrics."""
        (self.directory / "kind").write_text(kind)
        (self.directory / "fault-4").write_text(fault)
        before = self.scrape()
        for _ in range(requests):
            body = {"dataframe_records": [{"x": x} for x in ROWS]}
            assert self.reference.predict(body).status_code == 200
        self.lease()
        total = before("modelyard_replay_requests_total") + requests
        eventually(lambda: self.scrape()("modelyard_replay_requests_total") == total, "all are replayed")
        return Change(before, self.scrape())

    def lease(self, seconds: float = 30, version: str = "3") -> int:
        body = {"from": [self.reference.url, self.candidate.url], "version": version, "seconds": seconds}
        response = httpx.put(self.candidate.url + "/modelyard/replay", json=body, headers=GOOD, timeout=SECONDS)
        assert response.status_code == 200, response.text
        replayed: int = response.json()["replayed"]
        return replayed

    def scrape(self) -> Scrape:
        return Scrape(httpx.get(self.candidate.url + "/metrics", timeout=SECONDS).text)


@dataclass
class Change:
    before: Scrape
    after: Scrape

    def __call__(self, name: str, **labels: str) -> float:
        return self.after(name, **labels) - self.before(name, **labels)

    @property
    def different(self) -> float:
        """Answers that differ at all."""
        return self("modelyard_replay_difference_count") - self("modelyard_replay_difference_bucket", le="0.0")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, store: str) -> Iterator[Stage]:
    directory = tmp_path_factory.mktemp("stage")
    (directory / "kind").write_text("numbers")
    mlflow.sklearn.save_model(
        Actor(str(directory)), directory / "actor", serialization_format="cloudpickle", pip_requirements=[]
    )
    model = {
        "MODELYARD_MODEL_SOURCE": "s3://models/actor",
        "MODELYARD_MODEL_DIGEST": upload(store, directory / "actor", "actor"),
        "MODELYARD_CONTROL_TOKEN": TOKEN,
    }
    with starting(directory, store) as start:
        reference = start(**model, MODELYARD_RECENT_REQUESTS="100", MODELYARD_MODEL_DIR=str(directory / "3"))
        candidate = start(**model, MODELYARD_MODEL_VERSION="4", MODELYARD_MODEL_DIR=str(directory / "4"))
        reference.wait_ready()
        candidate.wait_ready()
        yield Stage(directory, reference, candidate)


@pytest.mark.parametrize("kind", ["numbers", "labels", "lists"])
def test_the_same_model_answers_the_same(stage: Stage, kind: str) -> None:
    change = stage.play(kind)
    assert change("modelyard_replay_difference_count") == REQUESTS * len(ROWS)
    assert change.different == 0
    assert change("modelyard_replay_errors_total") == 0
    assert change("modelyard_replay_invalid_total", side="candidate") == 0
    assert change.after("modelyard_replay_info", reference_version="3") == 1


def test_swapped_labels_have_nothing_in_common(stage: Stage) -> None:
    change = stage.play("labels", "swap")
    assert change.different == REQUESTS * len(ROWS)
    assert change("modelyard_replay_difference_bucket", le="1.0") == 0
    assert change("modelyard_replay_answers_total", side="reference", bin="yes") == 3 * REQUESTS
    assert change("modelyard_replay_answers_total", side="candidate", bin="no") == 3 * REQUESTS


def test_shifted_numbers_differ_by_as_much(stage: Stage) -> None:
    change = stage.play("numbers", "shift")
    assert change("modelyard_replay_difference_bucket", le="0.05") == 0
    assert change("modelyard_replay_difference_bucket", le="0.1") == REQUESTS * len(ROWS)
    assert change.after("modelyard_replay_answer_max", side="candidate") == pytest.approx(3.3)
    assert change.after("modelyard_replay_answer_min", side="reference") == -2


def test_a_row_of_probabilities_differs_by_its_worst(stage: Stage) -> None:
    change = stage.play("lists", "shift")
    assert change.different == REQUESTS * len(ROWS)
    assert change("modelyard_replay_answers_total", side="reference", bin="0:f8800") == REQUESTS
    assert change("modelyard_replay_answers_total", side="reference", bin="1:f0") == REQUESTS
    assert change("modelyard_replay_answers_total", side="candidate", bin="1:f0") == 0


def test_answers_that_are_no_number_are_invalid(stage: Stage) -> None:
    change = stage.play("numbers", "nan")
    assert change("modelyard_replay_invalid_total", side="candidate") == 2 * REQUESTS
    assert change("modelyard_replay_invalid_total", side="reference") == 0
    assert change.different == 2 * REQUESTS


def test_a_request_that_only_the_candidate_fails_is_an_error(stage: Stage) -> None:
    change = stage.play("numbers", "raise")
    assert change("modelyard_replay_errors_total") == REQUESTS
    assert change("modelyard_replay_difference_count") == 0


def test_answers_of_another_shape_have_nothing_in_common(stage: Stage) -> None:
    change = stage.play("numbers", "shape")
    assert change("modelyard_replay_difference_bucket", le="1.0") == 0
    assert change("modelyard_replay_difference_count") == REQUESTS * len(ROWS)


def test_the_time_is_the_models_on_both_sides(stage: Stage) -> None:
    change = stage.play("numbers", "slow", 10)
    assert change("modelyard_replay_seconds_count", side="reference") == 10
    mean = {side: change("modelyard_replay_seconds_sum", side=side) / 10 for side in ("reference", "candidate")}
    assert mean["reference"] >= 0.02
    assert mean["candidate"] >= 0.06


def test_memory_that_leaks_shows(stage: Stage) -> None:
    change = stage.play("numbers", "leak", 20)
    # Half of it: some finds room that was free already, and the system takes pages of libraries back.
    assert change("process_resident_memory_bytes") > 20 * 2_000_000
    assert change("modelyard_memory_after_load_bytes") == 0


def test_replays_are_neither_traffic_nor_remembered(stage: Stage) -> None:
    change = stage.play("numbers")
    assert change("modelyard_request_seconds_count") == 0
    recent = httpx.get(stage.candidate.url + "/modelyard/recent", headers=GOOD, timeout=SECONDS).json()
    assert recent["requests"] == []


def test_a_request_is_replayed_once(stage: Stage) -> None:
    stage.play("numbers")
    replayed = stage.lease()
    assert stage.play("numbers", requests=1)("modelyard_replay_requests_total") == 1
    assert stage.lease() == replayed + 1


def test_a_lease_ends(stage: Stage) -> None:
    stage.play("numbers")
    replayed = stage.lease(seconds=0)
    for _ in range(3):
        stage.reference.predict({"dataframe_records": [{"x": 1.0}]})
    # The replaying thread looks at least twice a second while it lives.
    time.sleep(1.5)
    assert stage.scrape()("modelyard_replay_requests_total") == replayed
    stage.lease()
    eventually(lambda: stage.scrape()("modelyard_replay_requests_total") == replayed + 3, "goes on")


def test_another_version_at_the_address_is_not_compared(stage: Stage) -> None:
    """And with another reference, counting begins anew: last, for the others count changes."""
    stage.lease(version="2")
    eventually(lambda: stage.scrape()("modelyard_replay_fetch_errors_total") > 0, "noticed")
    found = stage.scrape()
    assert found.labels("modelyard_replay_info") == [{"reference_version": "2"}]
    assert found("modelyard_replay_requests_total") == 0
    stage.lease(seconds=0, version="2")


def test_positions_outlive_a_change_of_processes_at_an_address() -> None:
    positions, address = Positions(), Address("10.0.0.1", 8080)
    assert not positions.learn(address, "a")
    assert [positions.take("a", seq) for seq in (1, 2, 2, 1)] == [True, True, False, False]
    assert positions.after(address) == 2
    assert not positions.learn(address, "b")
    assert positions.after(address) == 0
    assert positions.learn(address, "a")
    assert positions.after(address) == 2


@pytest.fixture
def hostile() -> Iterator[Callable[[bytes], Address]]:
    """Answer → the address where it is given to any request, as it stands."""
    servers: list[ThreadingHTTPServer] = []

    def serve(answer: bytes) -> Address:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.wfile.write(answer)
                self.close_connection = True

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return Address("127.0.0.1", servers[-1].server_address[1])

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x00\xff\r\n\r\n",
        b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        OK + b"X: " + b"x" * 100_000 + b"\r\n\r\n",
        OK + b"X: x\r\n" * 1000 + b"\r\n",
        OK + b"Content-Length: 10\r\n\r\nshort",
        OK + b"Content-Length: x\r\n\r\n{}",
        OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        OK + b"\r\nno json",
        OK + b"\r\n" + b" " * (4 * 1024 * 1024 + 1),
        OK + b"\r\n" + json.dumps({"instance": "a", "version": "3", "requests": [{}]}).encode(),
    ],
    ids=range(12),
)
def test_whatever_a_reference_sends_is_an_error_of_its_own(answer: bytes, hostile: Callable[[bytes], Address]) -> None:
    with pytest.raises(FetchError):
        fetch(hostile(answer), 0, TOKEN)


def test_a_reference_that_trickles_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelyard_serving.reference.DEADLINE", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def trickle() -> None:
            connection, _ = listener.accept()
            with connection:
                try:
                    while True:
                        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                        time.sleep(0.05)
                except OSError:
                    pass

        thread = threading.Thread(target=trickle, daemon=True)
        thread.start()
        begin = time.monotonic()
        with pytest.raises(FetchError):
            fetch(Address("127.0.0.1", listener.getsockname()[1]), 0, TOKEN)
        assert time.monotonic() - begin < SECONDS / 4
        thread.join(SECONDS)


def test_an_instance_is_told_from_others() -> None:
    assert Recent(1).instance != Recent(1).instance
