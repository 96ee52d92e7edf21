"""Tensors become what MLflow's own protocol makes of the same data, and the same faults are refused alike."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.serving.protocol.cases import (
    column,
    frame_of,
    mlflow,
    outcome,
    refusal,
    request,
    sent,
    tensor,
    v2,
)

DOUBLES = tuple(column(name, "double") for name in "abc")
MIXED = (column("d", "double"), column("l", "long"), column("s", "string"), column("o", "double", required=False))


def infer(*tensors: dict[str, Any], **more: Any) -> Any:
    return request({"inputs": list(tensors), **more})


def split(names: Any, *rows: Any) -> Any:
    return request({"dataframe_split": {"columns": list(names), "data": list(rows)}})


@pytest.mark.parametrize("shape", [[2], [2, 1]])
def test_a_tensor_a_column(shape: list[int]) -> None:
    tensors = [
        sent("s", "BYTES", shape, ["x", "y"]),
        sent("l", "INT64", shape, [1, 2]),
        sent("d", "FP64", shape, [0.5, 1]),
    ]
    assert outcome(v2(*MIXED), infer(*tensors)) == outcome(mlflow(*MIXED), split("dls", [0.5, 1, "x"], [1, 2, "y"]))


@pytest.mark.parametrize("data", [[1, 2, 3, 4, 5, 6], [[1, 2, 3], [4, 5, 6]]])
@pytest.mark.parametrize("datatype", ["FP64", "FP32", "INT64", "INT8", "UINT64", "BYTES"])
def test_one_tensor_of_all_columns_has_them_in_the_signatures_order(datatype: str, data: Any) -> None:
    texts = [str(each) for each in np.ravel(data)] if datatype == "BYTES" else data
    found = outcome(v2(*DOUBLES), infer(sent("whatever", datatype, [2, 3], texts)))
    assert found == outcome(mlflow(*DOUBLES), split("abc", [1, 2, 3], [4, 5, 6]))


NUMBERS: dict[str, st.SearchStrategy[Any]] = {
    "double": st.floats() | st.integers(-(2**60), 2**60),
    "float": st.floats(width=32),
    "long": st.integers(-(2**63), 2**63 - 1),
    "integer": st.integers(-(2**31), 2**31 - 1),
    "boolean": st.booleans(),
    "string": st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
}
DATATYPES = {
    "double": "FP64", "float": "FP32", "long": "INT64", "integer": "INT32", "boolean": "BOOL", "string": "BYTES",
}  # fmt: skip


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[dict[str, Any]], list[str], list[list[Any]]]:
    kinds = draw(st.lists(st.sampled_from(sorted(NUMBERS)), min_size=1, max_size=4))
    columns = [column(f"c{i}", kind) for i, kind in enumerate(kinds)]
    rows = draw(st.lists(st.tuples(*[NUMBERS[kind] for kind in kinds]).map(list), min_size=1, max_size=4))
    return columns, [DATATYPES[kind] for kind in kinds], rows


@given(tables(), st.randoms())
@settings(max_examples=150, deadline=None)
def test_any_table_is_the_same_in_both_protocols(table: Any, random: Any) -> None:
    columns, datatypes, rows = table
    names = [each["name"] for each in columns]
    tensors = [
        sent(name, datatype, [len(rows)], [row[position] for row in rows])
        for position, (name, datatype) in enumerate(zip(names, datatypes, strict=True))
    ]
    random.shuffle(tensors)
    assert outcome(v2(*columns), infer(*tensors)) == outcome(mlflow(*columns), split(names, *rows))


@pytest.mark.parametrize(
    ("datatype", "value", "row"),
    [
        ("INT64", 1, 1),
        ("BOOL", True, True),
        ("FP64", None, None),
        ("BYTES", "1.5", "1.5"),
        ("BYTES", "abc", "abc"),
    ],
)
def test_a_double_takes_what_it_takes_from_mlflows_json(datatype: str, value: Any, row: Any) -> None:
    one = column("d", "double")
    found = outcome(
        v2(one, column("e", "double")), infer(sent("d", datatype, [1], [value]), sent("e", "FP64", [1], [1]))
    )
    assert found == outcome(mlflow(one, column("e", "double")), split("de", [row, 1]))


@pytest.mark.parametrize(
    ("tensors", "code"),
    [
        ([sent("d", "FP64", [1], [1])], "INVALID_PARAMETER_VALUE"),
        ([sent("x", "FP64", [1, 2], [1, 2])], "INVALID_PARAMETER_VALUE"),
        ([sent("x", "FP64", [4], [1, 2, 3, 4])], "INVALID_PARAMETER_VALUE"),
        (
            [sent("d", "BYTES", [1], ["abc"]), sent("l", "INT64", [1], [1]), sent("s", "BYTES", [1], ["x"])],
            "BAD_REQUEST",
        ),
        ([sent("d", "FP64", [1], [1]), sent("l", "BYTES", [1], ["x"]), sent("s", "BYTES", [1], ["x"])], "BAD_REQUEST"),
        ([sent("d", "FP64", [1], [1]), sent("l", "INT64", [2], [1, 2]), sent("s", "BYTES", [1], ["x"])], "BAD_REQUEST"),
        ([sent("d", "FP64", [1], [1]), sent("d", "FP64", [1], [1])], "BAD_REQUEST"),
        (
            [sent("d", "FP64", [1, 2], [1, 2]), sent("l", "INT64", [1], [1]), sent("s", "BYTES", [1], ["x"])],
            "BAD_REQUEST",
        ),
        ([sent("d", "FP64", [], [1]), sent("l", "INT64", [], [1]), sent("s", "BYTES", [], ["x"])], "BAD_REQUEST"),
    ],
)
def test_tensors_that_do_not_satisfy_the_signature_are_refused(tensors: list[Any], code: str) -> None:
    error = refusal(v2(*MIXED), infer(*tensors))
    assert (error.status, str(error.code)) == (400, code)


def test_a_missing_column_is_named() -> None:
    assert "Model is missing inputs ['l', 's']" in refusal(v2(*MIXED), infer(sent("d", "FP64", [1], [1]))).message


@pytest.mark.parametrize(
    ("kind", "datatype", "value"),
    [
        ("long", "FP64", 1.5), ("long", "FP64", None), ("long", "FP64", 2.0**63), ("long", "UINT64", 2**63),
        ("integer", "INT64", 2**31), ("integer", "FP32", 2.0**31), ("integer", "INT64", -(2**31) - 1),
    ],
)  # fmt: skip
def test_a_number_that_would_wrap_around_or_lose_its_fraction_is_refused(kind: str, datatype: str, value: Any) -> None:
    assert refusal(v2(column("n", kind)), infer(sent("n", datatype, [1], [value]))).status == 400


@pytest.mark.parametrize(
    ("kind", "datatype", "value"),
    [("long", "FP64", 2.0), ("long", "UINT64", 7), ("integer", "INT64", -5), ("integer", "UINT8", 255)],
)
def test_a_number_that_another_type_holds_exactly_is_taken(kind: str, datatype: str, value: Any) -> None:
    call = v2(column("n", kind)).read(infer(sent("n", datatype, [1], [value])))
    assert frame_of(call)["n"].tolist() == [value]


def test_unknown_tensors_are_dropped_and_optional_ones_may_be_missing() -> None:
    tensors = [sent("d", "FP64", [1], [1]), sent("l", "INT64", [1], [1]), sent("s", "BYTES", [1], ["x"])]
    call = v2(*MIXED).read(infer(*tensors, sent("z", "FP64", [1], [9])))
    assert list(frame_of(call)) == ["d", "l", "s"]


def test_columns_without_names_are_taken_by_position() -> None:
    unnamed = (column(None, "double"), column(None, "long"))
    expected = outcome(mlflow(*unnamed), request({"dataframe_split": {"data": [[1.5, 2]]}}))
    assert outcome(v2(*unnamed), infer(sent("p", "FP64", [1], [1.5]), sent("q", "INT64", [1], [2]))) == expected
    both = (column(None, "double"), column(None, "double"))
    assert frame_of(v2(*both).read(infer(sent("x", "FP64", [1, 2], [1, 2])))).to_numpy().tolist() == [[1.0, 2.0]]


def test_binary_columns_hold_bytes() -> None:
    dialect = v2(column("x", "binary"))
    text = base64.b64encode(b"\xff\0").decode()
    assert frame_of(dialect.read(infer(sent("x", "BYTES", [1], [text], content_type="base64"))))["x"][0] == b"\xff\0"
    assert frame_of(dialect.read(infer(sent("x", "BYTES", [1], ["abc"]))))["x"][0] == b"abc"
    assert refusal(dialect, infer(sent("x", "BYTES", [1], ["?"], content_type="base64"))).status == 400


def test_datetimes_are_texts() -> None:
    expected = outcome(mlflow(column("t", "datetime")), split("t", ["2024-01-01T10:00:00"]))
    assert outcome(v2(column("t", "datetime")), infer(sent("t", "BYTES", [1], ["2024-01-01T10:00:00"]))) == expected


def test_arrays_are_further_dimensions_and_other_nested_values_are_json() -> None:
    nested = (
        column("values", "array", items={"type": "double"}),
        column("point", "object", properties={"x": {"type": "double"}}),
    )
    found = outcome(
        v2(*nested),
        infer(sent("values", "FP64", [2, 2], [1, 2, 3, 4]), sent("point", "BYTES", [2], ['{"x": 1}', '{"x": 2}'])),
    )
    expected = outcome(mlflow(*nested), split(["values", "point"], [[1.0, 2.0], {"x": 1}], [[3.0, 4.0], {"x": 2}]))
    assert found == expected
    broken = infer(sent("values", "FP64", [1, 1], [1]), sent("point", "BYTES", [1], ["{"]))
    assert refusal(v2(*nested), broken).status == 400


@pytest.mark.parametrize(
    ("inputs", "tensors", "theirs"),
    [
        ([tensor(None, "float64", [-1, 2])], [sent("x", "FP64", [1, 2], [1, 2])], [[1, 2]]),
        ([tensor(None, "float64", [-1, 2])], [sent("x", "INT32", [1, 2], [1, 2])], [[1, 2]]),
        ([tensor(None, "float64", [-1, 2])], [sent("x", "FP64", [1, 3], [1, 2, 3])], [[1, 2, 3]]),
        ([tensor(None, "float64", [-1, 2])], [sent("x", "FP64", [2], [1, 2])], [1, 2]),
        ([tensor(None, "str", [-1, 1])], [sent("x", "BYTES", [2, 1], ["a", "bc"])], [["a"], ["bc"]]),
        ([tensor("u", "float64", [-1, 2])], [sent("other", "FP64", [1, 2], [1, 2])], [[1, 2]]),
        (
            [tensor("u", "float64", [-1, 2]), tensor("v", "int64", [-1])],
            [sent("v", "INT64", [1], [1]), sent("u", "FP64", [1, 2], [1, 2])],
            {"u": [[1, 2]], "v": [1]},
        ),
        (
            [tensor("u", "float64", [-1, 2]), tensor("v", "int64", [-1])],
            [sent("u", "FP64", [1, 2], [1, 2])],
            {"u": [[1, 2]]},
        ),
        ([], [sent("x", "FP64", [1, 2], [1, 2])], [[1.0, 2.0]]),
    ],
)
def test_tensor_signatures_are_what_mlflows_inputs_are(inputs: list[Any], tensors: list[Any], theirs: Any) -> None:
    expected = outcome(mlflow(*inputs), request({"inputs": theirs}))
    assert outcome(v2(*inputs), infer(*tensors)) == expected


def test_a_tensor_that_would_lose_something_is_refused() -> None:
    assert refusal(v2(tensor(None, "int64", [-1])), infer(sent("x", "FP64", [1], [1.5]))).status == 400
    assert refusal(v2(tensor(None, "uint8", [-1])), infer(sent("x", "INT64", [1], [256]))).status == 400


def test_texts_that_would_take_too_much_room_at_one_width_are_refused() -> None:
    texts = ["x" * 100_000, *["y"] * 10_000]
    error = refusal(v2(tensor(None, "str", [-1])), infer(sent("x", "BYTES", [10_001], texts)))
    assert (error.status, "too long" in error.message) == (400, True)


def test_without_a_signature_several_tensors_or_the_content_type_pd_are_a_frame() -> None:
    one = sent("x", "FP64", [2], [1, 2])
    assert v2().read(infer(one)).data.tolist() == [1, 2]
    assert list(frame_of(v2().read(infer(one, parameters={"content_type": "pd"})))) == ["x"]
    assert list(frame_of(v2().read(infer(one, sent("y", "BYTES", [2], ["a", "b"]))))) == ["x", "y"]


def test_params_are_request_parameters() -> None:
    params = [{"name": "top", "type": "long", "default": 3, "shape": None}]
    dialect = v2(column("a", "double"), params=params)
    one = sent("a", "FP64", [1], [1])
    assert dialect.read(infer(one, parameters={"top": 5, "priority": 1})).params == {"top": 5}
    assert outcome(dialect, infer(one)) == outcome(mlflow(column("a", "double")), split("a", [1]))
    assert dialect.read(infer(one)).params == {"top": 3}
    assert refusal(dialect, infer(one, parameters={"top": "x"})).status == 400


def test_an_empty_tensor_is_no_row() -> None:
    found = outcome(v2(*DOUBLES), infer(*[sent(name, "FP64", [0], []) for name in "abc"]))
    assert found["index"] == "[]"
    assert refusal(v2(*DOUBLES), infer(sent("x", "FP64", [0, 10**12], []))).status == 400
