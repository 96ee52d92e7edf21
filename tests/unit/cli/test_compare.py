"""Comparing what a run gave with what it gave again."""

from __future__ import annotations

import math

import pytest

from modelyard.cli.compare import Changed, Verdict, metrics, packages, parameters
from modelyard.decide.experiment_model import Run


def run(name: str = "", start: int = 0, **values: float) -> Run:
    return Run(f"id-{name}-{start}", name, start_time=start, metrics=values)


@pytest.mark.parametrize(
    ("old", "new", "tolerance", "verdict"),
    [
        (0.5, 0.5, 0.0, Verdict.SAME),
        (0.5, 0.6, 0.0, Verdict.DIFFERS),
        (0.5, 0.6, 0.2, Verdict.WITHIN),
        (0.5, 0.4, 0.05, Verdict.DIFFERS),
        (math.nan, math.nan, 0.0, Verdict.SAME),
        (math.nan, 0.5, 1.0, Verdict.DIFFERS),
        (math.inf, math.inf, 0.0, Verdict.SAME),
        (math.inf, 1.0, 5.0, Verdict.DIFFERS),
    ],
)
def test_two_values(old: float, new: float, tolerance: float, verdict: Verdict) -> None:
    (found,) = metrics([run(a=old)], [run(a=new)], tolerance)
    assert found.verdict is verdict


def test_what_is_there_once_is_gone_or_new_and_the_machine_s_own_is_left_out() -> None:
    found = metrics([run(a=1.0, b=1.0)], [Run("n", metrics={"b": 1.0, "c": 1.0, "system/cpu": 1.0})], 0.0)
    assert [(each.metric, each.verdict) for each in found] == [
        ("a", Verdict.GONE),
        ("b", Verdict.SAME),
        ("c", Verdict.NEW),
    ]
    assert [each.difference for each in found] == [None, 0.0, None]


def test_a_metric_of_the_machine_may_be_asked_for() -> None:
    one = Run("one", metrics={"system/cpu": 1.0, "a": 1.0})
    assert [each.metric for each in metrics([one], [one], 0.0, ["system/cpu"])] == ["system/cpu"]


def test_runs_of_the_program_are_matched_by_name_else_by_order() -> None:
    first, second = run("first", 1, a=1.0), run("second", 2, a=2.0)
    same = metrics([run(), first, second], [run(), run("second", 1, a=2.0), run("first", 2, a=1.0)], 0.0)
    assert [(each.run, each.verdict) for each in same] == [("first", Verdict.SAME), ("second", Verdict.SAME)]
    named_by_chance = metrics([run(), first, second], [run(), run("bold-fox", 1, a=1.0)], 0.0)
    assert [(each.run, each.verdict) for each in named_by_chance] == [("first", Verdict.SAME), ("second", Verdict.GONE)]


def test_parameters_that_are_not_the_same() -> None:
    old, new = Run("a", parameters={"x": "1", "y": "1", "z": "1"}), Run("b", parameters={"x": "1", "y": "2", "w": "1"})
    assert parameters(old, new) == [Changed("w", None, "1"), Changed("y", "1", "2"), Changed("z", "1", None)]


CONDA = "# conda: https://conda.anaconda.org/conda-forge/linux-64/scikit-learn-1.{}.0-py310h1.conda#sha256:aa\n"


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("numpy==2.3.1 --hash=sha256:aa\n", "numpy==2.3.1 --hash=sha256:bb\n", []),
        ("Scikit_Learn==1.0\n", "scikit-learn==1.0\n", []),
        ("numpy==2.3.1\n", "numpy==2.3.2 --hash=sha256:aa\n", [Changed("numpy", "2.3.1", "2.3.2")]),
        ("own @ https://x/own.whl\n", "", [Changed("own", "https://x/own.whl", None)]),
        ("# python: 3.12.8\n", "# python: 3.11.1\n", [Changed("python", "3.12.8", "3.11.1")]),
        (CONDA.format(6), CONDA.format(7), [Changed("scikit-learn (conda)", "1.6.0 py310h1", "1.7.0 py310h1")]),
        ("# modelyard-lock: 1\n\n--index-url x\n", "", []),
    ],
)
def test_packages_by_their_locks(old: str, new: str, changed: list[Changed]) -> None:
    assert packages(old, new) == changed
