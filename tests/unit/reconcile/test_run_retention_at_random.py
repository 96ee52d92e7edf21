"""Retention on any runs, with the operator killed at any of its writes: what has to stay is never touched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.api.experiment import Experiment
from modelyard.api.registeredmodel import RegisteredModel
from modelyard.decide.experiment_model import EXECUTION_TAG, EXPERIMENT_TAG, LOG_ARTIFACT, Run, RunStatus
from modelyard.decide.run_retention import ARTIFACTS_TAG, PARENT_TAG, to_delete
from modelyard.reconcile import run_retention
from modelyard.reconcile.run_retention import RunRetention
from modelyard.records.state import ModelState
from modelyard.registry.ledger import Ledger
from tests.fakes.cluster import FakeClient
from tests.fakes.tracking import FakeTracking

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


class Killed(BaseException):
    """The operator's process ends here."""


class NoModels:
    """A registry and an artifact store without any model: versions are known to the tracking server alone."""

    def state_of(self, model: RegisteredModel) -> ModelState:
        raise AssertionError(model)

    def ledger(self, namespace: str, name: str) -> Ledger:
        raise AssertionError((namespace, name))

    def keys(self, prefix: str) -> list[str]:
        assert prefix == "registry/"
        return []


class World:
    """Runs of one Experiment; the operator is killed at the writes whose numbers are in `kills`."""

    def __init__(self, runs: Sequence[Run], registered: set[str], spec: dict[str, Any], kills: Sequence[int]) -> None:
        self.tracking = FakeTracking(self._on_request)
        self.tracking.runs = {run.run_id: run for run in runs}
        self.tracking.artifacts = {run.run_id: {LOG_ARTIFACT: b"log"} for run in runs if ARTIFACTS_TAG not in run.tags}
        self.tracking.registered = dict.fromkeys(registered & self.tracking.runs.keys(), "version 1 of wine")
        self.before = dict(self.tracking.runs)
        self.kills = list(kills)
        self.writes = 0
        self.experiment = Experiment.parse(
            {
                "apiVersion": "modelyard.dev/v1alpha1",
                "kind": "Experiment",
                "metadata": {"name": "churn", "namespace": "ml", "uid": "u"},
                "spec": {
                    "project": {"configMap": {"name": "files"}},
                    "objective": {"metric": "f1"},
                    "retention": spec,
                },
                "status": {"experimentId": "1", "execution": "present"},
            }
        )

    def _on_request(self, method: str, what: str) -> None:
        if method == "GET":
            return
        self.writes += 1
        if self.kills and self.writes == self.kills[0]:
            self.kills.pop(0)
            self.writes = 0
            raise Killed(what)

    def life(self) -> Iterator[None]:
        """Let one operator after the other work, and give after each step and each death."""
        while True:
            nothing = NoModels()
            retention = RunRetention(self.tracking, FakeClient(), nothing, nothing)
            try:
                while True:
                    retention.apply(self.experiment, NOW)
                    yield
                    again = retention.again_after(self.experiment, NOW)
                    assert again is not None
                    if again > 1:
                        return
            except Killed:
                yield

    @property
    def protected(self) -> dict[str, str]:
        """What has to stay, as the test knows it."""
        runs = self.before.values()
        present = {run.run_id for run in runs if run.tags[EXECUTION_TAG] == "present"}
        return dict.fromkeys(present | self.tracking.registered.keys(), "it has to stay")

    def check(self) -> None:
        there = self.tracking.runs
        active = {run.run_id for run in self.before.values() if not run.ended}
        for run_id in self.protected.keys() | active:
            assert there[run_id] == self.before[run_id]
            assert (run_id in self.tracking.artifacts) == (ARTIFACTS_TAG not in self.before[run_id].tags)
        for run in there.values():
            parent = run.tags.get(PARENT_TAG)
            assert parent is None or parent in there


@st.composite
def some_runs(draw: st.DrawFn) -> tuple[Run, ...]:
    runs: list[Run] = []
    for number in range(draw(st.integers(1, 12))):
        start = int((NOW - timedelta(hours=draw(st.integers(1, 200)))).timestamp() * 1000)
        status = draw(st.sampled_from([*[RunStatus.FINISHED] * 4, RunStatus.FAILED, RunStatus.RUNNING]))
        tags = {EXPERIMENT_TAG: "ml/churn", EXECUTION_TAG: draw(st.sampled_from(["old", "older", "present"]))}
        if draw(st.booleans()) and runs:
            tags[PARENT_TAG] = draw(st.sampled_from(runs)).run_id
        run_id = f"r{number:02}"
        uri = f"mlflow-artifacts:/1/{run_id}/artifacts"
        metrics = {"f1": draw(st.floats(0, 1))} if draw(st.booleans()) else {}
        end = 0 if status is RunStatus.RUNNING else start + 1000
        runs.append(Run(run_id, run_id, status, start, end, uri, tags, {}, metrics))
    return tuple(runs)


counts = st.none() | st.integers(0, 8)
ages = st.none() | st.sampled_from(["12h", "2d", "1w"])


@st.composite
def retentions(draw: st.DrawFn) -> dict[str, Any]:
    fields = {"maxRuns": draw(counts), "maxAge": draw(ages), "artifacts": {"maxRuns": draw(st.integers(0, 8))}}
    return {"keepBest": draw(st.integers(0, 2)), **{key: value for key, value in fields.items() if value is not None}}


@contextmanager
def small_steps() -> Iterator[None]:
    with mock.patch.object(run_retention, "AT_ONCE", 3):
        yield


@settings(deadline=None)
@given(
    some_runs(),
    st.sets(st.integers(0, 11)).map(lambda numbers: {f"r{number:02}" for number in numbers}),
    retentions(),
    st.lists(st.integers(1, 6), max_size=6),
)
def test_whatever_happens_in_between_the_end_is_the_same(
    runs: Sequence[Run], registered: set[str], spec: dict[str, Any], kills: Sequence[int]
) -> None:
    world = World(runs, registered, spec, kills)
    retention = world.experiment.spec.retention
    assert retention is not None
    wanted = to_delete(runs, retention, world.experiment.spec.objective, world.protected, NOW)
    with small_steps():
        for _ in world.life():
            world.check()
    gone = {deletion.run.run_id for deletion in wanted.runs}
    bare = {deletion.run.run_id for deletion in wanted.artifacts}
    assert set(world.tracking.deleted) == gone
    assert gone.isdisjoint(world.tracking.artifacts)
    assert {run_id for run_id in world.tracking.runs if run_id not in world.tracking.artifacts} == bare
