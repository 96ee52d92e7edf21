"""Rows that the original is known, or found, to answer: the input example, recorded requests, made up ones."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from modelyard_serving import mlmodel
from modelyard_serving.acceleration.errors import NotConvertible
from modelyard_serving.acceleration.original import Original
from modelyard_serving.acceleration.probe import learned_texts, parts
from modelyard_serving.acceleration.thresholds import thresholds_of
from modelyard_serving.protocol.media import Media, media_of
from modelyard_serving.protocol.parse import decode_json, parse_csv, parse_json
from modelyard_serving.schema.enforce import enforce
from modelyard_serving.table import Array

EXAMPLE = "serving_input_example.json"
"""What MLflow writes beside a model that was logged with an example: a body for /invocations."""
MAX_ROWS = 1000
MAX_RECORDED = 5000


def example_of(original: Original, directory: Path) -> list[Array]:
    """An array for each feature of rows that the original answers. Raises NotConvertible if none can be found."""
    path = directory / EXAMPLE
    if path.is_file():
        try:
            data = read_body(path.read_bytes(), "application/json", directory)
            columns = _columns(data, original)
            original.predictor.predict(original.data(columns), None)
        except Exception:
            return made_up(original)
        return columns
    return made_up(original)


def read_body(body: bytes, content_type: str | None, directory: Path) -> Any:
    """The model's input that the server makes of a request to /invocations. Raises RequestError."""
    inputs = mlmodel.read(directory).inputs
    if media_of(content_type) is Media.CSV:
        return enforce(parse_csv(body, inputs).data, inputs)
    return enforce(parse_json(decode_json(body), inputs).data, inputs)


def recorded_of(path: Path, directory: Path) -> list[Any]:
    """The input of recorded requests, as `python -m modelyard_serving.acceleration --recorded` takes them.

    The file is a JSON list of `{"contentType": …, "body": …}`, the body in base64. Requests that cannot be read are
    passed over. Raises ValueError for another file.
    """
    document = json.loads(path.read_bytes())
    if not isinstance(document, list):
        raise ValueError(f"{path.name} is no JSON list")
    found = []
    for entry in document[:MAX_RECORDED]:
        try:
            found.append(read_body(b64decode(entry["body"]), entry.get("contentType"), directory))
        except Exception:  # noqa: S112 - the server refuses it, whatever the model
            continue
    return [data for data in found if isinstance(data, np.ndarray | pd.DataFrame) and len(data)]


def _columns(data: Any, original: Original) -> list[Array]:
    if isinstance(data, np.ndarray):
        return [np.ascontiguousarray(column) for column in data[:MAX_ROWS].T]
    frame = data.iloc[:MAX_ROWS]
    columns = [
        frame.iloc[:, at] if feature.name is None else frame[feature.name]
        for at, feature in enumerate(original.features)
    ]
    return [np.array(column, feature.dtype) for column, feature in zip(columns, original.features, strict=True)]


def made_up(original: Original) -> list[Array]:
    """Rows of what the model itself tells: its thresholds, the means of its scalers, the texts it has learned."""
    random = np.random.default_rng(0)
    thresholds = thresholds_of(original)
    texts = sorted(learned_texts(original.estimator)) or ["a", "b"]
    for centers in _centers(original):
        columns = []
        for position, feature in enumerate(original.features):
            if feature.text:
                columns.append(random.choice(np.array(texts, object), 32))
                continue
            center = float(np.median(thresholds[position])) if position in thresholds else centers[position]
            columns.append(random.normal(center, abs(center) / 4 + 0.1, 32).astype(feature.dtype))
        answered = [row for row in range(32) if _answers(original, [column[row : row + 1] for column in columns])]
        if answered:
            return [column[answered] for column in columns]
    raise NotConvertible("it was logged without an example, and no input was found that it answers")


def _centers(original: Original) -> Iterator[list[float]]:
    count = len(original.features)
    for part in parts(original.estimator):
        mean = getattr(part, "mean_", None)
        if mean is not None and np.shape(mean) == (count,):
            yield [float(value) for value in mean]
    for value in (0.0, 1.0, 50.0):
        yield [value] * count


def _answers(original: Original, row: list[Array]) -> bool:
    try:
        original.predictor.predict(original.data(row), None)
    except Exception:
        return False
    return True
