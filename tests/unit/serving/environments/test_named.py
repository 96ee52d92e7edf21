"""Which modules a model's files name, and which requirements matter for it."""

from __future__ import annotations

import pickle
import sys
import types
from collections import Counter
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
import skops.io
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from modelyard_serving import mlmodel
from modelyard_serving.environments.named import missing_modules, named_modules
from modelyard_serving.environments.requirements import differences

PIPELINE = make_pipeline(StandardScaler(), LinearRegression()).fit(np.eye(3), [1, 2, 3])
MLMODEL = mlmodel.parse({"flavors": {"python_function": {"loader_module": "mlflow.sklearn"}, "sklearn": {}}})


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> type:
    """A class of a module that will not be there when its pickle is loaded."""
    module = types.ModuleType("encoders_of_old")
    made = type("Encoder", (), {"__module__": module.__name__})
    module.Encoder = made  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return made


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    ("value", "names"),
    [
        (PIPELINE, {"sklearn", "numpy"}),
        (
            [Counter("ab"), Counter("cd"), Path, PIPELINE.steps[0][1], Path],
            {"collections", "pathlib", "sklearn", "numpy"},
        ),
        ({"a": "collections OrderedDict"}, set()),
    ],
)
def test_every_module_of_a_pickle_is_found(value: Any, names: set[str], protocol: int, tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(value, protocol))
    found = named_modules(tmp_path)
    assert found is not None
    assert found - {"builtins", "__builtin__", "copy_reg", "copyreg", "_codecs", "__main__"} == names


def test_a_skops_file_names_its_modules(tmp_path: Path) -> None:
    skops.io.dump(PIPELINE, tmp_path / "model.skops")
    assert {"sklearn", "numpy"} <= (named_modules(tmp_path) or set())


def test_code_in_a_pickle_may_import_anything(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(cloudpickle.dumps(lambda rows: rows))
    assert named_modules(tmp_path) is None


@pytest.mark.parametrize("content", [b"", b"no pickle", pickle.dumps(PIPELINE)[:50]])
def test_a_broken_file_names_what_can_be_read(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(content)
    (tmp_path / "model.skops").write_bytes(content)
    assert (named_modules(tmp_path) or frozenset()) <= {"sklearn"}


def test_what_comes_with_the_model_is_not_missing(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "ours.py").touch()
    assert missing_modules(frozenset({"numpy", "ours", "theirs"}), tmp_path) == ["theirs"]


PROJECT = "scikit-learn\npytest-of-nowhere==9\nuvicorn==0.1\n"
"""What MLflow writes down where it finds a project's lock file."""


def needed(directory: Path, requirements: str) -> list[str]:
    (directory / "requirements.txt").write_text(requirements)
    return [each.requirement for each in differences(directory, MLMODEL) if each.needed]


def test_packages_that_the_model_does_not_import_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(PIPELINE))
    assert needed(tmp_path, PROJECT) == []


def test_of_what_it_imports_another_version_matters(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(PIPELINE))
    assert needed(tmp_path, PROJECT + "scikit-learn==0.24.2\n") == ["scikit-learn==0.24.2"]


def test_with_a_module_missing_any_missing_package_may_be_the_one(tmp_path: Path, absent: type) -> None:
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(absent()))
    del sys.modules[absent.__module__]
    assert needed(tmp_path, PROJECT) == ["pytest-of-nowhere==9"]
