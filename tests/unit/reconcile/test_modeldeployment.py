"""The ModelDeployment reconciler on an API server in memory: a promotion, and a kill at every one of its writes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from modelyard.api import ModelDeployment, RegisteredModel
from modelyard.api.rollout import Analysis
from modelyard.cluster.client import Client, Invalid
from modelyard.cluster.resources import DEPLOYMENTS, INGRESSES, SECRETS, SERVICES, of_kind
from modelyard.decide.analysis import Evidence
from modelyard.desired.reader import READER_SECRET
from modelyard.metrics.scrape import Subject
from modelyard.reconcile.deployment_analysis import DeploymentAnalysis
from modelyard.reconcile.modeldeployment import ModelDeploymentReconciler
from modelyard.records.state import ModelState, VersionState
from modelyard.settings import Settings
from tests.fakes.cluster import FakeClient

Json = dict[str, Any]
NAMESPACE, NAME = "ml", "web"

SETTINGS = Settings.from_environment(
    {
        "MODELYARD_TRACKING_URI": "http://tracking:5000",
        "MODELYARD_ARTIFACT_STORE": "s3://modelyard",
        "MODELYARD_S3_ENDPOINT": "http://minio:9000",
        "MODELYARD_READER_ACCESS_KEY_ID": "reader",
        "MODELYARD_READER_SECRET_ACCESS_KEY": "secret",
        "MODELYARD_SERVING_IMAGE": "serving:1",
        "MODELYARD_TRAINING_IMAGE": "training:1",
        "MODELYARD_OPERATOR_IMAGE": "operator:1",
    }
)


# A class that no IngressClass stands for: of that, nothing is claimed.
INGRESS = {"host": "h", "annotations": {"kubernetes.io/ingress.class": "somebody's"}}


class Killed(BaseException):
    """The operator's process ends here."""


class Measured:
    """What the pods would say, as the test wants it."""

    def __init__(self) -> None:
        self.says = Evidence()

    def evidence(self, subject: Subject, bounds: Analysis) -> Evidence:
        return self.says

    def forget(self, key: str) -> None:
        """Nothing is remembered."""


