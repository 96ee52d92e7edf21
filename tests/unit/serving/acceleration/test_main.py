from __future__ import annotations

import base64
import hashlib
import json
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.ensemble import RandomForestClassifier

from modelyard_serving import mlmodel
from modelyard_serving.acceleration import accelerate
from modelyard_serving.acceleration.__main__ import main
from modelyard_serving.flavors.onnx import AcceleratedError, load_accelerated
from tests.unit.serving.acceleration import zoo

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import mlflow.sklearn
    from mlflow.models import ModelSignature, infer_signature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

DOUBLES = ModelSignature(inputs=Schema([ColSpec(DataType.double, str(name)) for name in zoo.NUMBERS]))


def _save(path: Path, estimator: Any, signature: Any = DOUBLES, **options: Any) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.sklearn.save_model(
            estimator, path, signature=signature, serialization_format="cloudpickle", pip_requirements=[], **options
        )
    return path


@pytest.fixture(scope="module")
def forest() -> Any:
    return RandomForestClassifier(**zoo.SMALL).fit(zoo.NUMBERS, zoo.WORDS)


def _report(output: Path) -> Mapping[str, Any]:
    report: Mapping[str, Any] = json.loads((output / "acceleration.json").read_text())
    return report


@pytest.fixture(autouse=True)
def _enough_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows end the comparison, not the time, in which a busy machine compares few."""
    monkeypatch.setattr(accelerate, "Limits", partial(accelerate.Limits, rows=6000))


def _run(model: Path, output: Path, *more: str, capture: Any = None) -> Mapping[str, Any]:
    assert main(["--model", str(model), "--output", str(output), "--seconds", "60", *more]) == 0
    return _report(output)


def test_a_verified_model_is_written_with_its_evidence(tmp_path: Path, forest: Any) -> None:
    signature = infer_signature(zoo.NUMBERS, forest.predict(zoo.NUMBERS))
    model = _save(tmp_path / "model", forest, signature, input_example=zoo.NUMBERS[:5])
    recorded = tmp_path / "recorded.json"
    body = json.dumps({"dataframe_split": zoo.NUMBERS[5:9].to_dict(orient="split")})
    bodies = {"application/json": body, "text/csv": zoo.NUMBERS[:3].to_csv(index=False), "application/xml": "<x/>"}
    requests = [
        {"contentType": kind, "body": base64.b64encode(text.encode()).decode()} for kind, text in bodies.items()
    ]
    recorded.write_text(json.dumps([*requests, {"contentType": "application/json", "body": "!"}]))

    report = _run(model, tmp_path / "out", "--recorded", str(recorded))

    content = (tmp_path / "out" / "model.onnx").read_bytes()
    evidence = report["evidence"]
    assert report["outcome"] == "Verified", report
    assert report["model"] == {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    assert evidence["rows"]["recorded"] == 7
    assert evidence["rows"]["example"] == 5
    assert evidence["methods"]["predict"]["identicalBits"]
    assert evidence["libraries"]["scikit-learn"]
    assert evidence["counterexamples"] == []
    assert 0 < evidence["oneRowMicroseconds"]["onnx"] < evidence["oneRowMicroseconds"]["original"]


def test_the_server_loads_what_was_written(tmp_path: Path, forest: Any) -> None:
    model = _save(tmp_path / "model", forest)
    _run(model, tmp_path / "out")

    served = load_accelerated(tmp_path / "out" / "model.onnx", mlmodel.read(model))

    assert served.runtime == "onnx"
    assert served.takes_tables
    assert served.batchable
    assert np.array_equal(served.predict(zoo.NUMBERS, None), forest.predict(zoo.NUMBERS))


def test_the_server_refuses_a_file_that_is_none_or_another_models(tmp_path: Path, forest: Any) -> None:
    model = _save(tmp_path / "model", forest)
    _run(model, tmp_path / "out")
    other = ModelSignature(inputs=Schema([ColSpec(DataType.double, name) for name in "wxyz"]))
    broken = tmp_path / "broken.onnx"
    broken.write_bytes((tmp_path / "out" / "model.onnx").read_bytes()[:500])

    with pytest.raises(AcceleratedError, match=r"broken\.onnx cannot be used"):
        load_accelerated(broken, mlmodel.read(model))
    another = mlmodel.read(_save(tmp_path / "another", forest, other))
    with pytest.raises(AcceleratedError, match="its columns are not"):
        load_accelerated(tmp_path / "out" / "model.onnx", another)


class Unknown(BaseEstimator):  # type: ignore[misc]
    """An estimator of someone's own."""

    def predict(self, data: pd.DataFrame) -> Any:
        return np.zeros(len(data))


