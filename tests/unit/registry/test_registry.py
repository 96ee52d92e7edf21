from __future__ import annotations

import json
from dataclasses import replace

import pytest

from modelyard.api.names import object_name
from modelyard.api.registeredmodel import Stage
from modelyard.artifacts.store import ArtifactMissing, ArtifactStoreUnreachable
from modelyard.cluster.client import ApiError
from modelyard.registry.objects import (
    ModelNotFound,
    NameTaken,
    NotInStatus,
    NumberTaken,
    RegistryError,
    VersionNotFound,
)
from modelyard.registry.registry import Candidate, VersionMetadata
from tests.unit.registry.world import NAMESPACE, Crash, World

RECORDS = "registry/ml/churn"


def test_versions_count_from_one(world: World) -> None:
    world.create()
    assert [world.register() for _ in range(3)] == [1, 2, 3]
    assert world.status().latest_version == 3
    assert [version.version for version in world.status().versions] == [1, 2, 3]


def test_a_version_says_where_it_came_from_and_what_it_is(world: World) -> None:
    world.create()
    artifact = world.bucket.put_model("m")
    candidate = Candidate("models:/m-1", artifact, "mlflow", "r1", "http://run", "m-1", "text", {"a": "b"})
    version = world.registry.register_version(NAMESPACE, "churn", candidate)
    assert version.to_dict() == {
        "version": 1,
        "stage": "None",
        "source": "models:/m-1",
        "artifact": artifact,
        "digest": world.store.manifest(artifact).digest,
        "runId": "r1",
        "runLink": "http://run",
        "modelId": "m-1",
        "flavors": ["python_function", "sklearn"],
        "createdAt": "2026-05-01T12:00:00.000Z",
        "createdBy": "mlflow",
        "description": "text",
        "tags": {"a": "b"},
        "metrics": {},
        "beenIn": [],
        "preparedIn": [],
        "record": "registry/ml/churn/log/00000001.json",
        "deleted": False,
    }
    shown = world.status().find(1)
    assert shown is not None
    assert "tags" not in shown.to_dict(), "a status has no room for what has no bound"


def test_the_record_names_every_file(world: World) -> None:
    world.create()
    world.register()
    record = json.loads(world.store.get(f"{RECORDS}/log/00000001.json").data)
    assert record["schemaVersion"] == 1
    assert [(file["path"], file["size"]) for file in record["files"]] == [("MLmodel", 98), ("model.pkl", 7)]


def test_a_source_without_files_takes_no_number(world: World) -> None:
    world.create()
    with pytest.raises(ArtifactMissing, match="no file below s3://models/team/artifacts/none"):
        world.registry.register_version(
            NAMESPACE, "churn", Candidate("s3://x", "s3://models/team/artifacts/none", "mlflow")
        )
    assert world.register() == 1


def test_a_directory_without_mlmodel_has_no_flavors(world: World) -> None:
    world.create()
    world.bucket.put("s3://models/other/file", b"1")
    candidate = Candidate("s3://models/other", "s3://models/other", "mlflow")
    assert world.registry.register_version(NAMESPACE, "churn", candidate).flavors == ()


def test_an_mlmodel_that_cannot_be_read_has_no_flavors(world: World) -> None:
    world.create()
    world.bucket.put("s3://models/other/MLmodel", b"\x00: [")
    candidate = Candidate("s3://models/other", "s3://models/other", "mlflow")
    assert world.registry.register_version(NAMESPACE, "churn", candidate).flavors == ()


def test_a_number_that_somebody_took_is_passed_over(world: World) -> None:
    world.create()
    other = World(world.bucket)
    other.client = world.client
    other.registry.client = world.client

    def overtake(key: str) -> None:
        world.on_put = None
        other.register()

    world.on_put = overtake
    assert world.register() == 2
    assert [version.version for version in world.status().versions] == [1, 2]


def test_registering_under_a_key_again_gives_the_same_version(world: World) -> None:
    world.create()
    assert world.register(key="run-1") == 1
    assert world.register(key="run-2") == 2
    assert world.register(key="run-1") == 1
    assert world.status().latest_version == 2


def test_registering_without_a_key_again_gives_another_version(world: World) -> None:
    world.create()
    assert [world.register(), world.register()] == [1, 2]


def test_a_key_is_found_in_a_record_that_the_status_lacks(world: World) -> None:
    world.create()
    world.crash_at = 2
    with pytest.raises(Crash):
        world.register(key="run-1")
    assert world.status().versions == ()
    assert world.register(key="run-1") == 1
    assert world.status().latest_version == 1


