from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from modelyard.api.experiment import MetricBound
from modelyard.decide.experiment import KEPT_JOBS, EndRun, Phase, Plan, Seen, broken_bounds, plan
from modelyard.decide.experiment_model import (
    ATTEMPT_TAG,
    JOB_TAG,
    MADE_BY_TAG,
    OUTCOME_TAG,
    PARAMETERS_TAG,
    PARENT,
    POD_DELETED,
    TRIAL_TAG,
    Execution,
    Run,
    RunStatus,
    TrialJob,
)
from modelyard.decide.experiment_trials import Search
from modelyard.decide.jobs import Failure as Fault
from modelyard.decide.jobs import JobState
from tests.unit.decide.experiments import SWEEP, experiment

Json = dict[str, Any]
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
VALUES = "abc"


def run(
    trial: int | str,
    status: RunStatus = RunStatus.RUNNING,
    *,
    at: int = 1,
    name: str = "",
    tags: dict[str, str] | None = None,
    **metrics: float,
) -> Run:
    told = {TRIAL_TAG: str(trial), **(tags or {})}
    if status is RunStatus.FAILED and tags is None:
        # As the operator leaves it.
        told[OUTCOME_TAG] = "RunFailed"
    if isinstance(trial, int):
        told[PARAMETERS_TAG] = json.dumps({"configuration": VALUES[trial]} if trial < len(VALUES) else {})
    return Run(name or f"run-{trial}", f"t{trial}", status, at, tags=told, metrics=metrics)


def job(
    index: int,
    state: JobState = JobState.ACTIVE,
    *,
    execution: str = "e1",
    run_id: str = "",
    attempt: int = 1,
    fault: Fault | None = None,
) -> TrialJob:
    why = fault or (Fault("Error", "exit code 1") if state is JobState.FAILED else None)
    name = f"churn-{execution}-{index}"
    return TrialJob(
        name, f"u{execution}{index}{attempt}", execution, index, run_id or f"run-{index}", state, attempt, why
    )


def planned(
    jobs: Sequence[TrialJob] = (),
    runs: Sequence[Run] = (),
    stale: Sequence[Run] = (),
    spec: Json = SWEEP,
    status: Json | None = None,
    **seen: Any,
) -> Plan:
    subject = experiment(spec, status)
    found = Seen(NOW, tuple(jobs), tuple(runs), tuple(stale), **seen)
    return plan(subject, Execution("e1"), Search(subject, "e1"), found)


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
        # A Job that somebody deleted is not made again: the trial failed, and says so.
        ([job(0)], [run(0), run(1, tags={JOB_TAG: "u1"})], [("c", None)]),
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
        # The program said that all was well, and then was not: its run says so, too.
        (job(0, JobState.FAILED), run(0, DONE, f1=1.0), Phase.FAILED, [EndRun("run-0", RunStatus.FAILED)]),
        (job(0, JobState.SUCCEEDED), run(0, DONE), Phase.FAILED, [EndRun("run-0", RunStatus.FAILED)]),
        (None, run(0, DONE, f1=1.0), Phase.SUCCEEDED, []),
        (None, run(0, tags={JOB_TAG: "u0"}), Phase.FAILED, [EndRun("run-0", RunStatus.FAILED)]),
        (None, run(0, tags={OUTCOME_TAG: "Stopped"}), Phase.STOPPED, [EndRun("run-0", RunStatus.KILLED)]),
        (job(0), run(0, RunStatus.KILLED, tags={OUTCOME_TAG: "Stopped"}), Phase.STOPPED, []),
        (None, run(0, RunStatus.FAILED, f1=1.0, tags={OUTCOME_TAG: "OOMKilled"}), Phase.FAILED, []),
    ],
)
def test_a_trial_stands_as_its_job_and_its_run_say(
    found: TrialJob | None, seen: Run | None, phase: Phase, ends: list[EndRun]
) -> None:
    decided = planned([found] if found else [], [seen] if seen else [])
    assert (decided.states or decided.start)[0].phase is phase
    assert list(decided.end_runs) == ends


def test_a_run_without_the_objectives_metric_is_a_failure_with_a_name() -> None:
    state = planned([job(0, JobState.SUCCEEDED)], [run(0, DONE, accuracy=1.0)]).states[0]
    assert state.failure == Fault("ObjectiveMissing", "the program ended well, but without logging the metric f1")
    assert planned([job(0, JobState.SUCCEEDED)], [run(0, DONE, accuracy=1.0)]).settle == (state,)


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


FAILED = RunStatus.FAILED


@pytest.mark.parametrize(
    ("first", "last", "expected"), [(DONE, DONE, DONE), (DONE, FAILED, DONE), (FAILED, FAILED, FAILED)]
)
def test_the_parent_ends_with_its_trials(first: RunStatus, last: RunStatus, expected: RunStatus) -> None:
    runs = [run(PARENT), run(0, first, f1=0.1), run(1, first, f1=0.2), run(2, last, f1=0.3)]
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


def test_few_failed_trials_do_not_fail_a_sweep_but_more_than_allowed_do() -> None:
    runs = [run(0, FAILED), run(1, DONE, f1=0.2), run(2, DONE, f1=0.3)]
    assert not planned(runs=runs).has_failed
    strict = {**SWEEP, "sweep": {**SWEEP["sweep"], "maxFailedTrials": 0}}
    assert planned(runs=runs, spec=strict).has_failed
    # Nothing new is started; what was begun goes on.
    halted = planned([job(1)], [run(0, FAILED), run(1), run(2)], spec=strict)
    assert started(halted) == [("c", "run-2")]
    assert halted.halted == "1 trials failed, more than spec.sweep.maxFailedTrials 0"
    assert not halted.done


