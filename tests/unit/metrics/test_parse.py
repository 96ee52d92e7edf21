"""A pod's metrics: text becomes numbers, or an error of its own."""

from __future__ import annotations

import math
import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.decide.pod_metrics import Histogram
from modelyard.metrics.parse import BadMetrics, parse

INFO = 'modelyard_info{model="churn",version="4",digest="sha256:00",flavor="sklearn"} 1.0\n'
WHOLE = (
    INFO
    + """
# TYPE modelyard_requests counter
modelyard_requests_total{code="200"} 500.0
modelyard_requests_total{code="503"} 2.0
# TYPE modelyard_request_seconds histogram
modelyard_request_seconds_bucket{le="0.01"} 400.0
modelyard_request_seconds_bucket{le="0.1"} 501.0
modelyard_request_seconds_bucket{le="+Inf"} 502.0
modelyard_request_seconds_count 502.0
modelyard_request_seconds_sum 7.1
modelyard_memory_after_load_bytes 1.0e+08
process_resident_memory_bytes 1.25e+08
process_start_time_seconds 1.7e+09
modelyard_replay_info{reference_version="3"} 1.0
modelyard_replay_requests_total 40.0
modelyard_replay_errors_total 2.0
modelyard_replay_fetch_errors_total 1.0
# TYPE modelyard_replay_difference histogram
modelyard_replay_difference_bucket{le="0.0"} 30.0
modelyard_replay_difference_bucket{le="1e-09"} 31.0
modelyard_replay_difference_bucket{le="+Inf"} 38.0
modelyard_replay_invalid_total{side="candidate"} 3.0
modelyard_replay_answers_total{side="candidate",bin="no \\"way\\""} 35.0
modelyard_replay_answers_total{side="reference",bin="f8800"} 38.0
modelyard_replay_answer_min{side="candidate"} -1.5
modelyard_replay_answer_max{side="candidate"} NaN
# TYPE modelyard_replay_seconds histogram
modelyard_replay_seconds_bucket{side="candidate",le="0.01"} 38.0
modelyard_replay_seconds_bucket{side="candidate",le="+Inf"} 38.0
modelyard_replay_seconds_bucket{side="reference",le="0.01"} 37.0
modelyard_replay_seconds_bucket{side="reference",le="+Inf"} 38.0
"""
)


def test_everything_that_a_pod_measures() -> None:
    found = parse(WHOLE)
    assert (found.pods, found.version, found.started) == (1, "4", 1.7e9)
    assert found.requests == {"200": 500, "503": 2}
    assert found.seconds == Histogram({0.01: 400, 0.1: 101, math.inf: 1})
    assert found.memory_growth == 25_000_000
    replay = found.replay
    assert (replay.reference_version, replay.requests, replay.distinct) == ("3", 40, 40)
    assert (replay.errors, replay.fetch_errors) == (2, 1)
    assert replay.difference == Histogram({0.0: 30, 1e-9: 1, math.inf: 7})
    assert replay.invalid == {"candidate": 3}
    assert replay.answers == {"candidate": {'no "way"': 35}, "reference": {"f8800": 38}}
    assert (replay.least, replay.greatest) == ({"candidate": -1.5}, {})
    assert replay.seconds["reference"] == Histogram({0.01: 37, math.inf: 1})


def test_a_pod_that_has_done_nothing_yet() -> None:
    found = parse(INFO)
    assert (found.requests, found.seconds.total, found.memory_growth, found.replay.requests) == ({}, 0, None, 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "they are not those of a model server"),
        ("go_goroutines 7\n", "they are not those of a model server"),
        ("<html>nginx</html>\n", "they cannot be read"),
        (INFO + "modelyard_requests_total 7\n", "they cannot be read"),
        (INFO + 'modelyard_requests_total{code="200"} -1\n', "they cannot be read"),
        (INFO + 'modelyard_requests_total{code="200"} NaN\n', "they cannot be read"),
        (INFO + 'modelyard_requests_total{code="200"} +Inf\n', "they cannot be read"),
        (INFO + 'modelyard_requests_total{code="200"} 1e300\n', "they cannot be read"),
        (INFO + 'modelyard_requests_total{code="200"} many\n', "they cannot be read"),
        (INFO + 'modelyard_requests_total{code="200\n', "they cannot be read"),
        (INFO + 'modelyard_request_seconds_bucket{le="often"} 1\n', "they cannot be read"),
        (INFO + 'modelyard_request_seconds_bucket{le="NaN"} 1\n', "they cannot be read"),
        (
            INFO + 'modelyard_request_seconds_bucket{le="1"} 9\nmodelyard_request_seconds_bucket{le="2"} 8\n',
            "they cannot be read",
        ),
        (INFO + 'modelyard_replay_answers_total{bin="a"} 1\n', "they cannot be read"),
        (INFO + "process_resident_memory_bytes +Inf\nmodelyard_memory_after_load_bytes 1\n", "they cannot be read"),
    ],
)
def test_what_is_no_models_metrics_is_refused(text: str, message: str) -> None:
    with pytest.raises(BadMetrics, match=message):
        parse(text)


@given(st.text(), st.sampled_from(["", INFO]))
def test_any_text_is_read_or_refused(text: str, before: str) -> None:
    with suppress(BadMetrics):
        assert parse(before + text).pods == 1


def test_a_megabyte_of_metrics_takes_no_memory_to_speak_of() -> None:
    lines = "".join(f'modelyard_replay_answers_total{{side="candidate",bin="{k}"}} 1\n' for k in range(15_000))
    tracemalloc.start()
    parse(INFO + lines)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 50 * 2**20
