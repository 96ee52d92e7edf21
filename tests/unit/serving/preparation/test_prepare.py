"""A preparation from beginning to end: what is uploaded, in which order, and what it says."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from modelyard.decide.preparation import Evidence, read_evidence
from modelyard_serving.errors import Reason, StartupError
from modelyard_serving.preparation import accelerate as accelerating
from modelyard_serving.preparation.prepare import Preparation
from modelyard_serving.preparation.settings import Settings
from modelyard_serving.preparation.upload import Uploaded, put
from modelyard_serving.protocol.dialect import HttpRequest
from modelyard_serving.recent import Remembered
from tests.unit.serving.preparation.store import Store, running

DIGEST = "sha256:" + "3" * 64
DIFFERENCES = ["scikit-learn==1.5.2, the image has 1.9.1"]

# What stands for `python`: `-m module` and its options follow the program's own name.
PROGRAM = """
import json, os, pathlib, sys
options = dict(zip(sys.argv[3::2], sys.argv[4::2]))
output = pathlib.Path(options["--output"])
{body}
"""
VERIFIED = """
(output / "model.onnx").write_bytes(b"onnx")
recorded = json.loads(pathlib.Path(options["--recorded"]).read_text()) if "--recorded" in options else []
evidence = {"environment": dict(os.environ), "recorded": recorded}
(output / "acceleration.json").write_text(json.dumps({"outcome": "Verified", "message": "fine", "evidence": evidence}))
"""


def report(outcome: object) -> str:
    return f'(output / "acceleration.json").write_text(json.dumps({{"outcome": {outcome!r}, "message": "why"}}))'


@dataclass
class Steps:
    """The model lies there already; uploads are real."""

    directory: Path
    requests: Sequence[Remembered] = ()

    def fetch(self, settings: Settings) -> Path:  # noqa: ARG002
        return self.directory

    def recorded(self, url: str | None, token: str | None) -> Sequence[Remembered]:  # noqa: ARG002
        return self.requests

    def put(self, url: str, path: Path) -> Uploaded:
        return put(url, path)


@dataclass
class Built:
    python: Sequence[str]
    archive: Path


@dataclass
class Environments:
    """What is missing, and the interpreter that would be built."""

    python: Sequence[str] = ()
    missing: Sequence[str] = ()
    error: StartupError | None = None
    asked: list[float] = field(default_factory=list)

    def differences(self, model: Path) -> Sequence[str]:  # noqa: ARG002
        return self.missing

    def build(self, model: Path, directory: Path, seconds: float) -> Built:  # noqa: ARG002
        self.asked.append(seconds)
        if self.error:
            raise self.error
        directory.mkdir()
        (directory / "environment.tar.gz").write_bytes(b"archive")
        return Built(self.python, directory / "environment.tar.gz")


@pytest.fixture
def store() -> Iterator[Store]:
    with running() as found:
        yield found


def environment(store: Store, **changed: str) -> dict[str, str]:
    return {
        "PATH": "/usr/bin:/bin",
        "MODELYARD_MODEL_NAME": "churn",
        "MODELYARD_MODEL_VERSION": "3",
        "MODELYARD_MODEL_SOURCE": "s3://bucket/model",
        "MODELYARD_MODEL_DIGEST": DIGEST,
        "MODELYARD_CONTROL_TOKEN": "x" * 64,
        "AWS_SECRET_ACCESS_KEY": "secret",
        "MODELYARD_PREPARATION_IMAGE": "serving:1",
        "MODELYARD_PREPARATION_SECONDS": "90",
        **{
            f"MODELYARD_PREPARATION_{part.upper()}_URL": f"{store.url}/{part}?signature"
            for part in ("evidence", "model", "environment")
        },
        **changed,
    }


def python(tmp_path: Path, body: str) -> list[str]:
    program = tmp_path / "python.py"
    program.write_text(PROGRAM.format(body=body))
    return [sys.executable, str(program)]


def prepared(
    store: Store, tmp_path: Path, body: str, environments: Environments, requests: Sequence[Remembered] = ()
) -> Evidence:
    """Prepare with an interpreter that does `body`, and read the evidence as the operator does."""
    env = environment(store)
    environments.python = python(tmp_path, body)
    if not environments.missing:
        # The image's own interpreter is this one: the same program stands for it.
        environments.missing = ["a module of the test's"]
    Preparation(Settings.from_env(env), Steps(tmp_path, requests), environments).run(env)
    return read_evidence(store.objects["/evidence"], DIGEST)


def said(store: Store) -> Mapping[str, Any]:
    document: dict[str, Any] = json.loads(store.objects["/evidence"])
    return document


def test_what_was_verified_is_uploaded_and_the_evidence_last(store: Store, tmp_path: Path) -> None:
    evidence = prepared(store, tmp_path, VERIFIED, Environments(missing=DIFFERENCES))
    assert store.order == ["/environment", "/model", "/evidence"]
    assert (store.objects["/model"], store.objects["/environment"]) == (b"onnx", b"archive")
    assert (evidence.acceleration.outcome, evidence.acceleration.message) == ("Verified", "fine")
    assert evidence.environment.needed
    assert evidence.environment.differences == DIFFERENCES
    assert {name: found.bytes for name, found in evidence.objects.items()} == {
        "model.onnx": 4,
        "environment.tar.gz": 7,
    }


def test_the_models_code_sees_neither_credentials_nor_urls(store: Store, tmp_path: Path) -> None:
    prepared(store, tmp_path, VERIFIED, Environments())
    seen = said(store)["acceleration"]["evidence"]["environment"]
    assert "MODELYARD_MODEL_NAME" in seen
    assert {name for name in seen if "AWS" in name or "TOKEN" in name or "PREPARATION" in name} == set()


def test_requests_of_mlflows_dialect_are_handed_on_each_once(store: Store, tmp_path: Path) -> None:
    request = HttpRequest(b'{"inputs": [[1]]}', {b"content-type": b"application/json"})
    requests = [
        Remembered(1, "mlflow", request, b"{}", 0.1),
        Remembered(2, "mlflow", request, b"{}", 0.1),
        Remembered(3, "v2", request, b"{}", 0.1),
    ]
    prepared(store, tmp_path, VERIFIED, Environments(), requests)
    assert said(store)["acceleration"]["evidence"]["recorded"] == [
        {"contentType": "application/json", "body": "eyJpbnB1dHMiOiBbWzFdXX0="}
    ]


@pytest.mark.parametrize(
    ("body", "outcome", "message"),
    [
        (report("AnswersDiffer"), "AnswersDiffer", "why"),
        (report("NotConvertible"), "NotConvertible", "why"),
        (report("Failed"), "Failed", "why"),
        (report("Verified"), "Failed", "calls a model verified that is not there"),
        (report("Perfect"), "Failed", "outcome 'Perfect'"),
        ('(output / "acceleration.json").write_text("[1]")', "Failed", "cannot be read"),
        ("os.kill(os.getpid(), 9)", "Failed", "was ended by signal 9"),
        ("sys.exit(3)", "Failed", "exit code 3"),
    ],
    ids=["differs", "not convertible", "failed", "no file", "no outcome", "no report", "crashes", "ends"],
)
def test_whatever_comes_of_the_conversion_is_told(
    store: Store, tmp_path: Path, body: str, outcome: str, message: str
) -> None:
    evidence = prepared(store, tmp_path, body, Environments())
    assert evidence.acceleration.outcome == outcome
    assert message in evidence.acceleration.message
    assert "/model" not in store.objects


def test_a_conversion_that_hangs_is_ended(tmp_path: Path) -> None:
    command = python(tmp_path, "import time; time.sleep(60)")
    done, file = accelerating.accelerate(command, tmp_path, tmp_path / "out", [], seconds=0.5, env={})
    assert (done.outcome, done.message, file) == ("Failed", "it did not end within 0 s", None)


def test_an_environment_that_cannot_be_built_is_told_and_nothing_is_converted(store: Store, tmp_path: Path) -> None:
    refused = Environments(missing=DIFFERENCES, error=StartupError(Reason.LOAD_FAILED, "no index answers"))
    evidence = prepared(store, tmp_path, VERIFIED, refused)
    assert (evidence.environment.needed, evidence.environment.archive) == (True, None)
    assert evidence.environment.error == "no index answers"
    assert evidence.acceleration.outcome == "Failed"
    assert store.order == ["/evidence"]
    (seconds,) = refused.asked
    assert 0 < seconds <= 30, "the Job's time without what uploading may take"


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"MODELYARD_PREPARATION_MODEL_URL": ""}, "MODELYARD_PREPARATION_MODEL_URL"),
        ({"MODELYARD_PREPARATION_EVIDENCE_URL": "file:///etc/passwd"}, "MODELYARD_PREPARATION_EVIDENCE_URL"),
        ({"MODELYARD_PREPARATION_SECONDS": "soon"}, "MODELYARD_PREPARATION_SECONDS"),
        ({"MODELYARD_MODEL_DIGEST": "md5:1"}, "MODELYARD_MODEL_DIGEST"),
    ],
)
def test_a_variable_that_cannot_be_used_is_named(store: Store, changed: dict[str, str], named: str) -> None:
    with pytest.raises(StartupError, match=f"ConfigInvalid: {named}"):
        Settings.from_env(environment(store, **changed))


def test_urls_are_not_shown(store: Store) -> None:
    assert "signature" not in repr(Settings.from_env(environment(store)))
