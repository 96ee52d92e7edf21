"""Whether the check finds what is wrong with an ONNX model."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, helper, numpy_helper

from modelyard_serving.acceleration import accelerate, convert
from modelyard_serving.acceleration.accelerate import Acceleration, Limits, Outcome, verify
from modelyard_serving.acceleration.errors import NotConvertible
from modelyard_serving.acceleration.original import Original
from modelyard_serving.flavors.accelerated import Contract
from tests.unit.serving.acceleration import zoo

Sabotage = Callable[[ModelProto, Contract], Contract]
LIMITS = Limits(seconds=30, rows=3000)


def _verify(model: Original, data: Any, sabotage: Sabotage, monkeypatch: pytest.MonkeyPatch) -> Acceleration:
    def converted(original: Original, example: Any) -> tuple[ModelProto, Contract]:
        graph, contract = convert.convert(original, example)
        return graph, sabotage(graph, contract)

    monkeypatch.setattr(accelerate, "convert", converted)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return verify(model, zoo.columns(data), [], LIMITS, lambda _: None, {})


def _attribute(graph: ModelProto, name: str) -> Any:
    (node,) = [node for node in graph.graph.node if node.op_type == "TreeEnsemble"]
    return next(attribute for attribute in node.attribute if attribute.name == name)


def _change(graph: ModelProto, name: str, change: Callable[[Any], Any]) -> None:
    attribute = _attribute(graph, name)
    attribute.t.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(attribute.t).copy())))


def _one_threshold_by_one_bit(graph: ModelProto, contract: Contract) -> Contract:
    def change(splits: Any) -> Any:
        middle = len(splits) // 2  # Not the first: that is no tree where sums begin with a constant.
        splits[middle] = np.nextafter(splits[middle], splits.dtype.type(np.inf))
        return splits

    _change(graph, "nodes_splits", change)
    return contract


def _one_leaf(graph: ModelProto, contract: Contract) -> Contract:
    def change(weights: Any) -> Any:
        weights[3] *= 1 + 1e-12
        return weights

    _change(graph, "leaf_weights", change)
    return contract


def _not_less_but_at_most(graph: ModelProto, contract: Contract) -> Contract:
    _change(graph, "nodes_modes", lambda modes: 1 - modes)
    return contract


def _gaps_to_the_other_side(graph: ModelProto, contract: Contract) -> Contract:
    (node,) = [node for node in graph.graph.node if node.op_type == "TreeEnsemble"]
    kept = [each for each in node.attribute if each.name != "nodes_missing_value_tracks_true"]
    count = len(_attribute(graph, "nodes_featureids").ints)
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute("nodes_missing_value_tracks_true", [1] * count)])
    return contract


def _swapped_labels(graph: ModelProto, contract: Contract) -> Contract:
    output = contract.methods["predict"]
    assert output.labels is not None
    swapped = replace(output, labels=(output.labels[0][::-1],))
    return replace(contract, methods={**contract.methods, "predict": swapped})


def _other_slope(graph: ModelProto, contract: Contract) -> Contract:
    output = replace(contract.methods["predict_proba"], slope=1.001)
    return replace(contract, methods={**contract.methods, "predict_proba": output})


def _other_type(graph: ModelProto, contract: Contract) -> Contract:
    output = replace(contract.methods["predict"], dtype="int32")
    return replace(contract, methods={**contract.methods, "predict": output})


@pytest.mark.parametrize(
    ("name", "sabotage"),
    [
        ("decision tree", _one_threshold_by_one_bit),
        ("histogram boosting, regression", _one_threshold_by_one_bit),
        ("XGBoost, regression", _one_threshold_by_one_bit),
        ("LightGBM, regression", _one_threshold_by_one_bit),
        ("gradient boosting, regression", _one_leaf),
        ("XGBoost", _not_less_but_at_most),
        ("decision tree, regression", _not_less_but_at_most),
        ("XGBoost, gaps", _gaps_to_the_other_side),
        ("forest, whole numbers", _swapped_labels),
        ("gradient boosting", _other_slope),
        ("decision tree", _other_type),
    ],
)
def test_finds_the_sabotage(name: str, sabotage: Sabotage, monkeypatch: pytest.MonkeyPatch) -> None:
    animal = zoo.ZOO[name]

    result = _verify(zoo.original(animal.fitted(), animal.data), animal.data, sabotage, monkeypatch)

    assert result.outcome is Outcome.ANSWERS_DIFFER
    assert result.content is None
    first = result.evidence["counterexamples"][0]
    assert first["original"] != first["onnx"] or "reason" in first
    assert first["input"]


def test_a_converter_that_raises_is_a_model_that_is_not_converted(monkeypatch: pytest.MonkeyPatch) -> None:
    animal = zoo.ZOO["decision tree"]

    def broken(*_: object) -> Any:
        raise AttributeError("no attribute 'base_values'")

    monkeypatch.setattr(convert, "build", broken)
    with pytest.raises(NotConvertible, match="AttributeError: no attribute 'base_values'"):
        convert.convert(zoo.original(animal.fitted(), animal.data), zoo.columns(animal.data))


def test_too_few_rows_verify_nothing() -> None:
    animal = zoo.ZOO["decision tree"]
    model = zoo.original(animal.fitted(), animal.data)

    result = verify(model, zoo.columns(animal.data), [], Limits(seconds=0), lambda _: None, {})

    assert result.outcome is Outcome.FAILED
    assert "rows could be compared" in result.message
    assert result.content is None


def test_float32_in_the_graph_is_found_at_the_thresholds(monkeypatch: pytest.MonkeyPatch) -> None:
    """What skl2onnx does to a model in float64 when it is given float32 input."""

    def rounded(graph: ModelProto, contract: Contract) -> Contract:
        _change(graph, "nodes_splits", lambda splits: splits.astype(np.float32).astype(np.float64))
        return contract

    animal = zoo.ZOO["LightGBM, regression"]
    model = zoo.original(animal.fitted(), animal.data)

    assert _verify(model, animal.data, rounded, monkeypatch).outcome is Outcome.ANSWERS_DIFFER
