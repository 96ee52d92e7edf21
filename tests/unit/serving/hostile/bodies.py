"""Bodies that no client of good will sends, by protocol."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

NAME = "churn"
PATHS = {"mlflow": "/invocations", "v1": f"/v1/models/{NAME}:predict", "v2": f"/v2/models/{NAME}/infer"}
RIGHT = {
    "mlflow": {"dataframe_records": [{"tenure": 3, "charge": 99.5, "plan": "plus"}]},
    "v1": {"instances": [{"tenure": 3, "charge": 99.5, "plan": "plus"}]},
    "v2": {
        "inputs": [
            {"name": "tenure", "datatype": "INT64", "shape": [1], "data": [3]},
            {"name": "charge", "datatype": "FP64", "shape": [1], "data": [99.5]},
            {"name": "plan", "datatype": "BYTES", "shape": [1], "data": ["plus"]},
        ]
    },
}
"""A request that is answered with 200."""
VALUES = {
    "beyond doubles": "1e400",
    "of five thousand digits": "9" * 5000,
    "negative, of five thousand digits": "-" + "9" * 5000,
    "no number": "NaN",
    "infinite": "-Infinity",
    "a long text": json.dumps("x" * 30_000),
    "half a surrogate": '"\\ud800"',
    "a null byte": '"\\u0000"',
    "deep": "[" * 10_000 + "]" * 10_000,
    "deep, as objects": '{"a":' * 5_000 + "1" + "}" * 5_000,
    "an object": '{"__class__": "os.system"}',
    "null": "null",
}
"""In the place of a number, as JSON."""


class Case(NamedTuple):
    protocol: str
    name: str
    body: bytes
    content_type: str = "application/json"


def cases() -> Iterator[Case]:
    """All of them."""
    for protocol, right in RIGHT.items():
        text = json.dumps(right)
        for name, value in VALUES.items():
            yield Case(protocol, name, text.replace("99.5", value).encode())
        yield Case(protocol, "empty", b"")
        yield Case(protocol, "a list", b"[1]")
        yield Case(protocol, "UTF-16", text.encode("utf-16"))
        yield Case(protocol, "invalid UTF-8", text.encode().replace(b"plus", b"\xff\xfe\xc0\x80"))
        yield Case(protocol, "deep alone", b"[" * 30_000)
        yield Case(protocol, "trailing garbage", text.encode() + b"}{")
        yield Case(protocol, "cut off", text.encode()[:-5])
        yield Case(protocol, "keys twice", text[:-1].encode() + b", " + text[1:].encode())
        yield Case(protocol, "ten thousand keys", json.dumps({f"k{n}": 1 for n in range(10_000)}).encode())
        yield Case(protocol, "no JSON, but long", b"x" * 1_000_000)
        yield Case(protocol, "spaces", b" " * 1_000_000)
        yield Case(protocol, "another media type", text.encode(), "application/xml" * 500)
        yield Case(protocol, "another charset", text.encode(), "application/json; charset=utf-16")
    records = [{f"c{n}": 1 for n in range(20_000)}]
    yield Case("mlflow", "many columns", json.dumps({"dataframe_records": records}).encode())
    split = {"columns": [f"c{n}" for n in range(50_000)], "data": [[1] * 50_000]}
    yield Case("mlflow", "many columns, split", json.dumps({"dataframe_split": split}).encode())
    yield Case("mlflow", "a CSV of one long row", b"a," * 200_000, "text/csv")
    yield Case(
        "mlflow", "a CSV whose quotes are never closed", b'tenure,charge,plan\n3,9,"' + b"x\n" * 300_000, "text/csv"
    )
    yield Case("mlflow", "a CSV of null bytes", b"\0" * 100_000, "text/csv")
    yield Case("mlflow", "a CSV of ragged rows", b"a,b\n" + b"1,2,3\n1\n" * 1000, "text/csv")
    yield Case("v1", "nested instances", b'{"instances": ' + b"[" * 900 + b"]" * 900 + b"}")
    huge = {"inputs": [{"name": "tenure", "datatype": "INT64", "shape": [2**62, 2**62], "data": [1]}]}
    yield Case("v2", "a shape beyond memory", json.dumps(huge).encode())
    odd = {"name": "tenure", "datatype": "INT64", "shape": [-1, 10**30], "data": [1]}
    yield Case("v2", "a shape that is none", json.dumps({"inputs": [odd]}).encode())
    yield Case("v2", "thousands of inputs", json.dumps({"inputs": [odd] * 2000}).encode())
