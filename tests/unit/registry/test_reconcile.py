from __future__ import annotations

from dataclasses import replace

import pytest

from modelyard.api.names import REPLACED_BECOMES_ANNOTATION, object_name
from modelyard.api.registeredmodel import RegisteredModel
from modelyard.artifacts.store import ArtifactStoreUnreachable
from modelyard.cluster.client import ApiError
from modelyard.reconcile.registeredmodel import (
    RETRY_SECONDS,
    TAKE_IN_SECONDS,
    VERIFY_SECONDS,
    RegisteredModelReconciler,
)
from modelyard.records.state import ModelState
from modelyard.registry.ledger import RecordsAltered
from modelyard.registry.lifecycle import Lifecycle
from modelyard.registry.objects import REGISTERED_MODELS, NameTaken
from modelyard.registry.registry import Candidate
from tests.unit.registry.world import NAMESPACE, Crash, World


@pytest.fixture
def promoted(world: World) -> World:
    """Two versions, the first in production."""
    world.create()
    world.register(source="one")
    world.register(source="two")
    world.edit({"stages": {"production": 1}})
    world.reconcile()
    return world


def test_an_edit_of_a_stage_is_a_promotion(promoted: World) -> None:
    promoted.clock.forward(1)
    promoted.edit({"stages": {"production": 2}}, "argocd-controller")
    assert promoted.reconcile().requeue_after == VERIFY_SECONDS
    status = promoted.status()
    assert promoted.stages() == {"production": 2}
    assert (status.stages["production"].by, status.stages["production"].since) == (
        "argocd-controller",
        "2026-05-01T12:00:01.000Z",
    )
    assert promoted.labels() == {1: "Archived", 2: "Production"}
    assert [(t.sequence, t.version, t.from_, t.to, t.by) for t in status.transitions] == [
        (4, 1, "Production", "Archived", "argocd-controller"),
        (4, 2, "None", "Production", "argocd-controller"),
        (3, 1, "None", "Production", "kubectl-edit"),
    ]
    assert status.observed_generation == promoted.model().metadata.generation
    assert promoted.ready() == ("True", "AsWanted", "production holds version 2")


def test_a_converged_object_costs_one_read_and_nothing_else(promoted: World) -> None:
    promoted.client.requests.clear()
    promoted.bucket.requests.clear()
    promoted.reconcile()
    assert [method for method, _ in promoted.client.requests] == ["GET"]
    assert promoted.bucket.requests == []


def test_looking_again_after_the_interval_costs_one_list(promoted: World) -> None:
    promoted.client.requests.clear()
    promoted.bucket.requests.clear()
    promoted.clock.forward(VERIFY_SECONDS)
    promoted.reconcile()
    assert promoted.client.writes == []
    assert promoted.bucket.requests == ["ListObjectsV2"]


def test_a_started_operator_hashes_nothing_that_is_as_recorded(promoted: World) -> None:
    promoted.restart()
    promoted.client.requests.clear()
    promoted.bucket.requests.clear()
    promoted.reconcile()
    assert promoted.client.writes == []
    # No snapshot yet, a list of records, the three records, a list of the artifact, the version's record to compare
    # it with.
    assert sorted(promoted.bucket.requests) == ["GetObject"] * 5 + ["ListObjectsV2"] * 2


def test_a_model_without_stages_is_looked_at_rarely(world: World) -> None:
    world.create()
    assert world.reconcile().requeue_after == TAKE_IN_SECONDS
    assert world.ready() == ("True", "NoVersions", "no version is registered yet")


def test_an_object_that_is_gone_is_no_error(world: World) -> None:
    assert world.reconcile().requeue_after is None


@pytest.mark.parametrize("write", [1, 2])
def test_a_crash_at_any_write_of_a_transition_loses_and_doubles_nothing(promoted: World, write: int) -> None:
    promoted.edit({"stages": {"production": 2, "staging": 1}})
    promoted.crash_at = write
    with pytest.raises(Crash):
        promoted.reconcile()
    promoted.restart()
    promoted.reconcile()
    assert promoted.stages() == {"production": 2, "staging": 1}
    assert promoted.labels() == {1: "Staging", 2: "Production"}
    assert promoted.status().records.sequence == 4
    assert promoted.log("StagesChanged") == [3, 4]
    assert [t.sequence for t in promoted.status().transitions] == [4, 4, 3]
    writes = len(promoted.client.writes)
    promoted.reconcile()
    assert len(promoted.client.writes) == writes


