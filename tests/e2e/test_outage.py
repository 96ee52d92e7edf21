"""The API server, the operator and the tracking server are killed while clients register and promote."""

# mypy: allow-untyped-calls

from __future__ import annotations

import os
import signal
import subprocess
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from modelyard.api.names import object_name
from modelyard.cli.chain import StoredRecord, check
from modelyard.registry.registry import Registry
from tests.e2e.api_server import NAMESPACE, ApiServer, run_api_server
from tests.e2e.operator_process import kill, run_operator
from tests.e2e.processes import START_SECONDS, wait_until
from tests.e2e.registry_fixtures import Cluster, Minio, minio, now, run_tracking

__all__ = ["minio"]

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(600)]

ROUNDS = 2
CLIENTS = 3


def processes_with(text: str) -> dict[int, list[str]]:
    """Return the running processes that have a text in their command line: process ids and commands."""
    found = {}
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            try:
                command = (directory / "cmdline").read_bytes().decode().split("\0")[:-1]
            except OSError:
                continue
            if text in " ".join(command):
                found[int(directory.name)] = command
    return found


@contextmanager
def killed(server: ApiServer, directory: Path) -> Iterator[None]:
    """Kill the API server at once, and start it again at the end of the block."""
    ((pid, command),) = processes_with(f"--cert-dir={directory / 'certs'}").items()
    os.kill(pid, signal.SIGKILL)
    wait_until("the API server's end", lambda: pid not in processes_with(f"--cert-dir={directory / 'certs'}"))
    yield
    with (directory / "again.log").open("ab") as log:
        subprocess.Popen(command, cwd=directory, stdout=log, stderr=log, start_new_session=True)
    wait_until("the API server", server.answers, START_SECONDS)


@dataclass
class Clients:
    """Clients that register versions, each with a tag of its own, whatever happens."""

    uri: str
    model: str
    source: str
    answered: dict[str, int] = field(default_factory=dict)
    """What was answered with a version's number, by tag."""
    refused: Counter[str] = field(default_factory=Counter)

    def register(self, enough: threading.Event) -> None:
        client = MlflowClient(self.uri)
        while not enough.is_set():
            tag = uuid.uuid4().hex
            try:
                made = client.create_model_version(self.model, self.source, tags={"attempt": tag}, await_creation_for=0)
            except MlflowException as error:
                self.refused[error.error_code] += 1
            else:
                self.answered[tag] = int(made.version)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """They register for as long as the block lasts."""
        enough = threading.Event()
        threads = [threading.Thread(target=self.register, args=(enough,)) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            enough.set()
        for thread in threads:
            thread.join(timeout=240)
            assert not thread.is_alive()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "api-server"
    made.mkdir()
    return made


def test_nothing_is_lost_and_nothing_comes_twice(
    minio: Minio, directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The client itself repeats what was not answered, which would be another registration.
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    (tmp_path / "tracking").mkdir()
    with ExitStack() as stack:
        server = stack.enter_context(run_api_server(directory))
        stack.callback(end, f"--cert-dir={directory / 'certs'}")
        cluster = Cluster(server, minio)
        uri = stack.enter_context(run_tracking(cluster, tmp_path / "tracking", f"modelyard://{NAMESPACE}"))
        name = f"Outage {uuid.uuid4().hex[:6]}"
        clients = Clients(uri, name, cluster.put_model("outage"))
        MlflowClient(uri).create_registered_model(name)
        registry = Registry(cluster.client, cluster.store, now)
        for turn in range(ROUNDS):
            before = latest(registry, name)
            with run_operator(cluster, tmp_path / f"operator-{turn}") as operator, clients.at_work():
                wait_for_versions(registry, name, before + 2)
                wanted = latest(registry, name)
                cluster.patch(object_name(name), {"stages": {"production": wanted}})
                with killed(server, directory):
                    kill(operator)
            with run_operator(cluster, tmp_path / f"operator-{turn}-again"):
                wait_until("the promotion", partial(holds, cluster, name, wanted), 120)
        check_log(cluster, name, clients)


def latest(registry: Registry, name: str) -> int:
    return registry.read(NAMESPACE, name)[1].latest_version


def wait_for_versions(registry: Registry, name: str, count: int) -> None:
    wait_until(f"{count} versions", lambda: latest(registry, name) >= count, 120)


def holds(cluster: Cluster, name: str, version: int) -> bool:
    held = cluster.model(object_name(name)).status.stages.get("production")
    return held is not None and held.version == version


def check_log(cluster: Cluster, name: str, clients: Clients) -> None:
    """The log is whole; what was answered is in it under that number, and no attempt is in it twice."""
    registry = Registry(cluster.client, cluster.store, now)
    model, state = registry.read(NAMESPACE, name)
    raw = registry.ledger(NAMESPACE, object_name(name)).raw(0, 100_000)
    check([StoredRecord(number, data) for number, (_, data) in enumerate(raw, start=1)], model.status.records)
    tags = Counter(version.tags["attempt"] for version in state.shown)
    assert max(tags.values()) == 1
    by_tag = {version.tags["attempt"]: version.version for version in state.shown}
    assert {tag: by_tag.get(tag) for tag in clients.answered} == clients.answered
    assert len(set(by_tag.values())) == len(by_tag) == state.latest_version
    assert clients.refused.total() > 0, "no client met an outage"
    assert clients.answered.keys() <= by_tag.keys()
    assert len(by_tag) <= len(clients.answered) + clients.refused.total()


def end(text: str) -> None:
    """End what the test itself has started again."""
    for pid in processes_with(text):
        os.kill(pid, signal.SIGTERM)


def test_the_tracking_server_killed_at_any_moment_loses_and_doubles_nothing(
    minio: Minio, directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with ExitStack() as stack:
        cluster = Cluster(stack.enter_context(run_api_server(directory)), minio)
        name = f"killed-{uuid.uuid4().hex[:6]}"
        source = cluster.put_model("killed")
        cluster.registry.ensure_model(NAMESPACE, name, "test")
        every: list[Clients] = []
        for turn in range(ROUNDS):
            (tmp_path / f"tracking-{turn}").mkdir()
            with run_tracking(cluster, tmp_path / f"tracking-{turn}", f"modelyard://{NAMESPACE}") as uri:
                clients = Clients(uri, name, source)
                every.append(clients)
                before = latest(cluster.registry, name)
                with clients.at_work():
                    wait_for_versions(cluster.registry, name, before + 3)
                    for pid in processes_with(f"127.0.0.1:{uri.rsplit(':', 1)[1]}"):
                        os.kill(pid, signal.SIGKILL)
                    # All of them may have been between two requests.
                    wait_until("a client that meets it", lambda clients=clients: clients.refused.total() > 0)  # type: ignore[misc]
        cluster.new_reconciler()(NAMESPACE, name)
        together = Clients("", name, source)
        for clients in every:
            together.answered |= clients.answered
            together.refused += clients.refused
        check_log(cluster, name, together)
