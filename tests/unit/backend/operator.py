"""Plays the operator and the cluster, for what `mlflow run` sees of them."""

from __future__ import annotations

import hashlib
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from mlflow.tracking import MlflowClient

from modelyard.api.names import EXECUTION_LABEL, EXPERIMENT_LABEL, RUN_ANNOTATION, TRIAL_LABEL
from modelyard.backend.follow import EXPERIMENTS
from modelyard.cluster.client import NotFound
from modelyard.cluster.resources import PODS
from modelyard.decide.experiment_model import EXECUTION_TAG, EXPERIMENT_TAG, PARENT, TRIAL_TAG
from modelyard.desired.experiment import TRIAL_CONTAINER
from tests.fakes.cluster import FakeClient

NAMESPACE = "team"
Json = dict[str, Any]


@dataclass
class Script:
    """What becomes of an Experiment: its logs, and how it ends; `problem` is what keeps it from beginning."""

    logs: tuple[str, ...] = ("2026-01-01T00:00:01.000000001Z epoch 1", "2026-01-01T00:00:02.000000001Z accuracy 0.9")
    status: str = "True"
    reason: str = "Completed"
    message: str = "1 trial succeeded"
    extra: Json = field(default_factory=dict)
    problem: tuple[str, str] | None = None
    hold: bool = False
    """It does not end."""


class Operator:
    """A thread that takes up every Experiment, and every asking to run it once more."""

    def __init__(self, client: FakeClient, mlflow: MlflowClient, script: Script) -> None:
        self._client = client
        self._mlflow = mlflow
        self._script = script
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.executions: list[str] = []
        self.failures: list[Exception] = []

    def __enter__(self) -> Operator:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(30)
        assert not self.failures

    def _run(self) -> None:
        while not self._stopped.wait(0.02):
            try:
                for body in self._client.list_all(EXPERIMENTS):
                    self._look(body)
            except NotFound:
                continue
            except Exception as error:
                self.failures.append(error)
                raise

    def _look(self, body: Json) -> None:
        metadata = body["metadata"]
        # Of the whole time: the milliseconds alone may be those of another one.
        asked = metadata.get("annotations", {}).get(RUN_ANNOTATION, "")
        execution = hashlib.sha256(f"{metadata['uid']} {metadata['generation']} {asked}".encode()).hexdigest()[:16]
        if body.get("status", {}).get("execution") == execution or execution in self.executions:
            return
        self.executions.append(execution)
        if self._script.problem:
            self._status(body, execution, "False", *self._script.problem)
            return
        name = body["spec"]["experimentName"]
        found = self._mlflow.get_experiment_by_name(name)
        experiment_id = found.experiment_id if found else self._mlflow.create_experiment(name)
        body = self._status(
            body, execution, "Unknown", "EnvironmentBuilding", "job env-1 builds it", experimentId=experiment_id
        )
        if not self._seen(metadata["name"]):
            return
        tags = {
            EXPERIMENT_TAG: f"{metadata['namespace']}/{metadata['name']}",
            EXECUTION_TAG: execution,
            TRIAL_TAG: PARENT if "sweep" in body["spec"] else "0",
            **body["spec"]["tags"],
        }
        run = self._mlflow.create_run(experiment_id, tags=tags)
        self._pod(metadata["name"], execution)
        body = self._status(
            body, execution, "Unknown", "TrialsRunning", "0 of 1 trial ended", experimentId=experiment_id
        )
        if self._script.hold:
            return
        # As long as `mlflow run` looks for the first time after the Job has begun.
        time.sleep(0.1)
        self._mlflow.set_terminated(run.info.run_id, "FINISHED" if self._script.status == "True" else "FAILED")
        script = self._script
        self._status(
            body, execution, script.status, script.reason, script.message, experimentId=experiment_id, **script.extra
        )

    def _seen(self, name: str) -> bool:
        """Wait until `mlflow run` has read what the status says now, and does not miss it; False at the end."""
        look = ("GET", EXPERIMENTS.path(NAMESPACE, name))
        before = self._client.requests.count(look)
        while self._client.requests.count(look) == before:
            if self._stopped.wait(0.01):
                return False
        return True

    def _status(self, body: Json, execution: str, status: str, reason: str, message: str, **more: Any) -> Json:
        condition = {
            "type": "Succeeded",
            "status": status,
            "reason": reason,
            "message": message,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        wanted = {
            "observedGeneration": body["metadata"]["generation"],
            "execution": execution,
            "conditions": [condition],
            **more,
        }
        return self._client.replace_status(EXPERIMENTS, {**body, "status": wanted}, "operator")

    def _pod(self, experiment: str, execution: str) -> None:
        name = f"{experiment}-{execution}-0"
        labels = {EXPERIMENT_LABEL: experiment, EXECUTION_LABEL: execution, TRIAL_LABEL: "0"}
        made = self._client.create(PODS, NAMESPACE, {"metadata": {"name": name, "labels": labels}}, "operator")
        state = {"name": TRIAL_CONTAINER, "state": {"terminated": {"exitCode": 0}}}
        self._client.answers[PODS.path(NAMESPACE, name, "log")] = "".join(
            f"{line}\n" for line in self._script.logs
        ).encode()
        self._client.replace_status(PODS, {**made, "status": {"containerStatuses": [state]}}, "kubelet")