def _with_params() -> ModelSignature:
    params = ParamSchema([ParamSpec("top", DataType.long, 3)])
    return ModelSignature(inputs=DOUBLES.inputs, params=params)


@pytest.mark.parametrize(
    ("estimator", "signature", "why"),
    [
        (Unknown(), DOUBLES, "Unknown"),
        (None, False, "it has no signature"),
        (None, _with_params(), "its signature has params"),
        (None, ModelSignature(inputs=Schema([ColSpec(DataType.datetime, "at")])), "DataType.datetime"),
        (None, ModelSignature(inputs=Schema([ColSpec(DataType.double, "z")])), "no input was found that it answers"),
    ],
)
def test_says_why_a_model_is_not_converted(
    estimator: Any, signature: Any, why: str, tmp_path: Path, forest: Any
) -> None:
    cloudpickle.register_pickle_by_value(__import__(__name__, fromlist=["Unknown"]))
    model = _save(tmp_path / "model", estimator or forest, signature)

    report = _run(model, tmp_path / "out")

    assert report["outcome"] == "NotConvertible"
    assert why in report["message"]
    assert report["model"] is None
    assert not (tmp_path / "out" / "model.onnx").exists()


def test_a_model_that_cannot_be_loaded_fails(tmp_path: Path, forest: Any) -> None:
    model = _save(tmp_path / "model", forest)
    (model / "model.pkl").write_bytes(b"no pickle")

    report = _run(model, tmp_path / "out")

    assert report["outcome"] == "Failed"
    assert "model.pkl" in report["message"]


def test_predict_may_be_another_function(tmp_path: Path, forest: Any) -> None:
    model = _save(tmp_path / "model", forest, pyfunc_predict_fn="predict_proba")
    _run(model, tmp_path / "out")

    served = load_accelerated(tmp_path / "out" / "model.onnx", mlmodel.read(model))

    assert served.predict(zoo.NUMBERS, None).tobytes() == forest.predict_proba(zoo.NUMBERS).tobytes()


def test_columns_may_be_missing_if_the_original_says_what_then(tmp_path: Path, forest: Any) -> None:
    optional: list[Any] = [ColSpec(DataType.double, str(name), required=name != "d") for name in zoo.NUMBERS]
    model = _save(tmp_path / "model", forest, ModelSignature(inputs=Schema(optional)))
    report = _run(model, tmp_path / "out")
    served = load_accelerated(tmp_path / "out" / "model.onnx", mlmodel.read(model))
    without = zoo.NUMBERS.drop(columns="d")

    assert report["evidence"]["rows"]["missing"] > 0
    with pytest.raises(ValueError, match="d") as expected:
        forest.predict(without)
    with pytest.raises(ValueError, match="d") as found:
        served.predict(without, None)
    assert str(found.value) == str(expected.value)


def test_an_array_is_input_as_well(tmp_path: Path) -> None:
    forest = RandomForestClassifier(**zoo.SMALL).fit(zoo.NUMBERS.to_numpy(), zoo.THREE)
    model = _save(tmp_path / "model", forest, infer_signature(zoo.NUMBERS.to_numpy()))
    report = _run(model, tmp_path / "out")
    served = load_accelerated(tmp_path / "out" / "model.onnx", mlmodel.read(model))

    assert report["outcome"] == "Verified"
    assert np.array_equal(served.predict(zoo.NUMBERS.to_numpy(), None), forest.predict(zoo.NUMBERS.to_numpy()))


def test_whole_numbers_beyond_all_floats_are_rounded_as_by_the_original(tmp_path: Path) -> None:
    data = pd.DataFrame({name: np.arange(2**62, 2**62 + 300 * 2**40, 2**40) for name in "ab"})
    forest = RandomForestClassifier(**zoo.SMALL).fit(data, zoo.THREE)
    longs = ModelSignature(inputs=Schema([ColSpec(DataType.long, str(name)) for name in data]))
    model = _save(tmp_path / "model", forest, longs, input_example=data[:9])

    report = _run(model, tmp_path / "out")

    assert report["outcome"] == "Verified", report
    served = load_accelerated(tmp_path / "out" / "model.onnx", mlmodel.read(model))
    beside = data + np.random.default_rng(0).integers(-(2**40), 2**40, data.shape)
    assert np.array_equal(served.predict(beside, None), forest.predict(beside))
