"""A namespace in memory: a model, a ModelDeployment that follows it, and what the cluster does with its Deployments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from modelyard.api import ModelDeployment, RegisteredModel
from modelyard.api.names import MODEL_VERSION_LABEL, REVISION_LABEL
from modelyard.api.rollout import Analysis, FigureVerdict
from modelyard.api.serving import ServedModel
from modelyard.cluster.resources import (
    DEPLOYMENTS,
    GATEWAYS,
    HORIZONTAL_POD_AUTOSCALERS,
    HTTP_ROUTES,
    INGRESS_CLASSES,
    INGRESSES,
    PODS,
    SERVICES,
    ResourceType,
    of_kind,
)
from modelyard.decide.analysis import Evidence
from modelyard.decide.pod_metrics import Histogram, PodMetrics, Replay
from modelyard.metrics.scrape import Subject
from modelyard.reconcile.deployment_analysis import DeploymentAnalysis
from modelyard.reconcile.modeldeployment import ModelDeploymentReconciler
from modelyard.records.state import ModelState
from modelyard.settings import Settings
from tests.fakes.cluster import FakeClient

Json = dict[str, Any]
NAMESPACE, NAME = "ml", "web"
CANDIDATE = f"{NAME}-candidate"
OWNERS, MODELS = of_kind(ModelDeployment), of_kind(RegisteredModel)
WEIGHT = "nginx.ingress.kubernetes.io/canary-weight"

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
NGINX = {"host": "h", "className": "nginx"}
GATEWAY = {"hostname": "h", "parentRef": {"name": "gateway"}}


class Killed(BaseException):
    """The operator's process ends here."""


class Measured:
    """What the pods would say, as the test wants it."""

    def __init__(self) -> None:
        self.verdicts: dict[str, FigureVerdict] = {}
        """By the candidate's version; PASSED where nothing is said."""

        self.asked: set[str] = set()
        """The versions whose pods were asked while they passed."""

    def evidence(self, subject: Subject, bounds: Analysis) -> Evidence:  # noqa: ARG002
        verdict = self.verdicts.get(subject.candidate_version, FigureVerdict.PASSED)
        if verdict == FigureVerdict.INCONCLUSIVE:
            return Evidence(stable_version=subject.stable_version)
        if verdict == FigureVerdict.PASSED:
            self.asked.add(subject.candidate_version)
        number, failed = 1000, 500 if verdict == FigureVerdict.FAILED else 0
        replay = Replay(
            reference_version=subject.stable_version,
            requests=number,
            distinct=number,
            errors=failed,
            difference=Histogram({0.0: number}),
        )
        return Evidence(
            candidate=PodMetrics(requests={"200": number - failed, "500": failed}, replay=replay),
            stable_version=subject.stable_version,
        )

    def forget(self, key: str) -> None:
        """Nothing is remembered."""


@dataclass(frozen=True)
class Pod:
    """A pod of a model: `state` is Starting, Ready, Broken (the model cannot be loaded) or Waiting (for a node)."""

    name: str
    state: str = "Starting"
    restarts: int = 0

    def body(self, labels: dict[str, str], created: str) -> Json:
        """Return it as the API server shows it."""
        conditions = [{"type": "Ready", "status": str(self.state == "Ready")}]
        status: Json = {"phase": "Running", "conditions": conditions, "podIP": "10.0.0.1"}
        container: Json = {"name": "model", "ready": self.state == "Ready", "restartCount": self.restarts, "state": {}}
        if self.state == "Waiting":
            text = "0/1 nodes are available: 1 Insufficient cpu."
            conditions.append({"type": "PodScheduled", "status": "False", "message": text})
            status["phase"] = "Pending"
        elif self.state == "Broken":
            container["state"] = {"waiting": {"reason": "CrashLoopBackOff"}}
            container["lastState"] = {"terminated": {"exitCode": 1, "message": "LoadFailed: no such node"}}
        if self.state != "Waiting":
            status["containerStatuses"] = [container]
        metadata = {"name": self.name, "namespace": NAMESPACE, "labels": labels, "creationTimestamp": created}
        return {"kind": "Pod", "metadata": metadata, "spec": {}, "status": status}


