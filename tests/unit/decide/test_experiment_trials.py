from __future__ import annotations

from typing import Any

import pytest

from modelyard.api.reasons import Reason
from modelyard.decide.experiment_model import Problem, Trial
from modelyard.decide.experiment_trials import execution_id, job_name, trials
from tests.unit.decide.experiments import SWEEP, experiment

Json = dict[str, Any]


def swept(**values: list[str]) -> Json:
    return {**SWEEP, "sweep": {"parameters": {name: {"values": items} for name, items in values.items()}}}


def planned(spec: Json) -> tuple[Trial, ...]:
    found = trials(experiment(spec), "e1")
    assert not isinstance(found, Problem)
    return found


def test_one_swept_parameter_names_its_trials_by_value() -> None:
    assert planned({**swept(configuration=["rf-tuned", "gb"]), "parameters": {"seed": "1"}}) == (
        Trial(0, "rf-tuned", {"seed": "1", "configuration": "rf-tuned"}),
        Trial(1, "gb", {"seed": "1", "configuration": "gb"}),
    )


def test_a_grid_is_the_product_in_an_order_that_does_not_change() -> None:
    forwards = planned(swept(depth=["1", "2"], trees=["10", "20"]))
    backwards = planned(swept(trees=["10", "20"], depth=["1", "2"]))
    assert forwards == backwards
    assert [trial.name for trial in forwards] == [
        "depth=1,trees=10",
        "depth=1,trees=20",
        "depth=2,trees=10",
        "depth=2,trees=20",
    ]


def test_without_a_sweep_there_is_one_trial() -> None:
    spec = {"project": SWEEP["project"], "parameters": {"depth": "3"}}
    assert planned(spec) == (Trial(0, "churn-e1", {"depth": "3"}),)


def test_a_value_given_twice_is_tried_once() -> None:
    assert [trial.name for trial in planned(swept(depth=["1", "2", "1"]))] == ["1", "2"]


def test_a_grid_without_bounds_is_refused() -> None:
    values = [str(number) for number in range(100)]
    found = trials(experiment(swept(**{f"p{number}": values for number in range(8)})), "e1")
    assert isinstance(found, Problem)
    assert (found.reason, found.transient) == (Reason.INVALID_SPEC, False)


@pytest.mark.parametrize(
    "change",
    [
        {"entryPoint": "other"},
        {"parameters": {"x": "1"}},
        {"project": {"configMap": {"name": "other"}}},
        {"sweep": {"parameters": {"configuration": {"values": ["a", "b"]}}}},
        {"template": {"image": "other"}},
        {"template": {"env": [{"name": "A", "value": "1"}]}},
    ],
)
def test_what_is_run_names_the_execution(change: Json) -> None:
    assert execution_id(experiment({**SWEEP, **change}), "c") != execution_id(experiment(), "c")


@pytest.mark.parametrize(
    "change",
    [
        {"sweep": {**SWEEP["sweep"], "parallelism": 7}},
        {"objective": {"metric": "accuracy"}},
        {"register": {"model": "churn", "when": []}},
        {"tags": {"team": "b"}},
    ],
)
def test_what_is_done_about_it_does_not(change: Json) -> None:
    assert execution_id(experiment({**SWEEP, **change}), "c") == execution_id(experiment(), "c")


def test_other_content_and_an_object_made_anew_are_other_executions() -> None:
    first = execution_id(experiment(), "c")
    assert execution_id(experiment(), "d") != first
    assert execution_id(experiment(uid="other"), "c") != first


def test_names_of_jobs_are_labels_of_their_pods() -> None:
    longest = experiment(name="x" * 52)
    assert len(job_name(longest, "01234567", 499)) <= 63
    assert job_name(experiment(), "01234567", 2) == "churn-01234567-2"
