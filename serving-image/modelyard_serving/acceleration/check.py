"""Asks the original and the ONNX model the same, and counts where they differ. Bounded in time."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import numpy as np

from modelyard_serving.acceleration.compare import Tolerance, difference, same_fault, tolerance
from modelyard_serving.acceleration.inputs import Batch, Source, boundary
from modelyard_serving.acceleration.original import Original
from modelyard_serving.call import Predictor
from modelyard_serving.flavors.accelerated import Contract
from modelyard_serving.table import Table

MIN_ROWS = 500
"""With fewer rows compared, nothing is verified."""
MAX_ROWS = 50_000
"""With so many rows compared, it is enough."""
_HOSTILE = 25
"""One row in so many, at most, is one that the original may refuse: they are predicted one at a time."""
MAX_COUNTEREXAMPLES = 5
_SINGLES = 100
_BOTH_FORMS = 64
"""Batches of so many rows are asked as tables and as DataFrames, larger ones as tables."""
_ALWAYS = ("predict", "predict_proba")
_SELDOM = 8
"""Methods that are asked for less are compared in each batch of so many."""

Ask = Callable[[], Any]


@dataclass
class Findings:
    """What was compared so far."""

    rows: Counter[str] = field(default_factory=Counter)
    """By kind of input."""
    faults: int = 0
    """Rows that the original refused."""
    other_words: int = 0
    """How often the other refused with another message."""
    largest: dict[str, float] = field(default_factory=dict)
    """By method, the largest absolute difference."""
    bits: dict[str, bool] = field(default_factory=dict)
    """By method, whether all answers were equal to the last bit."""
    wrong: Counter[str] = field(default_factory=Counter)
    """By method, how many rows differ by more than allowed."""
    counterexamples: list[dict[str, Any]] = field(default_factory=list)
    batchable: bool = False
    seconds: float = 0.0


@dataclass
class Check:
    """One comparison of two models."""

    original: Original
    accelerated: Predictor
    contract: Contract
    tolerances: dict[str, Tolerance] = field(default_factory=dict)
    findings: Findings = field(default_factory=Findings)
    turn: int = 0

    def run(self, source: Source, recorded: Sequence[Any], seconds: float, rows: int = MAX_ROWS) -> Findings:
        """Compare until the time is over or so many rows are compared."""
        begin = monotonic()
        end = begin + seconds
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._set_tolerances(source)
            for data in recorded:
                if monotonic() < begin + seconds / 4:
                    self._compare_any("recorded", data, [data], len(data))
            self._hostile(source, monotonic() + seconds / 4, rows // _HOSTILE)
            self._boundaries(source, monotonic() + seconds / 4)
            for batch in source.gentle():
                self._compare(batch)
                if monotonic() > end or sum(self.findings.rows.values()) >= rows or self._lost():
                    break
            self.findings.batchable = not self._lost() and self._batchable(source)
        self.findings.seconds = monotonic() - begin
        return self.findings

    def _lost(self) -> bool:
        return bool(self.findings.wrong["predict"]) and len(self.findings.counterexamples) >= MAX_COUNTEREXAMPLES

    def _set_tolerances(self, source: Source) -> None:
        data = self.original.data(source.example)
        for name, output in self.contract.methods.items():
            answer = self.original.predictor.methods[name](data, None)
            first = (
                np.concatenate([np.ravel(each) for each in answer]) if isinstance(answer, list) else np.ravel(answer)
            )
            finite = np.abs(first[np.isfinite(first)]) if first.dtype.kind == "f" else np.zeros(0)
            scale = float(finite.max(initial=0.0))
            exact = output.exact or output.labels is not None
            self.tolerances[name] = tolerance(name, self.original.function, exact, scale)

    def _boundaries(self, source: Source, until: float) -> None:
        """To the last bit with trees; not where BLAS sums, whose last bits depend on how many rows there are."""
        try:
            batch = boundary(source, 48, 64 if source.thresholds else 24, until)
        except Exception:
            return
        if batch is not None:
            self._compare(batch)

    def _hostile(self, source: Source, until: float, most: int) -> None:
        for count, batch in enumerate(source.hostile()):
            if monotonic() > until or count >= most or self._lost():
                return
            self._compare(batch)

    def _compare(self, batch: Batch) -> None:
        data = self.original.data(batch.columns, batch.without)
        forms = [data]
        if batch.without is None and (quick := self._quick(batch)) is not None:
            forms = [quick, data] if batch.rows <= _BOTH_FORMS else [quick]
        self._compare_any(batch.kind, data, forms, batch.rows)

    def _quick(self, batch: Batch) -> Table | None:
        typed = all(
            each.dtype == feature.dtype for each, feature in zip(batch.columns, self.original.features, strict=True)
        )
        return self.original.table(batch.columns) if typed else None

    def _compare_any(self, kind: str, data: Any, forms: Sequence[Any], rows: int) -> None:
        """`data` is what the original is asked, `forms` the same as the other may be given it."""
        expected = _attempt(self.original.predictor.methods["predict"], data)
        if isinstance(expected, Exception) and rows > 1:
            for row in range(min(rows, _SINGLES)):
                one = _row(data, row)
                self._compare_any(kind, one, [one], 1)
            return
        self.findings.rows[kind] += rows
        self.findings.faults += isinstance(expected, Exception)
        self.turn += 1
        for name in self.contract.methods:
            if name not in _ALWAYS and self.turn % _SELDOM:
                continue
            if name != "predict":
                expected = _attempt(self.original.predictor.methods[name], data)
            for form in forms:
                self._judge(kind, name, data, expected, _attempt(self.accelerated.methods[name], form))

    def _judge(self, kind: str, name: str, data: Any, expected: Any, found: Any) -> None:
        findings, rows = self.findings, len(data)
        if isinstance(expected, Exception) or isinstance(found, Exception):
            if isinstance(expected, Exception) and isinstance(found, Exception) and same_fault(expected, found):
                findings.other_words += str(expected) != str(found)
                return
            self._note(kind, name, data, np.ones(rows, bool), expected, found, "one of the models refuses")
            return
        result = difference(expected, found, rows, self.tolerances[name])
        findings.largest[name] = max(findings.largest.get(name, 0.0), result.largest)
        findings.bits[name] = findings.bits.get(name, True) and result.bits
        if result.wrong.any():
            self._note(kind, name, data, result.wrong, expected, found, result.form)

    def _note(  # noqa: PLR0917 - all that a counterexample says
        self, kind: str, name: str, data: Any, wrong: Any, expected: Any, found: Any, why: str | None
    ) -> None:
        self.findings.wrong[name] += int(wrong.sum())
        if len(self.findings.counterexamples) < MAX_COUNTEREXAMPLES:
            row = int(np.flatnonzero(wrong)[0])
            self.findings.counterexamples.append(
                {
                    "kind": kind,
                    "method": name,
                    "input": _plain(_row(data, row)),
                    "original": _plain(_answer(expected, row)),
                    "onnx": _plain(_answer(found, row)),
                    **({"reason": why} if why else {}),
                }
            )

    def _batchable(self, source: Source) -> bool:
        """Whether rows are answered with the same bytes whatever rows are beside them."""
        batch = next(each for each in source.gentle() if each.kind == "plausible" and each.rows >= _SINGLES)
        columns = [column[:_SINGLES] for column in batch.columns]
        for name in self.contract.methods:
            method = self.accelerated.methods[name]
            try:
                whole = _bytes(method(self._data(columns), None))
                for size in (1, 2, 3, 7, 64):
                    parts = [[column[at : at + size] for column in columns] for at in range(0, _SINGLES, size)]
                    answers = [method(self._data(part), None) for part in parts]
                    if _joined(answers) != whole:
                        return False
            except Exception:
                return False
        return True

    def _data(self, columns: Sequence[Any]) -> Any:
        table = self.original.table(columns)
        return self.original.data(columns) if table is None else table


def _attempt(method: Any, data: Any) -> Any:
    try:
        return method(data, None)
    except Exception as error:
        return error


def _row(data: Any, row: int) -> Any:
    return data[row : row + 1] if isinstance(data, np.ndarray) else data.iloc[row : row + 1]


def _answer(answer: Any, row: int) -> Any:
    if isinstance(answer, Exception):
        return f"{type(answer).__name__}: {answer}"[:500]
    if isinstance(answer, list):
        return [_answer(each, row) for each in answer]
    return answer[row] if isinstance(answer, np.ndarray) and row < len(answer) else answer


def _plain(value: Any) -> Any:
    """As JSON holds it; floats that are no numbers as texts, and floats with all their digits."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if hasattr(value, "to_dict"):
        return _plain(value.to_dict(orient="records")[0])
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value[:100]]
    if isinstance(value, float):
        return value if np.isfinite(value) else repr(value)
    return (
        value
        if value is None or isinstance(value, bool | int)
        else str(value)[:500].encode("utf-8", "replace").decode()
    )


def _bytes(answer: Any) -> list[bytes]:
    answers = answer if isinstance(answer, list) else [answer]
    return [repr(each.tolist()).encode() if each.dtype == object else each.tobytes() for each in answers]


def _joined(answers: Sequence[Any]) -> list[bytes]:
    if isinstance(answers[0], list):
        return _bytes([np.concatenate(each) for each in zip(*answers, strict=True)])
    return _bytes(np.concatenate(answers))
