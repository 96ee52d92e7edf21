"""The model as it was logged: what its answers are compared with, and what is converted."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from modelyard_serving import flavors, mlmodel
from modelyard_serving.acceleration.errors import NotConvertible
from modelyard_serving.call import Predictor
from modelyard_serving.mlmodel import MLmodel
from modelyard_serving.schema.types import ColumnSchema, Scalar, TensorSchema
from modelyard_serving.table import Table

_NUMBERS = (Scalar.boolean, Scalar.integer, Scalar.long, Scalar.float, Scalar.double)


@dataclass(frozen=True)
class Feature:
    """A column of the signature, or a position of an array."""

    name: str | None
    dtype: np.dtype[Any]
    """As the original is given it; object for texts."""
    required: bool = True

    @property
    def text(self) -> bool:
        """Whether it holds texts instead of numbers."""
        return self.dtype == object


@dataclass(frozen=True)
class Original:
    """A loaded model and what it takes."""

    predictor: Predictor
    estimator: Any
    function: str
    """The name of the estimator's method that is the model's `predict`."""
    features: tuple[Feature, ...]
    tabular: bool = True
    """Whether it is given DataFrames; else arrays."""

    @property
    def named(self) -> bool:
        """Whether columns have names."""
        return self.tabular and self.features[0].name is not None

    def data(self, columns: Sequence[Any], without: int | None = None) -> Any:
        """What the server gives the model, of one array for each feature, perhaps without one of them."""
        if not self.tabular:
            return np.column_stack(columns).astype(self.features[0].dtype)
        kept = [position for position in range(len(self.features)) if position != without]
        if self.named:
            return pd.DataFrame({self.features[each].name: columns[each] for each in kept})
        return pd.DataFrame({each: columns[each] for each in kept})

    def table(self, columns: Sequence[Any]) -> Table | None:
        """The same as the server reads it quickly; None where it does not."""
        if not self.named:
            return None
        names = tuple(str(feature.name) for feature in self.features)
        dtypes = {feature.dtype for feature in self.features}
        rows = len(columns[0])
        if len(dtypes) == 1 and not self.features[0].text:
            return Table(names, rows, block=np.array(columns, dtype=self.features[0].dtype))
        return Table(names, rows, columns=dict(zip(names, columns, strict=True)))


def load(directory: Path) -> Original:
    """Raises NotConvertible, or StartupError where the model cannot be loaded at all."""
    model = mlmodel.read(directory)
    name, loader = flavors.choose(model)
    if name not in ("sklearn", "xgboost", "lightgbm"):
        raise NotConvertible(f"models of the flavor {name} are served by their own library")
    features, tabular = features_of(model)
    predictor = loader(directory, model)
    function = inspect.unwrap(predictor.predict, stop=lambda each: hasattr(each, "__self__"))
    estimator = getattr(function, "__self__", None)
    if estimator is None:
        raise NotConvertible("its predict is no method of an estimator")
    return Original(predictor, estimator, function.__name__, features, tabular)


def features_of(model: MLmodel) -> tuple[tuple[Feature, ...], bool]:
    """What the signature promises, and whether that is a table. Raises NotConvertible."""
    if model.params is not None:
        raise NotConvertible("its signature has params")
    if isinstance(model.inputs, ColumnSchema):
        return tuple(_feature(spec) for spec in model.inputs.inputs), True
    if isinstance(model.inputs, TensorSchema):
        tensor = model.inputs.inputs[0]
        if model.inputs.named or len(tensor.shape) != 2 or tensor.shape[1] < 1 or tensor.dtype.kind not in "fiub":
            raise NotConvertible("its signature is another tensor than one of numbers with a row for each example")
        return (Feature(None, tensor.dtype),) * tensor.shape[1], False
    raise NotConvertible("it has no signature, so nothing says which input it takes")


def _feature(spec: Any) -> Feature:
    if spec.type is Scalar.string:
        return Feature(spec.name, np.dtype(object), spec.required)
    if spec.type not in _NUMBERS:
        raise NotConvertible(f"its signature has the type {spec.type}")
    return Feature(spec.name, spec.type.numpy, spec.required)
