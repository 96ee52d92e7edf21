from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from modelyard.api.common import ConditionStatus
from modelyard.api.experiment import Experiment
from modelyard.api.experiment_status import ExperimentStatus, RegisteredVersion
from modelyard.api.reasons import Reason
from modelyard.decide.experiment import Seen, plan
from modelyard.decide.experiment_model import (
    JOB_TAG,
    MESSAGE_TAG,
    OUTCOME_TAG,
    PARAMETERS_TAG,
    PARENT,
    TRIAL_TAG,
    Execution,
    Problem,
    Run,
    RunStatus,
    TrialJob,
)
from modelyard.decide.experiment_status import Result, is_over, pinned, progress, to_register, troubled, waiting
from modelyard.decide.experiment_trials import Search
from modelyard.decide.jobs import Failure, JobState
from tests.unit.decide.experiments import SWEEP, experiment

Json = dict[str, Any]
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
LATER = datetime(2026, 5, 1, 13, tzinfo=UTC)
E1 = Execution("e1", commit="c0ffee", content="c0ffee")
VERSION = RegisteredVersion(model="churn", version=3, run_id="run-1")


def run(trial: int | str, status: RunStatus = RunStatus.FINISHED, **metrics: float) -> Run:
    names = {0: "a", 1: "b", 2: "c"}
    name = names.get(trial, "parent") if isinstance(trial, int) else trial
    tags = {TRIAL_TAG: str(trial), JOB_TAG: "u", PARAMETERS_TAG: json.dumps({"configuration": name})}
    return Run(f"run-{trial}", name, status, tags=tags, parameters={"p": str(trial)}, metrics=metrics)


def failed(trial: int, reason: str, message: str) -> Run:
    """A run that tells why its trial failed."""
    made = run(trial, RunStatus.FAILED)
    return replace(made, tags={**made.tags, OUTCOME_TAG: reason, MESSAGE_TAG: message})


def missing(trial: int) -> Run:
    return failed(trial, "ObjectiveMissing", "the program ended well, but without logging the metric f1")


def runs(*values: float | None) -> list[Run]:
    """A finished run a value; None for one without the metric, which tells so."""
    trials = [missing(index) if value is None else run(index, f1=value) for index, value in enumerate(values)]
    return [run(PARENT), *trials]


def result(
    subject: Experiment,
    seen: list[Run],
    jobs: tuple[TrialJob, ...] = (),
    registered: RegisteredVersion | Problem | None = None,
    notes: tuple[str, ...] = (),
) -> Result:
    decided = plan(subject, E1, Search(subject, "e1"), Seen(NOW, jobs, tuple(seen)))
    return Result("7", decided, registered, notes)


def succeeded(status: ExperimentStatus) -> tuple[ConditionStatus, str, str]:
    first = status.conditions[0]
    assert first.type == "Succeeded"
    return first.status, first.reason, first.message


def types(status: ExperimentStatus) -> list[str]:
    return [condition.type for condition in status.conditions]


def test_while_trials_run_the_status_counts_and_names_them() -> None:
    jobs = (
        TrialJob("j", "u", "e1", 0, "run-0", JobState.ACTIVE),
        TrialJob("j", "u", "e1", 1, "run-1", JobState.ACTIVE, waiting="ImageUnavailable: no such image"),
    )
    subject = experiment()
    status = progress(subject, E1, result(subject, [run(PARENT), run(0), run(1)], jobs), NOW)
    assert succeeded(status) == (
        ConditionStatus.UNKNOWN,
        "TrialsRunning",
        "0 of 3 trials ended; running: a; b waits: ImageUnavailable: no such image",
    )
    assert types(status) == ["Succeeded", "Reconciling"]
    assert status.runs is not None
    assert (status.runs.total, status.runs.running, status.runs.pending) == (3, 1, 2)
    assert (status.started_at, status.finished_at) == ("2026-05-01T12:00:00Z", None)
    assert (status.experiment_id, status.execution, status.commit, status.parent_run_id) == (
        "7",
        "e1",
        "c0ffee",
        "run-parent",
    )


def test_when_all_is_done_the_best_run_the_leaderboard_and_the_version_are_there() -> None:
    subject = experiment()
    status = progress(subject, E1, result(subject, runs(0.7, 0.9, 0.8), registered=VERSION), NOW)
    assert succeeded(status) == (
        ConditionStatus.TRUE,
        "Completed",
        "3 trials succeeded; best is b with f1 0.9; registered as version 3 of churn",
    )
    assert types(status) == ["Succeeded"]
    assert status.best_run is not None
    assert (status.best_run.run_id, status.best_run.parameters, status.best_run.metrics) == (
        "run-1",
        {"p": "1"},
        {"f1": "0.9"},
    )
    assert [(entry.name, entry.value) for entry in status.leaderboard] == [("b", "0.9"), ("c", "0.8"), ("a", "0.7")]
    assert (status.registered, status.finished_at) == (VERSION, "2026-05-01T12:00:00Z")


