"""`mlflow run --backend modelyard` on the cluster, as a user types it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from dulwich import porcelain
from mlflow import MlflowClient

from examples.demo.kubectl import Kubectl
from examples.demo.steps import Demo
from tests.e2e.bell import Bell
from tests.e2e.trials_fixtures import own_bell

__all__ = ["own_bell"]

Json = dict[str, Any]

pytestmark = pytest.mark.timeout(900)

MLPROJECT = """\
name: {name}
entry_points:
  train:
    parameters:
      answer: float
      fail: {{type: int, default: 0}}
    command: "{command} {{answer}} {{fail}}"
"""

TRAIN = """\
import sys

import mlflow

answer, fail = float(sys.argv[1]), int(sys.argv[2])
print("training for", answer, flush=True)
if fail:
    sys.exit("this run was told to fail")
with mlflow.start_run():
    mlflow.log_metric("score", answer)
"""

# Goes on once the test lets it.
WAIT = """\
import time
import urllib.request

while True:
    try:
        urllib.request.urlopen("{url}/go?run=any", timeout=10)
        break
    except OSError:
        time.sleep(0.3)
"""

# It is executable, and it is not beside the MLproject file.
SCRIPT = '#!/bin/sh\nexec python "$(dirname "$0")/../src/train.py" "$@"\n'


@pytest.fixture
def name(kubectl: Kubectl) -> Iterator[str]:
    """A project's name; what was made for it is removed."""
    made = f"run-{uuid.uuid4().hex[:8]}"
    yield made
    listed = json.loads(kubectl("get", "experiments", "-o", "json", "-l", "app.kubernetes.io/managed-by=mlflow-run"))
    for body in listed["items"]:
        if body["spec"]["experimentName"] == made:
            kubectl("delete", "experiment", body["metadata"]["name"], "--ignore-not-found")


@pytest.fixture
def flat(tmp_path: Path, name: str) -> Path:
    directory = tmp_path / "flat"
    directory.mkdir()
    (directory / "MLproject").write_text(MLPROJECT.format(name=name, command="python train.py"))
    (directory / "train.py").write_text(TRAIN)
    return directory


@pytest.fixture
def nested(tmp_path: Path, name: str) -> Path:
    directory = tmp_path / "nested"
    for path in ("src", "bin"):
        (directory / path).mkdir(parents=True)
    (directory / "MLproject").write_text(MLPROJECT.format(name=name, command="bin/train"))
    (directory / "src" / "train.py").write_text(TRAIN)
    (directory / "bin" / "train").write_text(SCRIPT)
    (directory / "bin" / "train").chmod(0o755)
    return directory


def command(installation: Demo, project: Path, *options: str, config: Json | None = None) -> tuple[list[str], Json]:
    mlflow = str(Path(sys.executable).parent / "mlflow")
    settings = json.dumps({"namespace": installation.kubectl.namespace, **(config or {})})
    arguments = [mlflow, "run", str(project), "--backend", "modelyard", "--backend-config", settings, "-e", "train"]
    return [*arguments, *options], {**os.environ, "MLFLOW_TRACKING_URI": installation.tracking_uri}


def run(
    installation: Demo, project: Path, *options: str, config: Json | None = None
) -> subprocess.CompletedProcess[str]:
    arguments, environment = command(installation, project, *options, config=config)
    return subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False, timeout=600)


def experiments(kubectl: Kubectl, name: str) -> list[Json]:
    listed = json.loads(kubectl("get", "experiments", "-o", "json", "-l", "app.kubernetes.io/managed-by=mlflow-run"))
    return [body for body in listed["items"] if body["spec"]["experimentName"] == name]


def test_a_flat_directory_runs_from_a_config_map(installation: Demo, kubectl: Kubectl, flat: Path, name: str) -> None:
    porcelain.init(str(flat))
    porcelain.add(str(flat), [str(flat / "MLproject"), str(flat / "train.py")])
    commit = porcelain.commit(str(flat), message=b"Train", author=b"A <a@x.org>", committer=b"A <a@x.org>").decode()
    done = run(installation, flat, "-P", "answer=42", "--run-name", "first")
    assert done.returncode == 0, done.stderr
    assert "training for 42.0" in done.stdout.splitlines()
    assert "Completed" in done.stderr
    (body,) = experiments(kubectl, name)
    held = kubectl.get("configmap", body["spec"]["project"]["configMap"]["name"])
    assert held is not None
    assert held["metadata"]["ownerReferences"][0]["uid"] == body["metadata"]["uid"]
    (found,) = MlflowClient(installation.tracking_uri).search_runs([body["status"]["experimentId"]])
    assert f"/runs/{found.info.run_id}" in done.stderr
    assert (found.info.status, found.info.run_name, found.data.metrics) == ("FINISHED", "first", {"score": 42.0})
    assert found.data.tags["mlflow.source.git.commit"] == commit
    assert found.data.tags["mlflow.project.backend"] == "modelyard"

    (flat / "train.py").write_text("changed")
    refused = run(installation, flat, "-P", "answer=42")
    assert refused.returncode == 1
    assert "differs from commit" in refused.stderr
    assert len(experiments(kubectl, name)) == 1


def test_directories_and_executables_go_through_the_tracking_server(
    installation: Demo, kubectl: Kubectl, nested: Path, name: str
) -> None:
    sweep = {"parameters": {"answer": {"values": ["1.0", "3.0", "2.0"]}}, "parallelism": 3}
    done = run(installation, nested, config={"sweep": sweep, "objective": {"metric": "score"}})
    assert done.returncode == 0, done.stderr
    (body,) = experiments(kubectl, name)
    assert set(body["spec"]["project"]) == {"run"}
    assert sorted(line for line in done.stdout.splitlines() if "training for" in line) == [
        "[0] training for 1.0",
        "[1] training for 3.0",
        "[2] training for 2.0",
    ]
    assert "score 3.0" in done.stderr
    assert f"/runs/{body['status']['parentRunId']}" in done.stderr


def test_a_failure_is_the_exit_code(installation: Demo, kubectl: Kubectl, flat: Path, name: str) -> None:
    done = run(installation, flat, "-P", "answer=1", "-P", "fail=1")
    assert done.returncode == 1
    assert "TrialsFailed" in done.stderr
    assert "this run was told to fail" in done.stdout + done.stderr


@contextmanager
def interruptible() -> Iterator[None]:
    """What is started here can be interrupted: a shell has what it runs in the background ignore SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def test_who_stops_waiting_leaves_it_running(
    installation: Demo, kubectl: Kubectl, flat: Path, name: str, own_bell: Bell
) -> None:
    (flat / "train.py").write_text(TRAIN.replace("if fail:", f"{WAIT.format(url=own_bell.url)}if fail:"))
    arguments, environment = command(installation, flat, "-P", "answer=7")
    with (
        interruptible(),
        subprocess.Popen(
            arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process,
    ):
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "training for 7.0\n"
        process.send_signal(signal.SIGINT)
        assert "goes on in the cluster" in process.stderr.read()
        assert process.wait(60) == 1
    own_bell.release()
    (body,) = experiments(kubectl, name)
    kubectl.wait_for(
        "experiment",
        body["metadata"]["name"],
        lambda body: any(
            each["type"] == "Succeeded" and each["status"] == "True" for each in body["status"]["conditions"]
        ),
        300,
    )
