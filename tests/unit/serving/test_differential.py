"""Our answers beside those of MLflow's own scoring server, over the same saved models.

The echo models answer with the types, order and values that reached the estimator, so that equal bodies mean equal
input. Statuses, error codes and bodies of successes are compared exactly, messages where MLflow's are stable.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.serving import harness
from tests.unit.serving.harness import JSON, Answer, Pair
from tests.unit.serving.request_table import ECHO_MODELS, inputs, instances, records, requests_for, split

# What MLflow and numpy have to say about odd input is not the matter here.
pytestmark = pytest.mark.filterwarnings("ignore")

FAST = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def disagreement(theirs: Answer, ours: Answer) -> str | None:
    same = (theirs.status, theirs.code) == (ours.status, ours.code)
    if same and (theirs.status != 200 or theirs.text == ours.text):
        return None
    return f"MLflow: {theirs}\n    ours: {ours}"


@pytest.mark.parametrize("name", ECHO_MODELS)
def test_answers_every_shape_of_request_as_mlflow_does(name: str, pair: Callable[[str], Pair]) -> None:
    servers = pair(f"echo_{name}")
    differences = []
    for body, content_type in requests_for(name):
        if found := disagreement(*servers.post(body, content_type)):
            differences.append(f"{body!r}\n    {found}")
    assert not differences, f"{len(differences)} differences:\n" + "\n".join(differences[:20])


@dataclass(frozen=True)
class Row:
    name: str
    model: str
    body: Any
    code: str
    says: str


INVALID = "INVALID_PARAMETER_VALUE"
BAD = "BAD_REQUEST"
MESSAGES = [
    Row("missing column", "numbers", records({"a": 1.0, "n": 2}), INVALID, "is missing inputs ['s']."),
    Row("missing, one extra", "one_column", records({"b": 1}), INVALID, "extra inputs: ['b']."),
    Row("empty list", "numbers", records(), INVALID, "is missing inputs ['a', 'n', 's']."),
    Row("positions for names", "numbers", inputs([[1, 2]]), INVALID, "missing inputs ['a', 'n', 's']"),
    Row("text for double", "numbers", records({"a": "abc", "n": 1, "s": ""}), BAD, "column a to type 'float64'"),
    Row("null for long", "numbers", records({"a": 1, "n": None, "s": ""}), BAD, "column n to type 'int64'"),
    Row("text for long", "numbers", records({"a": 1, "n": "x", "s": ""}), BAD, "column n to type 'int64'"),
    Row("number for binary", "scalars", records({"x": 1}), BAD, "column x to type '<class 'object'>'"),
    Row("text for datetime", "scalars", records({"t": "x"}), BAD, "column t to type 'datetime64[ns]'"),
    Row("bad JSON", "numbers", "{", BAD, "valid JSON formatted string"),
    Row("bad UTF-8", "numbers", b"\xff", BAD, "UnicodeDecodeError"),
    Row("records as a dict", "numbers", {"dataframe_records": {}}, BAD, "must be a list of records"),
    Row("split as a list", "numbers", {"dataframe_split": []}, BAD, "must be a dictionary. Got list"),
    Row("a text column twice", "numbers", split(["s", "s"]), BAD, "column s to type '<class 'object'>'"),
    Row("split that does not fit", "numbers", split(["a"], [1, 2]), BAD, "1 columns passed"),
    Row("uneven lengths", "doubles", instances({"a": [1], "b": [1, 2], "c": [1]}), BAD, "not the same"),
    Row("wrong shape", "matrix", inputs([[1, 2]]), INVALID, "does not match expected shape (-1, 4)"),
    Row("ragged", "matrix", inputs([[1, 2], [1]]), BAD, "inhomogeneous"),
    Row("text for a tensor", "matrix", inputs([["a"]]), BAD, "could not convert string to float: 'a'"),
    Row("mapping for a tensor", "matrix", inputs({"a": [1]}), BAD, "un-named  model signature"),
    Row("frame of another width", "matrix", records({"a": 1, "b": 2}), INVALID, "had 2 columns"),
    Row("empty frame", "matrix", records(), INVALID, "Input DataFrame is empty."),
    Row("narrowing", "unnamed_mixed", inputs([[1, 2]]), INVALID, "safely convert float64 to int64"),
    Row("too few columns", "unnamed_columns", inputs([1]), INVALID, "declares 2 inputs"),
    Row("param type", "params", {**records({"a": 1.0}), "params": {"top": "x"}}, INVALID, "'top'"),
    Row("params as a list", "params", {**records({"a": 1.0}), "params": [1]}, INVALID, "a dictionary"),
]  # fmt: skip


@pytest.mark.parametrize("row", MESSAGES, ids=lambda row: row.name)
def test_says_what_mlflow_says(row: Row, pair: Callable[[str], Pair]) -> None:
    theirs, ours = pair(f"echo_{row.model}").post(row.body)
    assert (ours.status, ours.code) == (400, row.code)
    assert row.says in ours.text
    assert ours == theirs


@dataclass(frozen=True)
class Kept:
    """A difference kept on purpose."""

    name: str
    model: str
    body: Any
    content_type: str | None
    theirs: int
    ours: int
    reason: str


ROW = records({"a": 1.0})
KEPT = [
    Kept("no Content-Type", "one_column", ROW, None, 500, 415,
         "the request is at fault, and MLflow crashes on it"),
    Kept("Parquet", "one_column", b"PAR1", "application/vnd.apache.parquet", 400, 415,
         "needs pyarrow, which would add 100 MB to the image"),
    Kept("upper case", "one_column", ROW, "Application/JSON", 415, 200,
         "media types are case-insensitive (RFC 9110, 8.3.1)"),
    Kept("quoted charset", "one_column", ROW, 'application/json; charset="utf-8"', 415, 200,
         "a quoted value means the same (RFC 9110, 5.6.6)"),
    Kept("chat messages", "none", {"messages": []}, JSON, 200, 400,
         "unwrapped payloads are for language models: here they are what they look like, no known format"),
    Kept("deep nesting", "none", "[" * 5000, JSON, 500, 400, "the request is at fault, and MLflow crashes on it"),
    Kept("chat beside data", "one_column", {**ROW, "input": "x"}, JSON, 400, 200,
         "ignored like any other key that is no format"),
    Kept("ragged list param", "params", {**ROW, "params": {"words": [["a"], ["b", "c"]]}}, JSON, 400, 400,
         "INVALID_PARAMETER_VALUE as for any invalid param, where MLflow fails in numpy"),
    Kept("index over one tensor column", "vector", {"dataframe_split": {"index": [5], "data": [[1]]}}, JSON, 400, 200,
         "rows are counted, not looked up by the label 0"),
]  # fmt: skip


@pytest.mark.parametrize("kept", KEPT, ids=lambda kept: kept.name)
def test_differs_on_purpose(kept: Kept, pair: Callable[[str], Pair]) -> None:
    theirs, ours = pair(f"echo_{kept.model}").post(kept.body, kept.content_type)
    assert (theirs.status, ours.status) == (kept.theirs, kept.ours)


@pytest.mark.parametrize(
    "content_type",
    [
        "application/xml",
        "text/plain",
        "",
        "application/json; charset=latin-1",
        "text/csv; charset=utf-16",
        "application/json; version=2",
        "application/json; charset=UTF-8",
        "application/json;charset=utf-8",
    ],
)
def test_judges_content_types_as_mlflow_does(content_type: str, pair: Callable[[str], Pair]) -> None:
    theirs, ours = pair("echo_one_column").post(ROW, content_type)
    assert theirs.status == ours.status
    # MLflow's 415 is plain text; ours carries an error code, as every other error does.
    assert (theirs.code, ours.code) == ((None, None) if ours.status == 200 else (None, "BAD_REQUEST"))


CELL = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**66), 2**66),
    st.integers(-3, 3),
    st.floats(),
    st.text(max_size=4),
    st.sampled_from(["2024-01-01", "YWJj", "1", "true"]),
)
FITTING = {
    "d": st.floats() | st.integers(-(2**54), 2**54),
    "l": st.integers(-(2**63), 2**63 - 1),
    "s": st.text(max_size=5),
    "b": st.booleans(),
    "i": st.integers(-(2**31), 2**31 - 1),
    "f": st.floats(width=32) | st.floats(),
    "t": st.datetimes().map(lambda moment: moment.isoformat()),
    "x": st.sampled_from(["", "YWJj", "AAECAw=="]),
    "o": st.floats() | st.none(),
}


@st.composite
def scalar_requests(draw: st.DrawFn) -> dict[str, Any]:
    """A body for the model with every scalar type: mostly fitting, in any format, with columns in any order."""
    optional = draw(st.lists(st.sampled_from("bifto"), unique=True))
    names: list[str] = list(draw(st.permutations(["d", "l", "s", *optional])))
    if draw(st.integers(0, 5)) == 0:
        names = draw(st.lists(st.sampled_from("dlsbiftxoz"), max_size=5))
    cells: dict[str, st.SearchStrategy[Any]] = {name: FITTING.get(name, CELL) for name in names}
    spoilt = draw(st.booleans())
    if names and spoilt:
        cells[draw(st.sampled_from(names))] = CELL
    rows = draw(st.lists(st.fixed_dictionaries(cells), max_size=4))
    shape = draw(st.sampled_from(["records", "split", "instances", "inputs", "columns"]))
    columns = {name: [row[name] for row in rows] for name in cells}
    return {
        "records": records(*rows),
        "split": split(list(names), *([row[name] for name in names] for row in rows)),
        "instances": instances(rows),
        "inputs": inputs(rows),
        "columns": inputs(columns),
    }[shape]


@given(body=scalar_requests())
@settings(FAST, max_examples=150)
def test_agrees_on_random_tables(body: dict[str, Any], pair: Callable[[str], Pair]) -> None:
    found = disagreement(*pair("echo_scalars").post(body))
    assert found is None, found


@given(
    body=st.recursive(CELL, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("auv"), inner))
)
@settings(FAST, max_examples=30)
@pytest.mark.parametrize("name", ["matrix", "named_tensors", "none", "one_column", "unnamed_columns"])
def test_agrees_on_random_json(name: str, body: Any, pair: Callable[[str], Pair]) -> None:
    for request in (instances(body), inputs(body), {"dataframe_records": body}, {"dataframe_split": {"data": body}}):
        found = disagreement(*pair(f"echo_{name}").post(request))
        assert found is None, f"{request}\n{found}"


CUSTOMER = st.fixed_dictionaries(
    {
        "tenure": st.integers(0, 100),
        "charge": st.floats(-1e6, 1e6),
        "plan": st.sampled_from(["basic", "plus", "max", "unheard of"]),
    }
)


@pytest.mark.parametrize("name", ["labels_text", "labels_int", "probabilities"])
@given(customers=st.lists(CUSTOMER, min_size=1, max_size=8))
@FAST
def test_predicts_customers_as_mlflow_does(
    name: str, customers: list[dict[str, Any]], pair: Callable[[str], Pair]
) -> None:
    names = ["plan", "charge", "tenure"]
    for body in (records(*customers), split(names, *([row[key] for key in names] for row in customers))):
        theirs, ours = pair(name).post(body)
        assert ours.status == 200
        assert ours == theirs


@pytest.mark.parametrize("name", ["forest", "regression"])
@given(rows=st.lists(st.lists(st.floats(-1e3, 1e3), min_size=4, max_size=4), min_size=1, max_size=8))
@FAST
def test_predicts_arrays_as_mlflow_does(name: str, rows: list[list[float]], pair: Callable[[str], Pair]) -> None:
    for body in (instances(rows), inputs(rows), split(list("wxyz"), *rows)):
        theirs, ours = pair(name).post(body)
        assert ours.status == 200
        assert ours == theirs


def test_predicts_csv_as_mlflow_does(pair: Callable[[str], Pair]) -> None:
    theirs, ours = pair("labels_text").post("plan,tenure,charge\nplus,3,99.5\nbasic,60,20\n", "text/csv")
    assert ours == theirs
    assert json.loads(ours.text) == {"predictions": ["leaves", "stays"]}


def test_refuses_what_the_model_itself_refuses(pair: Callable[[str], Pair]) -> None:
    theirs, ours = pair("labels_text").post(records({"tenure": 1, "charge": None, "plan": "plus"}))
    assert (ours.status, ours.code) == (theirs.status, theirs.code) == (400, "BAD_REQUEST")
    assert ours.text.startswith(theirs.text)
    assert "contains NaN" in ours.text


@pytest.mark.parametrize("path", ["/ping", "/health", "/version"])
async def test_health_and_version_are_mlflows(path: str, saved_model: Callable[[str], Path]) -> None:
    theirs, ours = await both("GET", path, saved_model("labels_text"))
    assert (ours.status_code, ours.text) == (theirs.status_code, theirs.text)
    assert ours.headers["content-type"] == theirs.headers["content-type"]


@pytest.mark.parametrize("body", [records({"tenure": 1, "charge": 2.5, "plan": "max"}), records({"tenure": 1}), {}, []])
async def test_http_carries_the_same_answers(body: Any, saved_model: Callable[[str], Path]) -> None:
    theirs, ours = await both("POST", "/invocations", saved_model("labels_text"), json=body)
    assert ours.status_code == theirs.status_code
    assert ours.headers["content-type"] == theirs.headers["content-type"]
    assert ours.json().get("error_code") == theirs.json().get("error_code")
    assert ours.json().get("predictions") == theirs.json().get("predictions")


async def both(method: str, path: str, directory: Path, **request: Any) -> tuple[httpx.Response, httpx.Response]:
    """(MLflow's response, our response) over HTTP."""
    apps = harness.mlflow_app(directory), harness.our_app(directory)
    async with harness.client(apps[0]) as theirs, harness.client(apps[1]) as ours:
        return await theirs.request(method, path, **request), await ours.request(method, path, **request)
