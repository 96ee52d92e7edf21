"""The one entry to enforcement: data that was read, and the model's signature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from modelyard_serving.errors import ErrorCode, RequestError, SchemaError
from modelyard_serving.schema.columns import enforce_columns, frame_of
from modelyard_serving.schema.tensors import enforce_tensors
from modelyard_serving.schema.types import ColumnSchema, Schema, by_name, required_names

if TYPE_CHECKING:
    import pandas as pd
else:
    from modelyard_serving.lazy import pandas as pd


def enforce(data: Any, schema: Schema | None) -> Any:
    """`data` as the model expects it: a DataFrame, an array or a dict of arrays; untouched if there is no schema.

    Raises RequestError (400 INVALID_PARAMETER_VALUE) that quotes the data, the schema and what is wrong.
    """
    if schema is None:
        return data
    try:
        return _enforce(data, schema)
    except Exception as error:
        # Not only SchemaError: pandas and numpy reject in their own words what no rule above foresaw.
        raise RequestError(
            f"Failed to enforce schema of data '{data}' with schema '{schema}'. Error: {error}",
            ErrorCode.INVALID_PARAMETER_VALUE,
        ) from error


def _enforce(data: Any, schema: Schema) -> Any:
    if isinstance(schema, ColumnSchema):
        frame = frame_of(data, schema)
        _require_names(frame, schema)
        _require_count(frame, schema)
        return enforce_columns(frame, schema)
    if isinstance(data, np.ndarray) and len(required_names(schema)) == 1:
        data = {required_names(schema)[0]: data}
    _require_names(data, schema)
    return enforce_tensors(data, schema)


def _require_names(data: Any, schema: Schema) -> None:
    if not schema.named:
        return
    present = list(data.columns) if isinstance(data, pd.DataFrame) else list(data) if isinstance(data, dict) else []
    missing = [name for name in required_names(schema) if name not in present]
    if missing:
        known = by_name(schema)
        extra = [name for name in present if name not in known]
        note = f" Note that there were extra inputs: {extra}." if extra else ""
        raise SchemaError(f"Model is missing inputs {missing}.{note}")


def _require_count(frame: pd.DataFrame, schema: ColumnSchema) -> None:
    if not schema.named and len(frame.columns) < len(schema.inputs):
        raise SchemaError(
            f"Model inference is missing inputs. The model signature declares {len(schema.inputs)} inputs  but the"
            f" provided value only has {len(frame.columns)} inputs. Note: the inputs were not named in the signature so"
            " we can only verify their count."
        )
