"""A ModelDeployment in memory, with the objects and pods of its versions, as an operator would have left them."""

from __future__ import annotations

import io
import json
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from modelyard.api.modeldeployment import ModelDeployment
from modelyard.api.names import DEPLOYMENT_LABEL, REVISION_LABEL
from modelyard.api.serving import ServedModel
from modelyard.cli.deployments import MODEL_DEPLOYMENTS, Deployments
from modelyard.cli.output import Format, Output
from modelyard.cluster.resources import DEPLOYMENTS, PODS, ResourceType
from tests.fakes.cluster import FakeClient

NAMESPACE = "ml"
NOW = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)
GIT = ("argocd-controller",)

Json = dict[str, Any]
Command = Callable[[Deployments, Output, Namespace], int]


def ago(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def digest(version: int) -> str:
    return f"sha256:{version:064d}"


def revision(version: int) -> str:
    return ServedModel("churn-model", version, "", digest(version)).revision


def deployed(version: int, seconds: float) -> Json:
    return {"model": "churn-model", "version": version, "digest": digest(version), "since": ago(seconds)}


def rollout(version: int, **fields: Any) -> Json:
    return {
        "strategy": "Canary",
        "version": version,
        "revision": revision(version),
        "startedAt": ago(600),
        "phase": "Pausing",
        **fields,
    }


def refused(version: int, seconds: float, reason: str, message: str, **fields: Any) -> Json:
    named = {"reason": reason, "message": message, "at": ago(seconds), "generation": 1}
    return {**deployed(version, seconds), "revision": revision(version), **named, **fields}


def ready(status: str, reason: str, message: str, *others: str) -> list[Json]:
    """The condition Ready, and with the same words those of `others` that are True."""
    said = {"reason": reason, "message": message, "lastTransitionTime": ago(60)}
    return [
        {"type": "Ready", "status": status, **said},
        *({"type": each, "status": "True", **said} for each in others),
    ]


def metrics(version: int, requests: int, errors: int = 0, started: float = 1000.0) -> bytes:
    """What a pod tells that has answered so many requests, all of them within 8 to 10 ms."""
    return f"""\
# TYPE modelyard_info gauge
modelyard_info{{model="churn-model",version="{version}",digest="{digest(version)}",flavor="sklearn"}} 1.0
# TYPE process_start_time_seconds gauge
process_start_time_seconds {started}
# TYPE modelyard_requests_total counter
modelyard_requests_total{{code="200"}} {float(requests - errors)}
modelyard_requests_total{{code="500"}} {float(errors)}
# TYPE modelyard_request_seconds histogram
modelyard_request_seconds_bucket{{le="0.008"}} 0.0
modelyard_request_seconds_bucket{{le="0.01"}} {float(requests)}
modelyard_request_seconds_bucket{{le="+Inf"}} {float(requests)}
modelyard_request_seconds_count {float(requests)}
modelyard_request_seconds_sum {requests * 0.009}
""".encode()


@dataclass
class Site:
    """A namespace with the deployment `churn`, and a terminal."""

    client: FakeClient = field(default_factory=FakeClient)
    out: io.StringIO = field(default_factory=io.StringIO)
    err: io.StringIO = field(default_factory=io.StringIO)

    @property
    def deployments(self) -> Deployments:
        return Deployments(self.client, NAMESPACE, GIT, lambda: NOW)

    def create(self, status: Json, rest: Json | None = None, **fields: Any) -> None:
        """Create `churn`; `fields` are `model`, the reference, and `annotations`."""
        body: Json = {
            "apiVersion": "modelyard.dev/v1alpha1",
            "kind": "ModelDeployment",
            "metadata": {"name": "churn", "namespace": NAMESPACE, "annotations": fields.get("annotations", {})},
            "spec": {
                "model": {"name": "churn-model", **fields.get("model", {"stage": "Production"})},
                "rest": rest or {},
            },
        }
        self.client.create(MODEL_DEPLOYMENTS, NAMESPACE, body, fields.get("manager", "kubectl"))
        self.set_status(status)

    def set_status(self, status: Json) -> None:
        body = self.client.get(MODEL_DEPLOYMENTS, NAMESPACE, "churn")
        url = "http://churn.ml.svc/invocations"
        whole = {"observedGeneration": body["metadata"]["generation"], "url": url, **status}
        self.client.replace_status(MODEL_DEPLOYMENTS, {**body, "status": whole}, "modelyard-operator")

    def run_pods(self, version: int, wanted: int, *counted: bytes) -> None:
        """Let a version have a Deployment and a ready pod for each of the metrics that are given."""
        labels = {DEPLOYMENT_LABEL: "churn", REVISION_LABEL: revision(version)}
        name = f"churn-v{version}-{revision(version)}"
        self._create(DEPLOYMENTS, name, labels, {"replicas": wanted}, {"readyReplicas": len(counted)})
        for number, answer in enumerate(counted):
            conditions = [{"type": "Ready", "status": "True"}]
            self._create(PODS, f"{name}-{number}", labels, {}, {"conditions": conditions})
            self.answer(version, number, answer)

    def answer(self, version: int, number: int, counted: bytes | None) -> None:
        """From now on a pod tells this, or nothing."""
        path = f"/api/v1/namespaces/ml/pods/churn-v{version}-{revision(version)}-{number}:8080/proxy/metrics"
        self.client.answers.pop(path, None)
        if counted is not None:
            self.client.answers[path] = counted

    def _create(self, resource: ResourceType, name: str, labels: Json, spec: Json, status: Json) -> None:
        body = {"metadata": {"name": name, "namespace": NAMESPACE, "labels": labels}, "spec": spec}
        made = self.client.create(resource, NAMESPACE, body, "modelyard-operator")
        self.client.replace_status(resource, {**made, "status": status}, "modelyard-operator")

    def run(self, command: Command, form: Format = Format.TABLE, **given: Any) -> int:
        self.out, self.err = io.StringIO(), io.StringIO()
        return command(self.deployments, Output(form, self.out, self.err), Namespace(deployment="churn", **given))

    def json(self, command: Command, **given: Any) -> Any:
        assert self.run(command, Format.JSON, **given) == 0
        return json.loads(self.out.getvalue())

    @property
    def text(self) -> str:
        return self.out.getvalue()

    @property
    def annotations(self) -> dict[str, str]:
        return dict(self.deployment.metadata.annotations)

    @property
    def deployment(self) -> ModelDeployment:
        return ModelDeployment.parse(self.client.get(MODEL_DEPLOYMENTS, NAMESPACE, "churn"))
