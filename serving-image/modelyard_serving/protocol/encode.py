"""Writes predictions: `{"predictions": …}`."""

from __future__ import annotations

import base64
import datetime
import json
import sys
from typing import Any

import numpy as np

from modelyard_serving import logs
from modelyard_serving.call import Reply, Result
from modelyard_serving.errors import ErrorCode, RequestError


def predictions_reply(result: Result) -> Reply:
    """The answer of MLflow's protocol, and of V1. Raises RequestError (500) for what JSON cannot hold."""
    try:
        return Reply(encode(result.outputs[0]))
    except (TypeError, ValueError) as error:
        logs.warn_once("predictions_not_json", error=repr(error)[:500])
        raise RequestError(f"The predictions are no JSON: {error}", ErrorCode.INTERNAL_ERROR, 500) from error


def encode(predictions: Any) -> bytes:
    """UTF-8 JSON; arrays as nested lists, DataFrames and Series as lists of records.

    A prediction that is not a number is written as NaN, as MLflow writes it (JSON itself knows no such number).
    Raises TypeError or ValueError for what JSON cannot hold.
    """
    if type(predictions) is np.ndarray and predictions.shape == (1,) and predictions.dtype.kind in "iu":
        # One row's label: what the encoder would write.
        return b'{"predictions": [%d]}' % predictions[0]
    return _encode({"predictions": _plain(predictions)}).encode()


def _plain(predictions: Any) -> Any:
    if isinstance(predictions, np.ndarray):
        return predictions.tolist()
    # Without pandas there is nothing of its to write, and nothing is imported for asking.
    if (pd := sys.modules.get("pandas")) is None:
        return predictions
    if isinstance(predictions, pd.Series):
        predictions = predictions.to_frame()
    if isinstance(predictions, pd.DataFrame):
        return predictions.to_dict(orient="records")
    return predictions


def _encode_special(value: Any) -> Any:
    if isinstance(value, np.datetime64):
        return np.datetime_as_string(value)
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, bytes | bytearray):
        return base64.encodebytes(value).decode("ascii")
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    raise TypeError(f"a prediction of type {type(value).__name__} cannot be written as JSON")


# Made once: json.dumps makes one for each call that names a default.
_encode = json.JSONEncoder(default=_encode_special).encode
