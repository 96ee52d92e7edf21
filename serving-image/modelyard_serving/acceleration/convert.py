"""Converts an estimator to ONNX.

Trees and linear models are written by code of this package, in the original's own arithmetic; what comes before them in
a pipeline, and all other estimators, by skl2onnx, in float64. Nothing here is trusted: `check` compares the answers.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, checker, helper, numpy_helper

from modelyard_serving.acceleration import ensembles, linear
from modelyard_serving.acceleration.errors import NotConvertible
from modelyard_serving.acceleration.heads import Head, Part, build
from modelyard_serving.acceleration.original import Feature, Original
from modelyard_serving.acceleration.trees import Ensemble
from modelyard_serving.flavors.accelerated import METADATA_KEY, NUMBERS, TEXTS, Column, Contract, Output
from modelyard_serving.table import Array

OPSET, ML_OPSET, IR_VERSION = 18, 5, 10
MAX_BYTES = 512 * 1024 * 1024
_MATRIX = "modelyard_matrix"


def convert(original: Original, example: Sequence[Array]) -> tuple[ModelProto, Contract]:
    """The graph and what its metadata has to say; `example` has an array of valid values for each feature.

    The contract has neither faults nor limits yet. Raises NotConvertible.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _convert(original, example)
    except NotConvertible:
        raise
    except Exception as error:
        raise NotConvertible(f"{type(error).__name__}: {' '.join(str(error).split())[:500]}") from error


def _convert(original: Original, example: Sequence[Array]) -> tuple[ModelProto, Contract]:
    estimator = getattr(original.estimator, "best_estimator_", original.estimator)
    before, final = _split(estimator)
    answers = _answers(original, example)
    opsets: Mapping[str, int] = {}
    inputs, first = _inputs(original.features, before)
    if (head := _head(final, before, original, example)) is not None:
        rounding = head.rounding if not before else "none"
        nodes, source = first, NUMBERS
        constants: list[TensorProto] = []
        if before:
            from modelyard_serving.acceleration.external import transform  # noqa: PLC0415 - heavy

            source = _MATRIX
            more, constants = transform(before, original, source)
            nodes = [*first, *more]
        part = build(head, source, lambda name: name in answers, _dtypes(answers, original))
        part = replace(part, nodes=[*nodes, *part.nodes], constants=[*constants, *part.constants])
    else:
        from modelyard_serving.acceleration.external import whole  # noqa: PLC0415

        rounding = "none"
        part, opsets = whole(estimator, original, _dtypes(answers, original), first)
    methods = _methods(part.methods, original)
    if head is not None and isinstance(head.sums, Ensemble) and not before:
        methods = {name: replace(output, exact=_is_sum(output)) for name, output in methods.items()}
    columns = tuple(Column(each.name, each.text) for each in original.features)
    contract = Contract(columns, methods, named=original.named, rounding=rounding)
    return _model(part, inputs, opsets), contract


def _split(estimator: Any) -> tuple[list[tuple[str, Any]], Any]:
    """A pipeline's steps before the last, and the last."""
    if type(estimator).__name__ != "Pipeline":
        return [], estimator
    steps = [(name, step) for name, step in estimator.steps if step not in (None, "passthrough")]
    before, final = steps[:-1], getattr(steps[-1][1], "best_estimator_", steps[-1][1])
    inner, last = _split(final)
    return [*before, *inner], last


def _head(final: Any, before: Sequence[Any], original: Original, example: Sequence[Array]) -> Head | None:
    features = len(original.features)
    if before:
        from sklearn.pipeline import Pipeline  # noqa: PLC0415

        features = Pipeline(list(before)).transform(original.data(example)).shape[1]
    return ensembles.read(final) or linear.read(final, features)


def _answers(original: Original, example: Sequence[Array]) -> dict[str, Any]:
    """What the original's methods return for the example, those that answer."""
    answers = {}
    data = original.data(example)
    for name, method in original.predictor.methods.items():
        try:
            answers[name] = method(data, None)
        except Exception as error:
            if name == "predict":
                raise NotConvertible(f"the original does not answer its own example: {error!r}"[:500]) from error
    answers.setdefault(original.function, answers["predict"])
    return answers


