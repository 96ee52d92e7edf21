"""What skl2onnx converts: a pipeline's steps before the last, and estimators that this package has no graph for."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, compose, helper
from skl2onnx import convert_sklearn  # type: ignore[import-untyped]
from skl2onnx.common.data_types import DoubleTensorType, StringTensorType  # type: ignore[import-untyped]
from sklearn.impute import SimpleImputer

from modelyard_serving.acceleration import convert, imputer
from modelyard_serving.acceleration.errors import NotConvertible
from modelyard_serving.acceleration.heads import Part
from modelyard_serving.acceleration.original import Original
from modelyard_serving.flavors.accelerated import NUMBERS, TEXTS, Output

_TARGET = {"": convert.OPSET, "ai.onnx.ml": 3}
_OLD_TREES = frozenset({"TreeEnsembleClassifier", "TreeEnsembleRegressor"})


@dataclass(frozen=True)
class _Graph:
    nodes: list[NodeProto]
    constants: list[TensorProto]
    outputs: dict[str, int]
    opsets: dict[str, int]


def transform(
    steps: Sequence[tuple[str, Any]], original: Original, target: str
) -> tuple[list[NodeProto], list[TensorProto]]:
    """The steps as nodes that end in the float64 matrix `target`, and their constants."""
    from sklearn.pipeline import Pipeline  # noqa: PLC0415

    graph = _run(Pipeline(list(steps)), original, steps, {})
    if len(graph.outputs) != 1:
        raise NotConvertible(f"its preparation has {len(graph.outputs)} outputs")
    if any(node.op_type in _OLD_TREES for node in graph.nodes):
        raise NotConvertible("its preparation holds trees")
    # What is float32 in the graph was rounded, which comparing answers will tell.
    (source,) = graph.outputs
    last = helper.make_node("Cast", [source], [target], to=TensorProto.DOUBLE)
    return [*graph.nodes, last], graph.constants


def whole(
    estimator: Any, original: Original, dtypes: Mapping[str, np.dtype[Any]], first: Sequence[NodeProto]
) -> tuple[Part, dict[str, int]]:
    """The estimator as a whole, and the opsets that it needs."""
    before, final = convert._split(estimator)
    classes = getattr(final, "classes_", None)
    prepared = copy.deepcopy(estimator)
    options: dict[int, Any] = {}
    if classes is not None:
        if not isinstance(classes, np.ndarray):
            raise NotConvertible(f"{type(final).__name__} with several labels is not converted")
        last = convert._split(prepared)[1]
        # Positions instead of labels: ONNX knows integers and texts alone.
        last.classes_ = np.arange(len(classes))
        options[id(last)] = {"zipmap": False}
    graph = _run(prepared, original, before, options)
    names = list(graph.outputs)
    if classes is None:
        methods = {"predict": Output((names[0],), str(dtypes["predict"]), flat=True)}
    else:
        methods = {"predict": Output((names[0],), str(classes.dtype), flat=True, labels=(tuple(classes.tolist()),))}
        if "predict_proba" in dtypes and len(names) > 1:
            methods["predict_proba"] = Output((names[1],), str(dtypes["predict_proba"]))
    return Part([*first, *graph.nodes], graph.constants, graph.outputs, methods), graph.opsets


def _run(model: Any, original: Original, before: Sequence[Any], options: Mapping[int, Any]) -> _Graph:
    """The converted model, its names safe from those of the rest of the graph."""
    features = original.features
    if convert.takes_columns(features, before):
        types: list[tuple[str, Any]] = [
            (str(feature.name), (StringTensorType if feature.text else DoubleTensorType)([None, 1]))
            for feature in features
        ]
        names = {str(each.name): convert.column_name(position) for position, each in enumerate(features)}
    elif features[0].text:
        types, names = [(TEXTS, StringTensorType([None, len(features)]))], {}
    else:
        types, names = [(NUMBERS, DoubleTensorType([None, len(features)]))], {}
    names = {name: names.get(name, name) for name, _ in types}
    kept = {key: value for key, value in options.items() if value} or None
    converted: ModelProto = convert_sklearn(
        model,
        initial_types=types,
        target_opset=_TARGET,
        options=kept,
        custom_conversion_functions={SimpleImputer: imputer.convert},
        custom_shape_calculators={SimpleImputer: imputer.shape},
    )
    return _renamed(converted, names)


def _renamed(model: ModelProto, inputs: Mapping[str, str]) -> _Graph:
    prefixed = compose.add_prefix(model, "skl2onnx_")
    nodes = list(prefixed.graph.node)
    for node in nodes:
        for at, name in enumerate(node.input):
            if (original := name.removeprefix("skl2onnx_")) in inputs:
                node.input[at] = inputs[original]
    outputs = {}
    for each in list(prefixed.graph.output):
        kind, rank = each.type.tensor_type, len(each.type.tensor_type.shape.dim)
        if rank == 1:  # Labels; all outputs have two dimensions here.
            nodes.append(helper.make_node("Unsqueeze", [each.name, "modelyard_one"], [f"{each.name}_column"]))
        outputs[f"{each.name}_column" if rank == 1 else each.name] = kind.elem_type
    domains = {each.domain: each.version for each in model.opset_import}
    opsets = {domain: version for domain, version in domains.items() if domain != ""}
    if not any(node.op_type in _OLD_TREES for node in nodes):
        opsets.pop("ai.onnx.ml", None)
    constants = [*prefixed.graph.initializer, convert.constant(np.ones(1, np.int64), "modelyard_one")]
    return _Graph(nodes, constants, outputs, opsets)
