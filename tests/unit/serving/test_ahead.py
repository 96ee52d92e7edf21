"""What a start has begun and imported before its model is there."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from modelyard_serving import ahead
from modelyard_serving.web.asgi import Later

HEAVY = (
    "pandas",
    "sklearn",
    "scipy",
    "fastapi",
    "pydantic",
    "boto3",
    "botocore",
    "onnxruntime",
    "grpc",
    "opentelemetry",
)


@pytest.mark.parametrize(
    "module", ["modelyard_serving.ahead", "modelyard_serving.server", "modelyard_serving.nodecache.server"]
)
def test_what_every_start_imports_is_light(module: str) -> None:
    program = f"import sys, {module}; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize(
    ("text", "modules"),
    [
        ("flavors: {python_function: {}, sklearn: {}}", ["pandas", "sklearn.base"]),
        ("flavors: {python_function: {}, onnx: {}}", ["onnxruntime"]),
        ("flavors: {os: {}}", []),
        ("flavors: [", []),
        ("- 1", []),
    ],
)
def test_a_file_that_is_not_verified_yet_gives_no_more_than_a_hint(
    text: str, modules: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported: list[str] = []
    monkeypatch.setattr("importlib.import_module", imported.append)
    (tmp_path / "MLmodel").write_text(text)
    ahead._import_for(tmp_path / "MLmodel")
    assert imported == modules


async def test_what_is_made_later_is_made_once() -> None:
    made: list[threading.Thread] = []
    asked: list[str] = []

    async def app(scope: object, receive: object, send: object) -> None:
        asked.append("app")

    def build() -> object:
        made.append(threading.current_thread())
        return app

    later = Later(build)  # type: ignore[arg-type]
    for _ in range(2):
        await later({}, None, None)  # type: ignore[arg-type]
    assert later.make() is app
    assert (len(made), asked) == (1, ["app", "app"])
    assert made[0] is not threading.main_thread()