@pytest.mark.parametrize(
    ("at", "expected"), [("2026-05-01T11:00:01Z", ["b", "c"]), ("2026-05-01T11:00:00Z", []), (None, ["b", "c"])]
)
def test_after_its_time_a_sweep_starts_no_more_trials(at: str | None, expected: list[str]) -> None:
    spec = {**SWEEP, "sweep": {**SWEEP["sweep"], "maxDuration": "1h"}}
    decided = planned(runs=[run(0, DONE, f1=0.1)], spec=spec, status={"startedAt": at} if at else {})
    assert [name for name, _ in started(decided)] == expected
    assert decided.done == (not expected)


def test_what_is_suspended_starts_nothing_and_is_not_done() -> None:
    decided = planned([job(0)], [run(0), run(1)], spec={**SWEEP, "suspend": True})
    assert (started(decided), decided.done) == ([], False)
    assert planned(runs=[run(0, DONE, f1=0.1)], spec={**SWEEP, "suspend": True}).done is False
    ended = [run(index, DONE, f1=0.1) for index in range(3)]
    assert planned(runs=ended, spec={**SWEEP, "suspend": True}).done


def test_a_trial_whose_pod_somebody_removed_is_run_again_but_not_for_ever() -> None:
    lost = Fault(POD_DELETED, "its pod was deleted by somebody")
    first = job(0, JobState.FAILED, fault=lost)
    decided = planned([first], [run(0)])
    assert [state.trial.name for state in decided.again] == ["a"]
    assert (decided.remove_jobs, decided.settle) == ((first,), ())
    # Its run says so now: the old Job does not count any more, and a new one is made.
    tagged = run(0, tags={ATTEMPT_TAG: "2", JOB_TAG: ""})
    decided = planned([first], [tagged])
    assert started(decided)[0] == ("a", "run-0")
    assert decided.remove_jobs == (first,)
    third = planned([job(0, JobState.FAILED, fault=lost, attempt=3)], [run(0, tags={ATTEMPT_TAG: "3"})])
    assert (third.again, third.states[0].failure) == ((), lost)


def test_a_job_that_its_run_does_not_name_yet_is_named() -> None:
    assert [state.trial.index for state in planned([job(0)], [run(0)]).adopt] == [0]
    assert planned([job(0)], [run(0, tags={JOB_TAG: "u"})]).adopt == ()


def test_ended_jobs_go_but_the_newest_once_all_is_told() -> None:
    spec = {**SWEEP, "sweep": {"parameters": {"n": {"min": "0", "max": "99", "step": "1"}}, "parallelism": 100}}
    told = {JOB_TAG: "u"}
    jobs = [job(index, JobState.SUCCEEDED) for index in range(KEPT_JOBS + 5)]
    runs = [run(index, DONE, f1=0.1, tags=told) for index in range(KEPT_JOBS + 5)]
    assert [each.index for each in planned(jobs, runs, spec=spec).remove_jobs] == [0, 1, 2, 3, 4]
    # One that failed stays until its run tells why, and one whose run is open until that is ended.
    jobs[0], runs[1] = job(0, JobState.FAILED), run(1, f1=0.1, tags=told)
    assert [each.index for each in planned(jobs, runs, spec=spec).remove_jobs] == [2, 3, 4]


def test_runs_that_a_program_made_itself_count_as_results_of_its_trial() -> None:
    def made(name: str, status: RunStatus = DONE, **metrics: float) -> Run:
        tags = {MADE_BY_TAG: "run-0", "mlflow.parentRunId": "run-0"}
        return Run(name, name, status, 2, tags=tags, metrics=metrics)

    runs = [run(0, DONE), made("x", f1=0.9), made("y", f1=0.7), made("open", RunStatus.RUNNING)]
    decided = planned([job(0, JobState.SUCCEEDED)], runs, spec={**SWEEP, "sweep": None})
    assert decided.states[0].phase is Phase.SUCCEEDED
    assert [each.run_id for each in decided.ranking] == ["x", "y"]
    assert decided.end_runs == (EndRun("open", DONE),)


def test_hopeless_trials_are_given_up() -> None:
    stopping = {"algorithm": "Median", "minTrials": 1, "minSteps": 1}
    spec = {**SWEEP, "sweep": {**SWEEP["sweep"], "parallelism": 3, "earlyStopping": stopping}}
    steps = {"run-0": {1: 0.8, 2: 0.9}, "run-1": {1: 0.1, 2: 0.1}, "run-2": {1: 0.9}}
    told = {JOB_TAG: "u"}
    runs = [run(0, DONE, f1=0.9, tags=told), run(1, tags=told), run(2, tags=told)]
    decided = planned([job(1), job(2)], runs, spec=spec, steps=steps)
    assert [state.phase for state in decided.states] == [Phase.SUCCEEDED, Phase.STOPPED, Phase.RUNNING]
    assert [state.trial.name for state in decided.settle] == ["b"]
    assert decided.states[1].failure is not None
    assert decided.states[1].failure.reason == "Stopped"
    # Its program may end well before it is told: its run is ended once it says why, not before.
    assert decided.end_runs == ()


def test_ended_jobs_can_make_room_once_the_tracking_server_has_all_about_them() -> None:
    jobs = (job(0, JobState.SUCCEEDED), job(1, JobState.SUCCEEDED), job(2))
    runs = (run(0, DONE, f1=0.9), run(1, f1=0.8), run(2))
    assert [each.index for each in planned(jobs, runs).spare_jobs] == [0]
