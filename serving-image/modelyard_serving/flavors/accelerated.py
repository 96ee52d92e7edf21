"""A model of ours in ONNX in the place of a scikit-learn, XGBoost or LightGBM model: it answers as the original does.

What the graph cannot say is in its metadata, a versioned JSON document under the key `modelyard`, so that one hash
covers both: which columns become which input, what the outputs become (labels, types, shapes), and which input the
original refuses, with which words. `modelyard_serving.acceleration` writes and verifies all of that.

The graph has at most two inputs, each with a row for each of the call's rows: `numbers` (float64) and `texts` (string).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from modelyard_serving.call import Predict, Predictor
from modelyard_serving.table import Array, Table

if TYPE_CHECKING:
    import onnxruntime  # type: ignore[import-untyped]

METADATA_KEY = "modelyard"
SCHEMA_VERSION = 1
NUMBERS, TEXTS = "numbers", "texts"
UNSEEN = "modelyard: unseen text"
"""A text that no model knows."""
LARGEST = float(np.finfo(np.float64).max)
_ROOT = 1e150
"""Its square is still a number."""

# What stands for a missing text: ONNX knows none, and no data holds these (private use, U+E000).
STAND_INS: Mapping[str, str] = {"None": "\ue000None", "NaN": "\ue000NaN", "other": "\ue000other"}


@dataclass(frozen=True)
class Fault:
    """What the original says to input that it refuses."""

    type: str
    """The exception's class, by name."""
    message: str
    """With UNSEEN's repr in the place of the value."""

    def exception(self, value: Any = None) -> Exception:
        """An exception that reads as the original's about this value."""
        known: dict[str, type[Exception]] = {"ValueError": ValueError, "TypeError": TypeError, "KeyError": KeyError}
        kind = known.get(self.type) or type(self.type, (ValueError,), {})
        error: Exception = kind(self.message.replace(repr(UNSEEN), repr(value)))
        return error


@dataclass(frozen=True)
class Column:
    """One of the signature's columns, or one position of an array."""

    name: str | None
    text: bool = False
    limit: float = LARGEST
    """The largest absolute value that the original takes (float32's largest where it computes in that)."""
    faults: Mapping[str, Fault] = field(default_factory=dict)
    """By kind of value, those that are refused. Numbers: `nan`, `+inf`, `-inf`, `large` (beyond the limit), `None` (in
    a column of objects). Texts: `None`, `NaN`, `other` (neither text nor missing), `unknown`. Both: `missing` (the
    column as a whole)."""
    known: tuple[str, ...] | None = None
    """The texts that are not `unknown`; needed where that is a fault."""


@dataclass(frozen=True)
class Output:
    """What a method returns."""

    names: tuple[str, ...]
    """The graph's outputs; several make a list of arrays (probabilities of several labels)."""
    dtype: str
    """Of each array, as numpy writes it; of the labels, where there are any."""
    flat: bool = False
    """Whether the shape is (rows,) where the graph's is (rows, 1)."""
    labels: tuple[tuple[Any, ...], ...] | None = None
    """The graph gives positions in these: one tuple, or one for each column of the output."""
    link: str = "identity"
    """What is made of the graph's sums: see LINKS. Not in the graph, as there the last bits of an exponential depend on
    how many rows there are."""
    slope: float = 1.0
    """What the sums are multiplied with before."""
    logarithm: bool = False
    """Whether the natural logarithm of all that is returned."""
    exact: bool = False
    """Whether it was held to the original's bits when it was verified."""


@dataclass(frozen=True)
class Contract:
    """All that the metadata says."""

    columns: tuple[Column, ...]
    methods: Mapping[str, Output]
    named: bool = True
    """Whether the input is a table with these names; else a table or array of as many columns."""
    rounding: str = "none"
    """Whether the original computes in float32, and where whole numbers meet it: `each` column by itself, or all
    columns in their `common` type. From int64 to float32 by way of float64 would round twice."""
    batchable: bool = False
    empty: Fault | None = None
    """What the original says to a table without rows, if it refuses that."""

    def to_json(self) -> str:
        """The metadata's value."""
        return json.dumps({"schemaVersion": SCHEMA_VERSION, **asdict(self)})

    @classmethod
    def from_json(cls, text: str) -> Contract:
        """Raises ValueError for what is no contract, or one of another version."""
        try:
            document = json.loads(text)
            if (version := document.pop("schemaVersion")) != SCHEMA_VERSION:
                raise ValueError(f"its contract has version {version}, not {SCHEMA_VERSION}")
            columns = tuple(_column(each) for each in document.pop("columns"))
            methods = {name: _output(each) for name, each in document.pop("methods").items()}
            empty = document.pop("empty")
            return cls(columns=columns, methods=methods, empty=empty and Fault(**empty), **document)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"its contract cannot be read: {error!r}") from error