def test_looking_again_changes_nothing() -> None:
    subject = experiment()
    first = progress(subject, E1, result(subject, runs(0.7, 0.9, 0.8), registered=VERSION), NOW)
    again = experiment(status=first.to_dict())
    assert progress(again, E1, result(again, runs(0.7, 0.9, 0.8), registered=VERSION), LATER) == again.status


UNREACHABLE = Problem(Reason.ARTIFACT_STORE_UNREACHABLE, "s3 does not answer", transient=True)
NO_MODEL = Problem(Reason.REGISTRATION_FAILED, "run b has no model 'model'")
STRICT = {**SWEEP, "sweep": {**SWEEP["sweep"], "maxFailedTrials": 0}}
NO_REGISTER = {key: value for key, value in SWEEP.items() if key != "register"}


@pytest.mark.parametrize(
    ("spec", "seen", "registered", "expected", "words"),
    [
        (SWEEP, runs(0.1, 0.3, 0.2), None, ("False", "NotGoodEnough"), "not registered: f1 0.3 is below min 0.5"),
        (STRICT, runs(0.7, None, 0.8), None, ("False", "TrialsFailed"), "1 of 3 trials failed: b: ObjectiveMissing: "),
        (
            SWEEP,
            runs(0.7, None, 0.8),
            VERSION,
            ("True", "Completed"),
            "2 of 3 trials succeeded; 1 failed (b: ObjectiveMissing: the program ended well, but without logging the "
            "metric f1); best is c with f1 0.8; registered as version 3 of churn",
        ),
        (SWEEP, runs(None, None, None), None, ("False", "ObjectiveMissing"), "3 of 3 trials failed"),
        (SWEEP, runs(math.nan, math.nan, math.nan), None, ("False", "ObjectiveMissing"), "no run has a finite f1"),
        (SWEEP, runs(0.7, 0.9, 0.8), NO_MODEL, ("False", "RegistrationFailed"), "run b has no model 'model'"),
        (SWEEP, runs(0.7, 0.9, 0.8), UNREACHABLE, ("Unknown", "ArtifactStoreUnreachable"), "s3 does not answer"),
        (NO_REGISTER, runs(0.7, 0.9, 0.8), None, ("True", "Completed"), "3 trials succeeded; best is b with f1 0.9"),
        ({"project": SWEEP["project"]}, runs(0.7), None, ("True", "Completed"), "1 trial succeeded"),
    ],
)
def test_how_it_ended_has_a_reason(
    spec: Json, seen: list[Run], registered: Problem | RegisteredVersion | None, expected: tuple[str, str], words: str
) -> None:
    subject = experiment(spec)
    found = progress(subject, E1, result(subject, seen, registered=registered), NOW)
    status, _ = expected
    assert succeeded(found)[:2] == expected
    assert words in succeeded(found)[2]
    assert ("Stalled" in types(found)) == (status == "False")
    assert (found.finished_at is None) == (status == "Unknown")


def test_failures_are_named_and_those_whose_pods_are_gone_are_remembered() -> None:
    subject = experiment()
    told = TrialJob("j", "u", "e1", 1, "run-1", JobState.FAILED, failure=Failure("OOMKilled", "exit code 137"))
    seen = [run(PARENT), run(0, f1=0.5), run(1, RunStatus.FAILED), run(2, f1=0.6)]
    first = progress(subject, E1, result(subject, seen, (told,)), NOW)
    assert [(item.name, item.reason, item.message) for item in first.failures] == [("b", "OOMKilled", "exit code 137")]
    assert succeeded(first)[:2] == ("Unknown", "TrialsRunning"), "the run does not tell yet why its trial failed"

    silent = TrialJob("j", "u", "e1", 1, "run-1", JobState.FAILED, failure=Failure("BackoffLimitExceeded", "the limit"))
    again = experiment(status=first.to_dict())
    assert progress(again, E1, result(again, seen, (silent,)), LATER).failures == first.failures

    told_by_run = [*seen[:2], failed(1, "OOMKilled", "exit code 137"), seen[3]]
    last = progress(again, E1, result(again, told_by_run), LATER)
    assert "2 of 3 trials succeeded; 1 failed (b: OOMKilled: exit code 137)" in succeeded(last)[2]
    assert last.failures == first.failures


