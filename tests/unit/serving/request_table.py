"""Requests for the differential test: every shape of payload against every kind of signature."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.unit.serving.models import ECHO_SIGNATURES


def records(*rows: Any) -> dict[str, Any]:
    return {"dataframe_records": list(rows)}


def split(columns: Any, *rows: Any) -> dict[str, Any]:
    return {"dataframe_split": {"columns": columns, "data": list(rows)}}


def instances(value: Any) -> dict[str, Any]:
    return {"instances": value}


def inputs(value: Any) -> dict[str, Any]:
    return {"inputs": value}


CELLS: list[Any] = [
    0, 1, -1, 1.5, True, None, "1.5", "abc", "", 2**40, 2**53 + 1, 2**63, 2**64, 1e300, float("nan"), float("inf"),
    [1], [1, 2], {"x": 1}, "2024-01-01", "2024-01-01T10:00:00", "2024-01-01T00:00:00Z", "YWJj", "äö",
]  # fmt: skip

ROW = {"d": 1.5, "l": 3, "s": "x"}

SHAPES: list[Any] = [
    [], [1], [1, 2], [1, 2, 3, 4], [[1, 2, 3, 4]], [[1, 2, 3, 4], [5, 6, 7, 8]], [[1, 2, 3]], [[1, 2, 3, 4], [1]],
    [["a", "b"]], [["1", "2", "3", "4"]], [[None, 1, 2, 3]], [[True, False, 1, 2]], [[1.5, 2]], [[1.5]], [["a"]],
    ["a", "b"], [[[1, 2], [3, 4]]], [[[1, 2], [3, 4]], [[1, 2], [3, 4]]], [2**63, 1], [[2**70, 1, 2, 3]], [[]],
    [[], []],
]  # fmt: skip

VALUES: list[Any] = [
    5, "x", None, {}, {"u": [[1, 2]], "v": [1]}, {"u": [[1, 2]]}, {"u": [1, 2]}, {"v": [1]}, [{"u": [1, 2], "v": 1}],
    [{"u": [1, 2], "v": 1}, {"u": [3, 4], "v": 2}], [{"u": [1, 2]}], [{"a": 1}], [{"a": 1.5, "b": 2}], {"a": [1]},
    {"a": 1}, {"text": ["a"]}, {"text": "a"}, [{"text": "a"}], [{"text": 1}], {"a": [1, 2], "b": [3]},
    {"0": [1], "1": [2]},
]  # fmt: skip

RECORDS: list[Any] = [
    {"u": [1, 2], "v": 1}, {"u": [1], "v": 1}, {"u": [], "v": 1}, {"u": ["a", "b"], "v": 1}, {"u": [1, 2], "v": "x"},
    {"u": 1, "v": 1}, {"a": [1, 2, 3, 4]}, {"a": [[1, 2], [3, 4]]}, {"a": {}}, {"a": 1}, {"a": "x"},
    {"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 2, "c": "x"}, {"a": 1, "b": 2, "c": None}, {"a": 1, "n": 2, "s": "x"},
    {"a": 1, "n": 2.5, "s": 1}, {"c": 1.5, "b": 2, "a": 3, "extra": [4]}, {"text": "x"}, {"text": None}, {"text": 5},
]  # fmt: skip

MALFORMED: list[Any] = [
    {}, [], [1], 5, "x", None, True, {"foo": 1}, {"inputs": [], "instances": []}, {**records(ROW), "foo": 1},
    '"', "", "{", b"\xff", b"\xef\xbb\xbf{}", json.dumps(records(ROW)).encode("utf-16"),
    '{"dataframe_records": [{"d": NaN, "l": 1, "s": null}]}',
    '{"dataframe_records": [{"d": 1, "d": 2, "l": 1, "s": ""}]}',
    records(), records({}), records([]), records(1), records([1, 2, 3]), records(None), {"dataframe_records": {}},
    {"dataframe_split": None}, {"dataframe_split": [1]}, {"dataframe_split": {"columns": ["d"]}},
    {"dataframe_split": {"data": [[1, 2, "x"]]}}, {"dataframe_split": {"data": [[1]], "x": 1}}, split(5, [1]),
    split(["d", "l"], [1]), split([["d"], ["l"]], [1, 2]),
    {"dataframe_split": {"columns": ["d", "l", "s"], "index": [7], "data": [[1, 2, "x"]]}},
    {"dataframe_split": {"columns": ["d", "l", "s"], "index": [7, 8], "data": [[1, 2, "x"]]}},
    {"dataframe_split": {"columns": ["d", "l", "s"], "data": {}}}, split(["d", "l", "s"]), split(["d", "l", "s"], 1, 2),
]  # fmt: skip

FRAMES: list[Any] = [
    records(ROW), records(ROW, ROW), records({**ROW, "more": 1}), records({"d": 1}), records({"d": 1, "q": 2}),
    records(ROW, {"d": 1, "l": 2}), split(["d", "l", "s"], [1, 2, "x"]), split(["s", "d", "l"], ["x", 1, 2]),
    instances([ROW]), instances([ROW, ROW]), instances([ROW, {"d": 1}]), instances([[1, 2, "x"]]),
    instances([[1, 2, 3]]),
    instances({"d": [1, 2], "l": [1, 2], "s": ["a", "b"]}), instances({"d": [1, 2], "l": [1], "s": ["a", "b"]}),
    inputs({"d": [1, 2], "l": [1, 2], "s": ["a", "b"]}), inputs({"d": [1, 2], "l": [1], "s": ["a", "b"]}),
    inputs(ROW), inputs([ROW]), inputs([ROW, ROW]), inputs([[1, 2, 3]]), inputs({"d": [[1, 2]], "l": [1], "s": ["a"]}),
]  # fmt: skip

PARAMS: list[Any] = [
    {}, None, 5, [], [1], "x", {"temperature": 1}, {"temperature": 1.5}, {"temperature": "a"}, {"temperature": True},
    {"temperature": None}, {"temperature": [1]}, {"temperature": {}}, {"top": 1}, {"top": 1.5}, {"top": True},
    {"top": 2**70}, {"words": "a"}, {"words": ["a", "b"]}, {"words": []}, {"words": [1]}, {"words": [["a"]]},
    {"words": [None]}, {"words": None}, {"words": [{}]}, {"since": "2024-01-01"}, {"since": "2024-01-01T10:00:00"},
    {"since": "x"}, {"since": 5}, {"since": None}, {"on": True}, {"on": 1}, {"on": "true"}, {"unknown": 1},
    {"temperature": "a", "top": "b"},
]  # fmt: skip

CSVS = [
    "d,l,s\n1.5,2,x\n", "s,l,d,more\nx,2,1.5,q\n", "d,l\n1,2\n", "d,l,s\nabc,2,x\n", "d,l,s\n1,2.5,x\n",
    "d,l,s\n1,,x\n",
    "d,l,s\n,2,\n", "d,l,s,b\n1,2,x,True\n", "d,l,s,t\n1,2,x,2024-01-01\n", "d,l,s,x\n1,2,x,YWJj\n", "d,l,s\n", "",
    "a,b,c\n1,2,3\n4,5,6\n", "0,1\n1,2\n", 'a\n"unclosed\n', "a,b,c,d\n1,2,3,4\n", "text\nhello\n", b"\xff\xfe",
]  # fmt: skip


def requests_for(name: str) -> Iterator[tuple[Any, str]]:
    """(body, content type) of each request to the echo model of that name."""
    for body in (*MALFORMED, *FRAMES):
        yield body, "application/json"
    for shape in SHAPES:
        for body in (instances(shape), inputs(shape), {"dataframe_split": {"data": shape}}):
            yield body, "application/json"
    for value in VALUES:
        for body in (instances(value), inputs(value)):
            yield body, "application/json"
    for record in RECORDS:
        yield records(record), "application/json"
    for text in CSVS:
        yield text, "text/csv"
    for body in _own_requests(name):
        yield body, "application/json"


def _own_requests(name: str) -> Iterator[Any]:
    if name == "scalars":
        yield split(["d", "d", "l", "s"], [1, 1, 2, "x"])
        for column in "dlsbiftxo":
            for cell in CELLS:
                row = {**ROW, column: cell}
                yield from (records(row), records(row, {**row, column: 1}), inputs({**ROW, column: cell}))
                yield from (instances([row]), inputs({**{k: [v] for k, v in ROW.items()}, column: [cell]}))
    elif name == "nested":
        for cell in (
            *CELLS,
            [1.5],
            ["x"],
            [None],
            [],
            [[1]],
            {},
            {"x": 1.0, "y": None},
            {"x": 1.0, "z": 1},
            {"x": "a"},
        ):
            for row in ({"values": cell}, *({"values": [1.0], key: cell} for key in ("point", "counts", "any"))):
                yield from (records(row), instances([row]), inputs(row), inputs([row]))
    elif name == "params":
        for params in PARAMS:
            yield {**records({"a": 1.0}), "params": params}
    elif name == "doubles":
        for cell in CELLS:
            yield split(["a", "b", "c"], [cell, 1, 2.5], [1.5, 1, 2])
            yield split(["c", "b", "a", "z"], [cell, 1, 2.5, cell])


ECHO_MODELS = sorted(ECHO_SIGNATURES)
