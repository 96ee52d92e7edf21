"""The rules of ModelDeployment on a real API server: what it accepts, what it refuses in which words."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import Server
from tests.api.rules import Json, check, merged

BASE: Json = {"model": {"name": "churn", "stage": "Production"}, "rest": {}}
PLACED = {"requests": {"cpu": "500m", "memory": "1Gi"}}


def case(change: Json, refusal: str = "", *, id: str, name: str = "x") -> Any:  # noqa: A002
    return pytest.param(change, refusal, name, id=id)


def rest(fields: Json, refusal: str = "", *, id: str) -> Any:  # noqa: A002
    return case({"rest": fields}, refusal, id=id)


def ingress(fields: Json, refusal: str = "", *, id: str) -> Any:  # noqa: A002
    return rest({"ingress": {"host": "churn.example.com", **fields}}, refusal, id=f"ingress: {id}")


def gateway(fields: Json, refusal: str = "", *, id: str) -> Any:  # noqa: A002
    base = {"parentRef": {"name": "web"}, "hostname": "churn.example.com"}
    return rest({"gateway": {**base, **fields}}, refusal, id=f"gateway: {id}")


def scaled(fields: Json, refusal: str = "", *, resources: Json = PLACED, id: str) -> Any:  # noqa: A002
    spec = {"resources": resources, "autoscaling": {"maxReplicas": 5, **fields}}
    return rest(spec, refusal, id=f"autoscaling: {id}")


def budget(fields: Json, refusal: str = "", *, id: str) -> Any:  # noqa: A002
    return rest({"disruptionBudget": fields}, refusal, id=f"disruption budget: {id}")


def peer(fields: Json, refusal: str = "", *, id: str) -> Any:  # noqa: A002
    return rest({"networkPolicy": {"from": [fields]}}, refusal, id=f"network policy: {id}")


def pod(fields: Json, refusal: str = "", *, id: str) -> Any:  # noqa: A002
    return rest({"pod": fields}, refusal, id=f"pod: {id}")


def rollout(fields: Json, refusal: str = "", *, id: str) -> Any:  # noqa: A002
    return rest({"rollout": fields}, refusal, id=f"rollout: {id}")


def canary(steps: list[Json], refusal: str = "", *, id: str) -> Any:  # noqa: A002
    return rest({"rollout": {"strategy": "Canary", "steps": steps}}, refusal, id=f"canary: {id}")


def analysis(fields: Json, refusal: str = "", *, id: str) -> Any:  # noqa: A002
    return rest({"rollout": {"analysis": fields}}, refusal, id=f"analysis: {id}")


def prometheus(fields: Json, refusal: str = "", *, id: str) -> Any:  # noqa: A002
    check_ = {"name": "latency", "url": "http://prometheus:9090", "query": "up", "max": "1", **fields}
    checks = [{key: value for key, value in check_.items() if value is not None}]
    return rest({"rollout": {"analysis": {"prometheus": checks}}}, refusal, id=f"prometheus: {id}")


ONE_OF = "exactly one of spec.model.stage, spec.model.version and spec.model.alias must be set"
MODEL = [
    case({}, id="a stage"),
    case({"model": {"stage": None, "version": 3}}, id="a version"),
    case({"model": {"stage": None, "alias": "champion"}}, id="an alias"),
    case({"model": {"version": 3}}, ONE_OF, id="a stage and a version"),
    case({"model": {"alias": "champion"}}, ONE_OF, id="a stage and an alias"),
    case({"model": {"stage": None}}, ONE_OF, id="none of them"),
    case({"model": {"stage": "Archived"}}, 'Unsupported value: "Archived"', id="a stage not served from"),
    case({"model": {"stage": None, "version": 0}}, "greater than or equal to 1", id="a version before the first"),
    case({"model": {"stage": None, "alias": ""}}, "at least 1 chars", id="an empty alias"),
    case({"model": {"name": ""}}, "spec.model.name", id="a model without a name"),
    case({"rest": None}, "spec.rest: Required value", id="no target"),
    case({}, id="the longest name", name="x" * 52),
    case({}, "metadata.name takes at most 52 characters", id="a name too long", name="x" * 53),
    rest({"replica": 1}, 'unknown field "spec.rest.replica"', id="a field that does not exist"),
]

PODS = [
    rest({"replicas": 0}, id="scaled to zero"),
    rest({"replicas": -1}, "greater than or equal to 0", id="fewer than no replicas"),
    rest({"replicas": 1001}, "less than or equal to 1000", id="too many replicas"),
    rest({"recentRequests": 0}, id="no recent requests"),
    rest({"recentRequests": 10001}, "spec.rest.recentRequests", id="too many recent requests"),
    rest({"resources": {"requests": {"cpu": "500m"}}}, id="a quantity"),
    rest(
        {"resources": {"requests": {"cpu": "half"}}},
        "spec.rest.resources.requests.cpu in body should match",
        id="no quantity",
    ),
    pod({"env": [{"name": "GUNICORN_CMD_ARGS", "value": "--workers=4"}]}, id="a variable"),
    pod({"env": [{"name": "MODELYARD_PORT", "value": "1"}]}, "spec.rest.pod.env: names that begin", id="ours"),
    pod({"env": [{"name": "MLFLOW_MODEL_URI"}]}, "spec.rest.pod.env: names that begin", id="the model's URI"),
    pod({"env": [{"name": "A"}, {"name": "A"}]}, "spec.rest.pod.env[1]: Duplicate value", id="a variable twice"),
    pod({"envFrom": [{"secretRef": {"name": "features"}}]}, id="variables of a Secret"),
    pod({"labels": {"team": "churn"}}, id="a label"),
    pod({"labels": {"modelyard.dev/x": "y"}}, "spec.rest.pod.labels: modelyard.dev/", id="a label of ours"),
    pod({"labels": {"app.kubernetes.io/name": "y"}}, "spec.rest.pod.labels:", id="a recommended label"),
    pod({"labels": {"team": "x" * 64}}, "spec.rest.pod.labels.team", id="a label's value that is too long"),
    pod({"nodeSelector": {"disk": "ssd"}}, id="a node selector"),
    pod({"tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}]}, id="a toleration"),
    pod({"tolerations": [{"operator": "Is"}]}, 'Unsupported value: "Is"', id="an operator that does not exist"),
    pod({"tolerations": [{"effect": "No"}]}, "spec.rest.pod.tolerations[0].effect", id="an effect that does not exist"),
    pod({"affinity": {"nodeAffinity": {}}}, id="an affinity"),
    pod({"affinity": []}, "spec.rest.pod.affinity", id="an affinity that is none"),
    pod({"topologySpread": []}, id="no spreading"),
    pod({"topologySpread": [{"topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}]}, id="spreading"),
    pod({"topologySpread": [{"maxSkew": 1}]}, "topologySpread[0].topologyKey: Required value", id="over nothing"),
    pod({"topologySpread": [{"topologyKey": "a", "maxSkew": 0}]}, "topologySpread[0].maxSkew", id="no skew at all"),
    pod(
        {"topologySpread": [{"topologyKey": "a", "whenUnsatisfiable": "Never"}]},
        'Unsupported value: "Never"',
        id="a policy that does not exist",
    ),
    pod({"topologySpread": [{"topologyKey": "a"}] * 2}, "Duplicate value", id="over one label twice"),
    pod(
        {"priorityClassName": "high", "runtimeClassName": "gvisor", "serviceAccountName": "churn"},
        id="a priority, a runtime, an account",
    ),
    pod({"serviceAccountName": "Churn"}, "serviceAccountName in body should match", id="no name of an account"),
    pod({"imagePullSecrets": [{"name": "registry"}]}, id="a Secret for images"),
    pod({"imagePullSecrets": [{"name": "a"}, {"name": "a"}]}, "Duplicate value", id="a Secret for images twice"),
]

SERVING = [
    rest({"runtime": "Native", "environment": "Model", "accessLog": True}, id="how models are run"),
    rest({"runtime": "Onnx"}, 'Unsupported value: "Onnx"', id="a runtime that does not exist"),
    rest({"environment": "Conda"}, 'Unsupported value: "Conda"', id="an environment that does not exist"),
    rest({"accessLog": "yes"}, "spec.rest.accessLog", id="an access log that is no switch"),
    *(rest({"limits": {"maxBodySize": size}}, id=f"limits: {size}") for size in ("1", "64Mi", "10M", "1Gi", "512k")),
    *(
        rest({"limits": {"maxBodySize": size}}, "maxBodySize in body should match", id=f"limits: no size: {size}")
        for size in ("0", "1.5Mi", "64Mb", "-1", "1Ti", "")
    ),
    rest({"limits": {}}, id="limits: the defaults"),
    rest({"limits": {"maxQueue": 0}}, "greater than or equal to 1", id="limits: no queue"),
    rest({"limits": {"maxQueue": 100001}}, "less than or equal to 100000", id="limits: too long a queue"),
    rest({"limits": {"maxBatchRows": 0}}, id="limits: no batches"),
    rest({"limits": {"maxBatchRows": -1}}, "greater than or equal to 0", id="limits: fewer than no rows"),
    *(rest({"limits": {"timeout": time}}, id=f"limits: {time}") for time in ("1s", "1m30s", "1h")),
    *(
        rest({"limits": {"timeout": time}}, "limits.timeout is between 1s and 1h", id=f"limits: {time}")
        for time in ("0s", "1h1s")
    ),
    rest({"limits": {"timeout": "fast"}}, "timeout in body should match", id="limits: no duration"),
    rest({"limits": {"threads": 4}}, 'unknown field "spec.rest.limits.threads"', id="limits: one that does not exist"),
    rest({"tracing": {"endpoint": "http://otel:4318"}}, id="tracing"),
    rest({"tracing": {"endpoint": "https://otel/x", "sampleRatio": "0.1"}}, id="tracing: a share"),
    rest({"tracing": {"sampleRatio": "0.1"}}, "tracing.endpoint: Required value", id="tracing: to nowhere"),
    rest({"tracing": {"endpoint": "otel:4317"}}, "endpoint in body should match", id="tracing: no URL"),
    rest({"tracing": {"endpoint": "http://a@otel"}}, "endpoint in body should match", id="tracing: with credentials"),
    rest(
        {"tracing": {"endpoint": "http://otel", "sampleRatio": "1.5"}},
        "sampleRatio is a share: between 0 and 1",
        id="tracing: more than all",
    ),
]

VOLUMES = [
    pod({"volumes": [{"name": kind.lower(), kind: {}}]}, id=f"a volume: {kind}")
    for kind in (
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    )
] + [
    pod({"volumes": [{"name": "host", "hostPath": {"path": "/"}}]}, "hostPath", id="a directory of the node"),
    pod({"volumes": [{"name": "none"}]}, "volumes: set exactly one of configMap", id="an empty volume"),
    pod(
        {"volumes": [{"name": "two", "emptyDir": {}, "secret": {}}]},
        "volumes: set exactly one of configMap",
        id="a volume of two kinds",
    ),
    pod({"volumes": [{"name": "tmp", "emptyDir": {}}]}, "the name tmp is taken", id="a volume named as ours"),
    pod({"volumes": [{"name": "a", "emptyDir": {}}] * 2}, "Duplicate value", id="a volume twice"),
    pod({"volumes": [{"name": "A_B", "emptyDir": {}}]}, "volumes[0].name in body should match", id="no volume's name"),
    pod(
        {
            "volumes": [{"name": "a", "emptyDir": {}}],
            "volumeMounts": [{"name": "a", "mountPath": "/a"}, {"name": "a", "mountPath": "/tmp/a"}],
        },
        id="mounts",
    ),
    pod(
        {"volumes": [{"name": "a", "emptyDir": {}}], "volumeMounts": [{"name": "a", "mountPath": "/tmp"}]},
        "spec.rest.pod.volumeMounts: / and /tmp are taken",
        id="a mount where ours is",
    ),
    pod(
        {"volumeMounts": [{"name": "a", "mountPath": "/a"}]},
        "spec.rest.pod.volumeMounts: each needs a volume of that name",
        id="a mount of no volume",
    ),
    pod(
        {"volumes": [{"name": "a", "emptyDir": {}}], "volumeMounts": [{"name": "a", "mountPath": "a"}]},
        "volumeMounts[0].mountPath in body should match",
        id="a relative mount",
    ),
    pod(
        {"volumes": [{"name": "a", "emptyDir": {}}], "volumeMounts": [{"name": "a", "mountPath": "/a"}] * 2},
        "Duplicate value",
        id="two mounts at one place",
    ),
]

WAYS_IN = [
    ingress({}, id="a host"),
    ingress({"host": "*.example.com"}, id="a wildcard host"),
    ingress({"host": "http://churn"}, "spec.rest.ingress.host in body should match", id="a host that is a URL"),
    rest({"ingress": {}}, "spec.rest.ingress.host: Required value", id="ingress: no host"),
    ingress({"paths": [{"path": "/a", "pathType": "Exact"}, {}]}, id="paths"),
    ingress({"paths": [{"path": "a"}]}, "spec.rest.ingress.paths[0].path in body should match", id="a relative path"),
    ingress({"paths": [{"pathType": "Regex"}]}, 'Unsupported value: "Regex"', id="a type of path that is not there"),
    ingress({"tls": {"secretName": "tls"}, "className": "nginx", "annotations": {"a": "b"}}, id="all the rest"),
    ingress({"tls": {}}, "spec.rest.ingress.tls.secretName: Required value", id="TLS without a Secret"),
    gateway({}, id="a hostname"),
    gateway({"parentRef": {"name": "web", "namespace": "infra", "sectionName": "https"}, "path": "/a"}, id="in full"),
    gateway({"parentRef": {}}, "spec.rest.gateway.parentRef.name: Required value", id="no Gateway"),
    gateway({"hostname": "http://x"}, "spec.rest.gateway.hostname in body should match", id="a hostname that is a URL"),
    gateway({"path": "a"}, "spec.rest.gateway.path in body should match", id="a relative path"),
    gateway({"parentRef": {"name": "A B"}}, "parentRef.name in body should match", id="no name of a Gateway"),
    rest(
        {"ingress": {"host": "h"}, "gateway": {"parentRef": {"name": "web"}, "hostname": "h"}},
        "at most one of spec.rest.ingress and spec.rest.gateway may be set",
        id="an ingress and a gateway",
    ),
    rest({"networkPolicy": {}}, id="network policy: only ours"),
    peer({"podLabels": {"app": "web"}}, id="pods"),
    peer({"namespaceLabels": {}}, id="any namespace"),
    peer({}, "spec.rest.networkPolicy.from: set namespaceLabels, podLabels or both", id="nobody in particular"),
    rest({"networkPolicy": {"from": [{"podLabels": {}}] * 17}}, "must have at most 16 items", id="too many peers"),
]

NEEDS_CPU = "spec.rest.autoscaling.targetCPU needs spec.rest.resources.requests.cpu"
NEEDS_MEMORY = "spec.rest.autoscaling.targetMemory needs spec.rest.resources.requests.memory"
SCALING = [
    scaled({"targetCPU": 70}, id="by CPU"),
    scaled({"targetMemory": 80}, id="by memory"),
    scaled({"targetCPU": 70, "targetMemory": 80, "minReplicas": 5}, id="by both"),
    scaled({}, "spec.rest.autoscaling: set targetCPU, targetMemory or both", id="by nothing"),
    scaled({"targetCPU": 70, "minReplicas": 6}, "minReplicas is above maxReplicas", id="bounds that cross"),
    scaled({"targetCPU": 70, "minReplicas": 0}, "greater than or equal to 1", id="to zero"),
    scaled({"targetCPU": 70, "maxReplicas": 1001}, "less than or equal to 1000", id="too far"),
    scaled({"targetCPU": 0}, "spec.rest.autoscaling.targetCPU", id="by no CPU at all"),
    scaled({"targetCPU": 70}, NEEDS_CPU, resources={"requests": {"memory": "1Gi"}}, id="by CPU that is not requested"),
    scaled(
        {"targetMemory": 70}, NEEDS_MEMORY, resources={"limits": {"memory": "1Gi"}}, id="by memory, with a limit only"
    ),
    rest({"autoscaling": {"targetCPU": 70, "maxReplicas": 2}}, NEEDS_CPU, id="autoscaling: without resources"),
    rest({"autoscaling": {"targetCPU": 70}}, "spec.rest.autoscaling.maxReplicas: Required value", id="no upper bound"),
    budget({"minAvailable": 1}, id="what stays"),
    budget({"maxUnavailable": 0}, id="what may go"),
    budget({}, "spec.rest.disruptionBudget: set exactly one of minAvailable and maxUnavailable", id="neither"),
    budget({"minAvailable": 1, "maxUnavailable": 1}, "spec.rest.disruptionBudget: set exactly one", id="both"),
    budget({"minAvailable": -1}, "spec.rest.disruptionBudget.minAvailable", id="fewer than none"),
]

STEPS = "steps belong to the strategy Canary, which needs at least one"
OWN_PAUSE = "pause and hold belong to the strategies BlueGreen and Shadow"
ROLLOUT = [
    rollout({}, id="the default strategy"),
    rollout({"strategy": "BigBang"}, 'Unsupported value: "BigBang"', id="a strategy that does not exist"),
    rollout({"maxSurge": 100, "progressDeadlineSeconds": 10}, id="a surge and a deadline"),
    rollout({"maxSurge": 0}, "spec.rest.rollout.maxSurge", id="no surge"),
    rollout({"maxSurge": 101}, "spec.rest.rollout.maxSurge", id="too large a surge"),
    rollout({"progressDeadlineSeconds": 9}, "spec.rest.rollout.progressDeadlineSeconds", id="too short a deadline"),
    rollout({"progressDeadlineSeconds": 86401}, "progressDeadlineSeconds", id="too long a deadline"),
    canary([{"weight": 10, "pause": "2m"}, {"weight": 50, "hold": True}, {"weight": 50, "pause": "1h30m"}], id="steps"),
    canary([], STEPS, id="no steps"),
    rollout({"strategy": "Canary"}, STEPS, id="a canary that says nothing of steps"),
    rollout({"steps": [{"weight": 10, "pause": "1m"}]}, STEPS, id="steps of another strategy"),
    canary([{"weight": 10}], "a step has either pause or hold: true", id="a step without an end"),
    canary(
        [{"weight": 10, "pause": "1m", "hold": True}], "a step has either pause or hold: true", id="a step with two"
    ),
    canary([{"weight": 10, "hold": False}], "a step has either pause or hold: true", id="a step that does not hold"),
    canary([{"weight": 0, "pause": "1m"}], "steps[0].weight", id="a step without traffic"),
    canary([{"weight": 100, "pause": "1m"}], "steps[0].weight", id="a step with all traffic"),
    canary(
        [{"weight": 50, "pause": "1m"}, {"weight": 10, "pause": "1m"}],
        "spec.rest.rollout.steps: weights must not go down",
        id="weights that go down",
    ),
    canary([{"weight": 1, "pause": "1m"}] * 21, "must have at most 20 items", id="too many steps"),
    canary([{"weight": 1, "pause": "90"}], "steps[0].pause in body should match", id="a pause without a unit"),
    canary([{"weight": 1, "pause": "1d"}], "steps[0].pause in body should match", id="a unit that is not known"),
    rollout({"strategy": "BlueGreen"}, id="blue and green"),
    rollout({"strategy": "BlueGreen", "pause": "10m"}, id="blue and green, with a pause"),
    rollout({"strategy": "BlueGreen", "hold": True}, id="blue and green, held"),
    rollout(
        {"strategy": "BlueGreen", "hold": True, "pause": "1m"}, "set pause or hold, not both", id="a pause and a hold"
    ),
    rollout({"strategy": "Shadow", "pause": "1h"}, id="a shadow for a time"),
    rollout({"strategy": "Shadow", "hold": True}, id="a shadow until told"),
    rollout({"strategy": "Shadow"}, "the strategy Shadow needs pause", id="a shadow without an end"),
    rollout({"pause": "1m"}, OWN_PAUSE, id="a rolling update with a pause"),
    rollout({"hold": True}, OWN_PAUSE, id="a rolling update that holds"),
]

SHARES = ("maxErrorRate", "maxDisagreement", "maxInvalid")
ANALYSIS = [
    analysis({}, id="with defaults"),
    analysis(
        {
            "minSamples": 1,
            "maxErrorRate": "0",
            "maxP99": "1.5s",
            "maxP99Ratio": "1",
            "maxDisagreement": "1",
            "tolerance": "0.01",
            "maxPSI": "0.2",
            "maxInvalid": "0.001",
            "minAnswer": "-1",
            "maxAnswer": "1",
            "maxMemoryGrowth": "128Mi",
        },
        id="with every bound",
    ),
    *(analysis({name: "1.1"}, f"{name} is a share: between 0 and 1", id=f"{name} above 1") for name in SHARES),
    *(analysis({name: "-0.1"}, f"{name} is a share: between 0 and 1", id=f"{name} below 0") for name in SHARES),
    *(analysis({name: "1%"}, f"analysis.{name} in body should match", id=f"{name} in percent") for name in SHARES),
    analysis({"maxErrorRate": 0.1}, "must be of type string", id="a float"),
    analysis({"minSamples": 0}, "spec.rest.rollout.analysis.minSamples", id="no samples"),
    analysis({"minSamples": 100001}, "spec.rest.rollout.analysis.minSamples", id="too many samples"),
    analysis({"maxP99": "250"}, "analysis.maxP99 in body should match", id="a time without a unit"),
    analysis({"maxP99": "1m"}, "analysis.maxP99 in body should match", id="a time in minutes"),
    analysis(
        {"maxP99Ratio": "0.9"}, "maxP99Ratio is a factor of the stable version's p99: at least 1", id="faster only"
    ),
    analysis({"tolerance": "-1"}, "tolerance must not be negative", id="a negative tolerance"),
    analysis({"maxPSI": "-1"}, "maxPSI must not be negative", id="a negative index"),
    analysis({"minAnswer": "1", "maxAnswer": "0.5"}, "minAnswer is above maxAnswer", id="answers between nothing"),
    analysis({"maxMemoryGrowth": "lots"}, "analysis.maxMemoryGrowth in body should match", id="no amount of memory"),
    prometheus({}, id="an upper bound"),
    prometheus({"max": None, "min": "1"}, id="a lower bound"),
    prometheus({"max": None}, "a Prometheus check needs min or max", id="no bound"),
    prometheus({"name": "P 99"}, "prometheus[0].name in body should match", id="no name"),
    prometheus({"url": "ftp://x"}, "prometheus[0].url in body should match", id="a protocol that is not spoken"),
    prometheus({"url": "https://me:secret@x"}, "prometheus[0].url in body should match", id="a password in the URL"),
    prometheus({"query": ""}, "prometheus[0].query", id="no query"),
    rest(
        {
            "rollout": {
                "analysis": {
                    "prometheus": [{"name": f"c{n}", "url": "http://x", "query": "up", "min": "1"} for n in range(9)]
                }
            }
        },
        "must have at most 8 items",
        id="prometheus: too many checks",
    ),
]


@pytest.mark.parametrize(
    ("change", "refusal", "name"), [*MODEL, *PODS, *SERVING, *VOLUMES, *WAYS_IN, *SCALING, *ROLLOUT, *ANALYSIS]
)
def test_rule(server: Server, change: Json, refusal: str, name: str) -> None:
    body = {"kind": "ModelDeployment", "metadata": {"name": name}, "spec": merged(BASE, change)}
    check(server.verdict(body), refusal)
