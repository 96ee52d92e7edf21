from __future__ import annotations

import json

import pytest

from modelyard.api.names import object_name
from modelyard.api.registeredmodel import Stage
from modelyard.artifacts.store import ArtifactMissing
from modelyard.registry.objects import LimitExceeded, ModelNotFound, NameTaken, RegistryError, VersionNotFound
from modelyard.registry.records import MetadataRecord
from modelyard.registry.registry import Candidate
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
    }


def test_the_record_names_every_file(world: World) -> None:
    world.create()
    world.register()
    record = json.loads(world.store.get(f"{RECORDS}/versions/00000001.json").data)
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
    assert len(world.store.keys(f"{RECORDS}/versions/")) == world.status().latest_version


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
        assert world.registry.label_version(NAMESPACE, "churn", 1, stage, "mlflow").stage == stage
    assert [(t.sequence, t.from_, t.to, t.by) for t in world.status().transitions] == [
        (2, "Archived", "None", "mlflow"),
        (1, "None", "Archived", "mlflow"),
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


def described(text: str, **tags: str) -> MetadataRecord:
    return MetadataRecord(version=1, description=text, tags=tags, updated_at="")


def test_description_and_tags_of_a_version_change(world: World) -> None:
    world.create()
    world.register()
    world.clock.forward(5)
    edited = world.registry.edit_version(NAMESPACE, "churn", 1, lambda _: described("text", team="risk"))
    assert (edited.description, edited.tags) == ("text", {"team": "risk"})
    assert edited.updated_at == "2026-05-01T12:00:05.000Z"
    assert world.status().find(1) == edited


def test_an_edit_keeps_what_another_made(world: World) -> None:
    world.create()
    world.register()

    def overtake(key: str) -> None:
        world.on_put = None
        world.registry.edit_version(NAMESPACE, "churn", 1, lambda before: add(before, "first"))

    def add(before: MetadataRecord, key: str) -> MetadataRecord:
        return before.model_copy(update={"tags": {**before.tags, key: "x"}})

    world.on_put = overtake
    edited = world.registry.edit_version(NAMESPACE, "churn", 1, lambda before: add(before, "second"))
    assert edited.tags == {"first": "x", "second": "x"}


@pytest.mark.parametrize("write", [1, 2])
def test_an_edit_that_crashed_is_finished_by_the_next(world: World, write: int) -> None:
    world.create()
    world.register()
    world.crash_at = write
    with pytest.raises(Crash):
        world.registry.edit_version(NAMESPACE, "churn", 1, lambda _: described("text"))
    edited = world.registry.edit_version(NAMESPACE, "churn", 1, lambda _: described("text"))
    assert edited.description == "text"


def test_what_an_object_cannot_hold_is_refused(world: World) -> None:
    world.create()
    world.register()
    with pytest.raises(LimitExceeded, match="a description takes at most 8192 characters, not 8193"):
        world.registry.edit_version(NAMESPACE, "churn", 1, lambda _: described("x" * 8193))
    with pytest.raises(LimitExceeded, match="tag 'k': a value takes at most 5000"):
        world.registry.edit_version(NAMESPACE, "churn", 1, lambda _: described("", k="x" * 5001))
