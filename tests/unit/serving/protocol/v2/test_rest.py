"""Requests and answers over HTTP: envelopes, binary data, hostile ones."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard_serving.call import Call, Result
from modelyard_serving.errors import ErrorCode, RequestError
from modelyard_serving.protocol.dialect import HttpRequest
from modelyard_serving.protocol.v2.dialect import V2Dialect
from tests.unit.serving.protocol.cases import JSON, column, outcome, refusal, request, sent, v2

LENGTH = b"inference-header-content-length"
DOUBLES = (column("a", "double"), column("b", "double"))
ONE = sent("x", "FP64", [1, 2], [1, 2])


def binary(document: Any, *contents: bytes, length: int | bytes | None = None) -> HttpRequest:
    head = json.dumps(document).encode()
    value = length if isinstance(length, bytes) else str(len(head) if length is None else length).encode()
    return HttpRequest(b"".join([head, *contents]), {LENGTH: value})


def raw(name: str, datatype: str, shape: list[int], size: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": size}}


def answer(dialect: V2Dialect, asked: HttpRequest, *outputs: Any) -> tuple[dict[str, Any], bytes]:
    """The JSON of an answer and the binary data behind it."""
    reply = dialect.write(dialect.read(asked), Result(outputs, 0.0))
    lengths = [int(value) for name, value in reply.headers if name == LENGTH]
    assert reply.content_type == (b"application/octet-stream" if lengths else b"application/json")
    end = lengths[0] if lengths else len(reply.body)
    return json.loads(reply.body[:end]), reply.body[end:]


def test_the_specifications_example_is_understood() -> None:
    document = {
        "id": "42",
        "inputs": [
            {"name": "input0", "shape": [2, 2], "datatype": "UINT32", "data": [1, 2, 3, 4]},
            {"name": "input1", "shape": [3], "datatype": "BOOL", "data": [True, False, True]},
        ],
        "outputs": [{"name": "predict"}],
    }
    inputs = (
        {"type": "tensor", "name": "input0", "tensor-spec": {"dtype": "uint32", "shape": [-1, 2]}},
        {"type": "tensor", "name": "input1", "tensor-spec": {"dtype": "bool", "shape": [-1]}},
    )
    found, _ = answer(v2(*inputs), request(document), np.array([[1.0, 1.1], [2, 2.1], [3, 3.1]], np.float32))
    assert (found["id"], found["model_name"], found["model_version"]) == ("42", "wine", "3")
    output = found["outputs"][0]
    assert (output["name"], output["shape"], output["datatype"]) == ("predict", [3, 2], "FP32")
    assert np.array(output["data"], np.float32).tolist() == np.array([1.0, 1.1, 2, 2.1, 3, 3.1], np.float32).tolist()


def test_without_an_id_there_is_none_in_the_answer() -> None:
    assert "id" not in answer(v2(*DOUBLES), request({"inputs": [ONE]}), np.array([1]))[0]


@pytest.mark.parametrize(
    ("more", "methods"),
    [
        ({}, ("predict",)),
        ({"parameters": {"method": "predict_proba"}}, ("predict_proba",)),
        ({"outputs": []}, ("predict",)),
        ({"outputs": [{"name": "predict_proba"}]}, ("predict_proba",)),
        ({"outputs": [{"name": "predict_proba"}, {"name": "predict"}]}, ("predict_proba", "predict")),
    ],
)
def test_outputs_and_the_parameter_method_name_methods(more: dict[str, Any], methods: tuple[str, ...]) -> None:
    assert v2(*DOUBLES).read(request({"inputs": [ONE], **more})).methods == methods


@pytest.mark.parametrize("more", [{"parameters": {"method": "fly"}}, {"outputs": [{"name": "fly"}]}])
def test_what_the_model_has_not_is_refused_naming_what_it_has(more: dict[str, Any]) -> None:
    error = refusal(v2(*DOUBLES), request({"inputs": [ONE], **more}))
    assert (error.status, error.code) == (400, ErrorCode.INVALID_PARAMETER_VALUE)
    assert "predict, predict_proba" in error.message


def test_an_output_can_be_a_column_that_the_signature_names() -> None:
    outputs = [column("low", "double"), column("high", "double")]
    frame = pd.DataFrame({"low": [1.0], "high": [2.0]})
    dialect = v2(*DOUBLES, outputs=outputs)
    both, _ = answer(dialect, request({"inputs": [ONE]}), frame)
    assert [(each["name"], each["data"]) for each in both["outputs"]] == [("low", [1.0]), ("high", [2.0])]
    one, _ = answer(dialect, request({"inputs": [ONE], "outputs": [{"name": "high"}]}), frame)
    assert [(each["name"], each["data"]) for each in one["outputs"]] == [("high", [2.0])]


def test_the_one_named_output_of_a_signature_names_the_tensor() -> None:
    found, _ = answer(v2(*DOUBLES, outputs=[column("price", "double")]), request({"inputs": [ONE]}), np.array([1.5]))
    assert found["outputs"][0]["name"] == "price"


@pytest.mark.parametrize(
    "document",
    [
        {}, {"inputs": None}, {"inputs": []}, {"inputs": {}}, {"inputs": [1]}, {"inputs": [{}]},
        {"inputs": [{**ONE, "name": 1}]}, {"inputs": [{**ONE, "datatype": "FP65"}]},
        {"inputs": [{**ONE, "datatype": 1}]}, {"inputs": [{**ONE, "shape": None}]},
        {"inputs": [{**ONE, "shape": [1, -2]}]}, {"inputs": [{**ONE, "shape": [1.0, 2]}]},
        {"inputs": [{**ONE, "shape": [True, 2]}]}, {"inputs": [{**ONE, "shape": ["1", 2]}]},
        {"inputs": [{**ONE, "shape": [1] * 40}]}, {"inputs": [{**ONE, "shape": [2**64, 2**64]}]},
        {"inputs": [{**ONE, "data": None}]},
        {"inputs": [{**ONE, "parameters": []}]}, {"inputs": [ONE], "parameters": 1}, {"inputs": [ONE], "id": 1},
        {"inputs": [ONE], "id": "\ud800"}, {"inputs": [ONE], "outputs": {}}, {"inputs": [ONE], "outputs": [1]},
        {"inputs": [ONE], "outputs": [{}]}, {"inputs": [ONE], "outputs": [{"name": "predict"}] * 2},
        {"inputs": [ONE], "outputs": [{"name": "predict", "parameters": {"binary_data": 1}}]},
        {"inputs": [ONE], "parameters": {"binary_data_output": "yes"}}, {"inputs": [ONE] * 70_000},
        {"inputs": [raw("x", "FP64", [1, 2], 16)]},
        [], 1, None, b"", b"{", b"\xff", b"\xef\xbb\xbf{}", b'{"inputs":' + b"[" * 10**5,
    ],
)  # fmt: skip
def test_what_is_no_request_is_refused(document: Any) -> None:
    assert refusal(v2(*DOUBLES), request(document)).status == 400


def test_python_clients_may_write_nan() -> None:
    asked = request(b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP64","data":[NaN,-Infinity]}]}')
    assert outcome(v2(*DOUBLES), asked) == outcome(
        v2(*DOUBLES), request({"inputs": [sent("x", "FP64", [1, 2], [None, float("-inf")])]})
    )


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (None, 200), ("application/json", 200), ("application/json; charset=utf-8", 200), ("Application/JSON", 200),
        ("application/octet-stream", 200), ("text/csv", 415), ("application/xml", 415), ("", 200),
        ("application/json; charset=latin-1", 415),
    ],
)  # fmt: skip
def test_content_types(kind: str | None, status: int) -> None:
    headers = {} if kind is None else {b"content-type": kind.encode()}
    asked = HttpRequest(json.dumps({"inputs": [ONE]}).encode(), headers)
    if status == 200:
        assert v2(*DOUBLES).read(asked).rows == 1
    else:
        assert refusal(v2(*DOUBLES), asked).status == status


def test_binary_tensors_follow_the_json_in_the_inputs_order() -> None:
    text = struct.pack("<I", 1) + b"q"
    inputs = (column("a", "double"), column("s", "string"), column("n", "long"))
    asked = binary(
        {"inputs": [raw("s", "BYTES", [1], len(text)), sent("n", "INT64", [1], [7]), raw("a", "FP32", [1, 1], 4)]},
        text,
        struct.pack("<f", 0.5),
    )
    same = [sent("a", "FP32", [1], [0.5]), sent("s", "BYTES", [1], ["q"]), sent("n", "INT64", [1], [7])]
    assert outcome(v2(*inputs), asked) == outcome(v2(*inputs), request({"inputs": same}))


def test_fp16_is_taken_as_binary_data() -> None:
    content = np.array([[0.5, 1.5]], "<f2").tobytes()
    found = v2(*DOUBLES).read(binary({"inputs": [raw("x", "FP16", [1, 2], 4)]}, content))
    assert found.data.block.ravel().tolist() == [0.5, 1.5]


@pytest.mark.parametrize(
    "asked",
    [
        binary({"inputs": [raw("x", "FP64", [1, 2], 16)]}, bytes(15)),
        binary({"inputs": [raw("x", "FP64", [1, 2], 16)]}, bytes(17)),
        binary({"inputs": [raw("x", "FP64", [1, 2], 8)]}, bytes(8)),
        binary({"inputs": [raw("x", "FP64", [1, 2], 10**15)]}, bytes(16)),
        binary({"inputs": [raw("x", "FP64", [1, 2], -16)]}, bytes(16)),
        binary({"inputs": [raw("x", "FP64", [1, 2], "16")]}, bytes(16)),
        binary({"inputs": [raw("x", "FP64", [1, 2], True)]}, bytes(16)),
        binary({"inputs": [raw("x", "FP64", [2**40, 2], 16)]}, bytes(16)),
        binary({"inputs": [{**raw("x", "FP64", [1, 2], 16), "data": [1, 2]}]}, bytes(16)),
        binary({"inputs": [raw("x", "BYTES", [1, 2], 8)]}, struct.pack("<II", 2**31, 0)),
        binary({"inputs": [ONE]}, b"more"),
        binary({"inputs": [ONE]}, length=10**6),
        binary({"inputs": [ONE]}, length=5),
        binary({"inputs": [ONE]}, length=b"-1"),
        binary({"inputs": [ONE]}, length=b"x"),
        binary({"inputs": [ONE]}, length=b""),
        binary({"inputs": [ONE]}, length=b"9" * 5000),
    ],
)
def test_lengths_that_do_not_fit_are_refused(asked: HttpRequest) -> None:
    assert refusal(v2(*DOUBLES), asked).status == 400


def test_outputs_are_binary_where_asked_for() -> None:
    labels, probabilities = np.array(["a", "bc"]), np.array([[0.25, 0.75], [1, 0]])
    document = {
        "inputs": [sent("x", "FP64", [2, 2], [1, 2, 3, 4])],
        "parameters": {"binary_data_output": True},
        "outputs": [{"name": "predict"}, {"name": "predict_proba", "parameters": {"binary_data": False}}],
    }
    found, content = answer(v2(*DOUBLES), request(document), labels, probabilities)
    assert content == b"\1\0\0\0a\2\0\0\0bc"
    first, second = found["outputs"]
    assert (first["datatype"], first["shape"], first["parameters"]) == ("BYTES", [2], {"binary_data_size": 11})
    assert "data" not in first
    assert (second["shape"], second["data"]) == ([2, 2], [0.25, 0.75, 1.0, 0.0])
    document = {**document, "parameters": {}, "outputs": [{"name": "predict", "parameters": {"binary_data": True}}]}
    assert answer(v2(*DOUBLES), request(document), labels)[1] == content


def test_errors_have_the_protocols_form() -> None:
    reply = V2Dialect.refuse(RequestError("no \ud800", status=404))
    assert (reply.status, json.loads(reply.body)) == (404, {"error": "no \ud800"})
    # A message may quote what was sent.
    assert len(V2Dialect.refuse(RequestError("x" * 10**6)).body) < 20_000


def test_text_that_is_no_unicode_is_the_servers_fault() -> None:
    call = v2(*DOUBLES).read(request({"inputs": [ONE]}))
    with pytest.raises(RequestError) as caught:
        v2(*DOUBLES).write(call, Result((np.array(["\ud800"], dtype=object),), 0.0))
    assert caught.value.status == 500


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def spoilt(draw: st.DrawFn) -> HttpRequest:
    """A request with some of its parts replaced."""
    document: dict[str, Any] = {
        "id": "7",
        "inputs": [dict(ONE), raw("b", "BYTES", [1], 5)],
        "outputs": [{"name": "predict"}],
        "parameters": {"binary_data_output": True},
    }
    for holder, key in draw(
        st.lists(
            st.sampled_from(
                [(None, "id"), (None, "inputs"), (None, "outputs"), (None, "parameters"), (0, "shape"), (0, "data"),
                 (0, "datatype"), (0, "name"), (0, "parameters"), (1, "parameters"), (1, "shape"), (1, "datatype")]
            ),
            max_size=3,
        )
    ):  # fmt: skip
        target = document if holder is None else document["inputs"]
        if holder is not None:
            target = target[holder] if isinstance(target, list) and len(target) > holder else {}
        if isinstance(target, dict):
            target[key] = draw(JSONS)
    head = json.dumps(document).encode()
    content = draw(st.binary(max_size=12) | st.just(b"\1\0\0\0x"))
    length = draw(st.just(len(head)) | st.integers(0, len(head) + 20))
    return HttpRequest(head + content, {LENGTH: str(length).encode()} if draw(st.booleans()) else JSON)


@given(spoilt())
@settings(max_examples=400, deadline=None)
def test_whatever_comes_is_a_call_or_refused_with_4xx(asked: HttpRequest) -> None:
    for dialect in (v2(*DOUBLES), v2(), v2(column("b", "string"))):
        found = outcome(dialect, asked)
        assert not isinstance(found, tuple) or 400 <= found[0] < 500


def test_a_replayed_call_needs_no_more_than_its_context() -> None:
    call: Call = v2(*DOUBLES).read(request({"inputs": [ONE], "id": "9"}))
    assert json.loads(v2(*DOUBLES).write(call, Result((np.array([1]),), 0.0)).body)["id"] == "9"