@pytest.mark.parametrize("write", [1, 2])
def test_an_outage_at_any_write_of_a_transition_loses_and_doubles_nothing(promoted: World, write: int) -> None:
    def no_answer(what: str) -> Exception:
        return ArtifactStoreUnreachable(what) if what.startswith("registry/") else ApiError(0, "Unreachable", what)

    promoted.edit({"stages": {"production": 2, "staging": 1}})
    promoted.crash_as, promoted.crash_at = no_answer, write
    if write == 1:
        assert promoted.reconcile().requeue_after == RETRY_SECONDS
    else:
        with pytest.raises(ApiError):
            promoted.reconcile()
    promoted.reconcile()
    assert promoted.stages() == {"production": 2, "staging": 1}
    assert promoted.log("StagesChanged") == [3, 4]


def test_a_transition_that_somebody_else_recorded_is_taken_in(promoted: World) -> None:
    other = promoted.new_reconciler()

    def overtake(key: str) -> None:
        promoted.on_put = None
        other(NAMESPACE, "churn")

    promoted.edit({"stages": {"production": 2}})
    promoted.on_put = overtake
    promoted.reconcile()
    assert promoted.log("StagesChanged") == [3, 4]
    assert promoted.stages() == {"production": 2}


def test_a_version_registered_meanwhile_is_not_lost(promoted: World) -> None:
    def register(key: str) -> None:
        promoted.on_put = None
        promoted.register(source="three")

    promoted.edit({"stages": {"production": 2}})
    promoted.on_put = register
    promoted.reconcile()
    assert promoted.labels() == {1: "Archived", 2: "Production", 3: "None"}
    assert promoted.log("StagesChanged") == [3, 5]


def test_an_object_created_again_gets_everything_back(promoted: World) -> None:
    promoted.registry.edit_version(NAMESPACE, "churn", 2, "mlflow", lambda b: replace(b, tags={"a": "b"}))
    promoted.edit({"stages": {"production": 2}, "aliases": {"champion": 1}, "tags": {"t": "x"}, "description": "d"})
    promoted.reconcile()
    before, state = promoted.status(), promoted.state()
    promoted.client.delete(REGISTERED_MODELS, NAMESPACE, "churn")
    promoted.reconcile()
    promoted.create()
    promoted.reconcile()
    after, model = promoted.status(), promoted.model()
    assert (after.versions, after.transitions, after.stages) == (before.versions, before.transitions, before.stages)
    assert promoted.state() == state
    assert (model.aliases, model.tags, model.description) == ({"champion": 1}, {"t": "x"}, "d")
    assert promoted.ready() == ("True", "AsWanted", "production holds version 2")
    written = len(promoted.client.writes)
    promoted.reconcile()
    assert len(promoted.client.writes) == written


def test_what_a_new_object_names_counts_more_than_what_it_inherits(promoted: World) -> None:
    promoted.edit({"aliases": {"champion": 1, "old": 1}})
    promoted.reconcile()
    promoted.client.delete(REGISTERED_MODELS, NAMESPACE, "churn")
    promoted.create()
    promoted.edit({"aliases": {"champion": 2}, "stages": {"production": 2}})
    promoted.reconcile()
    assert promoted.model().aliases == {"champion": 2, "old": 1}
    assert promoted.stages() == {"production": 2}
    promoted.edit({"stages": {"production": None}})
    promoted.reconcile()
    assert promoted.stages() == {}, "a key that this object had and lost is not inherited again"


def test_numbers_go_on_after_an_object_is_created_again(promoted: World) -> None:
    promoted.client.delete(REGISTERED_MODELS, NAMESPACE, "churn")
    promoted.create()
    assert promoted.register(source="three") == 3
    promoted.reconcile()
    assert promoted.labels() == {1: "Production", 2: "None", 3: "None"}


def test_a_record_that_a_crash_left_out_is_taken_in_by_and_by(promoted: World) -> None:
    promoted.crash_at = 2
    with pytest.raises(Crash):
        promoted.new_registry().register_version(
            NAMESPACE, "churn", Candidate("three", promoted.bucket.put_model("three"), "mlflow")
        )
    promoted.reconcile()
    assert promoted.status().latest_version == 2
    promoted.clock.forward(TAKE_IN_SECONDS)
    promoted.reconcile()
    assert promoted.status().latest_version == 3


