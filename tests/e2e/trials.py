"""Small projects for many trials: programs that log by MLflow's REST API: `import mlflow` takes seconds of CPU."""

from __future__ import annotations

import json
import textwrap
import time
import urllib.request
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from examples.demo.kubectl import Kubectl, condition, is_current, run
from tests.e2e.bell import Bell
from tests.e2e.scenario import API_VERSION

Json = dict[str, Any]

TRIALS_SECONDS = 420.0
ENVIRONMENT_SECONDS = 480.0

# What every program here begins with. The tracking server may be away for a while: the tests kill it.
PRELUDE = textwrap.dedent(
    """\
    import argparse, json, os, signal, sys, time, urllib.error, urllib.request

    # Process 1 of a container is not ended by a signal that it does not handle.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))

    RUN, TRACKING = os.environ["MLFLOW_RUN_ID"], os.environ["MLFLOW_TRACKING_URI"].rstrip("/")

    def ask(url, body=None, method=None, headers={"Content-Type": "application/json"}, seconds=120):
        deadline = time.monotonic() + seconds
        while True:
            try:
                request = urllib.request.Request(url, body, headers, method=method)
                return urllib.request.urlopen(request, timeout=10).read()
            except OSError as error:
                refused = isinstance(error, urllib.error.HTTPError) and error.code < 500 and error.code != 409
                if refused or time.monotonic() > deadline:
                    raise
                time.sleep(0.3)

    def log(**metrics):
        step = int(metrics.pop("step", 0))
        now = int(time.time() * 1000)
        rows = [{"key": key, "value": value, "timestamp": now, "step": step} for key, value in metrics.items()]
        body = json.dumps({"run_id": RUN, "metrics": rows}).encode()
        ask(TRACKING + "/api/2.0/mlflow/runs/log-batch", body)

    def put(path, content):
        run = json.loads(ask(TRACKING + "/api/2.0/mlflow/runs/get?run_id=" + RUN))["run"]
        place = run["info"]["artifact_uri"].split(":", 1)[1].lstrip("/")
        url = TRACKING + "/api/2.0/mlflow-artifacts/artifacts/" + place + "/" + path
        ask(url, content, "PUT", {"Content-Type": "application/octet-stream"})

    def put_model(content):
        put("model/MLmodel", b"flavors:\\n  python_function: {loader_module: none}\\n")
        put("model/weights", content)

    def begin(bell):
        ask(bell + "/begun", json.dumps({"run": RUN}).encode())

    def wait(bell, seconds=900):
        ask(bell + "/go?run=" + RUN, seconds=seconds)
    """
)


def project(
    name: str, parameters: Mapping[str, Json | str], program: str, python: str = "python -S -E", **more: Any
) -> Json:
    """Return the ConfigMap of a project whose entry point `main` runs the program with `--<parameter>` arguments.

    `parameters` are the entry point's, as MLproject declares them; the program reads `given.<parameter>`, strings.
    `more` are further fields of MLproject.
    """
    arguments = " ".join(f"--{each} {{{each}}}" for each in parameters)
    entry_point = {"parameters": dict(parameters), "command": f"{python} trial.py {arguments}"}
    parser = ["parser = argparse.ArgumentParser()"]
    parser += [f"parser.add_argument('--{each}')" for each in parameters]
    parser += ["given = parser.parse_args()", ""]
    text = PRELUDE + "\n".join(parser) + textwrap.dedent(program)
    mlproject = {"name": name, "entry_points": {"main": entry_point}, **more}
    data = {"MLproject": json.dumps(mlproject), "trial.py": text}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def waiting_project(name: str, bell: Bell) -> Json:
    """Return a project whose trials report to the bell, log `score`, and end when it lets them."""
    program = f"""\
        begin({bell.url!r})
        log(score=float(given.score))
        wait({bell.url!r})
        """
    return project(name, {"score": "float"}, program)


