"""The signature's types as JSON Schema, for each format that a request can have. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from modelyard_serving.protocol.v2.datatypes import BYTES, NUMPY
from modelyard_serving.schema.params import ParamsSchema
from modelyard_serving.schema.types import (
    Anything,
    Array,
    Column,
    ColumnSchema,
    ColumnType,
    Map,
    Object,
    Scalar,
    Schema,
    Tensor,
)

JsonSchema = dict[str, Any]
_ANY: Mapping[str, Any] = {}

_SCALARS: Mapping[Scalar, Mapping[str, Any]] = {
    Scalar.boolean: {"type": "boolean"},
    Scalar.integer: {"type": "integer", "format": "int32", "minimum": -(2**31), "maximum": 2**31 - 1},
    Scalar.long: {"type": "integer", "format": "int64", "minimum": -(2**63), "maximum": 2**63 - 1},
    Scalar.float: {"type": "number", "format": "float"},
    Scalar.double: {"type": "number", "format": "double"},
    Scalar.string: {"type": "string"},
    Scalar.binary: {"type": "string", "contentEncoding": "base64"},
    Scalar.datetime: {"type": "string", "format": "date-time", "description": "without a time zone"},
}


def value_schema(kind: ColumnType) -> JsonSchema:
    """One value of a column."""
    match kind:
        case Scalar():
            return dict(_SCALARS[kind])
        case Array():
            return {"type": "array", "items": value_schema(kind.items)}
        case Map():
            return {"type": "object", "additionalProperties": value_schema(kind.values)}
        case Object():
            return {
                "type": "object",
                "properties": {item.name: value_schema(item.type) for item in kind.properties},
                "required": [item.name for item in kind.properties if item.required],
                "additionalProperties": False,
            }
        case Anything():
            return {}


def tensor_schema(spec: Tensor, *, rows: bool = True) -> JsonSchema:
    """A tensor as lists in lists. `rows`: with its first dimension."""
    schema = _element(spec.dtype)
    for length in reversed(spec.shape if rows else spec.shape[1:]):
        schema = {"type": "array", "items": schema}
        if length >= 0:
            schema |= {"minItems": length, "maxItems": length}
    if rows and spec.shape and spec.shape[0] < 0:
        schema["minItems"] = 1
    return schema


def _element(dtype: np.dtype[Any]) -> JsonSchema:
    types = {"b": "boolean", "i": "integer", "u": "integer", "f": "number", "U": "string", "S": "string"}
    return {"type": types[dtype.kind]} if dtype.kind in types else {}


def record_schema(schema: ColumnSchema) -> JsonSchema:
    """A row as an object of column → value."""
    return {
        "type": "object",
        "properties": {column.name or "": value_schema(column.type) for column in schema.inputs},
        "required": [column.name or "" for column in schema.inputs if column.required],
    }


def row_schema(schema: ColumnSchema) -> JsonSchema:
    """A row as a list of all columns in the signature's order."""
    width = len(schema.inputs)
    items = [value_schema(column.type) for column in schema.inputs]
    return {"type": "array", "prefixItems": items, "minItems": width, "maxItems": width}


def format_schemas(schema: Schema | None) -> dict[str, JsonSchema]:
    """What each of MLflow's formats holds; formats that cannot hold the model's input are left out."""
    if schema is None:
        rows: JsonSchema = {"type": "array", "minItems": 1}
        split = {"type": "object", "properties": {"columns": {"type": "array"}, "data": rows}, "required": ["data"]}
        return {"dataframe_split": split, "dataframe_records": rows, "instances": rows, "inputs": {}}
    if isinstance(schema, ColumnSchema):
        return _formats_of_columns(schema)
    if not schema.named:
        tensor = tensor_schema(schema.inputs[0])
        return {"instances": tensor, "inputs": tensor}
    named = {spec.name or "": spec for spec in schema.inputs}
    each = {name: tensor_schema(spec, rows=False) for name, spec in named.items()}
    return {
        "instances": _list({"type": "object", "properties": each, "required": list(each)}),
        "inputs": {
            "type": "object",
            "properties": {name: tensor_schema(spec) for name, spec in named.items()},
            "required": list(named),
        },
    }


