"""Reads request bodies: https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally/#json-input."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from modelyard_serving.errors import RequestError, invalid_input
from modelyard_serving.protocol.frames import frame_from_records, frame_from_split
from modelyard_serving.protocol.tensors import read_inputs, read_instances
from modelyard_serving.schema.types import ColumnSchema, Scalar, Schema

if TYPE_CHECKING:
    import pandas as pd
else:
    from modelyard_serving.lazy import pandas as pd

FORMATS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_READERS = {
    "dataframe_split": frame_from_split,
    "dataframe_records": frame_from_records,
    "instances": read_instances,
    "inputs": read_inputs,
}
_ONE_FORMAT = f"The input must be a JSON dictionary with exactly one of the input fields {', '.join(FORMATS)}."
_ECHO = 1000
MAX_CSV_COLUMNS = 10_000
"""pandas tells columns of the same name apart in time that grows with the square of their number."""


class Payload(NamedTuple):
    """What a body holds: data for the schema to judge, and the request's `params` as they came."""

    data: Any
    params: Any = None


def decode_json(body: bytes) -> dict[str, Any]:
    """The JSON object of a body. Raises RequestError (400 BAD_REQUEST)."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:  # ValueError: JSONDecodeError and UnicodeDecodeError
        echo = repr(body) if len(body) <= _ECHO else f"{body[:_ECHO]!r}…"
        raise invalid_input(
            f"Ensure that input is a valid JSON formatted string. Error: '{error!r}'\nInput: \n{echo}\n"
        ) from error
    if not isinstance(document, dict):
        received = "a list" if isinstance(document, list) else f"unexpected input type '{type(document)}'"
        raise invalid_input(f"{_ONE_FORMAT} Received {received}.")
    return document


def parse_json(document: dict[str, Any], schema: Schema | None) -> Payload:
    """The data of the one format that the document holds; keys that are no format are ignored, as MLflow does.

    Raises RequestError (400 BAD_REQUEST).
    """
    present = [key for key in document if key in FORMATS]
    if len(present) != 1:
        raise RequestError(f"{_ONE_FORMAT} Received dictionary with input fields: {list(document)}.")
    return Payload(_READERS[present[0]](document[present[0]], schema), document.get("params"))


def parse_csv(body: bytes, schema: Schema | None) -> Payload:
    """A table with a header line, its columns read as the schema's types. Raises RequestError (400 BAD_REQUEST)."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise invalid_input(f"Ensure that input is a valid UTF-8 encoded string. Error: '{error!r}'") from error
    if text.partition("\n")[0].count(",") >= MAX_CSV_COLUMNS:
        raise invalid_input(f"The CSV has more than {MAX_CSV_COLUMNS} columns")
    try:
        return Payload(pd.read_csv(io.StringIO(text), dtype=_csv_types(schema)))
    except Exception as error:
        raise RequestError(
            "Failed to parse input as a Pandas DataFrame. Ensure that the input is a valid CSV-formatted Pandas"
            f" DataFrame produced using the `pandas.DataFrame.to_csv()` method. Error: '{error}'"
        ) from error


def _csv_types(schema: Schema | None) -> Any:
    if schema is None:
        return None
    if not isinstance(schema, ColumnSchema):
        raise ValueError("TensorSpec only supports numpy types, use numpy_types() instead")
    types = {}
    for position, spec in enumerate(schema.inputs):
        if not isinstance(spec.type, Scalar):
            raise ValueError("Failed to get pandas types as some of the inputs types are not DataType.")
        types[position if spec.name is None else spec.name] = spec.type.pandas
    return types
