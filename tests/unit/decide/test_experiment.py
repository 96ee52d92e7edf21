from __future__ import annotations

import math
from typing import Any

import pytest

from modelyard.api.experiment import MetricBound
from modelyard.decide.experiment import EndRun, Phase, Plan, Seen, broken_bounds, plan
from modelyard.decide.experiment_model import PARENT, TRIAL_TAG, Problem, Run, RunStatus, TrialJob
from modelyard.decide.experiment_trials import trials
from modelyard.decide.jobs import Failure as Fault
from modelyard.decide.jobs import JobState
from tests.unit.decide.experiments import SWEEP, experiment

Json = dict[str, Any]


def run(
    trial: int | str, status: RunStatus = RunStatus.RUNNING, *, at: int = 1, name: str = "", **metrics: float
) -> Run:
    return Run(name or f"run-{trial}", f"t{trial}", status, at, tags={TRIAL_TAG: str(trial)}, metrics=metrics)


def job(index: int, state: JobState = JobState.ACTIVE, *, execution: str = "e1", run_id: str = "") -> TrialJob:
    fault = Fault("Error", "exit code 1") if state is JobState.FAILED else None
    return TrialJob(f"churn-{execution}-{index}", f"u{index}", execution, index, run_id or f"run-{index}", state, fault)


def planned(
    jobs: list[TrialJob] | None = None,
    runs: list[Run] | None = None,
    stale: list[Run] | None = None,
    spec: Json = SWEEP,
) -> Plan:
    subject = experiment(spec)
    found = trials(subject, "e1")
    assert not isinstance(found, Problem)
    return plan(subject, "e1", found, Seen(tuple(jobs or ()), tuple(runs or ()), tuple(stale or ())))


def started(decided: Plan) -> list[tuple[str, str | None]]:
    return [(state.trial.name, state.run.run_id if state.run else None) for state in decided.start]


DONE = RunStatus.FINISHED


def test_at_first_as_many_trials_start_as_may_run_at_a_time() -> None:
    decided = planned()
    assert started(decided) == [("a", None), ("b", None)]
    assert decided.needs_parent
    assert not decided.done


@pytest.mark.parametrize(
    ("jobs", "runs", "expected"),
    [
        ([job(0), job(1)], [run(0), run(1)], []),
        ([job(0, JobState.SUCCEEDED), job(1)], [run(0, DONE, f1=1.0), run(1)], [("c", None)]),
        ([job(0, JobState.FAILED), job(1)], [run(0), run(1)], [("c", None)]),
        # A crash came between a run and its Job: that run goes on.
        ([job(0)], [run(0), run(2)], [("c", "run-2")]),
        ([], [run(1)], [("b", "run-1"), ("a", None)]),
        # A Job that somebody deleted is made again, for the same run.
        ([job(0)], [run(0), run(1)], [("b", "run-1")]),
        # Its Job was removed after it had ended: the run is the record.
        ([], [run(0, DONE, f1=1.0), run(1, RunStatus.FAILED)], [("c", None)]),
    ],
)
def test_trials_start_when_there_is_room(
    jobs: list[TrialJob], runs: list[Run], expected: list[tuple[str, str | None]]
) -> None:
    assert started(planned(jobs, [*runs, run(PARENT)])) == expected


@pytest.mark.parametrize(
    ("found", "seen", "phase", "ends"),
    [
        (None, None, Phase.PENDING, []),
        (None, run(0), Phase.PENDING, []),
        (job(0), None, Phase.RUNNING, []),
        (job(0), run(0), Phase.RUNNING, []),
        (job(0), run(0, DONE, f1=1.0), Phase.RUNNING, []),
        (job(0, JobState.SUCCEEDED), run(0, DONE, f1=1.0), Phase.SUCCEEDED, []),
        (job(0, JobState.SUCCEEDED), run(0, f1=1.0), Phase.SUCCEEDED, [EndRun("run-0", DONE)]),
        (job(0, JobState.SUCCEEDED), run(0, RunStatus.FAILED, f1=1.0), Phase.FAILED, []),
        (job(0, JobState.SUCCEEDED), None, Phase.FAILED, []),
        (job(0, JobState.FAILED), run(0), Phase.FAILED, [EndRun("run-0", RunStatus.FAILED)]),
        (job(0, JobState.FAILED), run(0, DONE, f1=1.0), Phase.FAILED, []),
        (job(0, JobState.SUCCEEDED), run(0, DONE), Phase.FAILED, []),
        (None, run(0, DONE, f1=1.0), Phase.SUCCEEDED, []),
    ],
)
def test_a_trial_stands_as_its_job_and_its_run_say(
    found: TrialJob | None, seen: Run | None, phase: Phase, ends: list[EndRun]
) -> None:
    decided = planned([found] if found else [], [seen] if seen else [])
    assert decided.states[0].phase is phase
    assert list(decided.end_runs) == ends