def test_notes_are_told_while_it_runs_and_when_it_is_done() -> None:
    subject, notes = experiment(), ("conda.yaml is not built in this release",)
    for seen in ([run(PARENT)], runs(0.7, 0.9, 0.8)):
        status = progress(subject, E1, result(subject, seen, registered=VERSION, notes=notes), NOW)
        assert succeeded(status)[2].endswith(". Note: conda.yaml is not built in this release")


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (runs(0.7, 0.9, 0.8), "run-1"),
        (runs(0.1, 0.2, 0.3), None),
        (runs(0.7, None, 0.8), "run-2"),
        (runs(None, None, None), None),
        (runs(0.7, 0.9), None),
    ],
)
def test_the_best_run_of_an_execution_that_has_not_failed_is_registered(seen: list[Run], expected: str | None) -> None:
    subject = experiment()
    found = to_register(subject, result(subject, seen).plan)
    assert (found.run_id if found else None) == expected


def test_what_was_run_before_stays_to_be_seen_when_another_execution_begins() -> None:
    subject = experiment()
    done = progress(subject, E1, result(subject, runs(0.7, 0.9, 0.8), registered=VERSION), NOW)
    status = pinned(experiment(status=done.to_dict()), Execution("e2", commit="d"), LATER)
    (before,) = status.executions
    assert (before.id, before.reason, before.best_value, before.version) == ("e1", "Completed", "0.9", 3)
    assert (before.started_at, before.finished_at) == ("2026-05-01T12:00:00Z", "2026-05-01T12:00:00Z")
    third = pinned(experiment(status=status.to_dict()), Execution("e3"), LATER)
    assert [(item.id, item.reason) for item in third.executions] == [("e2", "Replaced"), ("e1", "Completed")]


def test_an_experiment_that_waits_for_its_schedule_says_when() -> None:
    subject = experiment({**SWEEP, "schedule": "0 3 * * 1"})
    status = waiting(subject, LATER, NOW)
    assert succeeded(status) == ("Unknown", "Scheduled", "it runs at 2026-05-01T13:00:00Z, as spec.schedule says")
    assert types(status) == ["Succeeded"]
    assert waiting(experiment(subject.spec.to_dict(), status.to_dict()), LATER, LATER) == status


def test_suspension_and_early_stops_are_told() -> None:
    subject = experiment({**SWEEP, "suspend": True})
    stopped = run(0, RunStatus.KILLED)
    stopped = replace(stopped, tags={**stopped.tags, OUTCOME_TAG: "Stopped"})
    status = progress(subject, E1, result(subject, [run(PARENT), stopped]), NOW)
    assert succeeded(status)[1:] == (
        "Suspended",
        "1 of 3 trials ended; 1 stopped early; spec.suspend holds the others back",
    )
    assert types(status) == ["Succeeded"]
    assert status.runs is not None
    assert (status.runs.stopped, status.runs.pending, status.runs.total) == (1, 2, 3)


def test_an_execution_begins_with_its_commit_and_nothing_of_the_last_one() -> None:
    subject = experiment(status={"execution": "e0", "registered": VERSION.to_dict(), "experimentId": "7"})
    status = pinned(subject, E1, NOW)
    assert (status.execution, status.commit, status.registered, status.experiment_id) == ("e1", "c0ffee", None, "7")
    assert succeeded(status)[:2] == (ConditionStatus.UNKNOWN, "TrialsRunning")


@pytest.mark.parametrize(
    ("problem", "status", "extra"),
    [
        (Problem(Reason.PROJECT_UNREACHABLE, "no answer", transient=True), "Unknown", "Reconciling"),
        (Problem(Reason.ENTRY_POINT_NOT_FOUND, "no such entry point"), "False", "Stalled"),
    ],
)
def test_a_problem_keeps_the_results_of_its_execution_only(problem: Problem, status: str, extra: str) -> None:
    before = {"execution": "e1", "commit": "c0ffee", "runs": {"total": 3}, "finishedAt": "2026-05-01T12:00:00Z"}
    same = troubled(experiment(status=before), problem, E1, NOW)
    assert succeeded(same) == (status, problem.reason, problem.message)
    assert types(same) == ["Succeeded", extra]
    assert same.runs is not None
    assert same.finished_at is None
    assert troubled(experiment(status=before), problem, Execution("e2"), NOW).runs is None


@pytest.mark.parametrize(
    ("generation", "execution", "expected"),
    [(1, E1, True), (1, None, True), (2, E1, False), (2, None, False), (1, Execution("e2"), False)],
)
def test_what_has_ended_stays_ended_until_the_spec_or_the_project_changes(
    generation: int, execution: Execution | None, expected: bool
) -> None:
    status = {"execution": "e1", "observedGeneration": 1, "finishedAt": "2026-05-01T12:00:00Z"}
    assert is_over(experiment(status=status, generation=generation), execution) is expected
    assert not is_over(experiment(status={**status, "finishedAt": None}), E1)
