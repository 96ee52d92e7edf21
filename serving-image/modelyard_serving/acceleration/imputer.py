"""scikit-learn's SimpleImputer for skl2onnx in float64 and for texts, neither of which ONNX Runtime's Imputer knows."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, numpy_helper

from modelyard_serving.acceleration.errors import NotConvertible
from modelyard_serving.flavors.accelerated import STAND_INS


def shape(operator: Any) -> None:
    """As many columns as come in, of their type."""
    source = operator.inputs[0].type
    columns = len(operator.raw_operator.statistics_)
    operator.outputs[0].type = type(source)([None, columns])


def convert(scope: Any, operator: Any, container: Any) -> None:
    """`Where(missing, fill, x)`. Raises NotConvertible."""
    imputer = operator.raw_operator
    missing, fill = imputer.missing_values, imputer.statistics_
    texts = type(operator.inputs[0].type).__name__ == "StringTensorType"
    known = missing is None or (isinstance(missing, float) and np.isnan(missing))
    if imputer.add_indicator or not known or len(operator.inputs) != 1 or (missing is None and not texts):
        raise NotConvertible("an imputer with an indicator, or for other values than NaN, is not converted")
    if any(value is None or value != value for value in fill):  # noqa: PLR0124 - NaN, of whatever type
        raise NotConvertible("an imputer drops columns that were empty when it was fitted")
    source, target = operator.inputs[0].full_name, operator.outputs[0].full_name
    mask, filler = scope.get_unique_variable_name("missing"), scope.get_unique_variable_name("fill")
    if texts:
        flag = scope.get_unique_variable_name("flag")
        container.add_node(
            "LabelEncoder",
            [source],
            [flag],
            op_domain="ai.onnx.ml",
            op_version=2,
            name=scope.get_unique_operator_name("LabelEncoder"),
            keys_strings=[STAND_INS["None" if missing is None else "NaN"]],
            values_int64s=[1],
            default_int64=0,
        )
        name = scope.get_unique_operator_name("Cast")
        container.add_node("Cast", [flag], [mask], op_version=13, name=name, to=TensorProto.BOOL)
        values = np.array([str(value) for value in fill], object)
        container.add_initializer(filler, TensorProto.STRING, [1, len(values)], list(values))
    else:
        container.add_node("IsNaN", [source], [mask], op_version=13, name=scope.get_unique_operator_name("IsNaN"))
        tensor = numpy_helper.from_array(np.asarray(fill, np.float64)[None, :], filler)
        container.add_initializer(filler, TensorProto.DOUBLE, [1, len(fill)], list(tensor.double_data) or list(fill))
    name = scope.get_unique_operator_name("Where")
    container.add_node("Where", [mask, filler, source], [target], op_version=16, name=name)
