from __future__ import annotations

from typing import Any

from modelyard.api.common import Condition
from modelyard.api.experiment import Experiment
from modelyard.backend.summary import going_on, lines
from modelyard.backend.upload import ARCHIVE_ARTIFACT
from modelyard.reconcile.experiment_source import PROJECT_ARTIFACT

CONDITION = Condition.model_validate(
    {
        "type": "Succeeded",
        "status": "True",
        "reason": "Completed",
        "message": "2 trials succeeded",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
)


def experiment(**status: Any) -> Experiment:
    return Experiment.parse(
        {
            "metadata": {"name": "churn", "namespace": "team"},
            "spec": {"objective": {"metric": "f1"}},
            "status": {"experimentId": "7", **status},
        }
    )


def test_the_end_has_the_best_run_the_version_and_where_to_look() -> None:
    done = experiment(
        bestRun={"runId": "a1", "name": "depth=5", "metrics": {"f1": "0.91", "loss": "0.2"}},
        registered={"model": "churn-model", "version": 3, "runId": "a1"},
    )
    assert lines(done, CONDITION, "http://mlflow:5000/", "p1") == [
        "Experiment team/churn: Completed: 2 trials succeeded",
        "  best run depth=5: f1 0.91",
        "  registered as version 3 of churn-model",
        "  MLflow: http://mlflow:5000/#/experiments/7/runs/p1",
        "  kubectl modelyard runs churn -n team",
    ]


def test_failures_are_named_the_first_five_of_them() -> None:
    failed = [{"name": f"trial-{number}", "reason": "Error", "message": "exit code 1"} for number in range(7)]
    said = lines(experiment(failures=failed), CONDITION, "http://mlflow:5000", None)
    assert said[1:6] == [f"  trial-{number}: Error: exit code 1" for number in range(5)]
    assert said[6:] == ["  kubectl modelyard runs churn -n team"]


def test_who_stops_waiting_is_told_what_goes_on_and_how_to_stop_it() -> None:
    assert "\n".join(going_on("team", "churn")).count("churn") == 4


def test_an_archive_is_where_the_operator_looks_for_it() -> None:
    assert ARCHIVE_ARTIFACT == PROJECT_ARTIFACT
