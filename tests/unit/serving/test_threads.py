from __future__ import annotations

import subprocess
import sys

import pytest

from modelyard_serving import threads


def test_a_prediction_takes_one_thread() -> None:
    env: dict[str, str] = {}
    threads.pin(env)
    assert set(env) == set(threads.VARIABLES)
    assert set(env.values()) == {"1"}


def test_what_the_environment_says_stands() -> None:
    env = {"OMP_NUM_THREADS": "4"}
    threads.pin(env)
    assert env["OMP_NUM_THREADS"] == "4"
    assert env["OPENBLAS_NUM_THREADS"] == "1"


@pytest.mark.parametrize(("value", "expected"), [("1", 1), ("4", 4), ("0", 1), ("4,2", 1), ("many", 1), ("", 1)])
def test_libraries_that_are_told_take_openmps_number(value: str, expected: int) -> None:
    assert threads.per_prediction({"OMP_NUM_THREADS": value}) == expected
    assert threads.per_prediction({}) == 1


def test_they_can_be_pinned_before_anything_is_imported() -> None:
    program = "import sys; from modelyard_serving import threads; print('numpy' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert said.stdout == "False\n"