class World:
    """A namespace with a model of two versions and a deployment that follows Production; time is ours."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 15, 12, tzinfo=UTC)
        self.before_write: Callable[[str, str], None] = lambda _method, _path: None
        self.client = FakeClient(self._on_request, lambda: self.now)
        versions = [self.version(1), self.version(2)]
        self.client.create(
            of_kind(RegisteredModel), NAMESPACE, self.body("RegisteredModel", "churn", {"stages": {}}), "kubectl"
        )
        self.set_model({"latestVersion": 2, "versions": versions, "stages": {}})
        spec = {"model": {"name": "churn", "stage": "Production"}, "rest": {"replicas": 2, "ingress": INGRESS}}
        self.client.create(of_kind(ModelDeployment), NAMESPACE, self.body("ModelDeployment", NAME, spec), "kubectl")
        self.state = ModelState()
        self.measured = Measured()
        self.client.requests.clear()

    @staticmethod
    def body(kind: str, name: str, spec: Json) -> Json:
        metadata = {"name": name, "namespace": NAMESPACE}
        return {"apiVersion": "modelyard.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}

    @staticmethod
    def version(number: int) -> Json:
        return {
            "version": number,
            "source": "runs:/r/model",
            "artifact": f"s3://modelyard/artifacts/{number}",
            "digest": f"sha256:{number:064d}",
            "flavors": ["sklearn"],
            "createdAt": "2026-01-01T00:00:00Z",
        }

    def _on_request(self, method: str, path: str) -> None:
        if method != "GET":
            self.before_write(method, path)

    def set_model(self, status: Json) -> None:
        resource = of_kind(RegisteredModel)
        body = self.client.get(resource, NAMESPACE, "churn")
        self.client.replace_status(resource, {**body, "status": {**body.get("status", {}), **status}}, "operator")

    def promote(self, version: int) -> None:
        """Put a version in Production, as the registry does."""
        self.set_model({"stages": {"production": {"version": version, "since": "2026-01-01T00:00:00Z", "by": "x"}}})

    def make_ready(self, version: int) -> None:
        """Do what the Deployment controller and the kubelet do."""
        for body in self.client.list_all(DEPLOYMENTS, NAMESPACE):
            if body["metadata"]["labels"]["modelyard.dev/model-version"] == str(version):
                replicas = body["spec"]["replicas"]
                names = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
                status = {**dict.fromkeys(names, replicas), "observedGeneration": body["metadata"]["generation"]}
                self.client.replace_status(DEPLOYMENTS, {**body, "status": status}, "kubelet")

    def reconcile(self) -> float | None:
        """Reconcile once, in a new process."""
        client: Client = self.client
        analysis = DeploymentAnalysis(client, self.measured)
        reconciler = ModelDeploymentReconciler(client, SETTINGS, lambda: self.now, lambda _: self.state, analysis)
        return reconciler(NAMESPACE, NAME).requeue_after

    @property
    def deployed(self) -> list[int]:
        """The versions that have a Deployment."""
        bodies = self.client.list_all(DEPLOYMENTS, NAMESPACE)
        return sorted(int(body["metadata"]["labels"]["modelyard.dev/model-version"]) for body in bodies)

    @property
    def selected(self) -> int | None:
        """The version whose pods the Service selects."""
        revision = self.client.get(SERVICES, NAMESPACE, NAME)["spec"]["selector"]["modelyard.dev/revision"]
        for body in self.client.list_all(DEPLOYMENTS, NAMESPACE):
            if body["metadata"]["labels"]["modelyard.dev/revision"] == revision:
                return int(body["metadata"]["labels"]["modelyard.dev/model-version"])
        return None

    @property
    def status(self) -> Json:
        status: Json = self.client.get(of_kind(ModelDeployment), NAMESPACE, NAME).get("status", {})
        return status

    def reason(self, kind: str = "Ready") -> str:
        return next(str(each["reason"]) for each in self.status["conditions"] if each["type"] == kind)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def serving(world: World) -> World:
    """Version 1 is served."""
    world.promote(1)
    world.reconcile()
    world.make_ready(1)
    world.reconcile()
    assert (world.selected, world.reason()) == (1, "Serving")
    return world


def test_before_anything_is_promoted_the_names_exist_and_nothing_is_served(world: World) -> None:
    world.reconcile()
    assert (world.deployed, world.selected, world.reason()) == ([], None, "NoVersionInStage")
    assert world.client.find(INGRESSES, NAMESPACE, NAME)


def test_a_promotion_from_beginning_to_end(serving: World) -> None:
    serving.promote(2)
    serving.reconcile()
    assert (serving.deployed, serving.selected, serving.reason()) == ([1, 2], 1, "RollingOut")
    serving.make_ready(2)
    again = serving.reconcile()
    assert (serving.deployed, serving.selected, serving.reason()) == ([1, 2], 2, "Serving")
    assert again == 10.0
    serving.now += timedelta(seconds=10)
    serving.reconcile()
    assert (serving.deployed, serving.selected) == ([2], 2)
    assert not serving.status.get("draining")


def test_a_converged_deployment_costs_no_write(serving: World) -> None:
    serving.reconcile()
    serving.client.requests.clear()
    serving.now += timedelta(hours=1)
    serving.reconcile()
    assert serving.client.writes == []


def test_a_promotion_costs_few_writes(serving: World) -> None:
    """A Deployment made, a Service switched, a Deployment removed, and the status at each of the three turns."""
    serving.client.requests.clear()
    serving.promote(2)
    serving.reconcile()
    serving.make_ready(2)
    serving.reconcile()
    serving.now += timedelta(seconds=11)
    serving.reconcile()
    # The operator applies and deletes; the PUTs are those of the test's own registry and kubelet.
    operators = [path for method, path in serving.client.writes if method in ("PATCH", "DELETE")]
    assert len(operators) == 6


@pytest.mark.parametrize("number", range(7))
def test_a_kill_at_any_write_of_a_promotion_changes_nothing_in_its_outcome(serving: World, number: int) -> None:
    left = [number]

    def kill(method: str, path: str) -> None:
        if "registeredmodels" in path or (path.endswith("/status") and "/apps/" in path):
            return
        left[0] -= 1
        if left[0] == -1:
            raise Killed

    def until_alive() -> None:
        try:
            serving.reconcile()
        except Killed:
            assert serving.selected in (1, 2)
            serving.reconcile()

    serving.promote(2)
    serving.before_write = kill
    until_alive()
    assert serving.selected == 1, "a version that is not ready is never selected"
    serving.make_ready(2)
    until_alive()
    assert serving.selected == 2
    serving.now += timedelta(seconds=11)
    until_alive()
    serving.now += timedelta(seconds=11)
    until_alive()
    assert (serving.deployed, serving.selected, serving.reason()) == ([2], 2, "Serving")
    assert serving.status["served"]["version"] == 2
    assert not serving.status.get("draining")


def test_what_somebody_else_changes_is_mended(serving: World) -> None:
    serving.client.merge_patch(SERVICES, NAMESPACE, NAME, {"spec": {"selector": {"x": "y"}}}, "somebody")
    body = serving.client.list_all(DEPLOYMENTS, NAMESPACE)[0]
    name = body["metadata"]["name"]
    serving.client.merge_patch(DEPLOYMENTS, NAMESPACE, name, {"spec": {"replicas": 7}}, "somebody")
    serving.reconcile()
    assert serving.client.get(SERVICES, NAMESPACE, NAME)["spec"]["selector"]["modelyard.dev/deployment"] == NAME
    assert serving.client.get(DEPLOYMENTS, NAMESPACE, name)["spec"]["replicas"] == 2


def test_an_edit_of_replicas_reaches_the_served_deployment(serving: World) -> None:
    resource = of_kind(ModelDeployment)
    serving.client.merge_patch(resource, NAMESPACE, NAME, {"spec": {"rest": {"replicas": 3}}}, "kubectl-scale")
    serving.reconcile()
    (body,) = serving.client.list_all(DEPLOYMENTS, NAMESPACE)
    assert (body["spec"]["replicas"], serving.reason()) == (3, "TooFewReadyPods")


def test_what_is_served_survives_the_loss_of_its_model(serving: World) -> None:
    serving.client.delete(of_kind(RegisteredModel), NAMESPACE, "churn")
    serving.reconcile()
    assert (serving.deployed, serving.selected, serving.reason()) == ([1], 1, "ModelNotFound")
    assert serving.reason("Serving") == "Serving"


def test_an_ingress_that_is_taken_out_of_the_spec_goes(serving: World) -> None:
    resource = of_kind(ModelDeployment)
    serving.client.merge_patch(resource, NAMESPACE, NAME, {"spec": {"rest": {"ingress": None}}}, "kubectl")
    serving.reconcile()
    assert serving.client.find(INGRESSES, NAMESPACE, NAME) is None
    assert serving.status["url"] == "http://web.ml.svc/invocations"


def test_a_service_that_belongs_to_somebody_else_is_left_alone(world: World) -> None:
    theirs = {"kind": "Service", "metadata": {"name": NAME, "namespace": NAMESPACE}, "spec": {"selector": {"a": "b"}}}
    world.client.create(SERVICES, NAMESPACE, theirs, "somebody")
    world.promote(1)
    world.reconcile()
    assert world.client.get(SERVICES, NAMESPACE, NAME)["spec"] == {"selector": {"a": "b"}}
    assert world.reason() == "ObjectRefused"


def test_a_refused_object_is_told_and_the_others_are_made(world: World) -> None:
    def refuse(method: str, path: str) -> None:
        if "/ingresses/" in path:
            raise Invalid(422, "Invalid", "spec.rules[0].host: Invalid value")

    world.before_write = refuse
    world.promote(1)
    world.reconcile()
    assert (world.deployed, world.reason()) == ([1], "ObjectRefused")
    message = next(each["message"] for each in world.status["conditions"] if each["type"] == "Ready")
    assert "Ingress web: spec.rules[0].host: Invalid value" in message


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
    world.client.delete(of_kind(ModelDeployment), NAMESPACE, NAME)
    world.client.requests.clear()
    assert world.reconcile() is None
    assert world.client.writes == []


def test_a_version_that_the_status_does_not_show_is_served_by_its_number(world: World) -> None:
    old = VersionState.model_validate(world.version(1))
    world.state = ModelState(versions={1: old}, latest_version=60)
    world.set_model({"latestVersion": 60, "versions": [world.version(60)]})
    patch = {"spec": {"model": {"name": "churn", "version": 1, "stage": None}}}
    world.client.merge_patch(of_kind(ModelDeployment), NAMESPACE, NAME, patch, "kubectl")
    world.reconcile()
    assert world.deployed == [1]
    world.make_ready(1)
    world.reconcile()
    assert world.selected == 1
