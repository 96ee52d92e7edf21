from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pandas as pd
import pytest

from modelyard_serving.errors import Reason, StartupError
from tests.unit.serving.flavors.saved import FEATURES, mlflow, mlflows, ours, quiet, same

cloudpickle.register_pickle_by_value(sys.modules[__name__])


with quiet():  # MLflow would rather have type hints

    class Times(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]
        """Multiplies by an artifact and a parameter."""

        def load_context(self, context: Any) -> None:
            self.factor = float(Path(context.artifacts["factor"]).read_text())

        def predict(self, _, model_input, params=None):  # type: ignore[no-untyped-def]
            return model_input["a"].to_numpy() * self.factor * (params or {}).get("times", 1)


def doubled(model_input: list[str]) -> list[str]:
    return [text * 2 for text in model_input]


FROM_CODE = """
import mlflow
from shipped_with_the_pyfunc import TEN


class FromCode(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input):
        return [TEN] * len(model_input)


mlflow.models.set_model(FromCode())
"""


def save(path: Path, **options: Any) -> Path:
    with quiet():
        mlflow.pyfunc.save_model(path, pip_requirements=[], **options)
    return path


@pytest.fixture
def times(tmp_path: Path) -> Path:
    (tmp_path / "factor.txt").write_text("2.5")
    with quiet():
        signature = mlflow.models.infer_signature(FEATURES, params={"times": 1.0})
    return save(
        tmp_path / "model",
        python_model=Times(),
        artifacts={"factor": str(tmp_path / "factor.txt")},
        signature=signature,
    )


@pytest.mark.parametrize("params", [None, {"times": 3.0}])
def test_a_python_model_gets_its_artifacts_and_params(times: Path, params: dict[str, Any] | None) -> None:
    predictor = ours(times)
    assert same(predictor.predict(FEATURES, params), mlflows(times, FEATURES, params))
    assert list(predictor.methods) == ["predict"]
    assert not predictor.batchable


def test_a_function_with_type_hints_gets_what_they_say(tmp_path: Path) -> None:
    directory = save(tmp_path / "model", python_model=doubled, input_example=["a"])
    assert ours(directory).predict(pd.DataFrame({0: ["a", "b"]}), None) == ["aa", "bb"]


def test_a_model_from_code_finds_the_modules_logged_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "model.py").write_text(FROM_CODE)
    (tmp_path / "shipped_with_the_pyfunc.py").write_text("TEN = 10\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    code = [str(tmp_path / "shipped_with_the_pyfunc.py")]
    directory = save(tmp_path / "saved", python_model=str(tmp_path / "model.py"), code_paths=code)
    monkeypatch.delitem(sys.modules, "shipped_with_the_pyfunc", raising=False)
    sys.path.remove(str(tmp_path))
    assert ours(directory).predict(FEATURES.head(2), None) == [10, 10]


def test_no_server_is_asked(times: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("a connection was made")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking.invalid:5000")
    assert np.asarray(ours(times).predict(FEATURES, None)).shape == (60,)


def test_nothing_is_said_while_it_is_loaded_and_predicts(times: Path, tmp_path: Path) -> None:
    program = (
        "import sys, pathlib, pandas; from modelyard_serving import flavors, logs, mlmodel; logs.configure();"
        "path = pathlib.Path(sys.argv[1]); model = mlmodel.read(path);"
        "flavors.choose(model)[1](path, model).predict(pandas.DataFrame({c: [1.0] for c in 'abcd'}), {'times': 2.0})"
    )
    said = subprocess.run(
        [sys.executable, "-c", program, str(times)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        cwd=tmp_path,
    )
    assert (said.stdout, said.stderr) == ("", "")


def test_names_the_module_that_is_missing(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "MLmodel").write_text(
        "flavors: {python_function: {loader_module: nowhere_at_all.flavor}}\nmodel_uuid: '1'\n"
    )
    with pytest.raises(StartupError) as raised:
        ours(tmp_path / "model")
    assert raised.value.reason is Reason.MISSING_DEPENDENCY
    assert "'nowhere_at_all'" in raised.value.message


@pytest.mark.parametrize("part", ["data", "code"])
def test_no_part_of_a_model_is_outside_its_directory(part: str, tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text(
        f"flavors: {{python_function: {{loader_module: mlflow.pyfunc.model, {part}: ../elsewhere}}}}\n"
    )
    with pytest.raises(StartupError, match="outside the model directory"):
        ours(tmp_path)
