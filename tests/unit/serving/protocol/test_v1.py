"""KServe's V1: rows in, predictions out, over the same rules as MLflow's own protocol."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from modelyard_serving.call import Result
from modelyard_serving.errors import RequestError
from modelyard_serving.protocol.dialect import HttpRequest
from modelyard_serving.protocol.v1 import V1Dialect, model_list, model_status
from tests.unit.serving.protocol.cases import column, mlflow, outcome, refusal, request, tensor, v1

MIXED = (column("d", "double"), column("l", "long"), column("s", "string"), column("o", "double", required=False))
ROW = {"d": 1.5, "l": 2, "s": "x", "o": 0.5}


@pytest.mark.parametrize(
    "rows",
    [
        [ROW],
        [ROW, {**ROW, "d": 2}],
        [{"s": "x", "l": 1, "d": 1}],
        [{**ROW, "extra": 1}],
        [{**ROW, "d": "1.5"}],
        [{**ROW, "d": None}],
        [{**ROW, "d": True}],
        [{**ROW, "l": "x"}],
        [{**ROW, "l": None}],
        [{"d": 1}],
        [{}],
    ],
)
def test_rows_as_objects_are_what_mlflows_records_are(rows: list[Any]) -> None:
    assert outcome(v1(*MIXED), request({"instances": rows})) == outcome(
        mlflow(*MIXED), request({"dataframe_records": rows})
    )


@pytest.mark.parametrize(
    "rows", [[[1.5, 2, "x", 0.5]], [[1, 2, "x", None]], [["a", 1, "x", 1]], [[1, 2, "x", 1], [2, 3, "y", 2]]]
)
def test_rows_as_lists_hold_the_columns_in_the_signatures_order(rows: list[Any]) -> None:
    split = {"dataframe_split": {"columns": ["d", "l", "s", "o"], "data": rows}}
    assert outcome(v1(*MIXED), request({"instances": rows})) == outcome(mlflow(*MIXED), request(split))


@pytest.mark.parametrize(
    "rows", [[[1, 2]], [[1, 2, "x", 1], [1]], [[1, 2, "x", 1, 5]], [[]], [1], [[1, 2, "x", 1], {}]]
)
def test_rows_that_lack_values_or_have_more_are_refused(rows: list[Any]) -> None:
    assert refusal(v1(*MIXED), request({"instances": rows})).status == 400


def test_a_single_column_takes_bare_values() -> None:
    rows = ["a", "b"]
    expected = outcome(mlflow(column("text", "string")), request({"dataframe_records": [{"text": t} for t in rows]}))
    assert outcome(v1(column("text", "string")), request({"instances": rows})) == expected


def test_columns_without_names_are_taken_by_position() -> None:
    unnamed = (column(None, "double"), column(None, "long"))
    expected = outcome(mlflow(*unnamed), request({"dataframe_split": {"data": [[1.5, 2]]}}))
    assert outcome(v1(*unnamed), request({"instances": [[1.5, 2]]})) == expected


@pytest.mark.parametrize(
    ("inputs", "rows"),
    [
        ([tensor(None, "float64", [-1, 2])], [[1, 2], [3, 4]]),
        ([tensor(None, "float64", [-1, 2])], [[1, 2, 3]]),
        ([tensor("u", "float64", [-1, 2]), tensor("v", "int64", [-1])], [{"u": [1, 2], "v": 1}]),
        ([tensor("u", "float64", [-1, 2]), tensor("v", "int64", [-1])], [{"u": [1, 2]}]),
        ([], [[1, 2], [3, 4]]),
    ],
)
def test_tensors_are_what_mlflows_instances_are(inputs: list[Any], rows: list[Any]) -> None:
    asked = request({"instances": rows})
    assert outcome(v1(*inputs), asked) == outcome(mlflow(*inputs), asked)


@pytest.mark.parametrize(
    "document",
    [{}, [], 1, None, {"instances": None}, {"instances": {}}, {"instances": "x"}, b"", b"{", b"\xff", b"[" * 10**5],
)
def test_what_holds_no_rows_is_refused(document: Any) -> None:
    assert refusal(v1(*MIXED), request(document)).status == 400


@pytest.mark.parametrize("kind", [b"text/csv", b"application/xml", b"application/json; charset=latin-1"])
def test_other_content_types_are_refused(kind: bytes) -> None:
    asked = HttpRequest(json.dumps({"instances": [ROW]}).encode(), {b"content-type": kind})
    assert refusal(v1(*MIXED), asked).status == 415


def test_a_request_without_content_type_is_json() -> None:
    asked = HttpRequest(json.dumps({"instances": [ROW]}).encode())
    assert outcome(v1(*MIXED), asked) == outcome(v1(*MIXED), request({"instances": [ROW]}))


def test_the_query_names_the_method() -> None:
    call = v1(*MIXED).read(request({"instances": [ROW]}, {"method": "predict_proba"}))
    assert call.methods == ("predict_proba",)
    error = refusal(v1(*MIXED), request({"instances": [ROW]}, {"method": "fly"}))
    assert error.status == 400
    assert "predict, predict_proba" in error.message


def test_parameters_are_mlflows_params() -> None:
    params = [{"name": "top", "type": "long", "default": 3, "shape": None}]
    dialect = v1(column("a", "double"), params=params)
    assert dialect.read(request({"instances": [[1]], "parameters": {"top": 5}})).params == {"top": 5}
    assert dialect.read(request({"instances": [[1]]})).params == {"top": 3}
    assert refusal(dialect, request({"instances": [[1]], "parameters": {"top": "x"}})).status == 400


def test_answers_and_errors_have_v1s_form() -> None:
    dialect = v1(*MIXED)
    call = dialect.read(request({"instances": [ROW]}))
    reply = dialect.write(call, Result((np.array([0.5, 1.0]),), 0.0))
    assert json.loads(reply.body) == {"predictions": [0.5, 1.0]}
    assert dialect.predictions(reply.body) == [0.5, 1.0]
    refused = V1Dialect.refuse(RequestError("no", status=404))
    assert (refused.status, json.loads(refused.body)) == (404, {"error": "no"})
    with pytest.raises(RequestError) as caught:
        dialect.write(call, Result((object(),), 0.0))
    assert caught.value.status == 500


def test_the_models_documents() -> None:
    assert model_list("wine") == {"models": ["wine"]}
    assert model_status("wine", ready=False) == {"name": "wine", "ready": False}