def test_a_file_that_is_gone_stops_a_promotion(promoted: World) -> None:
    promoted.bucket.delete("s3://models/team/artifacts/two/model.pkl")
    promoted.edit({"stages": {"production": 2}})
    promoted.reconcile()
    assert promoted.stages() == {"production": 1}
    status, reason, message = promoted.ready()
    assert (status, reason) == ("False", "ArtifactMissing")
    assert message == (
        "spec.stages.production: version 2 is not promoted: below s3://models/team/artifacts/two model.pkl is missing; "
        "production stays at version 1"
    )


@pytest.mark.parametrize(
    ("path", "difference"),
    [("model.pkl", "model.pkl was changed"), ("extra.txt", "extra.txt was added")],
)
def test_a_file_that_is_another_stops_a_promotion(promoted: World, path: str, difference: str) -> None:
    promoted.bucket.put(f"s3://models/team/artifacts/two/{path}", b"weightz")
    promoted.edit({"stages": {"production": 2}})
    promoted.reconcile()
    status, reason, message = promoted.ready()
    assert (status, reason) == ("False", "DigestMismatch")
    assert difference in message
    assert promoted.stages() == {"production": 1}


def test_a_promotion_goes_on_when_the_file_is_back(promoted: World) -> None:
    promoted.bucket.delete("s3://models/team/artifacts/two/model.pkl")
    promoted.edit({"stages": {"production": 2}})
    promoted.reconcile()
    promoted.bucket.put_model("two")
    promoted.clock.forward(VERIFY_SECONDS)
    promoted.reconcile()
    assert promoted.stages() == {"production": 2}
    assert promoted.ready()[0] == "True"


def test_a_version_that_breaks_in_production_is_seen(promoted: World) -> None:
    promoted.bucket.delete("s3://models/team/artifacts/one/model.pkl")
    promoted.clock.forward(VERIFY_SECONDS)
    promoted.reconcile()
    assert promoted.stages() == {"production": 1}
    assert promoted.ready()[1] == "ArtifactMissing"
    assert promoted.ready()[2].startswith("version 1 is in production, but below s3://models/team/artifacts/one")


def test_an_unknown_version_takes_effect_when_it_is_registered(promoted: World) -> None:
    promoted.edit({"stages": {"production": 3}})
    promoted.reconcile()
    assert promoted.ready()[1] == "VersionNotFound"
    promoted.register(source="three")
    promoted.reconcile()
    assert promoted.stages() == {"production": 3}


def test_a_replaced_version_becomes_what_the_annotation_says(promoted: World) -> None:
    patch = {
        "metadata": {"annotations": {REPLACED_BECOMES_ANNOTATION: "production=1:None"}},
        "spec": {"stages": {"production": 2}},
    }
    promoted.client.merge_patch(REGISTERED_MODELS, NAMESPACE, "churn", patch, "mlflow")
    promoted.reconcile()
    assert promoted.labels() == {1: "None", 2: "Production"}


def test_a_store_that_does_not_answer_is_waited_for(promoted: World, monkeypatch: pytest.MonkeyPatch) -> None:
    promoted.edit({"stages": {"production": 2}})
    with monkeypatch.context() as patched:
        patched.setattr(promoted.store, "_list", _unreachable)
        assert promoted.reconcile().requeue_after == RETRY_SECONDS
    assert promoted.stages() == {"production": 1}
    assert promoted.ready()[1] == "ArtifactStoreUnreachable"
    promoted.reconcile()
    assert promoted.stages() == {"production": 2}
    assert promoted.ready()[0] == "True"