@dataclass
class Trials:
    """One Experiment of a small project in a namespace, and what is asked about it."""

    kubectl: Kubectl
    mlflow: MlflowClient
    name: str = field(default_factory=lambda: f"x-{uuid.uuid4().hex[:8]}")

    @property
    def full_name(self) -> str:
        """What the runs' tag says."""
        return f"{self.kubectl.namespace}/{self.name}"

    def apply(self, *bodies: Json) -> None:
        """Apply objects in the namespace."""
        self.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(bodies)}))

    def experiment(self, **spec: Any) -> Json:
        """Return the Experiment; without more, it runs the project of its name once. Fields that are None are left."""
        base: Json = {
            # Namespaces share one MLflow; names of tests are never used again.
            "experimentName": self.full_name,
            "project": {"configMap": {"name": self.name}},
            "environment": "Image",
            "objective": {"metric": "score"},
            "template": {"resources": {"requests": {"cpu": "50m", "memory": "48Mi"}, "limits": {"memory": "256Mi"}}},
        }
        merged = {key: value for key, value in {**base, **spec}.items() if value is not None}
        return {"apiVersion": API_VERSION, "kind": "Experiment", "metadata": {"name": self.name}, "spec": merged}

    def edit(self, **spec: Any) -> None:
        """Merge into the Experiment's spec."""
        self.kubectl.patch("experiment", self.name, {"spec": spec})

    def run_again(self, value: str) -> None:
        """Ask for one more execution."""
        self.kubectl("annotate", "experiment", self.name, f"modelyard.dev/run={value}", "--overwrite")

    def status(self) -> Json:
        """Return the present status."""
        return dict((self.kubectl.get("experiment", self.name) or {}).get("status", {}))

    def wait(self, until: Callable[[Json], bool], seconds: float = TRIALS_SECONDS) -> Json:
        """Return the object once the operator has seen its newest spec and `until` holds of its status."""
        return self.kubectl.wait_for(
            "experiment", self.name, lambda body: is_current(body) and until(body["status"]), seconds
        )

    def wait_ended(self, seconds: float = TRIALS_SECONDS, *, after: str | None = None) -> Json:
        """Wait until an execution has ended, well or not: another one than `after`."""

        def ended(body: Json) -> bool:
            over = condition(body, "Succeeded").get("status") in ("True", "False")
            return is_current(body) and over and body["status"].get("execution") != after

        return self.kubectl.wait_for("experiment", self.name, ended, seconds)

    def wait_reason(self, reason: str, seconds: float = 180.0) -> str:
        """Wait until `Succeeded` has that reason, and return its message."""
        body = self.wait(lambda status: _succeeded({"status": status}).get("reason") == reason, seconds)
        return str(_succeeded(body)["message"])

    def runs(self, execution: str | None = None) -> list[Run]:
        """Return the trials' runs, of one execution or of all, without the parent's."""
        filters = [f"tags.`modelyard.dev/experiment` = '{self.full_name}'", "tags.`modelyard.dev/trial` != 'parent'"]
        if execution:
            filters.append(f"tags.`modelyard.dev/execution` = '{execution}'")
        found = self.mlflow.search_runs([self.status()["experimentId"]], " and ".join(filters), max_results=500)
        return list(found)

    def jobs(self) -> list[Json]:
        """Return the Jobs of its trials."""
        return self._listed("jobs")

    def pods(self) -> dict[str, Json]:
        """Return the pods of its trials that have not ended: run → pod."""
        pods = [each for each in self._listed("pods") if each["status"]["phase"] in ("Pending", "Running")]
        running = [each for each in pods if "deletionTimestamp" not in each["metadata"]]
        return {each["metadata"]["annotations"]["modelyard.dev/run-id"]: each for each in running}

    def _listed(self, kind: str) -> list[Json]:
        labels = f"modelyard.dev/experiment={self.name},modelyard.dev/trial"
        return list(json.loads(self.kubectl("get", kind, "-l", labels, "-o", "json"))["items"])

    def remove(self) -> None:
        """Delete the objects."""
        for kind in ("experiment", "registeredmodel", "configmap"):
            self.kubectl("delete", kind, self.name, "--ignore-not-found", "--wait=false")


def outcome(body: Json) -> tuple[str, str]:
    """Return status and reason of `Succeeded`."""
    found = _succeeded(body)
    return found.get("status", ""), found.get("reason", "")


def _succeeded(body: Json) -> Json:
    return condition(body, "Succeeded")


def evict(kubectl: Kubectl, pod: str) -> None:
    """Take a pod away by the eviction API, as draining its node does."""
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": kubectl.namespace}}
    path = f"/api/v1/namespaces/{kubectl.namespace}/pods/{pod}/eviction"
    run("kubectl", "create", "--raw", path, "-f", "-", stdin=json.dumps(body))


def log_of(mlflow: MlflowClient, run_id: str, seconds: float = 60.0) -> str:
    """Return the log that was kept of a failed trial, once it is there."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if any(each.path == "modelyard/log.txt" for each in mlflow.list_artifacts(run_id, "modelyard")):
            return mlflow_text(mlflow, run_id, "modelyard/log.txt")
        time.sleep(0.5)
    pytest.fail(f"run {run_id} has no log of its trial within {seconds:.0f} s")


def mlflow_text(mlflow: MlflowClient, run_id: str, path: str) -> str:
    """Return a text artifact, by way of the tracking server: the store's own address is known in the cluster alone."""
    place = mlflow.get_run(run_id).info.artifact_uri.partition(":/")[2]
    url = f"{mlflow.tracking_uri}/api/2.0/mlflow-artifacts/artifacts/{place}/{path}"
    with urllib.request.urlopen(url, timeout=30) as answer:
        content: bytes = answer.read()
    return content.decode()