@pytest.mark.parametrize("write", [1, 2])
def test_a_crash_at_any_write_of_a_registration_loses_and_doubles_nothing(world: World, write: int) -> None:
    world.create()
    world.register()
    world.crash_at = write
    with pytest.raises(Crash):
        world.register(source="second")
    committed = write > 1
    world.restart()
    world.reconcile()
    assert [version.version for version in world.status().versions] == ([1, 2] if committed else [1])
    assert world.register(source="third") == (3 if committed else 2)
    assert len(world.log("VersionRegistered")) == world.status().latest_version


def test_other_writers_of_the_status_lose_nothing(world: World) -> None:
    world.create()
    world.register()
    world.edit({"stages": {"production": 1}})
    world.reconcile()
    before = world.status()
    world.register()
    after = world.status()
    assert after.conditions == before.conditions
    assert after.stages == before.stages
    assert after.transitions == before.transitions


def test_no_model_no_version(world: World) -> None:
    with pytest.raises(ModelNotFound, match="no registered model 'churn' in namespace ml"):
        world.register()


def test_a_model_is_created_once(world: World) -> None:
    first = world.registry.ensure_model(NAMESPACE, "churn", "mlflow")
    assert world.registry.ensure_model(NAMESPACE, "churn", "other").metadata.uid == first.metadata.uid
    assert first.spec.name is None


def test_a_name_that_is_no_label_gets_a_safe_object(world: World) -> None:
    model = world.registry.ensure_model(NAMESPACE, "Wine Classifier_rf", "mlflow")
    assert model.metadata.name == object_name("Wine Classifier_rf")
    assert model.model_name == "Wine Classifier_rf"
    found = world.registry.find_model(NAMESPACE, "Wine Classifier_rf")
    assert found is not None
    assert found.metadata.uid == model.metadata.uid


def test_an_object_that_holds_another_model_is_not_taken(world: World) -> None:
    world.create()
    world.edit({"name": "Other"})
    with pytest.raises(NameTaken, match="registeredmodel ml/churn holds 'Other'"):
        world.registry.ensure_model(NAMESPACE, "churn", "mlflow")
    assert world.registry.find_model(NAMESPACE, "churn") is None


def test_a_version_outside_the_stages_is_archived_and_brought_back(world: World) -> None:
    world.create()
    world.register()
    for stage in (Stage.ARCHIVED, Stage.NONE):
        world.registry.label_version(NAMESPACE, "churn", 1, stage, "mlflow")
        assert world.labels() == {1: stage}
    assert [(t.sequence, t.from_, t.to, t.by) for t in world.status().transitions] == [
        (3, "Archived", "None", "mlflow"),
        (2, "None", "Archived", "mlflow"),
    ]
    writes = len(world.client.writes)
    world.registry.label_version(NAMESPACE, "churn", 1, Stage.NONE, "mlflow")
    assert len(world.client.writes) == writes


def test_a_version_in_a_stage_is_not_archived_behind_the_specs_back(world: World) -> None:
    world.create()
    world.register()
    world.edit({"stages": {"production": 1}})
    world.reconcile()
    with pytest.raises(RegistryError, match="version 1 of churn is in Production"):
        world.registry.label_version(NAMESPACE, "churn", 1, Stage.ARCHIVED, "mlflow")
    with pytest.raises(VersionNotFound):
        world.registry.label_version(NAMESPACE, "churn", 2, Stage.ARCHIVED, "mlflow")


def test_description_and_tags_of_a_version_change(world: World) -> None:
    world.create()
    world.register()
    world.clock.forward(5)
    edited = world.registry.edit_version(
        NAMESPACE, "churn", 1, "mlflow", lambda _: VersionMetadata("text", {"team": "risk"})
    )
    assert (edited.description, edited.tags) == ("text", {"team": "risk"})
    assert edited.updated_at == "2026-05-01T12:00:05.000Z"
    assert world.state().find(1) == edited


def test_an_edit_keeps_what_another_made(world: World) -> None:
    world.create()
    world.register()
    other = world.new_registry()

    def overtake(key: str) -> None:
        world.on_put = None
        other.edit_version(NAMESPACE, "churn", 1, "mlflow", lambda before: add(before, "first"))

    def add(before: VersionMetadata, key: str) -> VersionMetadata:
        return replace(before, tags={**before.tags, key: "x"})

    world.on_put = overtake
    edited = world.registry.edit_version(NAMESPACE, "churn", 1, "mlflow", lambda before: add(before, "second"))
    assert edited.tags == {"first": "x", "second": "x"}


