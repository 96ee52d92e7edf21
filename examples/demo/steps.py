"""The steps of the demo.

Each waits on a condition, shows what it did, and raises where the outcome is not the promised one.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from examples.demo import screen
from examples.demo.kubectl import CommandFailed, Kubectl, TimedOut, condition, is_current, run
from examples.demo.traffic import Answer, Client, Endpoint, Record

Json = dict[str, Any]

ROOT = Path(__file__).resolve().parents[2]
SYSTEM_NAMESPACE = "modelyard-system"
MODEL = "churn-prediction-model"
EXPERIMENT = "customer-churn-prediction"
RETRAINING = "customer-churn-retraining"
DEPLOYMENT = "churn"

# The request of the MLflow guide, word for word: one customer.
REQUEST = json.dumps(
    {
        "dataframe_split": {
            "columns": [
                "tenure_months",
                "monthly_charges",
                "total_charges",
                "num_support_tickets",
                "contract_type",
                "payment_method",
            ],
            "data": [[24, 65.5, 1500.0, 2, 1, 2]],
        }
    }
)

TRAINING_SECONDS = 900.0
ROLLOUT_SECONDS = 300.0
VERDICT_SECONDS = 60.0


class Unexpected(Exception):
    """A step ended otherwise than Modelyard promises."""


@dataclass(frozen=True)
class Demo:
    """One run of the demo: where, and against what."""

    kubectl: Kubectl
    ingress: str
    tracking_uri: str
    values: tuple[str, ...]
    settings: tuple[str, ...] = ("serving.preparation.enabled=false",)
    """Values of the chart as `path=value`, over all others. Preparing a version takes a Job half a minute and more."""

    @classmethod
    def from_environment(cls) -> Demo:
        """Read MODELYARD_NAMESPACE, MODELYARD_INGRESS, MLFLOW_TRACKING_URI and MODELYARD_IMAGES_VALUES."""
        values = [os.environ.get("MODELYARD_IMAGES_VALUES", "")]
        return cls(
            Kubectl(os.environ.get("MODELYARD_NAMESPACE", "ml-serving")),
            os.environ.get("MODELYARD_INGRESS", "http://127.0.0.1:18080"),
            os.environ.get("MLFLOW_TRACKING_URI", "http://127.0.0.1:30500"),
            tuple(value for value in values if value),
        )

    def install(self) -> None:
        """Install the chart, or bring an installation up to date."""
        namespace = self.kubectl.namespace
        manifest = run("kubectl", "create", "namespace", namespace, "--dry-run=client", "-o", "yaml")
        run("kubectl", "apply", "-f", "-", stdin=manifest)
        arguments = ["helm", "upgrade", "--install", "modelyard", str(ROOT / "charts/modelyard")]
        arguments += ["--namespace", SYSTEM_NAMESPACE, "--create-namespace", "--wait", "--timeout", "5m"]
        arguments += ["--set", f"modelNamespace={namespace}"]
        arguments += ["--set", "tracking.service.type=NodePort", "--set", "tracking.service.nodePort=30500"]
        arguments += [part for file in self.values for part in ("--values", file)]
        arguments += [part for setting in self.settings for part in ("--set", setting)]
        screen.command(f"helm upgrade --install modelyard charts/modelyard -n {SYSTEM_NAMESPACE} --set … --wait")
        try:
            run(*arguments)
        finally:
            screen.say(run("kubectl", "get", "pods", "-n", SYSTEM_NAMESPACE).rstrip())

    def train(self, path: str, name: str) -> int:
        """Apply an Experiment, show its runs as they come; return the number of the version that it registered."""
        self.kubectl("apply", *path.split(), show=True)
        shown: set[str] = set()

        def show(body: Json) -> None:
            for entry in reversed(body.get("status", {}).get("leaderboard", [])):
                if entry["runId"] not in shown:
                    shown.add(entry["runId"])
                    screen.say(f"  run {entry['runId'][:8]}  {entry['name']:<14} f1_score {float(entry['value']):.4f}")

        def ended(body: Json) -> bool:
            return is_current(body) and condition(body, "Succeeded").get("status") in ("True", "False")

        body = self.kubectl.wait_for("experiment", name, ended, TRAINING_SECONDS, seen=show)
        outcome = condition(body, "Succeeded")
        if outcome["status"] != "True":
            raise Unexpected(f"experiment {name}: {outcome['reason']}: {outcome['message']}")
        status = body["status"]
        rows = [[entry["name"], f"{float(entry['value']):.4f}", entry["runId"]] for entry in status["leaderboard"]]
        screen.table(["RUN", "F1_SCORE", "ID"], rows)
        best, registered = status["bestRun"], status["registered"]
        screen.say(f"best: {best['name']}; registered as version {registered['version']} of {registered['model']}")
        return int(registered["version"])

    def promote(self, stage: str, version: int) -> None:
        """Edit one number, and wait until the stage is effective."""
        self.kubectl.patch("registeredmodel", MODEL, {"spec": {"stages": {stage: version}}}, show=True)

        def settled(body: Json) -> bool:
            holder = body.get("status", {}).get("stages", {}).get(stage, {})
            return is_current(body) and holder.get("version") == version

        self.kubectl.wait_for("registeredmodel", MODEL, settled, VERDICT_SECONDS)
        screen.say(self.kubectl("get", "registeredmodel", MODEL).rstrip())

    def wait_until_served(self, version: int) -> None:
        """Wait until the deployment says that it serves this version, whole."""

        def served(body: Json) -> bool:
            status = body.get("status", {})
            holder = status.get("served", {})
            ready = condition(body, "Ready").get("status") == "True"
            return is_current(body) and ready and holder.get("version") == version

        body = self.kubectl.wait_for("modeldeployment", DEPLOYMENT, served, ROLLOUT_SECONDS)
        screen.say(self.kubectl("get", "modeldeployment", DEPLOYMENT).rstrip())
        if found := condition(body, "Accelerated"):
            runtime = "ONNX Runtime" if found["status"] == "True" else "the model's own library"
            screen.say(f"It answers by {runtime}: {found['reason']}: {found['message']}")

    @property
    def endpoint(self) -> Endpoint:
        """Where the model is asked, as the deployment's Ingress says."""
        body = self.kubectl.get("modeldeployment", DEPLOYMENT)
        if body is None:
            raise Unexpected(f"there is no modeldeployment {DEPLOYMENT}")
        return Endpoint(self.ingress, body["spec"]["rest"]["ingress"]["host"])

    def ask(self, version: int) -> Answer:
        """Send the guide's request through the Ingress and show the answer, once the proxy has heard of the version."""
        endpoint = self.endpoint
        screen.command(
            f"curl -X POST {endpoint.address}/invocations -H 'Host: {endpoint.host}' "
            f"-H 'Content-Type: application/json' -d '{REQUEST}'"
        )
        deadline = time.monotonic() + VERDICT_SECONDS
        while True:
            answer = endpoint.ask(REQUEST)
            if answer.status == 200 and answer.version == str(version):
                screen.say(f"{answer.text}    (version {answer.version})")
                return answer
            if time.monotonic() > deadline:
                raise TimedOut(f"the Ingress still answers {answer.status} from version {answer.version}")
            time.sleep(0.2)

    def promote_under_load(self, before: int, version: int) -> Record:
        """Promote another version while clients keep asking, and show that none saw more than the change."""
        self.promote("staging", version)
        with Client(self.endpoint, REQUEST, connections=4) as client:
            started = time.monotonic()
            self.promote("production", version)
            self.wait_until_served(version)
            self.ask(version)
            self._wait_until_drained()
        record = client.record
        screen.table(
            ["VERSION", "ANSWERS", "FIRST", "LAST"],
            [
                [name, str(count), _after(record.first_seen[name], started), _after(record.last_seen[name], started)]
                for name, count in sorted(record.answers.items())
            ],
        )
        screen.say(f"{record.total} requests, {len(record.failures)} failed (times are seconds after the edit)")
        if record.failures:
            raise Unexpected(f"{len(record.failures)} requests failed, the first: {record.failures[0]}")
        if str(version) not in record.answers or (before != version and str(before) not in record.answers):
            raise Unexpected(f"the clients saw only versions {sorted(record.answers)}")
        return record

    def _wait_until_drained(self) -> None:
        def drained(body: Json) -> bool:
            return not body.get("status", {}).get("draining") and is_current(body)

        self.kubectl.wait_for("modeldeployment", DEPLOYMENT, drained, ROLLOUT_SECONDS)

    def history(self) -> None:
        """Show what was in which stage, and when."""
        body = self.kubectl.get("registeredmodel", MODEL)
        transitions = (body or {}).get("status", {}).get("transitions", [])
        rows = [
            [each["at"], str(each["version"]), each["from"], each["to"], each["by"]] for each in reversed(transitions)
        ]
        screen.table(["AT", "VERSION", "FROM", "TO", "BY"], rows)

    def closing(self) -> None:
        """Say where things are and what to try next."""
        host = self.endpoint.host
        screen.say(f"The MLflow page:      {self.tracking_uri}")
        screen.say(f"The model:            curl {self.ingress}/invocations -H 'Host: {host}' …")
        screen.say('Your own shell:       eval "$(make -s env)"')
        screen.say("Try next:")
        namespace = self.kubectl.namespace
        screen.say(f"  kubectl -n {namespace} get experiments,registeredmodels,modeldeployments")
        screen.say(f"  kubectl -n {namespace} edit registeredmodel {MODEL}      # change one number: roll back")
        screen.say(f"  kubectl -n {namespace} get modeldeployment {DEPLOYMENT} --watch")
        screen.say("  docs/guide.md                                            # the same by hand, and your own model")
        screen.say("  make cluster-down                                        # remove it all")


def _after(moment: float, started: float) -> str:
    return f"{moment - started:+.1f} s"


__all__ = ["CommandFailed", "Demo", "TimedOut", "Unexpected"]
