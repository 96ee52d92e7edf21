from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from modelyard_serving import mlmodel
from modelyard_serving.environments import building, wanted
from modelyard_serving.environments.building import DESCRIPTION, build, last_words, uv_environment
from modelyard_serving.environments.files import Requirements, parse
from modelyard_serving.errors import Reason, StartupError
from modelyard_serving.mlmodel import MLmodel


def model(flavor: str) -> MLmodel:
    return mlmodel.parse({"flavors": {"python_function": {"loader_module": f"mlflow.{flavor}"}, flavor: {}}})


CROSS = "\N{MULTIPLICATION SIGN}"
PYFUNC = mlmodel.parse({"flavors": {"python_function": {"loader_module": "mlflow.pyfunc.model"}}})


def lines(text: str, served: MLmodel) -> list[str]:
    return wanted.requirements_text(Requirements(parse(text)), served).splitlines()


def test_the_models_lines_go_before_the_servers() -> None:
    text = lines("scikit-learn==1.5.2\nmlflow==2.22.0\nuvicorn==0.30.0\n", model("sklearn"))
    assert text[:2] == ["scikit-learn==1.5.2", "uvicorn==0.30.0"]
    assert {"numpy", "pandas", "protobuf", "onnxruntime"} <= set(text[2:])
    assert any(each.startswith("fastapi>=") for each in text)
    assert not [each for each in text[2:] if each.startswith(("scikit-learn", "uvicorn", "uv>", "mlflow"))]


@pytest.mark.parametrize(
    ("served", "text", "present", "absent"),
    [
        (model("sklearn"), "", [], ["xgboost", "lightgbm", "mlflow"]),
        (model("xgboost"), "", ["xgboost-cpu"], ["lightgbm", "mlflow"]),
        (model("xgboost"), "xgboost==2.1.0", ["xgboost==2.1.0"], ["xgboost-cpu"]),
        (model("lightgbm"), "", ["lightgbm"], ["xgboost"]),
        (PYFUNC, "", ["mlflow-skinny"], ["xgboost"]),
        (PYFUNC, "mlflow==2.22.0", ["mlflow==2.22.0"], ["mlflow-skinny"]),
    ],
)
def test_each_flavors_library_is_there_for_its_models(
    served: MLmodel, text: str, present: list[str], absent: list[str]
) -> None:
    found = lines(text, served)
    for name in present:
        assert any(line.startswith(name) for line in found), name
    for name in absent:
        assert not any(line.startswith(name) for line in found), name


def test_the_key_is_that_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    wheel = tmp_path / "wheels" / "thing-1.0-py3-none-any.whl"
    wheel.write_bytes(b"one")
    text = "numpy==1.26.4\nwheels/thing-1.0-py3-none-any.whl\n"
    keys = [wanted.key(text, tmp_path), wanted.key(text, tmp_path), wanted.key("numpy==1.26.3\n", tmp_path)]
    wheel.write_bytes(b"two")
    keys.append(wanted.key(text, tmp_path))
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({}, {}),
        ({"UV_INDEX_URL": "a", "PIP_INDEX_URL": "b"}, {"UV_INDEX_URL": "a"}),
        ({"UV_DEFAULT_INDEX": "a", "PIP_EXTRA_INDEX_URL": "b"}, {"UV_DEFAULT_INDEX": "a"}),
        ({"PIP_INDEX_URL": "b", "PIP_EXTRA_INDEX_URL": "c"}, {"UV_DEFAULT_INDEX": "b", "UV_INDEX": "c"}),
        ({"PIP_CERT": "/ca.pem", "PIP_TRUSTED_HOST": "h"}, {"SSL_CERT_FILE": "/ca.pem", "UV_INSECURE_HOST": "h"}),
        ({"SSL_CERT_FILE": "/own.pem", "PIP_CERT": "/ca.pem"}, {"SSL_CERT_FILE": "/own.pem"}),
    ],
)
def test_uv_hears_of_pips_indexes_and_certificates(env: dict[str, str], expected: dict[str, str]) -> None:
    found = {name: value for name, value in uv_environment(env).items() if name.startswith(("UV_", "SSL_"))}
    assert found == {"UV_PYTHON_DOWNLOADS": "never", **expected}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([], ""),
        (["Resolved 3 packages", "  ", "done"], "done"),
        (
            ["Using", f"  {CROSS} No solution found when resolving:", "  ╰─▶ Because a was not", "      found"],
            "No solution found when resolving: Because a was not found",
        ),
        (["error: Failed to fetch: `https://user:secret@x.test/simple/`"], "error: Failed to fetch: `https://x.test/simple/`"),
        (["Traceback", "  File", "ImportError: no numpy"], "ImportError: no numpy"),
    ],
)  # fmt: skip
def test_one_line_says_why_it_failed(said: list[str], expected: str) -> None:
    assert last_words(said) == expected


def test_of_several_builders_one_builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock is the kernel's: it holds between threads as between processes."""
    installed: list[Path] = []
    everybody = threading.Barrier(3)

    def install(environment: Path, *_: object) -> None:
        installed.append(environment)
        time.sleep(0.3)  # so long that the others come upon the lock

    for name, stage in {"_install": install, "_try": lambda *_: None, "_compile": lambda *_: None}.items():
        monkeypatch.setattr(building, name, stage)
    (tmp_path / "model").mkdir()
    root = tmp_path / "environments"

    def ask(_: int) -> Path:
        everybody.wait(10)
        return build(tmp_path / "model", model("sklearn"), root, 30).path

    with ThreadPoolExecutor(3) as pool:
        paths = set(pool.map(ask, range(3)))
    assert len(installed) == len(paths) == 1
    assert (paths.pop() / DESCRIPTION).is_file()
    assert not list(root.glob(".building-*"))


def build_nothing(root: Path, key: str, end: float) -> None:
    with building._failing(), building._locked(root, key, end):
        pass


def test_nobody_waits_for_another_builder_beyond_their_time(tmp_path: Path) -> None:
    late = time.monotonic()
    with building._locked(tmp_path, "k", late), pytest.raises(StartupError) as raised:
        build_nothing(tmp_path, "k", late)
    assert raised.value.message == "another process is building it, for longer than it may take"


def test_what_a_killed_builder_left_is_cleared_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_install", "_try", "_compile"):
        monkeypatch.setattr(building, name, lambda *_: None)
    (tmp_path / "model").mkdir()
    root = tmp_path / "environments"
    key = build(tmp_path / "model", model("sklearn"), root).path.name
    (root / key / DESCRIPTION).unlink()
    (root / f".building-{key}-x").mkdir()
    assert (build(tmp_path / "model", model("sklearn"), root).path / DESCRIPTION).is_file()
    assert not list(root.glob(".building-*"))


@pytest.mark.parametrize(
    ("program", "seconds", "says"),
    [
        ("import time; time.sleep(60)", 0.5, "trying took longer than it may"),
        ("raise SystemExit('it broke')", 30, "trying failed: it broke"),
        ("raise SystemExit(3)", 30, "trying failed: exit code 3"),
    ],
)
def test_a_stage_ends_in_time_and_says_why_it_failed(program: str, seconds: float, says: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", program]
    with pytest.raises(StartupError) as raised, building._failing():
        list(building._run(command, time.monotonic() + seconds, tmp_path, {}, "trying"))
    assert raised.value.reason is Reason.ENVIRONMENT_FAILED
    assert raised.value.message == says
