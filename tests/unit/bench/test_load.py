from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.bench.serving.load import LOADS, MOST_SECONDS, Load, Measured, read, seconds_for

SAID = {
    "requests": 3000,
    "microseconds": 2_000_000,
    "p50": 1250,
    "p99": 9800,
    "max": 20_001,
    "connect": 0,
    "read": 0,
    "write": 0,
    "status": 0,
    "timeout": 0,
}


def output(**changes: Any) -> str:
    return (
        f"Running 2s test @ http://127.0.0.1:8080\n  1 threads and 8 connections\n{json.dumps({**SAID, **changes})}\n"
    )


def test_the_last_line_of_wrks_output_is_the_measurement() -> None:
    no_errors = {"connect": 0, "read": 0, "write": 0, "status": 0, "timeout": 0}
    assert read(output()) == Measured(requests=3000, rate=1500.0, p50=1.25, p99=9.8, maximum=20.001, errors=no_errors)


@pytest.mark.parametrize("text", ["", "unable to connect to 127.0.0.1:8080 Connection refused\n"])
def test_output_without_a_measurement_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="Expecting value"):
        read(text)


def test_a_measurement_of_good_answers_is_valid() -> None:
    assert read(output()).valid


@pytest.mark.parametrize(
    "changes", [{"status": 1}, {"timeout": 2}, {"connect": 1}, {"read": 1}, {"write": 1}, {"requests": 0}]
)
def test_one_error_or_no_answer_makes_a_measurement_invalid(changes: dict[str, int]) -> None:
    assert not read(output(**changes)).valid


WARM = read(output())


@pytest.mark.parametrize(
    ("connections", "warm", "seconds"),
    [
        (8, replace(WARM, rate=10_000.0), 2),
        (8, replace(WARM, rate=10.0), 4),
        (64, replace(WARM, rate=100.0), 4),
        (64, replace(WARM, rate=20.0), MOST_SECONDS),
        (64, replace(WARM, rate=0.0, requests=0), MOST_SECONDS),
    ],
)
def test_a_slow_server_is_measured_for_several_waves_of_answers(connections: int, warm: Measured, seconds: int) -> None:
    assert seconds_for(Load("any", connections, 1), warm, least=2) == seconds


def test_each_load_has_a_name_of_its_own() -> None:
    assert len({load.name for load in LOADS}) == len(LOADS)
