"""A request of any protocol can be remembered, given to another version, and the two answers compared."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest

from modelyard_serving.call import PREDICT, PREDICT_PROBA, Predictor
from modelyard_serving.compare import differences
from modelyard_serving.engine.engine import Limits
from modelyard_serving.metrics import Metrics
from modelyard_serving.model import Loaded, Model
from modelyard_serving.protocol.dialect import HttpRequest
from modelyard_serving.protocol.grpc.dialect import CHECK_MODEL
from modelyard_serving.recent import Recent, Remembered, write_page
from modelyard_serving.reference import read_page
from tests.unit.serving.protocol.cases import JSON, column, mlmodel, sent
from tests.unit.serving.protocol.grpc.clients import infer

ROWS = [[1.0, 2.0], [3.0, 5.0]]
WHOLE = sent("x", "FP64", [2, 2], ROWS)


def _json(document: Any, headers: Any = JSON, **query: str) -> HttpRequest:
    return HttpRequest(json.dumps(document).encode(), headers, query)


def _binary() -> HttpRequest:
    tensor = {"name": "x", "datatype": "FP64", "shape": [2, 2], "parameters": {"binary_data_size": 32}}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    length = str(len(head)).encode()
    return HttpRequest(head + struct.pack("<4d", *np.ravel(ROWS)), {b"inference-header-content-length": length})


def _grpc(*content: Any) -> HttpRequest:
    message = infer(("x", "FP64", [2, 2], *content), model_version="3")
    return HttpRequest(message.SerializeToString(), {CHECK_MODEL: b"1"})


REQUESTS: dict[str, tuple[str, HttpRequest]] = {
    "mlflow": ("mlflow", _json({"dataframe_split": {"columns": ["a", "b"], "data": ROWS}})),
    "v1": ("v1", _json({"instances": ROWS})),
    "v1, probabilities": ("v1", _json({"instances": ROWS}, method="predict_proba")),
    "v1 without a content type": ("v1", _json({"instances": ROWS}, {})),
    "v2": ("v2", _json({"inputs": [WHOLE], "id": "7"})),
    "v2, both methods": ("v2", _json({"inputs": [WHOLE], "outputs": [{"name": "predict"}, {"name": "predict_proba"}]})),
    "v2, binary": ("v2", _binary()),
    "grpc, typed": ("grpc", _grpc("fp64_contents", np.ravel(ROWS))),
    "grpc, raw": ("grpc", _grpc(struct.pack("<4d", *np.ravel(ROWS)))),
}


def _version(version: str, factor: float) -> Model:
    """A model whose answers are the rows' sums times a factor."""

    def predict(data: Any, _: Any) -> Any:
        return factor * data.to_numpy().sum(axis=1)

    def probabilities(data: Any, _: Any) -> Any:
        return np.full((len(data), 2), factor / 4)

    loaded = Loaded(
        mlmodel(column("a", "double"), column("b", "double")),
        "sklearn",
        Predictor({PREDICT: predict, PREDICT_PROBA: probabilities}),
    )
    return Model.of(loaded, Limits(), Metrics(), ("wine", version), grpc=True)


def _remembered(dialect: str, request: HttpRequest, answer: bytes) -> Remembered:
    """The request as another pod gets to know of it."""
    recent = Recent(10)
    recent.add(dialect, request, answer, 0.01)
    return read_page(write_page(recent.instance, "3", recent.page(0, 10))).requests[0]


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize(("factor", "difference"), [(1.0, 0.0), (2.0, 0.5)])
def test_a_candidate_is_compared_by_the_requests_of_every_protocol(name: str, factor: float, difference: float) -> None:
    dialect, request = REQUESTS[name]
    served, candidate = _version("3", 1.0), _version("4", factor)
    known = _remembered(dialect, request, served.answer(dialect, request).body)
    answer = candidate.answer(known.dialect, known.request)
    read = candidate.dialects[dialect].predictions
    assert differences(read(known.answer), read(answer.body)) == [pytest.approx(difference)] * len(ROWS)
