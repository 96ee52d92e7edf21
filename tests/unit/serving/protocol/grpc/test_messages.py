"""Messages of the protocol to calls and back: typed and raw contents, both as REST reads the same data."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard_serving.call import Result
from modelyard_serving.errors import RequestError
from modelyard_serving.protocol.dialect import HttpRequest
from modelyard_serving.protocol.grpc import descriptor
from modelyard_serving.protocol.grpc.dialect import CHECK_MODEL, GrpcDialect
from tests.unit.serving.protocol.cases import METHODS, column, mlmodel, outcome, refusal, request, sent, v2
from tests.unit.serving.protocol.grpc.clients import dialect, infer, predicted

MATRIX = ("x", "FP64", [1, 2], "fp64_contents", [1, 2])


def asked(message: Any) -> HttpRequest:
    return HttpRequest(message if isinstance(message, bytes) else message.SerializeToString())


def answered(message: Any, *outputs: Any) -> Any:
    speaks = dialect()
    call = speaks.read(asked(message))
    reply = speaks.write(call, Result(outputs, 0.0) if outputs else predicted(call))
    return descriptor.ModelInferResponse.FromString(reply.body)


@pytest.mark.parametrize(
    ("kind", "datatype", "field", "values"),
    [
        ("boolean", "BOOL", "bool_contents", [True, False]),
        ("integer", "INT8", "int_contents", [-128, 127]),
        ("integer", "INT16", "int_contents", [-(2**15)]),
        ("integer", "INT32", "int_contents", [2**31 - 1]),
        ("long", "INT64", "int64_contents", [-(2**63)]),
        ("integer", "UINT8", "uint_contents", [255]),
        ("integer", "UINT16", "uint_contents", [65535]),
        ("long", "UINT32", "uint_contents", [2**32 - 1]),
        ("long", "UINT64", "uint64_contents", [2**63 - 1]),
        ("float", "FP32", "fp32_contents", [0.5]),
        ("double", "FP64", "fp64_contents", [0.1]),
        ("string", "BYTES", "bytes_contents", ["ö", ""]),
    ],
)
def test_typed_and_raw_contents_are_what_rest_reads(kind: str, datatype: str, field: str, values: list[Any]) -> None:
    shape = [len(values)]
    expected = outcome(v2(column("c", kind)), request({"inputs": [sent("c", datatype, shape, values)]}))
    speaks = GrpcDialect(mlmodel(column("c", kind)), METHODS, "wine", "3")
    texts = [value.encode() if isinstance(value, str) else value for value in values]
    if datatype == "BYTES":
        content = b"".join(struct.pack("<I", len(text)) + text for text in texts)
    else:
        dtypes = {"BOOL": "?", "UINT": "u", "INT": "i", "FP": "f"}
        name = datatype.rstrip("0123456789")
        size = "" if name == "BOOL" else str(int(datatype.removeprefix(name)) // 8)
        content = np.array(values, f"<{dtypes[name]}{size}").tobytes()
    assert outcome(speaks, asked(infer(("c", datatype, shape, field, texts)))) == expected
    assert outcome(speaks, asked(infer(("c", datatype, shape, content)))) == expected


@pytest.mark.parametrize(
    "message",
    [
        infer(),
        infer(("x", "FP65", [1, 2], "fp64_contents", [1, 2])),
        infer(("x", "FP64", [1, 2], "fp64_contents", [1])),
        infer(("x", "FP64", [1, 2], "fp32_contents", [1, 2])),
        infer(("x", "FP64", [-1, 2], "fp64_contents", [1, 2])),
        infer(("x", "FP64", [2**62, 2**62], "fp64_contents", [1, 2])),
        infer(("x", "FP16", [1, 2], "fp32_contents", [1, 2])),
        infer(("x", "INT8", [1, 2], "int_contents", [128, 1])),
        infer(("x", "FP64", [1, 2], bytes(15))),
        infer(("x", "FP64", [1, 2], bytes(16)), MATRIX),
        infer(("x", "FP64", [1, 2], bytes(16)), raw_input_contents=[b""]),
        infer(MATRIX, raw_input_contents=[bytes(16)]),
        infer(MATRIX, outputs=[{"name": "fly"}]),
        infer(MATRIX, outputs=[{"name": "predict"}, {"name": "predict"}]),
        infer(MATRIX, parameters={"binary_data_output": {"string_param": "yes"}}),
        infer(("a", "FP64", [1], "fp64_contents", [1])),
        b"\xff\xff",
        b"\x0a\xff\xff\xff\xff\x0f",
    ],
)
def test_what_is_no_request_is_refused(message: Any) -> None:
    assert refusal(dialect(), asked(message)).status == 400


@given(st.binary(max_size=60) | st.binary(max_size=40).map(lambda tail: infer(MATRIX).SerializeToString() + tail))
@settings(max_examples=300, deadline=None)
def test_whatever_comes_is_a_call_or_refused_with_4xx(body: bytes) -> None:
    found = outcome(dialect(), HttpRequest(body))
    assert not isinstance(found, tuple) or 400 <= found[0] < 500


def test_answers_have_the_requests_id_and_its_way_of_contents() -> None:
    typed = answered(infer(MATRIX, id="7"))
    assert (typed.model_name, typed.model_version, typed.id) == ("wine", "3", "7")
    output = typed.outputs[0]
    assert (output.name, output.datatype, list(output.shape)) == ("predict", "INT64", [1])
    assert (list(output.contents.int64_contents), list(typed.raw_output_contents)) == ([0], [])
    raw = answered(infer(("x", "FP64", [1, 2], bytes(16))))
    assert (list(raw.raw_output_contents), raw.outputs[0].HasField("contents")) == ([bytes(8)], False)
    asked_for = answered(infer(MATRIX, parameters={"binary_data_output": {"bool_param": True}}))
    assert list(asked_for.raw_output_contents) == [bytes(8)]


@pytest.mark.parametrize("parameters", [{}, {"binary_data_output": {"bool_param": True}}])
def test_outputs_of_every_kind(parameters: Any) -> None:
    message = infer(MATRIX, outputs=[{"name": "predict_proba"}, {"name": "predict"}], parameters=parameters)
    found = answered(message, np.array([[0.25, 0.75]], np.float32), np.array(["ö"]))
    assert [(each.name, each.datatype) for each in found.outputs] == [("predict_proba", "FP32"), ("predict", "BYTES")]
    rows = dialect().predictions(found.SerializeToString())
    assert rows == [{"predict_proba": [0.25, 0.75], "predict": "ö"}]


def test_fp16_is_raw_or_becomes_fp32() -> None:
    found = answered(infer(MATRIX), np.array([0.5], np.float16)).outputs[0]
    assert (found.datatype, list(found.contents.fp32_contents)) == ("FP32", [0.5])


def test_a_missing_text_has_no_form() -> None:
    with pytest.raises(RequestError) as caught:
        answered(infer(MATRIX), np.array(["a", None], object))
    assert caught.value.status == 500


def test_another_model_is_refused_if_that_is_to_be_checked() -> None:
    message = infer(MATRIX, model_version="4")
    assert dialect().read(asked(message)).rows == 1  # A request that is replayed was another version's.
    error = refusal(dialect(), HttpRequest(message.SerializeToString(), {CHECK_MODEL: b"1"}))
    assert error.status == 404


def test_params_are_request_parameters() -> None:
    params = [{"name": "top", "type": "long", "default": 3, "shape": None}]
    speaks = GrpcDialect(mlmodel(column("a", "double"), params=params), METHODS, "wine", "3")
    one = ("a", "FP64", [1], "fp64_contents", [1])
    assert speaks.read(asked(infer(one, parameters={"top": {"int64_param": 5}}))).params == {"top": 5}
    assert speaks.read(asked(infer(one))).params == {"top": 3}


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\xff",
        descriptor.ModelInferResponse(
            outputs=[{"name": "p", "datatype": "FP65", "shape": [1]}], raw_output_contents=[b""]
        ).SerializeToString(),
        descriptor.ModelInferResponse(outputs=[{"name": "p", "datatype": "FP64", "shape": [1]}]).SerializeToString(),
    ],
)
def test_what_is_no_answer_is_told_apart(answer: bytes) -> None:
    with pytest.raises(ValueError, match=r"answer|outputs"):
        dialect().predictions(answer)
