from __future__ import annotations

import pytest

from modelyard.api import ModelDeployment
from modelyard.api.model_status import PreparationOutcome, PreparationStatus
from modelyard.cluster.resources import of_kind
from modelyard.registry.registry import Candidate
from tests.unit.registry.world import NAMESPACE, Crash, World

DAY = 86400


@pytest.fixture
def archived(world: World) -> World:
    """Six versions, of which the sixth is in production and the others were archived, a day apart."""
    world.with_followers()
    world.create()
    for number in range(1, 7):
        world.register(source=f"m{number}")
        world.edit({"stages": {"production": number}})
        world.reconcile()
        world.clock.forward(DAY)
    return world


def retain(world: World, **retention: object) -> None:
    world.edit({"retention": retention})
    for _ in range(3):
        world.reconcile()


def reconcile_thrice(world: World) -> None:
    for _ in range(3):
        world.reconcile()


def kept(world: World) -> list[int]:
    return [number for number in range(1, 7) if world.store.listing(f"s3://models/team/artifacts/m{number}")]


def test_without_retention_everything_stays(archived: World) -> None:
    assert kept(archived) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("retention", "left"),
    [
        ({"archived": 2}, [4, 5, 6]),
        ({"archived": 0}, [6]),
        ({"maxAge": "3d"}, [3, 4, 5, 6]),
        ({"archived": 4, "maxAge": "48h"}, [4, 5, 6]),
        ({"archived": 9, "maxAge": "1w"}, [1, 2, 3, 4, 5, 6]),
    ],
)
def test_the_newest_archived_versions_keep_their_files(
    archived: World, retention: dict[str, object], left: list[int]
) -> None:
    retain(archived, **retention)
    assert kept(archived) == left
    assert [version.version for version in archived.state().shown] == [1, 2, 3, 4, 5, 6], "the records stay"


def test_what_somebody_relies_on_stays(archived: World) -> None:
    deployment = {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "old", "namespace": NAMESPACE},
        "spec": {"model": {"name": "churn", "version": 2}, "rest": {}},
    }
    archived.client.create(of_kind(ModelDeployment), NAMESPACE, deployment, "kubectl")
    archived.edit({"aliases": {"champion": 1}, "stages": {"staging": 3}})
    archived.reconcile()
    retain(archived, archived=0)
    assert kept(archived) == [1, 2, 3, 6]


def test_files_that_another_version_has_too_stay(archived: World) -> None:
    archived.registry.ensure_model(NAMESPACE, "copy", "mlflow")
    archived.registry.register_version(
        NAMESPACE, "copy", Candidate("models:/churn/2", "s3://models/team/artifacts/m2", "mlflow")
    )
    retain(archived, archived=0)
    assert kept(archived) == [2, 6]


def test_files_outside_the_installations_own_directory_stay(archived: World) -> None:
    archived.bucket.put("s3://models/elsewhere/MLmodel", b"flavors: {}")
    archived.registry.register_version(
        NAMESPACE, "churn", Candidate("s3://models/elsewhere", "s3://models/elsewhere", "mlflow")
    )
    for number in (7, 6):
        archived.edit({"stages": {"production": number}})
        archived.reconcile()
    retain(archived, archived=0)
    assert kept(archived) == [6]
    assert archived.store.listing("s3://models/elsewhere")


def test_a_version_without_files_is_never_promoted_again(archived: World) -> None:
    retain(archived, archived=0)
    archived.edit({"stages": {"production": 1}})
    archived.reconcile()
    assert archived.stages() == {"production": 6}
    assert archived.ready()[1] == "ArtifactDeleted"


def test_a_version_that_is_asked_for_before_its_files_go_keeps_them(archived: World) -> None:
    archived.edit({"retention": {"archived": 0}})
    archived.reconcile()
    assert kept(archived) == [1, 2, 3, 4, 5, 6], "announced, and seen in the status, before anything goes"
    archived.edit({"aliases": {"champion": 2}, "stages": {"production": 3}})
    archived.reconcile()
    archived.reconcile()
    assert kept(archived) == [2, 3, 6]
    assert archived.stages() == {"production": 3}


@pytest.mark.parametrize("write", range(1, 5))
def test_a_crash_at_any_write_is_finished(archived: World, write: int) -> None:
    archived.edit({"retention": {"archived": 1}})
    archived.crash_at = write
    with pytest.raises(Crash):
        reconcile_thrice(archived)
    archived.restart()
    for _ in range(3):
        archived.reconcile()
    assert kept(archived) == [5, 6]
    assert archived.ready()[0] == "True"


def test_when_all_is_done_nothing_is_asked_or_written(archived: World) -> None:
    retain(archived, archived=1)
    archived.client.requests.clear()
    archived.reconcile()
    assert [method for method, _ in archived.client.requests] == ["GET"]


def test_what_was_made_for_serving_a_version_goes_with_its_files(archived: World) -> None:
    def prepared(number: int, directory: str) -> None:
        digest = archived.state().versions[number].digest
        done = PreparationStatus(outcome=PreparationOutcome.VERIFIED, image="serving:1", directory=directory)
        archived.registry.record_preparation(NAMESPACE, "churn", number, digest, done)
        archived.bucket.put(f"s3://models/team/{directory}/model.onnx", b"onnx")

    def left() -> set[str]:
        return {key.split("/")[1] for key in archived.store.keys("prepared/")}

    prepared(1, "prepared/alone")
    prepared(1, "prepared/earlier")
    prepared(2, "prepared/shared")
    prepared(6, "prepared/shared")
    assert left() == {"alone", "earlier", "shared"}
    retain(archived, archived=0)
    assert kept(archived) == [6]
    assert left() == {"shared"}, "version 6 is served with it"