def _column(document: dict[str, Any]) -> Column:
    faults = {kind: Fault(**fault) for kind, fault in document.pop("faults").items()}
    known = document.pop("known")
    return Column(faults=faults, known=None if known is None else tuple(known), **document)


def _output(document: dict[str, Any]) -> Output:
    names, labels = tuple(document.pop("names")), document.pop("labels")
    return Output(names=names, labels=None if labels is None else tuple(map(tuple, labels)), **document)


def predictor(session: onnxruntime.InferenceSession, contract: Contract) -> Predictor:
    """The model's methods over a session. They raise what the original raises."""
    reader = InputReader(contract)
    methods = {name: _method(session, reader, output) for name, output in contract.methods.items()}
    return Predictor(methods, takes_tables=True, batchable=contract.batchable, runtime="onnx")


def _method(session: onnxruntime.InferenceSession, reader: InputReader, output: Output) -> Predict:
    run, names, read = session.run, list(output.names), reader.read
    write = _writer(output)

    def one(data: Any, params: Mapping[str, Any] | None) -> Any:
        del params  # None of these libraries' models takes any.
        return write(run(names, read(data))[0])

    def several(data: Any, params: Mapping[str, Any] | None) -> Any:
        del params
        return [write(values) for values in run(names, read(data))]

    return one if len(names) == 1 else several


def _writer(output: Output) -> Callable[[Array], Array]:
    """Graph's output → array of the original's type and shape."""
    dtype = np.dtype(output.dtype)
    link = LINKS[output.link] if output.link != "identity" else None
    tables = None if output.labels is None else [_labels(labels, dtype) for labels in output.labels]
    single = tables[0] if tables is not None and len(tables) == 1 else None

    def write(values: Array) -> Array:
        if link is not None:
            values = link(values if output.slope == 1 else values * values.dtype.type(output.slope))
        if output.flat:
            values = values.reshape(-1)
        if single is not None:
            return single.take(values)
        if tables is not None:
            return np.column_stack([table.take(values[:, column]) for column, table in enumerate(tables)])
        if output.logarithm:
            with np.errstate(divide="ignore"):
                values = np.log(values)
        return values if values.dtype == dtype else values.astype(dtype)

    return write


def _sigmoid(sums: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-sums)))


def _logistic(sums: Array) -> Array:
    likely = _sigmoid(sums[:, 0])
    both = np.empty((len(sums), 2), sums.dtype)
    both[:, 0] = 1 - likely
    both[:, 1] = likely
    return both


