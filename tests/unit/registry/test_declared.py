from __future__ import annotations

import pytest

from tests.unit.registry.world import Crash, World


def declare(world: World, *versions: dict[str, object]) -> None:
    world.edit({"versions": list(versions)}, "argocd-controller")


@pytest.fixture
def declared(world: World) -> World:
    """A model whose first version Git declares and has in production."""
    world.with_followers()
    world.create()
    uri = world.bucket.put_model("one")
    declare(world, {"version": 1, "source": f"{uri}/", "tags": {"team": "risk"}, "metrics": {"f1": "0.9"}})
    world.edit({"stages": {"production": 1}}, "argocd-controller")
    world.reconcile()
    return world


def test_what_git_declares_is_registered_and_promoted_at_once(declared: World) -> None:
    version = declared.state().versions[1]
    assert declared.stages() == {"production": 1}
    assert (version.artifact, version.created_by) == ("s3://models/team/artifacts/one", "argocd-controller")
    assert (version.tags, version.metrics) == ({"team": "risk"}, {"f1": "0.9"})
    assert declared.ready()[0] == "True"


def test_it_is_registered_once(declared: World) -> None:
    declared.reconcile()
    declared.restart()
    declared.reconcile()
    assert declared.log("VersionRegistered") == [1]


@pytest.mark.parametrize("write", [1, 2, 3])
def test_a_crash_at_any_write_registers_it_once(world: World, write: int) -> None:
    world.with_followers()
    world.create()
    declare(world, {"version": 1, "source": world.bucket.put_model("one")})
    world.edit({"stages": {"production": 1}})
    world.crash_at = write
    with pytest.raises(Crash):
        world.reconcile()
    world.restart()
    world.reconcile()
    assert world.stages() == {"production": 1}
    assert world.log("VersionRegistered") == [1]


def test_a_changed_description_or_tag_follows_and_other_tags_stay(declared: World) -> None:
    uri = "s3://models/team/artifacts/one"
    declare(declared, {"version": 1, "source": uri, "description": "better", "tags": {"tier": "1"}})
    declared.reconcile()
    version = declared.state().versions[1]
    assert (version.description, version.tags) == ("better", {"team": "risk", "tier": "1"})


def test_a_number_may_be_left_out_but_not_used_again(declared: World) -> None:
    five = {"version": 5, "source": declared.bucket.put_model("five")}
    declare(declared, five)
    declared.reconcile()
    assert declared.status().latest_version == 5
    declare(declared, five, {"version": 3, "source": declared.bucket.put_model("three")})
    declared.reconcile()
    assert declared.ready() == (
        "False",
        "DeclarationConflict",
        "spec.versions[version=3]: numbers up to 5 are taken: declare a higher one",
    )


def test_a_number_that_mlflow_took_for_other_files_is_named(world: World) -> None:
    world.with_followers()
    world.create()
    world.register(source="mlflow")
    declare(world, {"version": 1, "source": world.bucket.put_model("git")})
    world.reconcile()
    assert world.ready()[1:] == (
        "DeclarationConflict",
        "spec.versions[version=1].source: the version is registered from s3://models/team/artifacts/mlflow: "
        "declare another number",
    )


def test_a_source_that_is_not_there_yet_is_named_and_waited_for(world: World) -> None:
    world.with_followers()
    world.create()
    declare(world, {"version": 1, "source": "s3://models/team/artifacts/later"})
    assert world.reconcile().requeue_after == 60
    status, reason, message = world.ready()
    assert (status, reason) == ("False", "ArtifactMissing")
    assert message.startswith("spec.versions[version=1].source: there is no file below s3://models")
    world.bucket.put_model("later")
    world.reconcile()
    assert world.status().latest_version == 1
    assert world.ready()[0] == "True"
