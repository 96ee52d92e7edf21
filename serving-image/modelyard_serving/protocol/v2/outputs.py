"""Predictions as output tensors."""

from __future__ import annotations

import base64
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from modelyard_serving.errors import ErrorCode, RequestError
from modelyard_serving.protocol.v2 import raw
from modelyard_serving.protocol.v2.datatypes import BYTES, FP16, NAMES
from modelyard_serving.protocol.v2.message import Values


class OutputTensor(NamedTuple):
    """One output: [N] for one value a row, [N, K] for K."""

    name: str
    datatype: str
    values: Values
    """BYTES are objects: str, bytes or None."""


def tensors_of(method: str, prediction: Any) -> list[OutputTensor]:
    """What a method gave as tensors: one of the method's name, or one a column of a DataFrame or key of a mapping.

    Raises RequestError (500 INTERNAL_ERROR) for what no tensor can hold.
    """
    if isinstance(prediction, np.ndarray):
        return [_tensor(method, prediction)]
    columns = _columns_of(prediction)
    if columns is not None:
        return [_tensor(str(name), _array_of(name, values)) for name, values in columns.items()]
    return [_tensor(method, _array_of(method, prediction))]


def _columns_of(prediction: Any) -> Mapping[Any, Any] | None:
    """The named arrays of a prediction that consists of such."""
    pd = sys.modules.get("pandas")
    if pd is not None and isinstance(prediction, pd.DataFrame):
        return {name: prediction[name].to_numpy() for name in prediction.columns}
    if isinstance(prediction, Mapping):
        return prediction
    if isinstance(prediction, list) and prediction and all(isinstance(row, Mapping) for row in prediction):
        names = prediction[0].keys()
        if all(row.keys() == names for row in prediction):
            return {name: [row[name] for row in prediction] for name in names}
    return None


def _array_of(name: Any, prediction: Any) -> Values:
    if hasattr(prediction, "to_numpy"):  # A Series.
        return np.asarray(prediction.to_numpy())
    if hasattr(prediction, "toarray"):  # scipy's sparse matrices.
        return np.asarray(prediction.toarray())
    try:
        return np.asarray(prediction)
    except ValueError as error:  # Lists of different lengths.
        raise _inexpressible(name, error) from error


def _tensor(name: str, values: Values) -> OutputTensor:
    if not values.ndim:
        values = values.reshape(1)
    datatype = NAMES.get(values.dtype)
    if datatype is None:
        datatype, values = _as_known(name, values)
    return OutputTensor(name, datatype, values)


def _as_known(name: str, values: Values) -> tuple[str, Values]:
    """Values of a type that the protocol does not have, as the nearest it has."""
    kind = values.dtype.kind
    if kind == "f":
        return "FP64", values.astype("<f8")
    if kind in "iub":
        values = values.astype(values.dtype.newbyteorder("<"))
        return NAMES[values.dtype], values
    if kind in "US":
        return BYTES, values.astype(object)
    if kind == "M":
        return BYTES, np.datetime_as_string(values).astype(object)
    if kind == "O":
        return _as_objects(name, values)
    raise _inexpressible(name, f"there is no tensor of {values.dtype}")


def _as_objects(name: str, values: Values) -> tuple[str, Values]:
    elements = values.ravel().tolist()
    types = {type(element) for element in elements}
    if types and types <= {str, bytes, np.str_, np.bytes_, type(None)} and types != {type(None)}:
        return BYTES, values
    try:
        numbers = np.array([np.nan if element is None else element for element in elements])
    except ValueError as error:
        raise _inexpressible(name, error) from error
    if numbers.ndim != 1 or numbers.dtype.kind not in "biufM":
        raise _inexpressible(name, f"there is {', '.join(sorted(each.__name__ for each in types))}")
    tensor = _tensor(name, numbers.reshape(values.shape))
    return tensor.datatype, tensor.values


def json_form(tensor: OutputTensor) -> tuple[str, Any, dict[str, Any]]:
    """The data type, flat data and parameters of a tensor as JSON.

    FP16 becomes FP32, bytes become base64 (`content_type`), as MLServer writes them.
    """
    values = tensor.values
    if tensor.datatype == BYTES:
        return BYTES, *_json_texts(values.ravel().tolist())
    # As MLflow's protocol writes them: all digits of the double that a float stands for.
    return ("FP32" if tensor.datatype == FP16 else tensor.datatype), values.ravel().tolist(), {}


def _json_texts(elements: list[Any]) -> tuple[list[Any], dict[str, Any]]:
    if not any(isinstance(element, bytes) for element in elements):
        return [None if element is None else str(element) for element in elements], {}
    contents = [element.encode() if isinstance(element, str) else element for element in elements]
    texts = [None if content is None else base64.b64encode(content).decode() for content in contents]
    return texts, {"content_type": "base64"}


def binary_form(tensor: OutputTensor) -> bytes:
    """The tensor as binary data. Raises RequestError (500 INTERNAL_ERROR) for a text that is missing."""
    try:
        return raw.encode(tensor.datatype, tensor.values)
    except ValueError as error:
        raise _inexpressible(tensor.name, error) from error


def _inexpressible(name: Any, problem: object) -> RequestError:
    message = f"The predictions {str(name)!r} cannot be expressed as a tensor: {problem}"
    return RequestError(message, ErrorCode.INTERNAL_ERROR, 500)
