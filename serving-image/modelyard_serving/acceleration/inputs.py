"""What the two models are asked: known input, plausible input, and all that is likely to tell them apart. Seeded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import numpy as np

from modelyard_serving.acceleration.original import Feature, Original
from modelyard_serving.acceleration.probe import FLOAT32_LIMIT, learned_texts
from modelyard_serving.acceleration.thresholds import Split, splits_of
from modelyard_serving.flavors.accelerated import UNSEEN
from modelyard_serving.table import Array

SEED = 20240115
SIZES = (1, 2, 3, 7, 64, 1000)
Columns = list[Array]

_TINY = [0.0, -0.0, 5e-324, -5e-324, 1e-310, 1e-45, 1e-38, -1e-38, 1e-35, -1e-35, 1e-9]
_MIDDLE = [0.1, 0.5, -0.5, 1.0, -1.0, 1.5, 2.0**24 + 1, 2.0**31, 2.0**53 + 2, 1e18]
_EDGES = np.array([*_TINY, *_MIDDLE, 1e30, -1e30, 3.4028234e38, FLOAT32_LIMIT, -FLOAT32_LIMIT])
_BEYOND = np.array([np.nextafter(FLOAT32_LIMIT, np.inf), 1e39, -1e39, 1e200, -1e300, np.finfo(float).max])
_TEXTS = (
    "",
    " ",
    UNSEEN,
    "é",
    "日本",
    "🙂",
    "a" * 5000,
    "nan",
    "None",
    "null",
    "0",
    "1.0",
    "true",
    "\t\n",
    "\x00",
    "\ud800",
)


@dataclass(frozen=True)
class Batch:
    """Rows that are predicted together."""

    kind: str
    columns: Columns
    without: int | None = None
    """An optional column that is not there."""

    @property
    def rows(self) -> int:
        """How many."""
        return len(self.columns[0])


@dataclass
class Source:
    """Makes batches for one model. The same seed makes the same batches."""

    original: Original
    example: Columns
    known: dict[int, tuple[str, ...]] = field(default_factory=dict)
    """By feature: the only texts that the original takes."""
    thresholds: dict[int, Array] = field(default_factory=dict)
    """By feature: the values that the model's trees compare with."""
    seed: int = SEED

    def __post_init__(self) -> None:
        """Find out what is plausible in each column."""
        self._random = np.random.default_rng(self.seed)
        texts = sorted(learned_texts(self.original.estimator))
        self._splits: Iterator[tuple[Split, int]] = iter(())
        self._texts = np.array([*texts, *(() if texts else ("a", "b"))], object)

    def gentle(self) -> Iterator[Batch]:
        """Without end: batches that the original is expected to answer, of every size, kind by kind."""
        yield Batch("example", self.example)
        makers: Sequence[tuple[str, Callable[[int], Columns]]] = (
            ("plausible", self.plausible),
            ("splits", self._at_splits),
            ("thresholds", self._at_thresholds),
            ("edges", self._edges),
            ("constant", lambda rows: [np.repeat(column, rows) for column in self.plausible(1)]),
            ("duplicated", lambda rows: [np.repeat(each, 2)[:rows] for each in self.plausible(rows)]),
        )
        while True:
            for size in SIZES[::-1]:
                for kind, make in makers:
                    if kind not in ("splits", "thresholds") or self.thresholds:
                        yield Batch(kind, make(size))

    def hostile(self) -> Iterator[Batch]:
        """Without end: single rows with what the original may refuse: each column's worst values, then several."""
        for position, feature in enumerate(self.original.features):
            if not feature.required:
                yield Batch("missing", self.plausible(1), without=position)
        worst_of = [self._worst(feature) for feature in self.original.features]
        for turn in range(max(map(len, worst_of))):  # All columns have their turn before any has its second.
            for position, values in enumerate(worst_of):
                if turn < len(values):
                    kind, value = values[turn]
                    yield Batch(kind, self._with(self.plausible(1), position, value))
        while True:
            row = self.plausible(1)
            for position in self._random.choice(len(row), min(len(row), 2), replace=False):
                worst = self._worst(self.original.features[position])
                row = self._with(row, position, worst[self._random.integers(len(worst))][1])
            yield Batch("several", row)

    def _worst(self, feature: Feature) -> list[tuple[str, Any]]:
        if feature.text:
            missing = [("missing text", None), ("missing text", np.nan), ("no text", 5), ("no text", True)]
            return [*missing, *[("texts", text) for text in _TEXTS]]
        if feature.dtype.kind == "f":
            with np.errstate(over="ignore"):
                large = _BEYOND.astype(feature.dtype).tolist()
            special = [("nan", np.nan), ("infinite", np.inf), ("infinite", -np.inf)]
            return [*special, *[("large", value) for value in large]]
        if feature.dtype.kind == "b":
            return [("missing truth value", None), ("boolean", True)]
        return [("bounds", int(bound)) for bound in (np.iinfo(feature.dtype).min, np.iinfo(feature.dtype).max)]

    @staticmethod
    def _with(row: Columns, position: int, value: Any) -> Columns:
        dtype = object if row[position].dtype == bool and value is None else row[position].dtype
        column = np.empty(1, dtype)
        column[0] = value
        return [column if at == position else each for at, each in enumerate(row)]

    def plausible(self, rows: int) -> Columns:
        """Rows as they might be asked for."""
        return [self._values(position, rows) for position in range(len(self.original.features))]

    def _values(self, position: int, rows: int) -> Array:
        """Around the example's values and across the thresholds; texts that were learned or are in the example."""
        feature, known = self.original.features[position], self.example[position]
        if feature.text:
            texts = self.known.get(position) or [*(value for value in known if isinstance(value, str)), *self._texts]
            return self._random.choice(np.array(texts, object), rows)
        if feature.dtype.kind == "b":
            return self._random.integers(0, 2, rows).astype(bool)
        finite = known[np.isfinite(known.astype(float))].astype(float)
        anchors = np.concatenate([finite if finite.size else np.zeros(1), self.thresholds.get(position, finite)[:5000]])
        low, high = anchors.min(), anchors.max()
        span = (high - low) or abs(low) or 1.0
        ways = self._random.integers(0, 4, rows)
        picked = self._random.choice(anchors, rows)
        wide = self._random.normal(picked, span * self._random.choice([0.01, 1.0, 10.0], rows))
        values = np.select(
            [ways == 0, ways == 1], [picked, self._random.uniform(low - span / 2, high + span / 2, rows)], wide
        )
        return _as(values, feature)

    def _at_thresholds(self, rows: int) -> Columns:
        """Each value on a threshold of its column, or next to one: by a bit of float64, of float32, or half of that."""
        columns = self.plausible(rows)
        for position, thresholds in self.thresholds.items():
            feature = self.original.features[position]
            chosen = self._random.random(rows) < max(0.3, 2 / len(columns))
            values = neighbours(self._random.choice(thresholds, rows), self._random.integers(0, 9, rows))
            columns[position] = np.where(chosen, _as(values, feature), columns[position])
        return columns

    def _at_splits(self, rows: int) -> Columns:
        """Each row meets one of the trees' comparisons with a value on or beside its threshold: in turn all of them."""
        columns = self.plausible(rows)
        for row in range(rows):
            split, way = self._next_split()
            for feature, (low, high) in split.bounds.items():
                value = float(columns[feature][row])
                if not low < value <= high:
                    _put(columns[feature], row, _inside(low, high), self.original.features[feature])
            value = float(neighbours(np.array([split.threshold]), np.array([way]))[0])
            _put(columns[split.feature], row, value, self.original.features[split.feature])
        return columns

    def _next_split(self) -> tuple[Split, int]:
        found = next(self._splits, None)
        if found is None:  # From the beginning: first the threshold itself, then its neighbours in float64.
            self._splits = ((split, way) for way in range(9) for split in splits_of(self.original))
            found = next(self._splits)
        return found

    def _edges(self, rows: int) -> Columns:
        columns = self.plausible(rows)
        for position, feature in enumerate(self.original.features):
            chosen = self._random.random(rows) < 2 / len(columns)
            if feature.text or feature.dtype.kind == "b":
                continue
            columns[position] = np.where(chosen, _as(self._random.choice(_EDGES, rows), feature), columns[position])
        return columns


