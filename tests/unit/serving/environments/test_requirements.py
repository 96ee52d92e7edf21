from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from modelyard_serving import mlmodel
from modelyard_serving.environments.code import holds_code
from modelyard_serving.environments.files import Requirements, parse
from modelyard_serving.environments.requirements import Difference, compare, differences

IMAGE = {
    "scikit-learn": "1.9.1",
    "numpy": "2.4.6",
    "pandas": "2.3.3",
    "xgboost-cpu": "3.2.0",
    "mlflow-skinny": "3.17.2",
    "skops": "0.16.0",
    "small": "0.4.2",
}
SKLEARN = mlmodel.parse({"flavors": {"python_function": {"loader_module": "mlflow.sklearn"}, "sklearn": {}}})
PYFUNC = mlmodel.parse({"flavors": {"python_function": {"loader_module": "mlflow.pyfunc.model"}}})


def compared(text: str, mlflow: bool = False) -> list[Difference]:
    return list(compare(Requirements(parse(text)), mlflow, IMAGE.get))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "numpy",
        "numpy>=2,<3",
        "numpy==2.4.6",
        "Scikit_Learn==1.9.1",
        "xgboost==3.2.0",
        "scikit-learn==1.9.*",
        "absent==1 ; python_version < '3'",
        "absent==1 ; sys_platform == 'win32'",
        "mlflow==3.17.2",
    ],
)
def test_what_is_met(text: str) -> None:
    assert compared(text) == []


@pytest.mark.parametrize(
    ("text", "installed", "needed"),
    [
        # What they store changes with the minor version.
        ("scikit-learn==1.9.0", "1.9.1", False),
        ("scikit-learn==1.5.2", "1.9.1", True),
        ("xgboost==3.2.1", "3.2.0", False),
        ("xgboost==3.1.0", "3.2.0", True),
        ("skops==0.13.0", "0.16.0", True),
        # These keep their word within a major version.
        ("numpy==2.1.0", "2.4.6", False),
        ("numpy==1.26.4", "2.4.6", True),
        ("pandas==2.1.4", "2.3.3", False),
        # Before 1.0 the minor version is what counts.
        ("small==0.4.0", "0.4.2", False),
        ("small==0.3.9", "0.4.2", True),
        # Who gives a range means it.
        ("numpy<2.4", "2.4.6", True),
        ("scikit-learn~=1.8.0", "1.9.1", True),
        ("numpy==2.1.0,<3", "2.4.6", True),
        ("numpy!=2.4.6", "2.4.6", True),
        ("absent", None, True),
        ("absent==1.0", None, True),
        ("numpy @ https://x.test/numpy.zip", "2.4.6", True),
        ("./wheels/thing", None, True),
        ("wheels/numpy-1.26.4-py3-none-any.whl", "2.4.6", True),
    ],
)
def test_what_differs_and_whether_it_matters(text: str, installed: str | None, needed: bool) -> None:
    (found,) = compared(text)
    assert (found.requirement, found.installed, found.needed) == (text, installed, needed)
    assert found.text == f"{text}, the image has {installed or 'none'}"


@pytest.mark.parametrize(("text", "needed"), [("mlflow==2.22.0", True), ("mlflow==3.4.0", False)])
def test_mlflow_matters_to_models_that_it_loads(text: str, needed: bool) -> None:
    assert [each.needed for each in compared(text, mlflow=True)] == [needed]
    assert [each.needed for each in compared(text, mlflow=False)] == [False]


def pickled(path: Path, value: Any) -> None:
    path.write_bytes(cloudpickle.dumps(value))


def test_another_python_matters_to_code_that_was_pickled(tmp_path: Path) -> None:
    (tmp_path / "python_env.yaml").write_text("python: 3.9.1\n")
    pickled(tmp_path / "model.pkl", {"weights": [1.0] * 1000})
    assert differences(tmp_path, SKLEARN) == []
    pickled(tmp_path / "model.pkl", {"padding": b"x" * (1 << 20), "function": lambda rows: rows})
    (found,) = differences(tmp_path, SKLEARN)
    assert (found.needed, found.curable) == (True, False)
    assert found.text == f"python==3.9 for code that was pickled with it, the image has {platform.python_version()}"


def test_the_same_minor_version_of_python_is_the_same_python(tmp_path: Path) -> None:
    minor = ".".join(platform.python_version().split(".")[:2])
    (tmp_path / "python_env.yaml").write_text(f"python: {minor}.99\n")
    pickled(tmp_path / "python_model.pkl", lambda rows: rows)
    assert differences(tmp_path, PYFUNC) == []


def test_code_is_found_wherever_it_lies_in_a_pickle(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(b"x" * ((1 << 20) - 5) + b"_make_function" + b"x")
    assert holds_code(tmp_path)
    (tmp_path / "model.pkl").write_bytes(b"_make" + b"x" * (1 << 20) + b"_function")
    assert not holds_code(tmp_path)


def test_compares_with_what_this_process_has(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("numpy\nno-such-package==1.0\nmlflow==1.0\n")
    found = {each.requirement: (each.installed is None, each.needed) for each in differences(tmp_path, SKLEARN)}
    assert found == {"no-such-package==1.0": (True, True), "mlflow==1.0": (False, False)}