def test_a_run_without_the_objectives_metric_is_a_failure_with_a_name() -> None:
    state = planned([job(0, JobState.SUCCEEDED)], [run(0, DONE, accuracy=1.0)]).states[0]
    assert state.failure == Fault("ObjectiveMissing", "the run ended without the metric f1")


def test_of_two_runs_of_a_trial_the_first_counts_and_the_other_is_ended() -> None:
    decided = planned([], [run(0, at=2, name="late"), run(0, at=1, name="early")])
    assert started(decided)[0] == ("a", "early")
    assert decided.end_runs == (EndRun("late", RunStatus.KILLED),)


def test_the_run_that_a_job_writes_to_counts_before_an_earlier_one() -> None:
    decided = planned([job(0, run_id="late")], [run(0, at=2, name="late"), run(0, at=1, name="early")])
    assert decided.states[0].run == run(0, at=2, name="late")
    assert decided.end_runs == (EndRun("early", RunStatus.KILLED),)


def test_what_another_execution_left_is_removed_and_ended() -> None:
    old = job(0, execution="e0")
    decided = planned([old, job(0)], [run(0)], [run(0, name="old")])
    assert decided.remove_jobs == (old,)
    assert decided.end_runs == (EndRun("old", RunStatus.KILLED),)


@pytest.mark.parametrize(("last", "expected"), [(DONE, DONE), (RunStatus.FAILED, RunStatus.FAILED)])
def test_the_parent_ends_with_its_trials(last: RunStatus, expected: RunStatus) -> None:
    runs = [run(PARENT), run(0, DONE, f1=0.1), run(1, DONE, f1=0.2), run(2, last, f1=0.3)]
    decided = planned([], runs)
    assert decided.done
    assert decided.end_runs == (EndRun("run-parent", expected),)


def test_once_all_is_ended_nothing_is_left_to_do() -> None:
    decided = planned([], [run(PARENT, DONE), *(run(index, DONE, f1=0.5) for index in range(3))])
    assert (decided.start, decided.end_runs, decided.remove_jobs, decided.done) == ((), (), (), True)


def test_without_a_sweep_there_is_no_parent() -> None:
    decided = planned(spec={"project": SWEEP["project"]})
    assert not decided.needs_parent
    assert started(decided) == [("churn-e1", None)]


@pytest.mark.parametrize(
    ("goal", "values", "expected"),
    [
        ("Maximize", [0.1, 0.3, 0.2], ["run-1", "run-2", "run-0"]),
        ("Minimize", [0.1, 0.3, 0.2], ["run-0", "run-2", "run-1"]),
        ("Maximize", [0.2, 0.2, 0.3], ["run-2", "run-0", "run-1"]),
        ("Minimize", [0.2, 0.2, 0.3], ["run-0", "run-1", "run-2"]),
        ("Maximize", [math.nan, 0.1, math.inf], ["run-1"]),
        ("Minimize", [math.nan, -math.inf, 0.1], ["run-2"]),
        ("Maximize", [1.7976931348623157e308, 0.0, -1.0], ["run-1", "run-2"]),
        ("Maximize", [math.nan, math.nan, math.nan], []),
    ],
)
def test_runs_are_ranked_by_the_objective(goal: str, values: list[float], expected: list[str]) -> None:
    runs = [run(index, DONE, f1=value) for index, value in enumerate(values)]
    decided = planned([], runs, spec={**SWEEP, "objective": {"metric": "f1", "goal": goal}})
    assert [ranked.run_id for ranked in decided.ranking] == expected


@pytest.mark.parametrize(
    ("bound", "broken"),
    [
        (MetricBound(metric="f1", min="0.9"), ()),
        (MetricBound(metric="f1", min="0.90001"), ("f1 0.9 is below min 0.90001",)),
        (MetricBound(metric="f1", max="0.9"), ()),
        (MetricBound(metric="f1", max="0.89"), ("f1 0.9 is above max 0.89",)),
        (MetricBound(metric="recall", min="0"), ("it has no recall",)),
        (MetricBound(metric="loss", max="1"), ("it has no loss",)),
    ],
)
def test_bounds_are_inclusive_and_exact(bound: MetricBound, broken: tuple[str, ...]) -> None:
    assert broken_bounds([bound], run(0, DONE, f1=0.9, loss=math.nan)) == broken