def _dtypes(answers: Mapping[str, Any], original: Original) -> dict[str, np.dtype[Any]]:
    """The answers' types. The estimator's own `predict` is needed even where the model's is another method."""
    dtypes = {}
    for name, answer in answers.items():
        first = answer[0] if isinstance(answer, list) else answer
        if not isinstance(first, np.ndarray) or first.ndim > 2:
            raise NotConvertible(f"its {name} returns a {type(first).__name__}")
        dtypes[name] = first.dtype
    if original.function != "predict":
        classes = getattr(original.estimator, "classes_", None)
        dtypes["predict"] = classes.dtype if isinstance(classes, np.ndarray) else dtypes["predict"]
    return dtypes


def _methods(methods: Mapping[str, Output], original: Original) -> dict[str, Output]:
    """By the names that requests know: the model's `predict` may be the estimator's `predict_proba`."""
    if original.function not in methods:
        raise NotConvertible(f"its predict is the estimator's {original.function}, which is not converted")
    known = {name: output for name, output in methods.items() if name in original.predictor.methods}
    return {**known, "predict": methods[original.function]}


def _is_sum(output: Output) -> bool:
    """Whether it is what trees add up to, without a function that libraries compute each in their own way."""
    return output.link == "identity" and not output.logarithm


def _inputs(features: Sequence[Feature], before: Sequence[Any]) -> tuple[list[Any], list[NodeProto]]:
    """The graph's inputs; and nodes that take them apart where the first step takes columns by name."""
    groups = {NUMBERS: [each for each in features if not each.text], TEXTS: [each for each in features if each.text]}
    kinds = {NUMBERS: TensorProto.DOUBLE, TEXTS: TensorProto.STRING}
    inputs, nodes = [], []
    for name, group in groups.items():
        if group:
            inputs.append(helper.make_tensor_value_info(name, kinds[name], [None, len(group)]))
    if takes_columns(features, before):
        positions: dict[str, list[str]] = {NUMBERS: [], TEXTS: []}
        for position, feature in enumerate(features):
            positions[TEXTS if feature.text else NUMBERS].append(column_name(position))
        for name, outputs in positions.items():
            if len(outputs) == 1:
                nodes.append(helper.make_node("Identity", [name], outputs))
            elif outputs:
                nodes.append(helper.make_node("Split", [name], outputs, axis=1, num_outputs=len(outputs)))
    return inputs, nodes


def takes_columns(features: Sequence[Feature], before: Sequence[Any]) -> bool:
    """Whether what comes first is given the columns one by one."""
    mixed = len({feature.text for feature in features}) > 1
    return bool(before) and (mixed or type(before[0][1]).__name__ == "ColumnTransformer")


def column_name(position: int) -> str:
    """A column's name inside the graph: the signature's may hold any character."""
    return f"modelyard_column_{position}"


def _model(part: Part, inputs: list[Any], opsets: Mapping[str, int]) -> ModelProto:
    used = {name for output in part.methods.values() for name in output.names}
    outputs = [
        helper.make_tensor_value_info(name, kind, [None, None]) for name, kind in part.outputs.items() if name in used
    ]
    graph = helper.make_graph(part.nodes, "modelyard", inputs, outputs, list(part.constants))
    domains = {"": OPSET, "ai.onnx.ml": ML_OPSET, **opsets}
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in domains.items()],
        producer_name="modelyard",
        ir_version=IR_VERSION,
    )
    if model.ByteSize() > MAX_BYTES:
        raise NotConvertible(f"as ONNX it has more than {MAX_BYTES >> 20} MiB")
    return model


def write(model: ModelProto, contract: Contract) -> bytes:
    """The file's content, contract included. Raises NotConvertible if it is no valid ONNX."""
    complete = copy.deepcopy(model)
    helper.set_model_props(complete, {METADATA_KEY: contract.to_json()})
    content = complete.SerializeToString()
    try:
        checker.check_model(content)
    except checker.ValidationError as error:
        raise NotConvertible(f"the graph is no valid ONNX: {str(error)[:300]}") from error
    return content


def constant(values: Array, name: str) -> TensorProto:
    """A named constant of a graph."""
    return numpy_helper.from_array(np.ascontiguousarray(values), name)
