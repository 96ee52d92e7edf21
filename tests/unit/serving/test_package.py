from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest

from modelyard_serving import logs
from modelyard_serving.errors import Reason, StartupError


@pytest.mark.parametrize("module", ["mlflow", "modelyard"])
def test_the_server_stands_alone(module: str) -> None:
    loaded = f"import sys, modelyard_serving.server; print({module!r} in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert answer.stdout == "False\n"


def test_a_log_line_is_one_json_object() -> None:
    record = logging.LogRecord("modelyard_serving", logging.INFO, "", 0, "loaded", None, None)
    record.fields = {"files": 4, "path": "a\nb"}
    line = logs.JsonFormatter().format(record)
    assert "\n" not in line
    parsed = json.loads(line)
    assert parsed.pop("time").endswith("+00:00")
    assert parsed == {"level": "info", "event": "loaded", "files": 4, "path": "a\nb"}


def test_a_foreign_log_line_names_its_logger() -> None:
    record = logging.LogRecord("uvicorn.error", logging.WARNING, "", 0, "odd %s", ("request",), None)
    parsed = json.loads(logs.JsonFormatter().format(record))
    assert (parsed["logger"], parsed["event"]) == ("uvicorn.error", "odd request")


def test_a_mistake_that_repeats_is_logged_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Other tests of this process may have made all the mistakes that are logged.
    monkeypatch.setattr(logs, "_warned", set())
    for _ in range(3):
        logs.warn_once("test_repeated", detail="same")
    logs.warn_once("test_repeated", detail="other")
    assert [record.getMessage() for record in caplog.records] == ["test_repeated"] * 2


def test_the_reason_is_one_short_line() -> None:
    error = StartupError(Reason.LOAD_FAILED, "Traceback\n  in x\n" + "y" * 10_000)
    assert error.line.startswith("LoadFailed: Traceback in x yyy")
    assert "\n" not in error.line
    assert len(error.line.encode()) < 4096