def _inside(low: float, high: float) -> float:
    if np.isfinite(low) and np.isfinite(high):
        middle = low / 2 + high / 2
        return middle if low < middle <= high else high
    return high if np.isfinite(high) else low + max(abs(low) / 8, 0.1)


def _put(column: Array, row: int, value: float, feature: Feature) -> None:
    column[row] = _as(np.array([value]), feature)[0]


def neighbours(values: Array, ways: Array) -> Array:
    """float64 numbers on and beside the given ones; `ways` are 0 to 8."""
    with np.errstate(over="ignore"):
        single = values.astype(np.float32)
        up, down = np.nextafter(single, np.float32(np.inf)), np.nextafter(single, np.float32(-np.inf))
    wide = single.astype(float)
    choices = [values, np.nextafter(values, np.inf), np.nextafter(values, -np.inf), wide, up, down]
    middles = [(wide + up) / 2, (wide + down) / 2, np.nextafter((wide + up) / 2, -np.inf)]
    return np.choose(ways, [each.astype(float) for each in [*choices, *middles]])


def _as(values: Array, feature: Feature) -> Array:
    """Numbers in the feature's type: whole ones rounded and held to its bounds."""
    if feature.dtype.kind in "iu":
        bounds = np.iinfo(feature.dtype)
        inside = np.clip(np.round(values), float(bounds.min), float(bounds.max) * (1 - 2**-52))
        return inside.astype(feature.dtype)
    with np.errstate(over="ignore"):
        cast = values.astype(feature.dtype)
    return np.where(np.isfinite(cast), cast, np.zeros(1, feature.dtype))


def boundary(source: Source, pairs: int, steps: int, until: float) -> Batch | None:
    """Rows on both sides of where the original's answer changes, found by halving the way between plausible rows.

    With 64 steps the two sides are neighbours in float64; when the monotonic clock passes `until` they are further
    apart. None if all answers are alike.
    """
    original = source.original
    one, other = source.plausible(pairs), source.plausible(pairs)
    numbers = [at for at, each in enumerate(original.features) if not each.text and each.dtype.kind != "b"]
    for position in range(len(one)):
        if position not in numbers:
            other[position] = one[position]

    def answers(columns: Columns) -> Array:
        predicted = np.asarray(original.predictor.predict(original.data(columns), None))
        return predicted.reshape(len(predicted), -1)

    first = answers(one)
    apart = (first != answers(other)).any(axis=1)
    if not apart.any():
        return None
    one, other, first = [each[apart] for each in one], [each[apart] for each in other], first[apart]
    for _ in range(steps):
        if monotonic() > until:
            break
        middle = list(one)
        for position in numbers:
            middle[position] = _between(one[position], other[position])
        same = (answers(middle) == first).all(axis=1)
        for position in numbers:
            one[position] = np.where(same, middle[position], one[position])
            other[position] = np.where(same, other[position], middle[position])
    return Batch("boundary", [np.concatenate(each) for each in zip(one, other, strict=True)])


def _between(one: Array, other: Array) -> Array:
    if one.dtype.kind in "iu":
        return np.asarray(one + (other - one) // 2)
    return np.asarray((one / 2 + other / 2).astype(one.dtype))
