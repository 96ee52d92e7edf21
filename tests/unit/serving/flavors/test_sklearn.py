from __future__ import annotations

import inspect
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from sklearn import __version__ as sklearn_version
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from modelyard_serving.errors import Reason, StartupError
from modelyard_serving.startup import load

PYFUNC = {"loader_module": "mlflow.sklearn", "model_path": "model.pkl", "predict_fn": "predict"}
SKLEARN = {"pickled_model": "model.pkl", "serialization_format": "pickle", "sklearn_version": sklearn_version}
ESTIMATOR = DummyClassifier(strategy="constant", constant="yes").fit([[0], [1]], ["yes", "no"])


def write(root: Path, sklearn: Any = None, pyfunc: Any = None, content: bytes | None = None, **flavors: Any) -> Path:
    """A model directory; None for the defaults of a flavor, False for its absence."""
    parts = {
        "sklearn": SKLEARN if sklearn is None else sklearn,
        "python_function": PYFUNC if pyfunc is None else pyfunc,
    }
    document = {"flavors": {name: conf for name, conf in {**parts, **flavors}.items() if conf is not False}}
    (root / "MLmodel").write_text(yaml.safe_dump(document))
    (root / "model.pkl").write_bytes(pickle.dumps(ESTIMATOR) if content is None else content)
    return root


def refused(directory: Path) -> StartupError:
    with pytest.raises(StartupError) as raised:
        load(directory)
    return raised.value


@pytest.mark.parametrize(
    ("name", "format_"),
    [("labels_text", "cloudpickle"), ("labels_int", "skops"), ("forest", "pickle"), ("regression", "skops")],
)
def test_loads_every_format_that_mlflow_saves(name: str, format_: str, saved_model: Callable[[str], Path]) -> None:
    model = load(saved_model(name))
    assert model.flavor == "sklearn"
    assert model.mlmodel.flavors["sklearn"]["serialization_format"] == format_


@pytest.mark.parametrize("conf", [{"pickled_model": "model.pkl", "sklearn_version": sklearn_version}, SKLEARN])
def test_pickle_is_the_format_of_old_models(conf: Any, tmp_path: Path) -> None:
    assert list(load(write(tmp_path, sklearn=conf)).predictor.predict([[0]], None)) == ["yes"]


@pytest.mark.parametrize("name", ["predict", "predict_proba", "score"])
def test_predicts_with_the_function_that_the_model_names(name: str, tmp_path: Path) -> None:
    model = load(write(tmp_path, pyfunc=PYFUNC | {"predict_fn": name}))
    assert model.predictor.predict.__name__ == name


@pytest.mark.parametrize("name", ["transform", "predict_joint_log_proba", "__class__", "fit"])
def test_refuses_other_functions(name: str, tmp_path: Path) -> None:
    error = refused(write(tmp_path, pyfunc=PYFUNC | {"predict_fn": name}))
    assert error.reason is Reason.LOAD_FAILED
    assert repr(name) in error.message


@pytest.mark.parametrize(
    ("sklearn", "content", "reason", "says"),
    [
        (SKLEARN | {"serialization_format": "dill"}, None, Reason.MODEL_INVALID, "dill"),
        (SKLEARN | {"pickled_model": "absent.pkl"}, None, Reason.MODEL_INVALID, "absent.pkl is missing"),
        (SKLEARN | {"pickled_model": "../model.pkl"}, None, Reason.MODEL_INVALID, "outside the model directory"),
        (SKLEARN | {"code": "../../etc"}, None, Reason.MODEL_INVALID, "outside the model directory"),
        (SKLEARN, b"no pickle", Reason.LOAD_FAILED, "UnpicklingError"),
        (SKLEARN, b"", Reason.LOAD_FAILED, "EOFError"),
        (SKLEARN, b"cnowhere_at_all\nThing\n.", Reason.MISSING_DEPENDENCY, "'nowhere_at_all'"),
        (SKLEARN, b"csklearn.dummy\nNoSuchClass\n.", Reason.LOAD_FAILED, "NoSuchClass"),
        (SKLEARN | {"serialization_format": "skops"}, b"no zip", Reason.LOAD_FAILED, "skops"),
    ],
)
def test_says_why_a_model_cannot_be_loaded(
    sklearn: Any, content: bytes | None, reason: Reason, says: str, tmp_path: Path
) -> None:
    error = refused(write(tmp_path, sklearn=sklearn, content=content))
    assert error.reason is reason
    assert says in error.message


def test_skops_loads_no_type_that_the_model_does_not_list(saved_model: Callable[[str], Path], tmp_path: Path) -> None:
    trusting = saved_model("regression")
    document = yaml.safe_load((trusting / "MLmodel").read_text())
    assert document["flavors"]["sklearn"].pop("skops_trusted_types")
    (tmp_path / "MLmodel").write_text(yaml.safe_dump(document))
    (tmp_path / "model.skops").write_bytes((trusting / "model.skops").read_bytes())
    error = refused(tmp_path)
    assert error.reason is Reason.LOAD_FAILED
    assert "UntrustedTypesFoundException" in error.message


def test_modules_logged_with_the_model_can_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "code").mkdir()
    source = "class Always:\n    def predict(self, data):\n        return ['always'] * len(data)\n"
    (tmp_path / "code" / "shipped_with_the_model.py").write_text(source)
    content = b"cshipped_with_the_model\nAlways\n)R."
    model = load(write(tmp_path, sklearn=SKLEARN | {"code": "code"}, content=content))
    assert model.predictor.predict([1, 2], None) == ["always", "always"]


def test_another_version_of_scikit_learn_is_worth_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    load(write(tmp_path, sklearn=SKLEARN | {"sklearn_version": "0.24.1"}))
    assert [record.getMessage() for record in caplog.records] == ["sklearn_version_differs"]


def test_no_estimator_starts_threads_of_its_own(tmp_path: Path) -> None:
    features, labels = [[0.0], [1.0], [2.0], [3.0]], [0, 1, 0, 1]
    forest = RandomForestClassifier(2, n_jobs=-1, random_state=0)
    search = GridSearchCV(make_pipeline(StandardScaler(), forest), {"randomforestclassifier__max_depth": [1]}, cv=2)
    content = pickle.dumps(search.fit(features, labels))
    predictor = load(write(tmp_path, content=content)).predictor
    served = inspect.unwrap(predictor.predict).__self__
    assert served.best_estimator_[-1].n_jobs == 1


def test_other_functions_of_the_estimator_are_there_on_request(tmp_path: Path) -> None:
    methods = load(write(tmp_path)).predictor.methods
    assert list(methods) == ["predict", "predict_proba", "predict_log_proba"]
    assert methods["predict_proba"]([[0]], None).tolist() == [[0.0, 1.0]]
