"""Whether an ONNX graph treats each row by itself, to the last bit, whatever rows come with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Operators that compute each element, or each row, by a loop of its own. What goes through a matrix product (MatMul,
# Gemm, LinearClassifier, SVMClassifier…) is not among them: its last bits depend on how many rows there are. Nor are
# elementary functions (Exp, Sigmoid, Softmax…): the end of a block is rounded otherwise than its vectors.
_ELEMENTWISE = """
    Abs Add And Cast Clip Ceil Constant Div Equal Floor Greater GreaterOrEqual Identity IsInf IsNaN Less LessOrEqual
    Max Min Mod Mul Neg Not Or Relu Round Sign Sub Where Xor
""".split()  # noqa: SIM905
_ROW_WISE = """
    ArrayFeatureExtractor Binarizer FeatureVectorizer Imputer LabelEncoder OneHotEncoder Scaler TreeEnsemble
    TreeEnsembleClassifier TreeEnsembleRegressor ZipMap
""".split()  # noqa: SIM905
_ANYWHERE = frozenset([*_ELEMENTWISE, *_ROW_WISE])
# By the axis that they work along, which must not be the rows'.
_ALONG_AXIS = frozenset({"ArgMax", "ArgMin", "Concat", "Gather", "Split"})


def load_structure(path: Path) -> Any:
    """The graph as an onnx.ModelProto, without external data. Raises what the onnx package raises."""
    import onnx  # noqa: PLC0415

    return onnx.load(str(path), load_external_data=False)


def is_row_wise(model: Any) -> bool:
    """Whether the first dimension of every input and output is the rows', and every operator works row by row."""
    constants = {each.name: each for each in model.graph.initializer}
    inputs = [each for each in model.graph.input if each.name not in constants]
    if not all(_rows_first(each.type) for each in [*inputs, *model.graph.output]):
        return False
    return all(_works_row_by_row(node, constants) for node in model.graph.node)


def _rows_first(kind: Any) -> bool:
    dims = kind.tensor_type.shape.dim
    return len(dims) >= 1 and not dims[0].HasField("dim_value")


def _works_row_by_row(node: Any, constants: Mapping[str, Any]) -> bool:
    if node.op_type in _ANYWHERE:
        return True
    if node.op_type in _ALONG_AXIS:
        return _axis(node) in (1, -1)
    if node.op_type == "Reshape" and node.input[1] in constants:
        # (-1, n): the rows stay rows if n is what a row has; if not there are not as many rows in the answer.
        shape = _numbers(constants[node.input[1]])
        return len(shape) == 2 and shape[0] == -1 and shape[1] > 0
    # A new dimension, but not in front of the rows.
    return node.op_type == "Unsqueeze" and node.input[1] in constants and 0 not in _numbers(constants[node.input[1]])


def _numbers(tensor: Any) -> list[int]:
    from onnx import numpy_helper  # noqa: PLC0415

    return [int(number) for number in numpy_helper.to_array(tensor).reshape(-1)]


def _axis(node: Any) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
