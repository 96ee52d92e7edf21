"""From a model's directory to a verified ONNX model and the evidence, or to the reason why there is none."""

from __future__ import annotations

import hashlib
import platform
import statistics
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any

import numpy as np

from modelyard_serving.acceleration import original as originals
from modelyard_serving.acceleration.check import MAX_ROWS, MIN_ROWS, Check, Findings
from modelyard_serving.acceleration.convert import convert, write
from modelyard_serving.acceleration.errors import NotConvertible
from modelyard_serving.acceleration.examples import example_of, recorded_of
from modelyard_serving.acceleration.inputs import SEED, Source
from modelyard_serving.acceleration.original import Original
from modelyard_serving.acceleration.probe import probe
from modelyard_serving.acceleration.thresholds import thresholds_of
from modelyard_serving.call import Predictor
from modelyard_serving.errors import StartupError
from modelyard_serving.flavors.accelerated import Contract, predictor
from modelyard_serving.flavors.onnx import open_session
from modelyard_serving.flavors.rowwise import is_row_wise

SECONDS = 60.0
"""What the comparison may take by default."""
PROBE_SECONDS = 60.0
"""What finding out may take which input is refused."""
_LIBRARIES = (
    "scikit-learn",
    "xgboost-cpu",
    "xgboost",
    "lightgbm",
    "numpy",
    "pandas",
    "onnx",
    "onnxruntime",
    "skl2onnx",
)

Log = Callable[[str], None]


class Outcome(StrEnum):
    """What came of it."""

    VERIFIED = "Verified"
    """The ONNX model answers as the original; it may be served."""
    ANSWERS_DIFFER = "AnswersDiffer"
    """There is an ONNX model, but some of its answers are others: see the counterexamples."""
    NOT_CONVERTIBLE = "NotConvertible"
    """There is no ONNX model; the message says why."""
    FAILED = "Failed"
    """It could not be found out."""


@dataclass(frozen=True)
class Acceleration:
    """The outcome, with the file's content if it is Verified."""

    outcome: Outcome
    message: str
    evidence: dict[str, Any]
    content: bytes | None = None

    def document(self) -> dict[str, Any]:
        """acceleration.json."""
        model = None
        if self.content is not None:
            model = {"sha256": hashlib.sha256(self.content).hexdigest(), "bytes": len(self.content)}
        return {"outcome": self.outcome, "message": self.message, "model": model, "evidence": self.evidence}


@dataclass(frozen=True)
class Limits:
    """What comparing may take: it ends with whichever is reached first."""

    seconds: float = SECONDS
    rows: int = MAX_ROWS


def accelerate(
    directory: Path, recorded: Path | None = None, limits: Limits = Limits(), log: Log = lambda _: None
) -> Acceleration:
    """Convert the model in the directory and compare the two. Never raises an Exception."""
    evidence: dict[str, Any] = {"schemaVersion": 1, "libraries": libraries(), "seed": SEED}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = originals.load(directory)
            log(f"loaded: {type(model.estimator).__name__}, {len(model.features)} features")
            example = example_of(model, directory)
            requests = recorded_of(recorded, directory) if recorded else []
        return verify(model, example, requests, limits, log, evidence)
    except NotConvertible as error:
        return Acceleration(Outcome.NOT_CONVERTIBLE, str(error), evidence)
    except StartupError as error:
        return Acceleration(Outcome.FAILED, error.message, evidence)
    except Exception as error:
        return Acceleration(Outcome.FAILED, f"{type(error).__name__}: {error}"[:1000], evidence)


