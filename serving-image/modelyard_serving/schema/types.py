"""The types of a model signature, as MLflow writes them in the MLmodel file.

Format: https://mlflow.org/docs/latest/ml/model/signatures/. The `str()` of each type reads as MLflow's own, since
error messages quote it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np


class Scalar(Enum):
    """A single value of a column."""

    boolean = "bool"
    integer = "int32"
    long = "int64"
    float = "float32"
    double = "float64"
    string = "str"
    binary = "bytes"
    datetime = "datetime64[ns]"

    @property
    def numpy(self) -> np.dtype[Any]:
        """The type of an array of such values."""
        return np.dtype(self.value)

    @property
    def pandas(self) -> np.dtype[Any] | type[object]:
        """The type of a DataFrame's column: text and bytes are Python objects there."""
        return object if self in (Scalar.string, Scalar.binary) else self.numpy

    def __str__(self) -> str:
        """As MLflow writes the type in the text of its messages."""
        return f"DataType.{self.name}"

    def __repr__(self) -> str:
        """As MLflow writes the type inside a schema."""
        return self.name


@dataclass(frozen=True)
class Array:
    """A list of values of one type."""

    items: ColumnType

    def __repr__(self) -> str:
        """As MLflow writes the type in its messages."""
        return f"Array({self.items!r})"


@dataclass(frozen=True)
class Property:
    """A key of an Object."""

    name: str
    type: ColumnType
    required: bool

    def __repr__(self) -> str:
        """As MLflow writes the type in its messages."""
        return f"{self.name}: {self.type!r} ({_need(self.required)})"


@dataclass(frozen=True)
class Object:
    """A mapping with known keys, sorted by name."""

    properties: tuple[Property, ...]

    def __repr__(self) -> str:
        """As MLflow writes the type in its messages."""
        return "{" + ", ".join(map(repr, self.properties)) + "}"


@dataclass(frozen=True)
class Map:
    """A mapping from any string to values of one type."""

    values: ColumnType

    def __repr__(self) -> str:
        """As MLflow writes the type in its messages."""
        return f"Map(str -> {self.values})"


@dataclass(frozen=True)
class Anything:
    """A value that is not checked."""

    def __repr__(self) -> str:
        """As MLflow writes the type in its messages."""
        return "Any"


Nested = Array | Object | Map | Anything
ColumnType = Scalar | Nested


@dataclass(frozen=True)
class Column:
    """One column of tabular input."""

    type: ColumnType
    name: str | None = None
    required: bool = True

    def __repr__(self) -> str:
        """As MLflow writes the type in its messages."""
        name = "" if self.name is None else f"{self.name!r}: "
        return f"{name}{self.type!r} ({_need(self.required)})"


@dataclass(frozen=True)
class Tensor:
    """One array of input."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    """-1 stands for any length."""
    name: str | None = None

    required = True

    def __repr__(self) -> str:
        """As MLflow writes the type in its messages."""
        name = "" if self.name is None else f"{self.name!r}: "
        return f"{name}Tensor({self.dtype.name!r}, {self.shape!r})"


@dataclass(frozen=True)
class ColumnSchema:
    """Tabular input: columns that are all named, or all known by their position."""

    inputs: tuple[Column, ...]

    @property
    def named(self) -> bool:
        """Whether the inputs have names; none has one, or all have."""
        return self.inputs[0].name is not None

    def __repr__(self) -> str:
        """As MLflow writes the type in its messages."""
        return repr(list(self.inputs))


@dataclass(frozen=True)
class TensorSchema:
    """Array input: one unnamed tensor, or several named ones."""

    inputs: tuple[Tensor, ...]

    @property
    def named(self) -> bool:
        """Whether the inputs have names; none has one, or all have."""
        return self.inputs[0].name is not None

    def __repr__(self) -> str:
        """As MLflow writes the type in its messages."""
        return repr(list(self.inputs))


Schema = ColumnSchema | TensorSchema


def by_name(schema: Schema) -> dict[str, Column | Tensor]:
    """The inputs of a schema by their names; empty when they have none."""
    return {spec.name: spec for spec in schema.inputs if spec.name is not None}


def required_names(schema: Schema) -> list[str]:
    """The names that input must have, in the schema's order."""
    return [name for name, spec in by_name(schema).items() if spec.required]


def read_schema(entries: Sequence[Mapping[str, Any]]) -> Schema:
    """The `inputs` of a signature. Raises ValueError, TypeError or KeyError for what is no schema."""
    if not entries:
        raise ValueError("a schema needs at least one input")
    named = sum(entry.get("name") is not None for entry in entries)
    if named not in (0, len(entries)):
        raise ValueError("either all inputs have names or none")
    tensors = sum(entry["type"] == "tensor" for entry in entries)
    if tensors not in (0, len(entries)):
        raise ValueError("columns and tensors cannot be mixed")
    if not tensors:
        return ColumnSchema(tuple(_read_column(entry) for entry in entries))
    if not named and len(entries) > 1:
        raise ValueError("several tensors need names")
    return TensorSchema(tuple(_read_tensor(entry) for entry in entries))


def read_type(entry: Mapping[str, Any]) -> ColumnType:
    """The type of a column, property or item. Raises ValueError naming a type that does not exist."""
    match entry["type"]:
        case "array":
            return Array(read_type(entry["items"]))
        case "sparkml_vector":
            return Array(Scalar.double)
        case "object":
            properties = (
                Property(name, read_type(value), value.get("required", True))
                for name, value in entry["properties"].items()
            )
            return Object(tuple(sorted(properties, key=lambda item: item.name)))
        case "map":
            return Map(read_type(entry["values"]))
        case "any":
            return Anything()
        case str(name) if name in Scalar.__members__:
            return Scalar[name]
        case other:
            raise ValueError(f"unknown type {other!r}")


def _read_column(entry: Mapping[str, Any]) -> Column:
    kind = read_type(entry)
    # A nested type without `required` is optional, unlike a scalar: older versions of MLflow left the key out.
    required = bool(entry.get("required", isinstance(kind, Scalar)))
    return Column(kind, entry.get("name"), required)


def _read_tensor(entry: Mapping[str, Any]) -> Tensor:
    info = entry["tensor-spec"]
    return Tensor(np.dtype(info["dtype"]), tuple(int(length) for length in info["shape"]), entry.get("name"))


def _need(required: bool) -> str:
    return "required" if required else "optional"
