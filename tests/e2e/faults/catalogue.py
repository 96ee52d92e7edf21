"""Every fault: how it comes about, and which reason it has to be told by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from modelyard.api.reasons import ConditionType, Reason
from tests.e2e.faults import manifests
from tests.e2e.faults.misbehaving import HANG
from tests.e2e.faults.place import NAME, Place
from tests.unit.chart.kstatus import CURRENT, FAILED, IN_PROGRESS

Json = dict[str, Any]
Step = Callable[[Place], None]


@dataclass(frozen=True)
class Fault:
    """One fault.

    Without `served` the ModelDeployment is made after `prepare`, with the fault in place. With it, a sound version 1
    is served first, and then `inject` brings the fault about.
    """

    name: str
    reason: Reason
    says: str
    """What the message has in it, besides."""
    models: tuple[str, ...] = ("sound",)
    rest: Json = field(default_factory=dict)
    model: Json | None = None
    """spec.model, where it is not the model's Production."""
    labels: dict[str, str] = field(default_factory=dict)
    prepare: Step | None = None
    served: bool = False
    inject: Step | None = None
    answers: bool = True
    """With `served`: whether requests are answered meanwhile."""
    leaves: bool = False
    """Whether requests go unanswered until the proxy has heard which pods are left."""
    kstatus: str = FAILED
    condition: ConditionType = ConditionType.READY
    """Which condition tells of it."""
    within: float = 90.0
    """Seconds in which it has to be told of: what a pod's start and end take while several start on a busy machine."""

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


_RUNTIME = "modelyard-faults-nowhere"


def _objects(*bodies: Json) -> Step:
    return lambda place: place.apply(*bodies)


def _mutating(patch: str, says: str) -> Step:
    def prepare(place: Place) -> None:
        place.apply_to_cluster(*manifests.mutating_policy(place.name, patch))
        place.in_force(manifests.PROBE_POD, says)

    return prepare


def _denying(resource: str) -> Step:
    def prepare(place: Place) -> None:
        place.apply_to_cluster(*manifests.denying_policy(place.name, resource))
        place.in_force(_probe(resource), "no models on Sundays")

    return prepare


def _silent(resource: str) -> Step:
    def prepare(place: Place) -> None:
        place.apply_to_cluster(manifests.silent_webhook(place.name, resource))
        place.in_force(_probe(resource), "silent.example.com")

    return prepare


def _probe(resource: str) -> Json:
    return manifests.PROBE_POD if resource == "pods" else manifests.PROBE_DEPLOYMENT


def _runtime_class(place: Place) -> None:
    body = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": _RUNTIME}}
    place.apply_to_cluster({**body, "handler": "no-such-handler"})


def _delete_files(place: Place) -> None:
    for path in ("MLmodel", "model.pkl"):
        place.ending.enter_context(place.artifacts.removed(place.artifact(1), path))


def _alter_file(place: Place) -> None:
    place.ending.enter_context(place.artifacts.changed(place.artifact(1), "model.pkl"))


def _promote(place: Place) -> None:
    place.promote(2)


def _promote_over_quota(place: Place) -> None:
    place.apply(manifests.quota(pods="1"))
    place.promote(2)


def _hang(place: Place) -> None:
    try:
        place.ask(HANG, timeout=1.0)
    except OSError:
        return
    raise AssertionError("the model answered the request that it should hang on")


def _memory(limit: str) -> Json:
    return {"resources": {"requests": {"memory": limit}, "limits": {"memory": limit}}}


def _pod(**overrides: Any) -> Json:
    return {"pod": overrides}


def _volume(**source: Any) -> Json:
    return _pod(volumes=[{"name": "data", **source}], volumeMounts=[{"name": "data", "mountPath": "/data"}])


def _gateway(**reference: str) -> Json:
    return {"gateway": {"parentRef": reference, "hostname": "faults.example.com"}}