def test_a_store_that_does_not_answer_does_not_touch_what_is_served(
    promoted: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = promoted.status()
    monkeypatch.setattr(promoted.store, "_list", _unreachable)
    promoted.restart()
    assert promoted.reconcile().requeue_after == RETRY_SECONDS
    assert promoted.status() == before


def test_an_object_created_again_waits_for_its_records(promoted: World, monkeypatch: pytest.MonkeyPatch) -> None:
    promoted.client.delete(REGISTERED_MODELS, NAMESPACE, "churn")
    promoted.create()
    promoted.edit({"stages": {"production": 1}})
    with monkeypatch.context() as patched:
        patched.setattr(promoted.store, "_list", _unreachable)
        assert promoted.reconcile().requeue_after == RETRY_SECONDS
    assert promoted.ready()[1:] == ("ArtifactStoreUnreachable", "the versions are not known yet: down")
    promoted.reconcile()
    assert promoted.stages() == {"production": 1}
    assert promoted.log("StagesChanged") == [3]


def test_only_the_newest_transitions_are_shown(world: World) -> None:
    world.create()
    world.register(source="one")
    world.register(source="two")
    for turn in range(15):
        world.edit({"stages": {"production": 1 + turn % 2}})
        world.reconcile()
    status = world.status()
    assert status.records.sequence == 17
    assert len(status.transitions) == 20
    assert status.transitions[0].sequence == 17
    assert world.log("StagesChanged") == list(range(3, 18))


@pytest.mark.parametrize("sequence", [1, 2, 3])
def test_an_altered_record_stops_everything_but_what_is_served(promoted: World, sequence: int) -> None:
    key = f"registry/ml/churn/log/{sequence:08d}.json"
    promoted.store.put(key, promoted.store.get(key).data.replace(b"mlflow", b"nobody").replace(b"kubectl", b"nobody"))
    promoted.edit({"stages": {"production": 2}})
    promoted.restart()
    promoted.reconcile()
    assert promoted.stages() == {"production": 1}
    status, reason, message = promoted.ready()
    assert (status, reason) == ("False", "RecordsAltered")
    assert f"record {sequence}" in message
    with pytest.raises(RecordsAltered):
        promoted.new_registry().register_version(
            NAMESPACE, "churn", Candidate("x", promoted.bucket.put_model("x"), "mlflow")
        )


@pytest.mark.parametrize("sequence", [1, 2, 3])
def test_a_removed_record_stops_everything_but_what_is_served(promoted: World, sequence: int) -> None:
    promoted.bucket.delete(f"s3://models/team/registry/ml/churn/log/{sequence:08d}.json")
    promoted.edit({"stages": {"production": 2}})
    promoted.restart()
    promoted.reconcile()
    assert promoted.stages() == {"production": 1}
    status, reason, message = promoted.ready()
    assert (status, reason) == ("False", "RecordsAltered")
    assert f"{sequence}" in message


def test_a_running_operator_sees_that_records_after_those_it_knows_do_not_follow(promoted: World) -> None:
    other = promoted.new_registry()
    other.register_version(NAMESPACE, "churn", Candidate("x", promoted.bucket.put_model("x"), "mlflow"))
    key = "registry/ml/churn/log/00000004.json"
    promoted.store.put(key, promoted.store.get(key).data.replace(b'"previous": "sha256:', b'"previous": "sha256:0'))
    promoted.reconcile()
    assert promoted.ready()[1] == "RecordsAltered"


@pytest.mark.parametrize("write", range(1, 8))
def test_a_crash_at_any_write_of_a_renaming_is_finished_by_the_operator(promoted: World, write: int) -> None:
    promoted.edit({"aliases": {"champion": 2}})
    promoted.reconcile()
    promoted.crash_at = write
    try:
        promoted.lifecycle().rename(NAMESPACE, "churn", "Churn 2", "mlflow")
    except Crash:
        promoted.restart()
        promoted.reconcile()
    else:
        assert write > 5, "a renaming has five writes"
    promoted.restart()
    if write == 1:
        assert promoted.stages() == {"production": 1}
        promoted.lifecycle().rename(NAMESPACE, "churn", "Churn 2", "mlflow")
    assert promoted.client.find(REGISTERED_MODELS, NAMESPACE, "churn") is None
    promoted.reconcile(object_name("Churn 2"))
    model, state = promoted.registry.read(NAMESPACE, "Churn 2")
    assert model.aliases == {"champion": 2}
    assert {number: version.stage for number, version in state.versions.items()} == {1: "Production", 2: "None"}
    assert promoted.registry.find_model(NAMESPACE, "churn") is None
    assert promoted.log("ModelContinued", object_name("Churn 2")) == [1]


def test_a_renaming_that_somebody_forestalls_is_taken_back(promoted: World) -> None:
    def overtake(key: str) -> None:
        promoted.on_put = None
        other = promoted.new_registry()
        other.ensure_model(NAMESPACE, "taken", "mlflow")
        other.register_version(NAMESPACE, "taken", Candidate("x", promoted.bucket.put_model("x"), "mlflow"))

    before, labels = promoted.state(), promoted.labels()
    promoted.on_put = overtake
    with pytest.raises(NameTaken, match="taken"):
        promoted.lifecycle().rename(NAMESPACE, "churn", "taken", "mlflow")
    after = promoted.state()
    assert (after.stages, after.transitions) == (before.stages, before.transitions)
    assert {number: version.stage for number, version in after.versions.items()} == labels
    assert [version.source for version in promoted.state("taken").shown] == ["x"]
    promoted.reconcile()
    assert promoted.ready()[0] == "True"


def test_a_renaming_to_a_name_that_was_in_use_before_is_finished_by_an_operator_that_knew_it(promoted: World) -> None:
    promoted.create("again")
    promoted.register("again")
    promoted.reconcile("again")
    client = Lifecycle(promoted.new_registry(), promoted.clock)
    client.delete(NAMESPACE, "again", "mlflow")
    promoted.crash_at = 4
    with pytest.raises(Crash):
        client.rename(NAMESPACE, "churn", "again", "mlflow")
    assert promoted.client.find(REGISTERED_MODELS, NAMESPACE, "again") is not None
    promoted.clock.forward(TAKE_IN_SECONDS)
    promoted.reconcile()
    assert promoted.client.find(REGISTERED_MODELS, NAMESPACE, "churn") is None
    promoted.reconcile("again")
    assert {v.version: v.stage for v in promoted.status("again").versions} == {1: "Production", 2: "None"}
    assert promoted.log("ModelContinued") == []


def test_an_operator_that_is_late_leaves_a_finished_renaming_alone(
    promoted: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    promoted.create("other")
    client = Lifecycle(promoted.new_registry(), promoted.clock)
    promoted.crash_at = 2
    with pytest.raises(Crash):
        client.rename(NAMESPACE, "churn", "second", "mlflow")
    late = promoted.registry.look_up

    def overtaken(namespace: str, name: str) -> tuple[RegisteredModel, ModelState] | None:
        monkeypatch.undo()
        client.finish(promoted.model(), promoted.new_registry().state_of(promoted.model()), "mlflow")
        client.rename(NAMESPACE, "second", "third", "mlflow")
        client.rename(NAMESPACE, "other", "second", "mlflow")
        return late(namespace, name)

    monkeypatch.setattr(promoted.registry, "look_up", overtaken)
    promoted.clock.forward(TAKE_IN_SECONDS)
    promoted.reconcile()
    assert promoted.client.find(REGISTERED_MODELS, NAMESPACE, "churn") is None
    assert promoted.log("ModelContinued") == [], "the model went on as third"
    assert promoted.new_registry().read(NAMESPACE, "second")[1].versions == {}
    assert set(promoted.new_registry().read(NAMESPACE, "third")[1].versions) == {1, 2}


@pytest.mark.parametrize("write", [1, 2])
def test_a_crash_at_any_write_of_a_deletion_is_finished_by_the_operator(promoted: World, write: int) -> None:
    promoted.crash_at = write
    with pytest.raises(Crash):
        promoted.lifecycle().delete(NAMESPACE, "churn", "mlflow")
    promoted.restart()
    if write == 1:
        assert promoted.stages() == {"production": 1}
        promoted.lifecycle().delete(NAMESPACE, "churn", "mlflow")
    promoted.reconcile()
    assert promoted.client.find(REGISTERED_MODELS, NAMESPACE, "churn") is None
    promoted.create()
    promoted.reconcile()
    assert promoted.status().versions == ()
    assert promoted.register(source="new") == 3, "numbers are never used again"


@pytest.mark.parametrize(("known", "user"), [(True, "alice"), (False, None)])
def test_a_user_is_believed_only_where_admission_writes_it(promoted: World, known: bool, user: str | None) -> None:
    annotations = {"metadata": {"annotations": {"modelyard.dev/production-by": "alice"}}}
    promoted.client.merge_patch(REGISTERED_MODELS, NAMESPACE, "churn", annotations, "kubectl")
    promoted.edit({"stages": {"production": 2}})
    RegisteredModelReconciler(promoted.client, promoted.store, promoted.clock, editors_known=known)(NAMESPACE, "churn")
    assert promoted.status().stages["production"].user == user
    assert promoted.status().transitions[0].user == user


def _unreachable(*_: object) -> None:
    raise ArtifactStoreUnreachable("down")
