"""Holds a column of single values to its type.

Values may widen (int → long, int → double, float → double), never narrow.

Rules: https://mlflow.org/docs/latest/ml/model/signatures/ ("Signature Enforcement").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from modelyard_serving.errors import SchemaError
from modelyard_serving.schema.types import Scalar

if TYPE_CHECKING:
    import pandas as pd
else:
    from modelyard_serving.lazy import pandas as pd

_INTEGER_WITH_GAPS = (
    " Hint: the type mismatch is likely caused by missing values. Integer columns in python can not represent missing"
    " values and are therefore encoded as floats. The best way to avoid this problem is to infer the model schema"
    " based on a realistic data sample (training dataset) that includes missing values. Alternatively, you can declare"
    " integer columns as doubles (float64) whenever these columns may have missing values. See `Handling Integers With"
    " Missing Values <https://www.mlflow.org/docs/latest/models.html#handling-integers-with-missing-values>`_ for more"
    " details."
)


def enforce_scalars(name: Any, values: pd.Series[Any], scalar: Scalar) -> pd.Series[Any]:
    """`values` as the pandas type of `scalar`, if that loses nothing; else SchemaError naming the column and types."""
    if values.dtype == object and scalar not in (Scalar.binary, Scalar.string):
        values = values.infer_objects()
    if values.dtype in (scalar.pandas, scalar.numpy):
        return values
    if values.dtype == object and scalar in (Scalar.string, Scalar.boolean):
        # Any object may stand for text; and None among booleans must stay None, where a cast would make it False.
        return values
    if scalar is Scalar.datetime and values.dtype.kind in ("M", "O"):
        return _enforce_datetimes(name, values)
    if scalar is Scalar.double and values.dtype == object:
        return _enforce_numbers(name, values)
    if not _widens(values, scalar.numpy):
        gaps = _INTEGER_WITH_GAPS if _integers_with_gaps(values, scalar.numpy) else ""
        raise SchemaError(
            f"Incompatible input types for column {name}. "
            f"Can not safely convert {values.dtype} to {scalar.numpy}.{gaps}"
        )
    return values.astype(cast(Any, scalar.numpy))


def _enforce_numbers(name: Any, values: pd.Series[Any]) -> pd.Series[Any]:
    """Objects that are numbers, such as decimals, or no number at all (None)."""
    try:
        return pd.to_numeric(values)
    except ValueError as error:
        raise SchemaError(f"Failed to convert column {name} from type {values.dtype} to {Scalar.double}.") from error


def _enforce_datetimes(name: Any, values: pd.Series[Any]) -> pd.Series[Any]:
    try:
        return values.astype("datetime64[ns]")
    except TypeError as error:
        raise SchemaError(
            "Please ensure that the input data of datetime column only contains timezone-naive "
            f"datetime objects. Error: {error}"
        ) from error
    except ValueError as error:
        raise SchemaError(f"Failed to convert column {name} from type {values.dtype} to {Scalar.datetime}.") from error


def _widens(values: pd.Series[Any], target: np.dtype[Any]) -> bool:
    """Whether every value of the column's type is one of the target's (or these values, 0 and 1, happen to be)."""
    actual = np.dtype(cast(Any, values.dtype))
    if actual.kind == target.kind:
        return bool(actual.itemsize <= target.itemsize)
    if actual.kind == "u" and target.kind == "i":
        return bool(actual.itemsize < target.itemsize)
    if actual.kind in "iu" and target == np.float64 and actual.itemsize <= 4:
        return True
    return actual == np.int64 and target.kind == "f" and bool(values.isin([0, 1]).all())


def _integers_with_gaps(values: pd.Series[Any], target: np.dtype[Any]) -> bool:
    if values.dtype != np.float64 or target.kind not in "iu" or not values.hasnans:
        return False
    present = values.dropna()
    return bool((present == np.floor(present)).all())