def _softmax(sums: Array) -> Array:
    with np.errstate(invalid="ignore"):
        powers = np.exp(sums - sums.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _exponential(sums: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(sums))


LINKS: Mapping[str, Callable[[Array], Array]] = {
    "identity": lambda sums: sums,
    "sigmoid": _sigmoid,
    "logistic": _logistic,
    "softmax": _softmax,
    "exp": _exponential,
}
"""By name. `sigmoid` keeps the shape; `logistic` makes the probabilities of both classes of one sum."""


def _labels(labels: Sequence[Any], dtype: np.dtype[Any]) -> Array:
    table = np.empty(len(labels), dtype)
    table[:] = labels
    return table


class InputReader:
    """A call's data → the session's inputs, or the original's fault. Stateless once made."""

    def __init__(self, contract: Contract) -> None:
        self._columns = contract.columns
        self._names = tuple(column.name for column in contract.columns)
        self._named = contract.named
        self._rounding = contract.rounding
        self._empty = contract.empty
        self._numbers = [position for position, column in enumerate(self._columns) if not column.text]
        self._texts = [position for position, column in enumerate(self._columns) if column.text]
        self._known = {position: frozenset(self._columns[position].known or ()) for position in self._texts}
        limits = np.array([self._columns[position].limit for position in self._numbers])
        self._limits: Any = float(limits[0]) if limits.size and (limits == limits[0]).all() else limits
        self._squares = min(float(limits.min(initial=_ROOT)), _ROOT) ** 2

    def read(self, data: Any) -> dict[str, Array]:
        """`data` is a Table, a DataFrame or an array. Raises what the original would."""
        if isinstance(data, Table):
            if data.names != self._names:
                data = self._completed(dict(zip(data.names, map(data.column, range(len(data.names))), strict=True)))
            elif data.block is not None and not self._texts:
                if not data.rows and self._empty:
                    raise self._empty.exception()
                return {NUMBERS: self._checked(self._matrix(data.block))}
            elif self._rounding in ("none", "common") and (matrix := self._mixed(data)) is not None:
                return {NUMBERS: self._checked(matrix)}
            else:
                data = [data.column(position) for position in range(len(self._names))]
        elif isinstance(data, np.ndarray):
            data = self._positions(data)
        else:
            data = self._of_frame(data)
        return self._inputs(data)

    def _mixed(self, table: Table) -> Array | None:
        """Columns of several types as one matrix, where none has to be rounded by itself."""
        if self._texts or not table.rows or table.types is None:
            return None
        if self._rounding == "common" and all(dtype.kind in "iub" for dtype in table.types.dtypes):
            return None
        return table.floats()

    def _matrix(self, block: Array) -> Array:
        """Columns of one type, of shape (columns, rows), as the original sees them, of shape (rows, columns)."""
        if block.dtype != np.float64:
            if self._rounding != "none" and block.dtype.kind in "iub":
                block = block.astype(np.float32)
            block = block.astype(np.float64)
        return np.ascontiguousarray(block.T)

    def _inputs(self, columns: list[Array]) -> dict[str, Array]:
        if self._empty and not len(columns[0]):
            raise self._empty.exception()
        inputs = {}
        if self._numbers:
            numbers = [self._as_numbers(columns[position], position) for position in self._numbers]
            # As pandas and scikit-learn do: the common type of all columns comes before float32.
            whole = [column.dtype.kind in "iub" for column in numbers]
            if self._rounding == "each" or (self._rounding == "common" and all(whole)):
                numbers = [
                    column.astype(np.float32) if is_whole else column
                    for column, is_whole in zip(numbers, whole, strict=True)
                ]
            matrix = np.empty((len(numbers[0]), len(numbers)))
            for position, column in enumerate(numbers):
                matrix[:, position] = column
            inputs[NUMBERS] = self._checked(matrix)
        if self._texts:
            texts = np.empty((len(columns[self._texts[0]]), len(self._texts)), object)
            for at, position in enumerate(self._texts):
                texts[:, at] = [self._text(value, position) for value in columns[position]]
            inputs[TEXTS] = texts
        return inputs

    def _as_numbers(self, column: Array, position: int) -> Array:
        """A column of objects is one with gaps: truth values and None, which is NaN as a number."""
        if column.dtype != object:
            return column
        if (fault := self._columns[position].faults.get("None")) and any(value is None for value in column):
            raise fault.exception()
        return np.array([math.nan if value is None else value for value in column], float)

    def _checked(self, numbers: Array) -> Array:
        # One look for the ordinary case: no number is larger than the root of all their squares' sum, and NaN, or
        # what is too large, compares to nothing.
        if not np.vdot(numbers, numbers) <= self._squares and not (np.abs(numbers) <= self._limits).all():
            self._refuse(numbers)
        return numbers

    def _refuse(self, numbers: Array) -> None:
        """Raise the original's fault for numbers that are not finite or too large, if it has one."""
        kinds = (
            ("nan", np.isnan(numbers)),
            ("+inf", np.isposinf(numbers)),
            ("-inf", np.isneginf(numbers)),
            ("large", np.isfinite(numbers) & (np.abs(numbers) > self._limits)),
        )
        for kind, found in kinds:
            for at in np.flatnonzero(found.any(axis=0)):
                if fault := self._columns[self._numbers[at]].faults.get(kind):
                    raise fault.exception()

    def _text(self, value: Any, position: int) -> str:
        faults = self._columns[position].faults
        if isinstance(value, str):
            if (fault := faults.get("unknown")) and value not in self._known[position]:
                raise fault.exception(value)
            # ONNX Runtime takes no lone surrogates.
            return str(value) if value.isascii() else value.encode("utf-8", "replace").decode()
        kind = "None" if value is None else "NaN" if isinstance(value, float) and math.isnan(value) else "other"
        if fault := faults.get(kind):
            raise fault.exception()
        return STAND_INS[kind]

    def _of_frame(self, frame: Any) -> list[Array]:
        if self._named and tuple(frame.columns) != self._names:
            return self._completed({name: frame[name].to_numpy() for name in frame.columns})
        return [frame.iloc[:, position].to_numpy() for position in range(len(self._names))]

    def _positions(self, values: Array) -> list[Array]:
        if values.ndim != 2 or values.shape[1] != len(self._names):
            raise ValueError(f"an array of shape (rows, {len(self._names)}) is expected, not {values.shape}")
        return list(values.T)

    def _completed(self, given: Mapping[Any, Array]) -> list[Array]:
        """The columns in order. One that the original does without gets some value; else its fault is raised."""
        for column in self._columns:
            if column.name not in given and (fault := column.faults.get("missing")):
                raise fault.exception()
        rows = len(next(iter(given.values())))
        filler = {True: np.full(rows, "", object), False: np.zeros(rows)}
        return [given[column.name] if column.name in given else filler[column.text] for column in self._columns]
