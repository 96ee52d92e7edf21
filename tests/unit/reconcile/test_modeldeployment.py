"""The ModelDeployment reconciler on an API server in memory: what it makes, keeps up, tells and removes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from modelyard.cluster.client import ApiError, Conflict, Invalid
from modelyard.cluster.resources import (
    DEPLOYMENTS,
    HORIZONTAL_POD_AUTOSCALERS,
    HTTP_ROUTES,
    INGRESSES,
    NETWORK_POLICIES,
    POD_DISRUPTION_BUDGETS,
    SECRETS,
    SERVICES,
    ResourceType,
)
from modelyard.desired.reader import READER_SECRET
from modelyard.records.state import ModelState, VersionState
from tests.unit.reconcile.deployment_world import (
    GATEWAY,
    INGRESS,
    MODELS,
    NAME,
    NAMESPACE,
    OWNERS,
    World,
)
from tests.unit.reconcile.deployment_world import serving as serving_with

Json = dict[str, Any]
AUTOSCALING = {"minReplicas": 2, "maxReplicas": 6, "targetCPU": 70}
SCALED = {"autoscaling": AUTOSCALING, "resources": {"requests": {"cpu": "1"}}}


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def serving() -> World:
    """Version 1 is served."""
    return serving_with({"replicas": 2, "ingress": INGRESS})


def settles(world: World) -> None:
    """Whatever was to do is done soon, and then nothing is written."""
    world.turn()
    world.turn()
    world.writes.clear()
    world.reconcile()
    assert world.writes == []


def deployment_of(world: World, version: int = 1) -> Json:
    return next(body for found, body in world.deployments() if found == version)


def test_before_anything_is_promoted_the_names_exist_and_nothing_is_served(world: World) -> None:
    world.reconcile()
    assert (world.deployed, world.selected, world.reason()) == ([], [], "NoVersionInStage")
    assert world.find(INGRESSES)


def test_the_first_version_is_served_as_soon_as_a_pod_is_ready(world: World) -> None:
    world.promote(1)
    world.reconcile()
    assert (world.selected, world.reason(), world.status.get("served")) == ([1], "RollingOut", None)
    world.make_ready(1, 1)
    world.reconcile()
    assert (world.reason(), world.reason("Serving")) == ("TooFewReadyPods", "Serving")
    assert world.status["served"]["version"] == 1


def test_a_promotion_from_beginning_to_end(serving: World) -> None:
    """Pod by pod: one of the new version beside two, then it takes the place of one, and so on."""
    serving.promote(2)
    seen = []
    for _ in range(8):
        serving.turn()
        seen.append((serving.counts, serving.selected, serving.reason()))
    assert [each for number, each in enumerate(seen) if each not in seen[:number]] == [
        ({1: 2, 2: 1}, [1], "RollingOut"),
        ({1: 1, 2: 1}, [1, 2], "RollingOut"),
        ({1: 1, 2: 2}, [1, 2], "RollingOut"),
        ({1: 1, 2: 2}, [2], "Serving"),
        ({2: 2}, [2], "Serving"),
    ]
    assert not serving.status.get("draining")


def test_a_converged_deployment_costs_no_write(serving: World) -> None:
    serving.now += timedelta(hours=1)
    serving.reconcile()
    assert serving.writes == []


def test_what_somebody_else_changes_is_mended(serving: World) -> None:
    serving.client.merge_patch(SERVICES, NAMESPACE, NAME, {"spec": {"selector": {"x": "y"}}}, "somebody")
    name = deployment_of(serving)["metadata"]["name"]
    serving.client.merge_patch(DEPLOYMENTS, NAMESPACE, name, {"spec": {"replicas": 7}}, "somebody")
    serving.reconcile()
    assert (serving.selected, serving.counts) == ([1], {1: 2})


def test_what_others_add_is_left_to_them(serving: World) -> None:
    added = {"metadata": {"annotations": {"theirs": "yes"}}, "spec": {"sessionAffinity": "ClientIP"}}
    serving.client.merge_patch(SERVICES, NAMESPACE, NAME, added, "somebody")
    serving.reconcile()
    assert serving.writes == []
    serving.promote(2)
    for _ in range(8):
        serving.turn()
    found = serving.find(SERVICES)
    assert found
    assert serving.selected == [2]
    assert (found["metadata"]["annotations"]["theirs"], found["spec"]["sessionAffinity"]) == ("yes", "ClientIP")


def test_an_edit_of_replicas_reaches_the_served_deployment(serving: World) -> None:
    serving.edit({"replicas": 3})
    serving.reconcile()
    assert (serving.counts, serving.reason()) == ({1: 3}, "TooFewReadyPods")


@pytest.mark.parametrize("number", [0, 1, 3, 10])
def test_a_promotion_at_so_many_replicas(number: int) -> None:
    world = World({"replicas": number})
    world.promote(1)
    for _ in range(2):
        world.turn()
    world.promote(2)
    for _ in range(40):
        world.turn()
    assert (world.counts, world.selected) == ({2: number}, [2])
    assert world.reason() == ("Serving" if number else "ScaledToZero")


def test_what_is_served_survives_the_loss_of_its_model(serving: World) -> None:
    serving.client.delete(MODELS, NAMESPACE, "churn")
    serving.reconcile()
    assert (serving.deployed, serving.selected, serving.reason()) == ([1], [1], "ModelNotFound")
    assert serving.reason("Serving") == "Serving"
    serving.edit({"replicas": 3})
    serving.reconcile()
    assert serving.counts == {1: 3}, "it is kept up, too"


EVERYTHING: Json = {
    "replicas": 2,
    "ingress": INGRESS,
    "networkPolicy": {"from": [{"namespaceLabels": {"team": "web"}}]},
    "disruptionBudget": {"minAvailable": 1},
}


@pytest.mark.parametrize(
    ("rest", "without", "resource"),
    [
        pytest.param(EVERYTHING, {"ingress": None}, INGRESSES, id="ingress"),
        pytest.param({"replicas": 2, "gateway": GATEWAY}, {"gateway": None}, HTTP_ROUTES, id="gateway"),
        pytest.param(EVERYTHING, {"networkPolicy": None}, NETWORK_POLICIES, id="network policy"),
        pytest.param(
            EVERYTHING, {"disruptionBudget": None, "replicas": 1}, POD_DISRUPTION_BUDGETS, id="disruption budget"
        ),
        pytest.param(SCALED, {"autoscaling": None, "replicas": 2}, HORIZONTAL_POD_AUTOSCALERS, id="autoscaler"),
    ],
)
def test_what_is_taken_out_of_the_spec_goes(rest: Json, without: Json, resource: ResourceType) -> None:
    world = serving_with(rest)
    assert world.find(resource)
    world.edit(without)
    world.reconcile()
    assert world.find(resource) is None
    assert world.status["url"] == "http://web.ml.svc/invocations" or resource not in (INGRESSES, HTTP_ROUTES)
    settles(world)


def test_a_budget_of_somebody_else_that_has_the_name_is_not_removed() -> None:
    world = serving_with({"replicas": 1})
    theirs = {"kind": "PodDisruptionBudget", "metadata": {"name": NAME}, "spec": {"maxUnavailable": 0}}
    world.client.create(POD_DISRUPTION_BUDGETS, NAMESPACE, theirs, "somebody")
    world.reconcile()
    assert world.find(POD_DISRUPTION_BUDGETS)
    assert world.writes == []


def test_a_service_that_belongs_to_somebody_else_is_left_alone(world: World) -> None:
    theirs = {"kind": "Service", "metadata": {"name": NAME, "namespace": NAMESPACE}, "spec": {"selector": {"a": "b"}}}
    world.client.create(SERVICES, NAMESPACE, theirs, "somebody")
    world.promote(1)
    world.reconcile()
    assert world.client.get(SERVICES, NAMESPACE, NAME)["spec"] == {"selector": {"a": "b"}}
    assert world.reason() == "NameTaken"


def test_a_refused_object_is_told_and_the_others_are_made(world: World) -> None:
    def refuse(method: str, path: str) -> None:
        if "/ingresses/" in path:
            raise Invalid(422, "Invalid", "spec.rules[0].host: Invalid value")

    world.before_write = refuse
    world.promote(1)
    world.reconcile()
    assert (world.deployed, world.reason()) == ([1], "ObjectRefused")
    assert "Ingress web: spec.rules[0].host: Invalid value" in world.condition()["message"]


def test_a_fault_of_the_api_server_is_raised_so_that_it_is_tried_again(world: World) -> None:
    def fail(method: str, path: str) -> None:
        raise ApiError(500, "InternalError", "etcdserver: request timed out")

    world.before_write = fail
    world.promote(1)
    with pytest.raises(ApiError, match="timed out"):
        world.reconcile()


@pytest.mark.parametrize(
    ("labels", "kept"),
    [
        pytest.param({}, True, id="one that the namespace brings is left alone"),
        pytest.param(
            {
                "app.kubernetes.io/name": "modelyard",
                "app.kubernetes.io/component": "artifacts-reader",
                "app.kubernetes.io/instance": "modelyard",
                "app.kubernetes.io/managed-by": "modelyard",
            },
            False,
            id="one that the operator made is kept current",
        ),
    ],
)
def test_the_readers_secret(world: World, labels: dict[str, str], kept: bool) -> None:
    old = {"kind": "Secret", "metadata": {"name": READER_SECRET, "namespace": NAMESPACE, "labels": labels}}
    world.client.create(SECRETS, NAMESPACE, {**old, "data": {"AWS_ACCESS_KEY_ID": "b2xk"}}, "somebody")
    world.promote(1)
    world.reconcile()
    data = world.client.get(SECRETS, NAMESPACE, READER_SECRET)["data"]
    assert (data == {"AWS_ACCESS_KEY_ID": "b2xk"}) is kept


def test_an_object_that_is_gone_is_no_error(world: World) -> None:
    world.client.delete(OWNERS, NAMESPACE, NAME)
    assert world.reconcile() is None
    assert world.writes == []


def test_a_version_that_the_status_does_not_show_is_served_by_its_number(world: World) -> None:
    old = VersionState.model_validate(world.version(1))
    world.state = ModelState(versions={1: old}, latest_version=60)
    world.set_model({"latestVersion": 60, "versions": [world.version(60)]})
    patch = {"spec": {"model": {"name": "churn", "version": 1, "stage": None}}}
    world.client.merge_patch(OWNERS, NAMESPACE, NAME, patch, "kubectl")
    world.turn()
    world.reconcile()
    assert (world.deployed, world.selected, world.reason()) == ([1], [1], "Serving")


# Across upgrades


def image_of(world: World) -> str:
    return str(deployment_of(world)["spec"]["template"]["spec"]["containers"][0]["image"])


def test_another_serving_image_restarts_no_pod_and_writes_nothing(serving: World) -> None:
    serving.settings = replace(serving.settings, serving_image="serving:2", image_pull_policy="Always")
    serving.reconcile()
    assert serving.writes == []


@pytest.mark.parametrize("how", ["the refresh annotation", "an edit of the pods"])
def test_the_template_is_made_anew_by(serving: World, how: str) -> None:
    serving.settings = replace(serving.settings, serving_image="serving:2")
    if how == "the refresh annotation":
        serving.annotate(refresh="2026-01-15")
    else:
        serving.edit({"resources": {"requests": {"cpu": "1"}}})
    serving.reconcile()
    assert image_of(serving) == "serving:2"
    settles(serving)


def test_a_new_version_has_the_new_image(serving: World) -> None:
    serving.settings = replace(serving.settings, serving_image="serving:2")
    serving.promote(2)
    serving.reconcile()
    images = {version: image_of_body(body) for version, body in serving.deployments()}
    assert images == {1: "serving:1", 2: "serving:2"}


def image_of_body(body: Json) -> str:
    return str(body["spec"]["template"]["spec"]["containers"][0]["image"])


# Autoscaling


def scale(world: World, replicas: int) -> None:
    """Do what the HorizontalPodAutoscaler does, if its target is there."""
    assert world.scaled
    world.client.merge_patch(DEPLOYMENTS, NAMESPACE, world.scaled, {"spec": {"replicas": replicas}}, "hpa")


def test_the_number_of_pods_is_the_autoscalers() -> None:
    world = serving_with(SCALED)
    assert world.counts == {1: 2}
    scale(world, 5)
    settles(world)
    assert (world.counts, world.status["replicas"]) == ({1: 5}, 5)


def test_a_number_out_of_the_autoscalers_bounds_is_brought_into_them() -> None:
    world = serving_with(SCALED)
    scale(world, 9)
    world.reconcile()
    assert world.counts == {1: 6}


def test_a_number_that_the_autoscaler_has_just_changed_is_not_written_over() -> None:
    world = serving_with(SCALED)
    world.edit({"recentRequests": 8})

    def meanwhile(method: str, path: str) -> None:
        if "/deployments/" in path:
            world.before_write = lambda _method, _path: None
            scale(world, 4)

    world.before_write = meanwhile
    with pytest.raises(Conflict):
        world.reconcile()
    assert world.counts == {1: 4}
    world.reconcile()
    assert world.counts == {1: 4}


def test_the_candidate_gets_as_many_pods_as_the_autoscaler_gave_the_served_version() -> None:
    world = serving_with(SCALED)
    scale(world, 4)
    world.promote(2)
    for _ in range(2):
        world.turn()
        assert world.counts[1] == 4, "the served version's are the autoscaler's"
    for _ in range(6):
        world.turn()
    assert (world.counts, world.selected, world.reason()) == ({2: 4}, [2], "Serving")
    assert world.scaled == deployment_of(world, 2)["metadata"]["name"]