class World:
    """A model of three versions and a deployment of it that follows Production; time is ours."""

    def __init__(self, rest: Json | None = None) -> None:
        self.now = datetime(2026, 1, 15, 12, tzinfo=UTC)
        self.before_write: Callable[[str, str], None] = lambda _method, _path: None
        self.client = FakeClient(self._on_request, lambda: self.now)
        self.settings = SETTINGS
        self.state = ModelState()
        self.measured = Measured()
        self.pods: dict[str, list[Pod]] = {}
        """By the name of their Deployment."""

        self.writes: list[tuple[str, str]] = []
        """What the operator has written since this was emptied: (method, path)."""

        self._reconciling = False
        self._made = 0
        self.client.create(MODELS, NAMESPACE, self.body("RegisteredModel", "churn", {"stages": {}}), "kubectl")
        versions = [self.version(number) for number in (1, 2, 3)]
        self.set_model({"latestVersion": 3, "versions": versions, "stages": {}})
        spec = {"model": {"name": "churn", "stage": "Production"}, "rest": rest or {"replicas": 2, "ingress": INGRESS}}
        self.client.create(OWNERS, NAMESPACE, self.body("ModelDeployment", NAME, spec), "kubectl")
        everywhere = cast("str", None)
        nginx = {"metadata": {"name": "nginx"}, "spec": {"controller": "k8s.io/ingress-nginx"}}
        self.client.create(INGRESS_CLASSES, everywhere, nginx, "admin")
        self.client.create(GATEWAYS, NAMESPACE, {"metadata": {"name": "gateway"}, "spec": {}}, "admin")
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

    @staticmethod
    def revision(number: int) -> str:
        return ServedModel("churn", number, "", f"sha256:{number:064d}").revision

    def _on_request(self, method: str, path: str) -> None:
        # What is made by applying it is one request; the client in memory notes a second one.
        if not self._reconciling or method in ("GET", "POST"):
            return
        self.before_write(method, path)
        self.writes.append((method, path))

    # What people do

    def set_model(self, status: Json) -> None:
        body = self.client.get(MODELS, NAMESPACE, "churn")
        self.client.replace_status(MODELS, {**body, "status": {**body.get("status", {}), **status}}, "operator")

    def promote(self, version: int) -> None:
        """Put a version in Production, as the registry does."""
        self.set_model({"stages": {"production": {"version": version, "since": "2026-01-01T00:00:00Z", "by": "x"}}})

    def edit(self, rest: Json) -> None:
        """Change spec.rest; what is None is taken out of it."""
        self.client.merge_patch(OWNERS, NAMESPACE, NAME, {"spec": {"rest": rest}}, "kubectl")

    def annotate(self, **values: str | None) -> None:
        """Set modelyard.dev/<name>; None takes it away."""
        annotations = {f"modelyard.dev/{name}": value for name, value in values.items()}
        self.client.merge_patch(OWNERS, NAMESPACE, NAME, {"metadata": {"annotations": annotations}}, "kubectl")

    # What the cluster does

    def deployments(self) -> Iterator[tuple[int, Json]]:
        """Yield (version, Deployment)."""
        for body in self.client.list_all(DEPLOYMENTS, NAMESPACE):
            yield int(body["metadata"]["labels"][MODEL_VERSION_LABEL]), body

    def control(self) -> None:
        """Do what the Deployment controller does: make and remove pods, and count them."""
        bodies = {body["metadata"]["name"]: body for _, body in self.deployments()}
        for gone in set(self.pods) - set(bodies):
            self._show_pods(gone, [], {})
            del self.pods[gone]
        for name, body in bodies.items():
            wanted = body["spec"]["replicas"]
            # Pods that are not ready go first.
            kept = sorted(self.pods.get(name, []), key=lambda pod: pod.state != "Ready")[:wanted]
            while len(kept) < wanted:
                self._made += 1
                kept.append(Pod(f"{name}-{self._made}"))
            self._show(name, body, kept)

    def _show(self, name: str, body: Json, pods: list[Pod]) -> None:
        if self.pods.get(name) != pods:
            self._show_pods(name, pods, body["spec"]["template"]["metadata"]["labels"])
            self.pods[name] = pods
        ready = sum(pod.state == "Ready" for pod in pods)
        status = {
            "replicas": len(pods),
            "updatedReplicas": len(pods),
            "readyReplicas": ready,
            "availableReplicas": ready,
            "observedGeneration": body["metadata"]["generation"],
        }
        if body.get("status") != status:
            self.client.replace_status(DEPLOYMENTS, {**body, "status": status}, "kubelet")

    def _show_pods(self, name: str, pods: list[Pod], labels: dict[str, str]) -> None:
        after = {pod.name: pod for pod in pods}
        for before in self.pods.get(name, []):
            if after.get(before.name) != before:
                self.client.delete(PODS, NAMESPACE, before.name)
        created = self.now.strftime("%Y-%m-%dT%H:%M:%SZ")
        for pod in pods:
            if self.client.find(PODS, NAMESPACE, pod.name) is None:
                body = pod.body(labels, created)
                made = self.client.create(PODS, NAMESPACE, body, "kubelet")
                self.client.replace_status(PODS, {**made, "status": body["status"]}, "kubelet")

    def become(self, version: int, state: str, number: int = 1000, *, restarts: int = 0) -> None:
        """Have up to so many pods of a version, that are in another state, come into that one."""
        self.control()
        for found, body in self.deployments():
            if found == version:
                name, pods = body["metadata"]["name"], []
                for pod in self.pods[body["metadata"]["name"]]:
                    change = pod.state != state and number > 0
                    number -= change
                    pods.append(replace(pod, state=state, restarts=pod.restarts + restarts) if change else pod)
                self._show(name, body, pods)

    def make_ready(self, version: int, number: int = 1000) -> None:
        """Have so many pods more of a version answer."""
        self.become(version, "Ready", number)

    # What the operator does

    def reconcile(self) -> float | None:
        """Reconcile once, in a new process."""
        analysis = DeploymentAnalysis(self.client, self.measured)
        reconciler = ModelDeploymentReconciler(
            self.client, self.settings, lambda: self.now, lambda _: self.state, analysis
        )
        self._reconciling = True
        try:
            return reconciler(NAMESPACE, NAME).requeue_after
        finally:
            self._reconciling = False

    def turn(self, seconds: float = 5) -> None:
        """Let everybody do something: the operator, the controllers, the pods that can; and time goes on."""
        self.reconcile()
        for version in self.deployed:
            self.become(version, "Ready")
        self.now += timedelta(seconds=seconds)

    # What is to be seen

    def find(self, resource: ResourceType, name: str = NAME) -> Json | None:
        return self.client.find(resource, NAMESPACE, name)

    @property
    def deployed(self) -> list[int]:
        """The versions that have a Deployment."""
        return sorted(version for version, _ in self.deployments())

    @property
    def counts(self) -> dict[int, int]:
        """How many pods each version is to have."""
        return {version: body["spec"]["replicas"] for version, body in self.deployments()}

    def ready(self, version: int) -> int:
        """How many pods of a version answer."""
        bodies = [body for found, body in self.deployments() if found == version]
        return sum(int(body.get("status", {}).get("readyReplicas", 0)) for body in bodies)

    @property
    def selected(self) -> list[int]:
        """The versions whose pods the Service selects."""
        return self._behind(NAME)

    def _behind(self, service: str) -> list[int]:
        body = self.find(SERVICES, service)
        if body is None:
            return []
        wanted = body["spec"]["selector"].get(REVISION_LABEL)
        return sorted(
            version
            for version, found in self.deployments()
            if wanted in (None, found["metadata"]["labels"][REVISION_LABEL])
        )

    @property
    def weight(self) -> int | None:
        """The share that the candidate's Service has by a route or an Ingress; None where nothing names it."""
        ingress = self.find(INGRESSES, CANDIDATE)
        if ingress is not None:
            return int(ingress["metadata"]["annotations"][WEIGHT])
        route = self.find(HTTP_ROUTES)
        for backend in route["spec"]["rules"][0]["backendRefs"] if route else ():
            if backend["name"] == CANDIDATE:
                return int(backend["weight"])
        return None

    @property
    def exposed(self) -> set[int]:
        """The versions that requests may reach."""
        return {*self.selected, *(self._behind(CANDIDATE) if self.weight else [])}

    @property
    def scaled(self) -> str | None:
        """The name of the Deployment that is scaled by an autoscaler."""
        body = self.find(HORIZONTAL_POD_AUTOSCALERS)
        return body["spec"]["scaleTargetRef"]["name"] if body else None

    @property
    def owner(self) -> Json:
        return self.client.get(OWNERS, NAMESPACE, NAME)

    @property
    def status(self) -> Json:
        status: Json = self.owner.get("status", {})
        return status

    @property
    def refused(self) -> int | None:
        """The version whose refusal stands."""
        refused = self.status.get("refused")
        if not refused or refused["generation"] != self.owner["metadata"]["generation"]:
            return None
        return int(refused["version"])

    def condition(self, kind: str = "Ready") -> Json:
        found: Json = next(each for each in self.status["conditions"] if each["type"] == kind)
        return found

    def reason(self, kind: str = "Ready") -> str:
        return str(self.condition(kind)["reason"])


def serving(rest: Json, version: int = 1) -> World:
    """Return a world in which a version is served whole."""
    world = World(rest)
    world.promote(version)
    for _ in range(3):
        world.turn()
    assert (world.deployed, world.selected, world.reason()) == ([version], [version], "Serving")
    world.writes.clear()
    return world
