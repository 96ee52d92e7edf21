"""The last step of a model as sums over features or trees, and what its methods make of them; both as an ONNX graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from modelyard_serving.acceleration.trees import Ensemble
from modelyard_serving.flavors.accelerated import Output
from modelyard_serving.table import Array

SUMS, LABEL = "modelyard_sums", "modelyard_label"


@dataclass(frozen=True)
class Linear:
    """Weighted sums of the features."""

    weights: Array
    """Of shape (targets, features)."""
    intercepts: Array
    """Of shape (targets,)."""

    @property
    def targets(self) -> int:
        """How many sums there are."""
        return len(self.weights)


@dataclass(frozen=True)
class Head:
    """An estimator whose answers follow from sums."""

    sums: Ensemble | Linear
    average: bool = False
    """Whether the answers are the sums divided by `divisor`: those of forests."""
    divisor: float = 1.0
    link: str = "identity"
    """How sums become probabilities or a regression's values: see flavors.accelerated.LINKS."""
    slope: float = 1.0
    """Of the link."""
    classes: tuple[Array, ...] = ()
    """Of each label; empty: a regression."""
    zero_is_positive: bool = False
    """Whether a sum of 0 is the second of two classes."""
    rounding: str = "none"
    """See Contract.rounding."""


@dataclass(frozen=True)
class Part:
    """A piece of a graph, with the names of what it gives."""

    nodes: Sequence[NodeProto]
    constants: Sequence[TensorProto]
    outputs: Mapping[str, int]
    """Name → ONNX's number of the element type. All have two dimensions, the first the rows'."""
    methods: Mapping[str, Output]


def build(head: Head, source: str, has: Callable[[str], bool], dtypes: Mapping[str, np.dtype[Any]]) -> Part:
    """The graph behind the float64 matrix `source`, for the methods that the estimator `has`.

    `dtypes` are the types of the original's answers by method. Raises NotConvertible.
    """
    nodes, constants = _sums(head.sums, source)
    if not head.average:
        return _raw(head, nodes, constants, has, dtypes)
    return _averages(head, nodes, constants, has, dtypes)


def _sums(sums: Ensemble | Linear, source: str) -> tuple[list[NodeProto], list[TensorProto]]:
    if isinstance(sums, Linear):
        constants = [
            numpy_helper.from_array(np.ascontiguousarray(sums.weights.T, np.float64), "modelyard_weights"),
            numpy_helper.from_array(np.asarray(sums.intercepts, np.float64), "modelyard_intercepts"),
        ]
        return [
            helper.make_node("MatMul", [source, "modelyard_weights"], ["modelyard_products"]),
            helper.make_node("Add", ["modelyard_products", "modelyard_intercepts"], [SUMS]),
        ], constants
    if sums.dtype is np.float32:
        cast = helper.make_node("Cast", [source], ["modelyard_single"], to=TensorProto.FLOAT)
        return [cast, sums.node("modelyard_single", SUMS)], []
    return [sums.node(source, SUMS)], []


def _raw(
    head: Head,
    nodes: list[NodeProto],
    constants: list[TensorProto],
    has: Callable[[str], bool],
    dtypes: Mapping[str, np.dtype[Any]],
) -> Part:
    """Answers that follow from the sums by a link; labels from the sums themselves."""
    single = head.sums.targets == 1
    element = (
        TensorProto.FLOAT if isinstance(head.sums, Ensemble) and head.sums.dtype is np.float32 else TensorProto.DOUBLE
    )
    outputs = {SUMS: element}
    if not head.classes:
        link = "sigmoid" if head.link == "logistic" else head.link
        value = Output((SUMS,), str(dtypes["predict"]), flat=single, link=link, slope=head.slope)
        return Part(nodes, constants, outputs, {"predict": value})
    if single:
        constants.append(
            numpy_helper.from_array(np.zeros(1, helper.tensor_dtype_to_np_dtype(element)), "modelyard_zero")
        )
        compare = "GreaterOrEqual" if head.zero_is_positive else "Greater"
        nodes.append(helper.make_node(compare, [SUMS, "modelyard_zero"], ["modelyard_positive"]))
        nodes.append(helper.make_node("Cast", ["modelyard_positive"], [LABEL], to=TensorProto.INT64))
    else:
        nodes.append(helper.make_node("ArgMax", [SUMS], [LABEL], axis=1, keepdims=1))
    outputs[LABEL] = TensorProto.INT64
    methods = {"predict": Output((LABEL,), str(dtypes["predict"]), flat=True, labels=_labels(head.classes))}
    for name, logarithm in (("predict_proba", False), ("predict_log_proba", True)):
        if has(name) and head.link != "identity":
            methods[name] = Output((SUMS,), str(dtypes[name]), link=head.link, slope=head.slope, logarithm=logarithm)
    if has("decision_function"):
        methods["decision_function"] = Output((SUMS,), str(dtypes["decision_function"]), flat=single)
    return Part(nodes, constants, outputs, methods)


def _averages(
    head: Head,
    nodes: list[NodeProto],
    constants: list[TensorProto],
    has: Callable[[str], bool],
    dtypes: Mapping[str, np.dtype[Any]],
) -> Part:
    averages = SUMS
    if head.divisor != 1:
        averages = "modelyard_averages"
        constants.append(numpy_helper.from_array(np.array(head.divisor), "modelyard_divisor"))
        nodes.append(helper.make_node("Div", [SUMS, "modelyard_divisor"], [averages]))
    if not head.classes:
        value = Output((averages,), str(dtypes["predict"]), flat=head.sums.targets == 1)
        return Part(nodes, constants, {averages: TensorProto.DOUBLE}, {"predict": value})
    several = len(head.classes) > 1
    parts = [averages]
    if several:
        parts = [f"{averages}_{position}" for position in range(len(head.classes))]
        sizes = np.array([len(classes) for classes in head.classes], np.int64)
        constants.append(numpy_helper.from_array(sizes, "modelyard_sizes"))
        nodes.append(helper.make_node("Split", [averages, "modelyard_sizes"], parts, axis=1))
    labels = [f"{LABEL}_{part}" for part in parts] if several else [LABEL]
    for part, label in zip(parts, labels, strict=True):
        nodes.append(helper.make_node("ArgMax", [part], [label], axis=1, keepdims=1))
    if several:
        nodes.append(helper.make_node("Concat", labels, [LABEL], axis=1))
    methods = {"predict": Output((LABEL,), str(dtypes["predict"]), flat=not several, labels=_labels(head.classes))}
    for name, logarithm in (("predict_proba", False), ("predict_log_proba", True)):
        if has(name):
            methods[name] = Output(tuple(parts), str(dtypes[name]), logarithm=logarithm)
    return Part(nodes, constants, {LABEL: TensorProto.INT64, **dict.fromkeys(parts, TensorProto.DOUBLE)}, methods)


def _labels(classes: Sequence[Array]) -> tuple[tuple[Any, ...], ...]:
    return tuple(tuple(each.tolist()) for each in classes)