_ROOT_IMAGE = "registry.invalid/models/serving:1"
_PUBLIC = {"name": "modelyard", "namespace": "projectcontour"}
_SERVICE: Json = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": NAME},
    "spec": {"selector": {"app": "another"}, "ports": [{"port": 80}]},
}
_SQUATTER = """
import signal, socket, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
server = socket.create_server(("0.0.0.0", 8080))
time.sleep(600)
"""
_IDLE = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
time.sleep(600)
"""

MODEL_FAULTS = [
    Fault("the model raises when loaded", Reason.LOAD_FAILED, "no number", ("raises",)),
    Fault("the model ends the process", Reason.CANDIDATE_FAILED, "Error, exit code 13", ("aborts",)),
    Fault("the model needs too much memory", Reason.OUT_OF_MEMORY, "OOMKilled", ("greedy",), _memory("512Mi")),
    Fault("the server itself has too little memory", Reason.OUT_OF_MEMORY, "pod churn-v1-", rest=_memory("24Mi")),
    Fault("a missing dependency", Reason.MISSING_DEPENDENCY, "no_such_module", ("dependent",)),
    Fault("a flavor of another library", Reason.UNSUPPORTED_FLAVOR, "mleap", ("foreign",)),
    Fault("a flavor without its python function", Reason.UNSUPPORTED_FLAVOR, "python_function", ("halfway",)),
    Fault("a broken MLmodel", Reason.MODEL_INVALID, "signature", ("unsigned",)),
    Fault("files deleted from S3", Reason.ARTIFACT_MISSING, "s3://modelyard/artifacts/faults/", prepare=_delete_files),
    Fault("a file altered in S3", Reason.DIGEST_MISMATCH, "was registered", prepare=_alter_file),
    Fault("a model that loads slowly", Reason.ROLLING_OUT, "version 1 is starting", ("slow",), kstatus=IN_PROGRESS),
    Fault(
        "no model of that name",
        Reason.MODEL_NOT_FOUND,
        "ghost",
        model={"name": "ghost", "stage": "Production"},
        kstatus=IN_PROGRESS,
    ),
    Fault(
        "no version in the stage",
        Reason.NO_VERSION_IN_STAGE,
        "Staging",
        model={"name": NAME, "stage": "Staging"},
        kstatus=IN_PROGRESS,
    ),
    Fault("no such version", Reason.VERSION_NOT_FOUND, "no version 9", model={"name": NAME, "version": 9}),
]

POD_FAULTS = [
    Fault(
        "an image that cannot be pulled",
        Reason.IMAGE_UNAVAILABLE,
        _ROOT_IMAGE,
        prepare=_mutating(manifests.image(_ROOT_IMAGE), _ROOT_IMAGE),
    ),
    Fault(
        "an image name that is none",
        Reason.IMAGE_UNAVAILABLE,
        "InvalidImageName",
        prepare=_mutating(manifests.image("Not A Name"), "Not A Name"),
    ),
    Fault(
        "no room", Reason.UNSCHEDULABLE, "Insufficient memory", rest={"resources": {"requests": {"memory": "900Gi"}}}
    ),
    Fault(
        "no node of that kind", Reason.UNSCHEDULABLE, "node affinity/selector", rest=_pod(nodeSelector={"disk": "none"})
    ),
    Fault(
        "a missing Secret",
        Reason.CONFIGURATION_MISSING,
        'secret "absent" not found',
        rest=_pod(envFrom=[{"secretRef": {"name": "absent"}}]),
    ),
    Fault(
        "a missing ConfigMap to mount",
        Reason.CONFIGURATION_MISSING,
        'configmap "absent" not found',
        rest=_volume(configMap={"name": "absent"}),
    ),
    Fault(
        "a missing volume claim",
        Reason.VOLUME_UNAVAILABLE,
        'persistentvolumeclaim "absent" not found',
        rest=_volume(persistentVolumeClaim={"claimName": "absent"}),
    ),
    Fault(
        "a volume claim that nobody fulfils",
        Reason.VOLUME_UNAVAILABLE,
        "unbound",
        rest=_volume(persistentVolumeClaim={"claimName": "data"}),
        prepare=_objects(manifests.claim("data", "no-such-class")),
    ),
    Fault(
        "a port that is taken",
        Reason.PORT_IN_USE,
        "port 8080",
        prepare=_mutating(manifests.sidecar(_SQUATTER, manifests.SECURE), "sidecar"),
    ),
    Fault(
        "S3 refuses the credentials",
        Reason.ARTIFACT_ACCESS_DENIED,
        "s3://modelyard/",
        prepare=_objects(
            manifests.reader(
                AWS_ACCESS_KEY_ID="nobody",
                AWS_SECRET_ACCESS_KEY="nothing",
                AWS_DEFAULT_REGION="us-east-1",
                AWS_ENDPOINT_URL_S3="http://modelyard-minio.modelyard-system:9000",
            )
        ),
    ),
    Fault(
        "S3 does not answer",
        Reason.ARTIFACT_STORE_UNREACHABLE,
        "http://127.0.0.1:9",
        prepare=_objects(
            manifests.reader(
                AWS_ACCESS_KEY_ID="a",
                AWS_SECRET_ACCESS_KEY="b",
                AWS_DEFAULT_REGION="us-east-1",
                AWS_ENDPOINT_URL_S3="http://127.0.0.1:9",
            )
        ),
    ),
    Fault(
        "the name of S3 is unknown",
        Reason.ARTIFACT_STORE_UNREACHABLE,
        "no-such-store.invalid",
        prepare=_objects(
            manifests.reader(
                AWS_ACCESS_KEY_ID="a",
                AWS_SECRET_ACCESS_KEY="b",
                AWS_DEFAULT_REGION="us-east-1",
                AWS_ENDPOINT_URL_S3="http://no-such-store.invalid:9000",
            )
        ),
    ),
    Fault(
        "a runtime that no node has",
        Reason.SANDBOX_FAILED,
        "no-such-handler",
        rest=_pod(runtimeClassName=_RUNTIME),
        prepare=_runtime_class,
    ),
]

REFUSALS = [
    Fault(
        "a quota of pods", Reason.QUOTA_EXCEEDED, "exceeded quota: small", prepare=_objects(manifests.quota(pods="0"))
    ),
    Fault(
        "a quota of deployments",
        Reason.QUOTA_EXCEEDED,
        "Deployment churn-v1-",
        prepare=_objects(manifests.quota(count__deployments_apps="0")),
    ),
    Fault(
        "a limit range",
        Reason.LIMIT_RANGE_VIOLATED,
        "maximum memory usage per Container is 64Mi",
        rest=_memory("256Mi"),
        prepare=_objects(manifests.limit_range("64Mi")),
    ),
    Fault(
        "an admission policy against pods", Reason.ADMISSION_DENIED, "no models on Sundays", prepare=_denying("pods")
    ),
    Fault(
        "an admission policy against deployments",
        Reason.ADMISSION_DENIED,
        "Deployment churn-v1-",
        prepare=_denying("deployments"),
    ),
    Fault(
        "Pod Security refuses an injected sidecar",
        Reason.ADMISSION_DENIED,
        "violates PodSecurity",
        labels={"pod-security.kubernetes.io/enforce": "restricted"},
        prepare=_mutating(manifests.sidecar(_IDLE), '"sidecar"'),
    ),
    Fault(
        "a webhook for pods that nobody runs",
        Reason.ADMISSION_WEBHOOK_UNAVAILABLE,
        "silent.example.com",
        prepare=_silent("pods"),
    ),
    Fault(
        "a webhook for deployments that nobody runs",
        Reason.ADMISSION_WEBHOOK_UNAVAILABLE,
        "Deployment churn-v1-",
        prepare=_silent("deployments"),
    ),
    Fault(
        "a missing service account",
        Reason.SERVICE_ACCOUNT_NOT_FOUND,
        'serviceaccount "absent" not found',
        rest=_pod(serviceAccountName="absent"),
    ),
    Fault("a missing priority class", Reason.PRIORITY_CLASS_NOT_FOUND, "absent", rest=_pod(priorityClassName="absent")),
    Fault("a missing runtime class", Reason.RUNTIME_CLASS_NOT_FOUND, "absent", rest=_pod(runtimeClassName="absent")),
    Fault("a Service of somebody else's", Reason.NAME_TAKEN, "Service churn", prepare=_objects(_SERVICE)),
]

WAYS_IN = [
    Fault(
        "a missing ingress class",
        Reason.INGRESS_CLASS_NOT_FOUND,
        "no-such-class",
        rest={"ingress": {"host": "faults.example.com", "className": "no-such-class"}},
    ),
    Fault("a missing Gateway", Reason.GATEWAY_NOT_FOUND, "/absent", rest=_gateway(name="absent")),
    Fault(
        "a listener that the Gateway does not have",
        Reason.ROUTE_NOT_ACCEPTED,
        "NoMatchingParent",
        rest=_gateway(**_PUBLIC, sectionName="absent"),
    ),
    Fault(
        "a Gateway that nobody runs",
        Reason.ROUTE_NOT_ACCEPTED,
        "/idle is not Accepted",
        rest=_gateway(name="idle"),
        prepare=_objects(manifests.gateway("idle", "no-such-class")),
    ),
    Fault(
        "an autoscaler without metrics",
        Reason.AUTOSCALER_UNABLE,
        "FailedGetResourceMetric",
        rest={
            "autoscaling": {"minReplicas": 1, "maxReplicas": 2, "targetCPU": 80},
            "resources": {"requests": {"cpu": "10m"}},
        },
        prepare=_mutating(manifests.sidecar(_IDLE, manifests.SECURE), "sidecar"),
        condition=ConditionType.SCALABLE,
        # Kubernetes looks at a new autoscaler after 15 s, and the operator at autoscalers every minute.
        within=120.0,
        kstatus=CURRENT,
    ),
]

WHILE_SERVED = [
    Fault(
        "a next version that raises",
        Reason.ROLLED_BACK,
        "version 2 was taken back (LoadFailed)",
        ("sound", "raises"),
        served=True,
        inject=_promote,
    ),
    Fault(
        "a next version of another library",
        Reason.UNSUPPORTED_FLAVOR,
        "version 1 stays served",
        ("sound", "foreign"),
        served=True,
        inject=_promote,
    ),
    Fault(
        "a next version that finds no room",
        Reason.QUOTA_EXCEEDED,
        "version 1 stays served",
        ("sound", "sound"),
        served=True,
        inject=_promote_over_quota,
    ),
    Fault(
        "a stage that is emptied",
        Reason.NO_VERSION_IN_STAGE,
        "version 1 stays served",
        served=True,
        inject=lambda place: place.promote(None),
    ),
    Fault(
        "one of two pods hangs",
        Reason.PROBE_FAILING,
        "1 of 2 pods",
        rest={"replicas": 2},
        served=True,
        inject=_hang,
        leaves=True,
    ),
    Fault("the only pod hangs", Reason.PROBE_FAILING, "0 of 1 pods", served=True, inject=_hang, answers=False),
]

FAULTS = [*MODEL_FAULTS, *POD_FAULTS, *REFUSALS, *WAYS_IN, *WHILE_SERVED]
