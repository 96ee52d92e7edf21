"""What an Experiment's retention deletes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.api.experiment import ArtifactRetention, Experiment, ExperimentRetention, Goal, Objective
from modelyard.decide.experiment_model import EXECUTION_TAG, EXPERIMENT_TAG, Run, RunStatus
from modelyard.decide.retention import duration
from modelyard.decide.run_retention import (
    ARTIFACTS_TAG,
    PARENT_TAG,
    Deletion,
    Deletions,
    Registered,
    own_runs,
    protection,
    to_delete,
)

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
F1 = Objective(metric="f1")


def milliseconds(age: timedelta) -> int:
    return int((NOW - age).timestamp() * 1000)


def run(name: str, days: float, *, parent: str = "", status: RunStatus = RunStatus.FINISHED, **metrics: float) -> Run:
    """A run that began so many days ago and took a minute."""
    start = milliseconds(timedelta(days=days))
    tags = {PARENT_TAG: parent} if parent else {}
    end = start + 60_000 if status not in (RunStatus.RUNNING, RunStatus.SCHEDULED) else 0
    return Run(name, name, status, start, end, tags=tags, metrics=metrics)


def retention(**fields: Any) -> ExperimentRetention:
    return ExperimentRetention.model_validate(fields)


def names(deletions: Sequence[Deletion]) -> list[str]:
    return [deletion.run.name for deletion in deletions]


def told(deletions: Sequence[Deletion]) -> dict[str, str]:
    return {deletion.run.name: deletion.why for deletion in deletions}


RUNS = (run("a", 100, f1=0.9), run("b", 50, f1=0.5), run("c", 10, f1=0.7), run("d", 1, f1=0.6))


@pytest.mark.parametrize(
    ("wanted", "objective", "runs"),
    [
        (
            retention(maxRuns=2, keepBest=0),
            F1,
            {"a": "it is not among the newest 2", "b": "it is not among the newest 2"},
        ),
        (retention(maxRuns=0, keepBest=0), F1, dict.fromkeys("abcd", "it is not among the newest 0")),
        (retention(maxAge="90d", keepBest=0), F1, {"a": "it ended more than 90d ago"}),
        (
            retention(maxAge="12h", maxRuns=3, keepBest=0),
            F1,
            {"a": "it is not among the newest 3", **dict.fromkeys("bcd", "it ended more than 12h ago")},
        ),
        (retention(maxRuns=1), F1, {"b": "it is not among the newest 1", "c": "it is not among the newest 1"}),
        (
            retention(maxRuns=0, keepBest=2),
            Objective(metric="f1", goal=Goal.MINIMIZE),
            dict.fromkeys("ac", "it is not among the newest 0"),
        ),
        (retention(maxRuns=1), None, dict.fromkeys("abc", "it is not among the newest 1")),
        (retention(maxRuns=1), Objective(metric="other"), dict.fromkeys("abc", "it is not among the newest 1")),
        (retention(maxRuns=4, maxAge="200d"), F1, {}),
    ],
)
def test_runs_go_by_count_and_by_age_but_for_the_best(
    wanted: ExperimentRetention, objective: Objective | None, runs: Mapping[str, str]
) -> None:
    assert told(to_delete(RUNS, wanted, objective, {}, NOW).runs) == runs


def test_only_runs_that_ended_well_with_a_number_are_the_best() -> None:
    runs = (
        run("failed", 5, status=RunStatus.FAILED, f1=0.99),
        run("no-number", 4, f1=float("nan")),
        run("infinite", 3, f1=float("inf")),
        run("later", 1, f1=0.5),
        run("first", 2, f1=0.5),
    )
    deleted = to_delete(runs, retention(maxRuns=0, keepBest=1), F1, {}, NOW)
    assert set(told(deleted.runs)) == {"failed", "no-number", "infinite", "later"}


def test_a_parent_stays_with_the_last_of_its_children_and_children_go_before_it() -> None:
    runs = (run("p", 30), run("c1", 29, parent="p"), run("c2", 28, parent="p"), run("n", 27, parent="c2"))
    assert names(to_delete(runs, retention(maxRuns=0), None, {}, NOW).runs) == ["n", "c1", "c2", "p"]
    assert names(to_delete(runs, retention(maxRuns=0), None, {"n": "it is registered"}, NOW).runs) == ["c1"]


def test_artifacts_go_once_and_a_parents_stay_with_a_childs() -> None:
    runs = (run("p", 30), run("c1", 29, parent="p", f1=0.5), run("c2", 28, parent="p", f1=0.9), run("new", 1))
    wanted = retention(artifacts={"maxRuns": 1})
    deleted = to_delete(runs, wanted, F1, {}, NOW)
    assert (names(deleted.runs), told(deleted.artifacts)) == ([], {"c1": "it is not among the newest 1"})
    done = [replace(each, tags={**each.tags, ARTIFACTS_TAG: "deleted"}) if each.name == "c1" else each for each in runs]
    assert to_delete(done, wanted, F1, {}, NOW).nothing
    # Without anything to keep below it, the parent's own go as well.
    assert names(to_delete(done, wanted, None, {}, NOW).artifacts) == ["c2", "p"]


def test_what_goes_altogether_does_not_lose_its_artifacts_apart() -> None:
    deleted = to_delete(RUNS, retention(maxRuns=2, keepBest=0, artifacts={"maxRuns": 1}), F1, {}, NOW)
    assert (names(deleted.runs), names(deleted.artifacts)) == (["a", "b"], ["c"])


def test_parents_that_go_round_in_a_circle_do_no_harm() -> None:
    runs = (run("a", 3, parent="b"), run("b", 2, parent="a"), run("c", 1, parent="c"))
    assert set(names(to_delete(runs, retention(maxRuns=0), None, {}, NOW).runs)) == {"a", "b", "c"}
    assert names(to_delete(runs, retention(maxRuns=0), None, {"a": "x"}, NOW).runs) == ["c"]


def experiment(status: dict[str, Any] | None = None, **spec: Any) -> Experiment:
    metadata = {"name": "churn", "namespace": "ml", "uid": "u"}
    return Experiment.parse(
        {
            "apiVersion": "modelyard.dev/v1alpha1",
            "kind": "Experiment",
            "metadata": metadata,
            "spec": spec,
            "status": status or {},
        }
    )


def test_an_experiment_owns_what_it_made_and_one_without_a_project_what_nobody_else_did() -> None:
    runs = [
        Run("mine", tags={EXPERIMENT_TAG: "ml/churn"}),
        Run("another's", tags={EXPERIMENT_TAG: "other/churn"}),
        Run("notebook"),
    ]
    project = {"project": {"configMap": {"name": "files"}}}
    assert [each.run_id for each in own_runs(experiment(**project), runs)] == ["mine"]
    assert [each.run_id for each in own_runs(experiment(), runs)] == ["mine", "notebook"]


def test_registered_runs_the_present_execution_and_what_the_status_names_are_protected() -> None:
    runs = [
        Run(run_id, tags={EXECUTION_TAG: "e1" if run_id == "now" else "e0"})
        for run_id in ("r1", "r2", "r3", "now", "x")
    ]
    versions = [
        Registered("version 3 of churn in ml", "r1"),
        Registered(
            "version 1 of wine in other", None, ("s3://bucket/artifacts/1/r2/artifacts/model", "runs:/r3/model")
        ),
        Registered("version 2 of x in ml", "not-of-this-experiment", ("models:/m-1",)),
        Registered("version 4 of x in ml"),
    ]
    status = {
        "execution": "e1",
        "parentRunId": "parent",
        "bestRun": {"runId": "best"},
        "registered": {"model": "churn", "version": 3, "runId": "r9"},
    }
    assert protection(experiment(status), runs, versions) == {
        "r1": "it is the run of version 3 of churn in ml",
        "r2": "it is the run of version 1 of wine in other",
        "r3": "it is the run of version 1 of wine in other",
        "now": "it belongs to the present execution",
        "parent": "the status names it",
        "best": "the status names it",
        "r9": "it is the run of version 3 of churn",
    }
    assert protection(experiment(), [Run("x")], []) == {}


def test_a_run_that_an_experiment_runs_again_is_protected() -> None:
    again = experiment(project={"run": {"id": "a" * 32}})
    assert protection(experiment(), [], [], [again, experiment()]) == {"a" * 32: "experiment ml/churn runs it again"}


# Any runs, any retention.

AGES = st.sampled_from(["1h", "12h", "1d", "3d", "1w"])


@st.composite
def some_runs(draw: st.DrawFn) -> tuple[Run, ...]:
    runs: list[Run] = []
    for number in range(draw(st.integers(0, 14))):
        start = timedelta(hours=draw(st.integers(0, 240)))
        status = draw(st.sampled_from(list(RunStatus)))
        tags = {}
        if draw(st.booleans()) and runs:
            tags[PARENT_TAG] = draw(st.sampled_from(runs)).run_id
        if draw(st.integers(0, 4)) == 0:
            tags[ARTIFACTS_TAG] = "deleted"
        metrics = {"f1": draw(st.sampled_from([0.1, 0.5, 0.9, float("nan")]))} if draw(st.booleans()) else {}
        made = Run(f"r{number:02}", "", status, milliseconds(start), tags=tags, metrics=metrics)
        if made.ended and draw(st.booleans()):
            took = timedelta(hours=draw(st.integers(0, 48)))
            made = replace(made, end_time=made.start_time + int(took.total_seconds() * 1000))
        runs.append(made)
    return tuple(draw(st.permutations(runs)))


counts = st.none() | st.integers(0, 10)
retentions = st.builds(
    ExperimentRetention,
    max_runs=counts,
    max_age=st.none() | AGES,
    keep_best=st.integers(0, 3),
    artifacts=st.none() | st.builds(ArtifactRetention, max_runs=counts, max_age=st.none() | AGES),
)
objectives = st.none() | st.builds(Objective, metric=st.just("f1"), goal=st.sampled_from(list(Goal)))
protections = st.sets(st.integers(0, 13)).map(lambda numbers: {f"r{number:02}": "protected" for number in numbers})


def ids(deletions: Sequence[Deletion]) -> list[str]:
    return [deletion.run.run_id for deletion in deletions]


def newest(runs: Sequence[Run], count: int) -> set[str]:
    return {each.run_id for each in sorted(runs, key=lambda each: (each.start_time, each.run_id))[::-1][:count]}


def young(each: Run, age: str) -> bool:
    ended = datetime.fromtimestamp((each.end_time or each.start_time) / 1000, UTC)
    return NOW - ended <= duration(age)


def best(runs: Sequence[Run], objective: Objective | None, count: int) -> list[float]:
    values = [
        each.metrics["f1"] for each in runs if each.status is RunStatus.FINISHED and each.metrics.get("f1", -1) > 0
    ]
    return (
        sorted(values, reverse=objective is not None and objective.goal is Goal.MAXIMIZE)[:count] if objective else []
    )


def above(runs: Sequence[Run], each: Run) -> set[str]:
    by_id = {other.run_id: other for other in runs}
    parent = each.tags.get(PARENT_TAG)
    return {parent, *above(runs, by_id[parent])} if parent else set()


def applied(runs: Sequence[Run], deletions: Deletions, runs_done: int, artifacts_done: int) -> list[Run]:
    """The runs after so many of the deletions were carried out."""
    gone = set(ids(deletions.runs)[:runs_done])
    bare = set(ids(deletions.artifacts)[:artifacts_done])
    return [
        replace(each, tags={**each.tags, ARTIFACTS_TAG: "deleted"}) if each.run_id in bare else each
        for each in runs
        if each.run_id not in gone
    ]


@given(some_runs(), retentions, objectives, protections)
def test_nothing_protected_nor_active_loses_anything(
    runs: Sequence[Run], wanted: ExperimentRetention, objective: Objective | None, protected: dict[str, str]
) -> None:
    deleted = to_delete(runs, wanted, objective, protected, NOW)
    touched = {*ids(deleted.runs), *ids(deleted.artifacts)}
    assert touched.isdisjoint(protected)
    assert touched.isdisjoint(each.run_id for each in runs if not each.ended)
    assert len(touched) == len(deleted.runs) + len(deleted.artifacts)
    assert touched <= {each.run_id for each in runs}


@given(some_runs(), retentions, objectives, protections)
def test_the_best_stay_with_their_artifacts(
    runs: Sequence[Run], wanted: ExperimentRetention, objective: Objective | None, protected: dict[str, str]
) -> None:
    deleted = to_delete(runs, wanted, objective, protected, NOW)
    touched = {*ids(deleted.runs), *ids(deleted.artifacts)}
    untouched = [each for each in runs if each.run_id not in touched]
    assert best(untouched, objective, wanted.keep_best) == best(runs, objective, wanted.keep_best)


@given(some_runs(), retentions, objectives, protections)
def test_the_newest_and_the_young_stay(
    runs: Sequence[Run], wanted: ExperimentRetention, objective: Objective | None, protected: dict[str, str]
) -> None:
    deleted = to_delete(runs, wanted, objective, protected, NOW)
    limits: list[tuple[ExperimentRetention | ArtifactRetention, Sequence[Deletion]]] = [(wanted, deleted.runs)]
    if wanted.artifacts:
        limits.append((wanted.artifacts, deleted.artifacts))
    for limit, gone in limits:
        for deletion in gone:
            too_many = limit.max_runs is not None and deletion.run.run_id not in newest(runs, limit.max_runs)
            too_old = limit.max_age is not None and not young(deletion.run, limit.max_age)
            assert too_many or too_old
            assert deletion.why == (
                f"it is not among the newest {limit.max_runs}"
                if too_many
                else f"it ended more than {limit.max_age} ago"
            )


@given(some_runs(), retentions, objectives, protections)
def test_no_run_outlives_its_parent_nor_keeps_artifacts_longer(
    runs: Sequence[Run], wanted: ExperimentRetention, objective: Objective | None, protected: dict[str, str]
) -> None:
    deleted = to_delete(runs, wanted, objective, protected, NOW)
    gone, bare = set(ids(deleted.runs)), set(ids(deleted.artifacts))
    for each in runs:
        if each.run_id not in gone:
            assert above(runs, each).isdisjoint(gone)
            if each.run_id not in bare and ARTIFACTS_TAG not in each.tags:
                assert above(runs, each).isdisjoint(bare)
    by_id = {each.run_id: each for each in runs}
    for order in (ids(deleted.runs), ids(deleted.artifacts)):
        for place, run_id in enumerate(order):
            assert above(runs, by_id[run_id]).isdisjoint(order[:place])


@given(some_runs(), retentions, objectives, protections)
def test_what_stays_beyond_the_limits_has_a_reason(
    runs: Sequence[Run], wanted: ExperimentRetention, objective: Objective | None, protected: dict[str, str]
) -> None:
    deleted = to_delete(runs, wanted, objective, protected, NOW)
    stay = [each for each in runs if each.run_id not in ids(deleted.runs)]
    needed = {run_id for each in stay for run_id in above(runs, each)}
    bests = best(runs, objective, wanted.keep_best)
    for each in stay:
        beyond = wanted.max_runs is not None and each.run_id not in newest(runs, wanted.max_runs)
        old = wanted.max_age is not None and not young(each, wanted.max_age)
        if beyond or old:
            is_best = each.metrics.get("f1") in bests
            assert each.run_id in protected or not each.ended or is_best or each.run_id in needed


@given(some_runs(), retentions, objectives, protections, st.tuples(st.integers(0, 15), st.integers(0, 15)))
def test_carried_out_in_part_the_rest_is_no_more_and_in_whole_nothing_is_left(
    runs: Sequence[Run],
    wanted: ExperimentRetention,
    objective: Objective | None,
    protected: dict[str, str],
    part: tuple[int, int],
) -> None:
    some, others = part
    first = to_delete(runs, wanted, objective, protected, NOW)
    rest = to_delete(applied(runs, first, some, others), wanted, objective, protected, NOW)
    assert set(ids(rest.runs)) <= set(ids(first.runs)[some:])
    assert set(ids(rest.artifacts)) <= set(ids(first.artifacts)[others:]) | set(ids(first.runs))
    done = applied(runs, first, len(first.runs), len(first.artifacts))
    assert to_delete(done, wanted, objective, protected, NOW).nothing
