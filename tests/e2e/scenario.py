"""A small model's whole life on the cluster, under names of its own: what the end-to-end tests act on."""

from __future__ import annotations

import json
import os
import textwrap
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from examples.demo.kubectl import Kubectl, condition, is_current
from examples.demo.traffic import Answer, Endpoint
from tests.e2e.processes import wait_until

Json = dict[str, Any]

API_VERSION = "modelyard.dev/v1alpha1"
READY_SECONDS = 400.0
VERDICT_SECONDS = 90.0
ROUTED_SECONDS = 60.0

# A model whose answer is the parameter it was trained with, so that an answer tells which version gave it.
TRAIN = textwrap.dedent(
    """\
    import argparse

    import mlflow
    import numpy as np
    from sklearn.dummy import DummyRegressor

    parser = argparse.ArgumentParser()
    parser.add_argument("--answer", type=float)
    parser.add_argument("--fail", type=int)
    arguments = parser.parse_args()
    if arguments.fail:
        raise SystemExit("this trial was told to fail")
    rows = np.array([[0.0], [1.0]])
    model = DummyRegressor(strategy="constant", constant=arguments.answer).fit(rows, [0.0, 1.0])
    with mlflow.start_run():
        mlflow.log_metric("score", arguments.answer)
        mlflow.sklearn.log_model(model, name="model", serialization_format="cloudpickle", pip_requirements=[])
    """
)

MLPROJECT = textwrap.dedent(
    """\
    name: constant
    entry_points:
      train:
        parameters:
          answer: float
          fail: {type: int, default: 0}
        command: "python train.py --answer {answer} --fail {fail}"
    """
)

REQUEST = json.dumps({"inputs": [[0.5]]})


def first_answer(endpoint: Endpoint, request: str, version: int) -> Answer:
    """Return the first answer of a version that is served: the proxy hears of its pods after the operator does."""
    answers: list[Answer] = []

    def came() -> bool:
        with suppress(OSError):
            answers.append(endpoint.ask(request))
        return bool(answers) and (answers[-1].status, answers[-1].version) == (200, str(version))

    wait_until(f"an answer of version {version}", came, ROUTED_SECONDS)
    return answers[-1]


@dataclass
class Scenario:
    """Names, manifests and waits of one model."""

    kubectl: Kubectl
    name: str = field(default_factory=lambda: f"t-{uuid.uuid4().hex[:8]}")

    @property
    def host(self) -> str:
        """The host of the model's Ingress."""
        return f"{self.name}.example.com"

    @property
    def endpoint(self) -> Endpoint:
        """Where the model answers."""
        return Endpoint(os.environ.get("MODELYARD_INGRESS", "http://127.0.0.1:18080"), self.host)

    def apply(self, *bodies: Json) -> None:
        """Apply objects in the namespace."""
        items = {"apiVersion": "v1", "kind": "List", "items": list(bodies)}
        self.kubectl("apply", "-f", "-", stdin=json.dumps(items))

    def project(self, train: str = TRAIN, mlproject: str = MLPROJECT) -> Json:
        """Return the ConfigMap that holds the project."""
        data = {"MLproject": mlproject, "train.py": train}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": self.name}, "data": data}

    def experiment(self, **spec: Any) -> Json:
        """Return the Experiment, with `spec` laid over: two trials, whose better one is registered."""
        base = {
            "project": {"configMap": {"name": self.name}},
            "entryPoint": "train",
            "sweep": {"parameters": {"answer": {"values": ["1.0", "2.0"]}}, "parallelism": 2},
            "objective": {"metric": "score"},
            "register": {"model": self.name},
        }
        merged = {key: value for key, value in {**base, **spec}.items() if value is not None}
        return {"apiVersion": API_VERSION, "kind": "Experiment", "metadata": {"name": self.name}, "spec": merged}

    def deployment(self, **rest: Any) -> Json:
        """Return the ModelDeployment that follows Production."""
        spec = {
            "model": {"name": self.name, "stage": "Production"},
            "rest": {"replicas": 1, "ingress": {"host": self.host}, **rest},
        }
        return {"apiVersion": API_VERSION, "kind": "ModelDeployment", "metadata": {"name": self.name}, "spec": spec}

    def promote(self, version: int | None, stage: str = "production") -> None:
        """Edit the one number."""
        self.kubectl.patch("registeredmodel", self.name, {"spec": {"stages": {stage: version}}})

    def wait(self, kind: str, until: Callable[[Json], bool], seconds: float = READY_SECONDS) -> Json:
        """Return the object once the operator has seen its newest spec and `until` holds."""
        return self.kubectl.wait_for(kind, self.name, lambda body: is_current(body) and until(body), seconds)

    def wait_trained(self) -> Json:
        """Wait until the Experiment has ended, well or not."""
        return self.wait("experiment", lambda body: condition(body, "Succeeded").get("status") in ("True", "False"))

    def wait_served(self, version: int) -> Json:
        """Wait until that version is served, whole, and the proxy has an answer of it."""
        body = self.wait(
            "modeldeployment",
            lambda body: (
                condition(body, "Ready").get("status") == "True"
                and body["status"].get("served", {}).get("version") == version
            ),
        )
        first_answer(self.endpoint, REQUEST, version)
        return body

    def wait_reason(self, kind: str, reason: str, seconds: float = VERDICT_SECONDS, type_: str = "Ready") -> Json:
        """Wait until a condition has that reason."""
        return self.wait(kind, lambda body: condition(body, type_).get("reason") == reason, seconds)

    def trial_jobs(self) -> list[str]:
        """Return the names of its trials' Jobs, as `job.batch/<name>`."""
        labels = f"modelyard.dev/experiment={self.name},modelyard.dev/trial"
        return self.kubectl("get", "jobs", "-l", labels, "-o", "name").split()

    def remove(self) -> None:
        """Delete the objects; what they own goes with them."""
        for kind in ("modeldeployment", "experiment", "registeredmodel", "configmap"):
            self.kubectl("delete", kind, self.name, "--ignore-not-found", "--wait=false")
