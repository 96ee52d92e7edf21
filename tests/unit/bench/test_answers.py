from __future__ import annotations

from typing import Any

import pytest

from tests.bench.serving.answers import compare


@pytest.mark.parametrize(
    ("given", "expected", "differences"),
    [
        ([0, 2, 1], [0, 2, 1], ()),
        (["a"], ["a"], ()),
        ([0, 1, 1], [0, 2, 1], ("row 1: 1 instead of 2",)),
        ([0.0], [0], ("row 0: 0.0 instead of 0",)),
        ([True], [1], ("row 0: True instead of 1",)),
        ([[0]], [0], ("row 0: [0] instead of 0",)),
        ([0], [0, 1], ("1 answers",)),
    ],
)
def test_labels_are_alike_only_if_they_are_the_same_json(
    given: list[Any], expected: list[Any], differences: tuple[str, ...]
) -> None:
    assert compare(given, expected).differences == differences


@pytest.mark.parametrize(
    ("given", "alike"),
    [([0.25, 0.75], True), ([0.250001, 0.749999], True), ([0.26, 0.74], False), ([0.25], False)],
)
def test_probabilities_are_alike_within_the_tolerance(given: list[float], alike: bool) -> None:
    assert compare([given], [[0.25, 0.75]], tolerance=1e-5).alike is alike


def test_only_the_first_differences_are_told() -> None:
    told = str(compare([1] * 10, [0] * 10))
    assert told == ("10 of 10 rows differ: row 0: 1 instead of 0; row 1: 1 instead of 0; row 2: 1 instead of 0")