def test_an_edit_that_changes_nothing_writes_nothing(world: World) -> None:
    world.create()
    world.register()
    world.registry.edit_version(NAMESPACE, "churn", 1, "mlflow", lambda before: before)
    assert world.log("VersionEdited") == []


@pytest.mark.parametrize("write", [1, 2])
def test_an_edit_that_crashed_is_there_or_not_and_can_be_made_again(world: World, write: int) -> None:
    world.create()
    world.register()
    world.crash_at = write
    text = VersionMetadata("text", {})
    with pytest.raises(Crash):
        world.registry.edit_version(NAMESPACE, "churn", 1, "mlflow", lambda _: text)
    world.restart()
    edited = world.registry.edit_version(NAMESPACE, "churn", 1, "mlflow", lambda _: text)
    assert edited.description == "text"
    assert world.log("VersionEdited") == [2]


def test_a_deleted_version_is_not_shown_and_its_number_stays_taken(world: World) -> None:
    world.create()
    world.register(source="one")
    world.register(source="two")
    world.registry.delete_version(NAMESPACE, "churn", 2, "mlflow")
    assert [version.version for version in world.status().versions] == [1]
    with pytest.raises(VersionNotFound):
        world.registry.delete_version(NAMESPACE, "churn", 2, "mlflow")
    assert world.register(source="three") == 3


def test_a_version_takes_a_number_that_is_free(world: World) -> None:
    world.create()
    candidate = Candidate("s3://m", world.bucket.put_model("m"), "argocd-controller")
    assert world.registry.register_numbered(world.model(), candidate, 7).latest_version == 7
    assert world.register() == 8
    with pytest.raises(NumberTaken, match="'churn' has registered version 8 already"):
        world.registry.register_numbered(world.model(), candidate, 5)


def test_a_version_without_files_is_registered_without_a_source(world: World) -> None:
    world.create()
    version = world.registry.register_version(NAMESPACE, "churn", Candidate("prompt", "", "mlflow"))
    assert (version.version, version.artifact) == (1, "")


def test_another_process_reads_what_is_new_and_no_more(world: World) -> None:
    world.create()
    world.register()
    other = world.new_registry()
    other.read(NAMESPACE, "churn")
    world.bucket.requests.clear()
    other.read(NAMESPACE, "churn")
    assert world.bucket.requests == []
    world.register()
    world.bucket.requests.clear()
    assert other.read(NAMESPACE, "churn")[1].latest_version == 2
    assert world.bucket.requests == ["ListObjectsV2", "GetObject"]


def test_a_start_reads_the_snapshot_and_what_came_after_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelyard.registry.ledger.SNAPSHOT_EVERY", 4)
    world.create()
    for _ in range(6):
        world.register()
    before = world.state()
    other = world.new_registry()
    world.bucket.requests.clear()
    assert other.read(NAMESPACE, "churn")[1] == before
    # The snapshot, the record that it was made after, the list of those after it, and the two of them.
    assert sorted(world.bucket.requests) == ["GetObject"] * 4 + ["ListObjectsV2"]


def test_a_snapshot_that_does_not_fit_its_record_is_passed_over(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelyard.registry.ledger.SNAPSHOT_EVERY", 4)
    world.create()
    for _ in range(6):
        world.register()
    before = world.state()
    snapshot = f"{RECORDS}/snapshot.json"
    world.store.put(snapshot, world.store.get(snapshot).data.replace(b'"digest":"sha256:', b'"digest":"sha256:f'))
    assert world.new_registry().read(NAMESPACE, "churn")[1] == before


def no_answer(what: str) -> Exception:
    """The API server or the store went away before it answered."""
    return ArtifactStoreUnreachable(what) if what.startswith("registry/") else ApiError(0, "Unreachable", what)


@pytest.mark.parametrize("write", [1, 2])
def test_an_outage_at_any_write_of_a_registration_loses_and_doubles_nothing(world: World, write: int) -> None:
    world.create()
    world.register(source="one")
    world.crash_as, world.crash_at = no_answer, write
    with pytest.raises(NotInStatus):
        world.register(source="two")
    world.reconcile()
    committed = write > 1
    assert [version.version for version in world.status().versions] == ([1, 2] if committed else [1])
    assert world.register(source="three") == (3 if committed else 2)


def test_a_write_whose_answer_was_lost_is_known_as_ones_own(world: World) -> None:
    world.create()
    put = world.store.put_if_absent

    def lost(key: str, data: bytes) -> None:
        put(key, data)
        put(key, data)

    world.store.put_if_absent = lost  # type: ignore[method-assign]
    assert [world.register(), world.register()] == [1, 2]
    assert world.log("VersionRegistered") == [1, 2]