def verify(  # noqa: PLR0917 - what `accelerate` has found so far
    model: Original, example: list[Any], requests: Sequence[Any], limits: Limits, log: Log, evidence: dict[str, Any]
) -> Acceleration:
    """Raises NotConvertible."""
    begin = monotonic()
    graph, contract = convert(model, example)
    log(f"converted: {graph.ByteSize()} bytes")
    contract = probe(model, contract, [values[:1] for values in example], begin + max(limits.seconds, PROBE_SECONDS))
    content = write(graph, contract)
    accelerated = _open(content, contract)
    known = {at: column.known for at, column in enumerate(contract.columns) if column.known}
    source = Source(model, example, known, thresholds_of(model))
    log(f"probed: {sum(len(column.faults) for column in contract.columns)} kinds of input are refused")
    check = Check(model, accelerated, contract)
    findings = check.run(source, requests, limits.seconds, limits.rows)
    log(f"compared: {sum(findings.rows.values())} rows, {sum(findings.wrong.values())} answered differently")
    kept = {name: output for name, output in contract.methods.items() if not findings.wrong[name]}
    # Of the methods that are there on request only, those that differ are left out.
    needed = {"predict", "predict_proba"} & contract.methods.keys()
    contract = replace(contract, methods=kept, batchable=findings.batchable and is_row_wise(graph))
    evidence |= _evidence(findings, check, contract)
    if not needed <= kept.keys():
        return Acceleration(Outcome.ANSWERS_DIFFER, _differs(findings), evidence)
    if (rows := sum(findings.rows.values())) < MIN_ROWS:
        message = f"only {rows} rows could be compared in {limits.seconds:.0f} s, not {MIN_ROWS}"
        return Acceleration(Outcome.FAILED, message, evidence)
    content = write(graph, contract)
    speed = _speed(model, _open(content, contract), example)
    evidence["oneRowMicroseconds"] = speed
    if speed["onnx"] >= speed["original"]:
        raise NotConvertible(
            f"as ONNX it is not faster ({speed['onnx']} µs a row, the original {speed['original']} µs)"
        )
    message = f"{rows} rows compared; one row takes {speed['onnx']} µs instead of {speed['original']} µs"
    return Acceleration(Outcome.VERIFIED, message, evidence, content)


def _open(content: bytes, contract: Contract) -> Predictor:
    try:
        return predictor(open_session(content), contract)
    except Exception as error:
        raise NotConvertible(f"ONNX Runtime refuses the graph: {' '.join(str(error).split())[:500]}") from error


def _differs(findings: Findings) -> str:
    first = findings.counterexamples[0] if findings.counterexamples else {}
    total = sum(findings.wrong.values())
    return f"{total} answers differ, first {first.get('method')} on {first.get('kind')} input"


def _evidence(findings: Findings, check: Check, contract: Contract) -> dict[str, Any]:
    methods = {
        name: {
            "tolerance": {"absolute": allowed.absolute, "relative": allowed.relative},
            "largestDifference": _finite(findings.largest.get(name, 0.0)),
            "identicalBits": findings.bits.get(name, False),
            "wrongRows": findings.wrong[name],
        }
        for name, allowed in check.tolerances.items()
    }
    return {
        "rows": dict(sorted(findings.rows.items())),
        "refused": {"rows": findings.faults, "otherWords": findings.other_words},
        "methods": methods,
        "batchable": contract.batchable,
        "counterexamples": findings.counterexamples,
        "seconds": round(findings.seconds, 3),
    }


def _finite(value: float) -> float | str:
    return value if np.isfinite(value) else repr(value)


def _speed(model: Original, accelerated: Predictor, example: list[Any]) -> dict[str, float]:
    """Median microseconds of `predict` for one row, as each is called by the server."""
    row = [values[:1] for values in example]
    data, table = model.data(row), model.table(row)
    return {
        "original": _median(lambda: model.predictor.predict(data, None), 30),
        "onnx": _median(lambda: accelerated.predict(data if table is None else table, None), 300),
    }


def _median(call: Callable[[], Any], times: int) -> float:
    call()
    taken = []
    for _ in range(times):
        begin = perf_counter()
        call()
        taken.append(perf_counter() - begin)
    return round(statistics.median(taken) * 1e6, 1)


def libraries() -> dict[str, str]:
    """The versions that the outcome depends on."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
