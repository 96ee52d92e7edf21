from __future__ import annotations

from typing import Any

import pytest

from modelyard.api.experiment import Experiment
from modelyard.api.experiment_status import ExecutionTrigger, Trigger
from modelyard.decide.experiment_model import PARAMETERS_TAG, Run, Trial
from modelyard.decide.experiment_trials import Search, job_name
from modelyard.decide.experiment_trials import execution_id as named
from tests.unit.decide.experiments import SWEEP, experiment

Json = dict[str, Any]


def swept(**values: list[str]) -> Json:
    return {**SWEEP, "sweep": {"parameters": {name: {"values": items} for name, items in values.items()}}}


SPEC = ExecutionTrigger()


def execution_id(subject: Experiment, content: str, trigger: ExecutionTrigger = SPEC) -> str:
    return named(subject, content, trigger)


def planned(spec: Json) -> tuple[Trial, ...]:
    search = Search(experiment(spec), "e1")
    assert search.check() is None
    found = [search.next(index, ()) for index in range(search.size)]
    assert search.next(search.size, ()) is None
    return tuple(trial for trial in found if trial)


def test_one_swept_parameter_names_its_trials_by_value() -> None:
    assert planned({**swept(configuration=["rf-tuned", "gb"]), "parameters": {"seed": "1"}}) == (
        Trial(0, "rf-tuned", {"seed": "1", "configuration": "rf-tuned"}, {"configuration": "rf-tuned"}),
        Trial(1, "gb", {"seed": "1", "configuration": "gb"}, {"configuration": "gb"}),
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


def test_a_trial_is_known_again_by_what_was_chosen_when_its_run_was_made() -> None:
    search = Search(experiment({**swept(depth=["1"], trees=["5"]), "parameters": {"seed": "1"}}), "e1")
    run = Run("r", tags={PARAMETERS_TAG: '{"depth": "9", "trees": "7"}'})
    expected = {"depth": "9", "trees": "7"}
    assert search.recall(4, run) == Trial(4, "depth=9,trees=7", {"seed": "1", **expected}, expected)


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
        {"sweep": {**SWEEP["sweep"], "maxTrials": 2, "maxDuration": "1h", "maxFailedTrials": 1}},
        {"suspend": True},
        {"schedule": "0 3 * * 1"},
        {"retention": {"maxRuns": 3}},
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


def test_running_again_is_another_execution_and_the_same_one_for_the_same_trigger() -> None:
    first = ExecutionTrigger(kind=Trigger.ANNOTATION, value="1")
    again = ExecutionTrigger(kind=Trigger.ANNOTATION, value="2")
    due = ExecutionTrigger(kind=Trigger.SCHEDULE, value="2026-01-01T00:00:00Z")
    names = [execution_id(experiment(), "c", trigger) for trigger in (SPEC, first, again, due)]
    assert len(set(names)) == 4
    assert execution_id(experiment(), "c", first) == names[1]


def test_names_of_jobs_are_labels_of_their_pods() -> None:
    longest = experiment(name="x" * 52)
    assert len(job_name(longest, "01234567", 9999, 3)) <= 63
    assert job_name(experiment(), "01234567", 2) == "churn-01234567-2"
    assert job_name(experiment(), "01234567", 2, attempt=3) == "churn-01234567-2-r3"