def _formats_of_columns(schema: ColumnSchema) -> dict[str, JsonSchema]:
    rows = _list(row_schema(schema))
    if not schema.named:
        split = {"type": "object", "properties": {"data": rows}, "required": ["data"], "additionalProperties": False}
        return {"dataframe_split": split}
    names = [column.name for column in schema.inputs]
    split = {
        "type": "object",
        "properties": {
            "columns": {"const": names, "description": "in this order or, with the data, in any other"},
            "data": rows,
        },
        "required": ["columns", "data"],
        "additionalProperties": False,
    }
    records = _list(record_schema(schema))
    formats = {"dataframe_split": split, "dataframe_records": records}
    if all(isinstance(column.type, Scalar) for column in schema.inputs):
        formats["instances"] = records
        formats["inputs"] = {
            "type": "object",
            "properties": {column.name or "": _column(column) for column in schema.inputs},
            "required": [column.name or "" for column in schema.inputs if column.required],
        }
    return formats


def _column(column: Column) -> JsonSchema:
    return _list(value_schema(column.type))


def _list(items: JsonSchema) -> JsonSchema:
    return {"type": "array", "minItems": 1, "items": items}


def instances_schema(schema: Schema | None) -> JsonSchema:
    """The rows of a V1 request."""
    if isinstance(schema, ColumnSchema):
        row = row_schema(schema)
        return _list({"anyOf": [row, record_schema(schema)]} if schema.named else row)
    return format_schemas(schema)["instances"]


def params_schema(params: ParamsSchema | None) -> JsonSchema:
    """The inference parameters, all of which are optional."""
    properties: dict[str, JsonSchema] = {}
    for param in params or ():
        value = value_schema(param.type)
        properties[param.name] = {"type": "array", "items": value} if param.is_list else value
        if isinstance(param.default, bool | int | float | str | list):
            properties[param.name]["default"] = param.default
    return {"type": "object", "properties": properties}


def v2_request_schema(schema: Schema | None) -> JsonSchema:
    """An inference request. Whether lengths fit each other, and the signature, is more than JSON Schema can say."""
    names = [spec.name for spec in (schema.inputs if schema else ()) if spec.name]
    tensor: JsonSchema = {
        "type": "object",
        "properties": {
            "name": {"type": "string", **({"examples": names} if names else {})},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            "datatype": {"enum": [*NUMPY, BYTES]},
            "parameters": _PARAMETERS,
            "data": {"type": "array", "description": "flat, or in lists within lists as the shape has it"},
        },
        "required": ["name", "shape", "datatype"],
    }
    output: JsonSchema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "parameters": _PARAMETERS},
        "required": ["name"],
    }
    return {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "parameters": _PARAMETERS,
            "inputs": _list(tensor),
            "outputs": {"type": "array", "items": output},
        },
        "required": ["inputs"],
    }


_PARAMETERS: JsonSchema = {
    "type": "object",
    "additionalProperties": {"type": ["string", "number", "boolean"]},
}


def v2_response_schema() -> JsonSchema:
    """The answer to an inference request."""
    tensor = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            "datatype": {"enum": [*NUMPY, BYTES]},
            "parameters": {"type": "object"},
            "data": {"type": "array", "description": "flat; null stands for NaN and infinity"},
        },
        "required": ["name", "shape", "datatype"],
    }
    return {
        "type": "object",
        "properties": {
            "model_name": {"type": "string"},
            "model_version": {"type": "string"},
            "id": {"type": "string", "description": "the request's, if it had one"},
            "outputs": {"type": "array", "items": tensor},
        },
        "required": ["model_name", "model_version", "outputs"],
    }
