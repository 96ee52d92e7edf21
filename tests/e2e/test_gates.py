"""Promotions that gates let through and refuse: real Jobs, real admission, real signatures, MLflow's own client."""

# mypy: allow-untyped-calls

from __future__ import annotations

import json
import re
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from model_signing import signing
from sklearn.dummy import DummyRegressor

from examples.demo.kubectl import CommandFailed, Kubectl, condition, is_current, run
from examples.demo.steps import Demo
from tests.e2e.processes import wait_until
from tests.e2e.store import ArtifactAccess

# The client's transitions are deprecated in MLflow, and say so.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(1200)]

Json = dict[str, Any]
API_VERSION = "modelyard.dev/v1alpha1"
VERDICT_SECONDS = 240.0

# What a validation Job of a team looks like: it loads the candidate, asks it, and lets an assertion fail.
CHECK = """
import os, mlflow
model = mlflow.pyfunc.load_model(os.environ["MODEL_URI"])
answer = float(model.predict([[0.5]])[0])
print("version", os.environ["MODEL_VERSION"], "of", os.environ["MODEL_NAME"], "answers", answer)
assert answer < 5, f"{answer} is no answer"
"""

FROM_STAGING = {"name": "was-staged", "fromStage": "staging"}
QUALITY = {"name": "quality", "metric": "f1_score", "min": "0.85"}
NO_REGRESSION = {"name": "no-regression", "metric": "accuracy", "comparedTo": "production", "tolerance": "0.01"}
SMOKE = {"name": "smoke", "job": {"command": ["python", "-c", CHECK], "timeoutSeconds": 120}}
APPROVAL = {"name": "approval", "approvers": ["risk-team"]}


@dataclass(frozen=True)
class Key:
    """A pair of keys: where the private one is, and the public one as a gate has it."""

    private: Path
    public: str

    @classmethod
    def made(cls, path: Path) -> Key:
        private = ec.generate_private_key(ec.SECP256R1())
        encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
        path.write_bytes(private.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain))
        public = private.public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)
        return cls(path, public.decode())

    @property
    def gate(self) -> Json:
        return {"name": "signed", "signature": {"publicKey": self.public}}


@dataclass
class Model:
    """A model of the test's own, with what its users do."""

    kubectl: Kubectl
    client: MlflowClient
    directory: Path
    name: str = field(default_factory=lambda: f"gated-{uuid.uuid4().hex[:8]}")

    def register(self, answer: float, *, signed_by: Key | None = None, **metrics: float) -> int:
        """Log a model that always answers the same, and its metrics, and register it."""
        path = self.directory / uuid.uuid4().hex
        model = DummyRegressor(strategy="constant", constant=answer).fit(np.array([[0.0], [1.0]]), [0.0, 1.0])
        mlflow.sklearn.save_model(model, path, serialization_format="cloudpickle", pip_requirements=[])
        if signed_by:
            signer = signing.Config().use_elliptic_key_signer(private_key=signed_by.private)
            signer.sign(path, path / "model.sig")
        experiment = self.client.get_experiment_by_name(self.name)
        experiment_id = experiment.experiment_id if experiment else self.client.create_experiment(self.name)
        run_id = self.client.create_run(experiment_id).info.run_id
        for metric, value in metrics.items():
            self.client.log_metric(run_id, metric, value)
        self.client.log_artifacts(run_id, str(path), "model")
        shutil.rmtree(path)
        made = self.client.create_model_version(self.name, f"runs:/{run_id}/model", run_id)
        return int(made.version)

    def edit(self, **spec: Any) -> None:
        self.kubectl.patch("registeredmodel", self.name, {"spec": spec})

    def wait_for_stage(self, stage: str, version: int) -> Json:
        def holds(body: Json) -> bool:
            return bool(body["status"].get("stages", {}).get(stage, {}).get("version") == version)

        return self._wait(holds)

    def wait_for_reason(self, reason: str) -> Json:
        return self._wait(lambda body: condition(body, "Ready").get("reason") == reason)

    def _wait(self, until: Any) -> Json:
        return self.kubectl.wait_for(
            "registeredmodel", self.name, lambda body: is_current(body) and until(body), VERDICT_SECONDS
        )

    def jobs(self) -> list[Json]:
        found = self.kubectl("get", "jobs", "-l", f"modelyard.dev/model={self.name}", "-o", "json")
        return list(json.loads(found)["items"])

    def evidence(self, artifacts: ArtifactAccess, job: Json, suffix: str) -> bytes:
        namespace, name = self.kubectl.namespace, job["metadata"]["name"]
        return artifacts.read(f"s3://modelyard/registry/{namespace}/{self.name}/evidence/{name}.{suffix}")


@pytest.fixture
def client(installation: Demo) -> MlflowClient:
    """The stock MLflow client."""
    return MlflowClient(tracking_uri=installation.tracking_uri, registry_uri=installation.tracking_uri)


@pytest.fixture
def model(kubectl: Kubectl, client: MlflowClient, tmp_path: Path) -> Iterator[Model]:
    made = Model(kubectl, client, tmp_path)
    client.create_registered_model(made.name)
    yield made
    kubectl("delete", "registeredmodel", made.name, "--ignore-not-found", "--wait=false")


def verdicts(body: Json) -> dict[str, tuple[str, str]]:
    """Return what the status shows of the candidate's gates: name → (verdict, message)."""
    (candidate,) = body["status"]["candidates"]
    return {gate["name"]: (gate["verdict"], gate["message"]) for gate in candidate["gates"]}


def test_a_version_that_passes_every_gate_is_promoted(model: Model, artifacts: ArtifactAccess) -> None:
    model.register(1.0, f1_score=0.86, accuracy=0.9)
    model.edit(stages={"staging": 1})
    model.wait_for_stage("staging", 1)
    model.edit(gates={"production": [FROM_STAGING, QUALITY, NO_REGRESSION, SMOKE]}, stages={"production": 1})
    body = model.wait_for_stage("production", 1)
    assert "candidates" not in body["status"] or body["status"]["candidates"] == []
    (job,) = model.jobs()
    assert model.evidence(artifacts, job, "log").decode().endswith(f"version 1 of {model.name} answers 1.0\n")
    verdict = json.loads(model.evidence(artifacts, job, "json"))
    assert (verdict["verdict"], verdict["gate"], verdict["version"]) == ("Passed", "smoke", 1)
    transition = next(each for each in body["status"]["transitions"] if each["to"] == "Production")
    assert transition["gates"] == "4 passed"


def test_a_refusal_has_every_gate_with_its_numbers(model: Model, artifacts: ArtifactAccess, tmp_path: Path) -> None:
    model.register(1.0, f1_score=0.86, accuracy=0.9)
    model.edit(stages={"production": 1})
    model.wait_for_stage("production", 1)
    model.register(9.0, f1_score=0.81, accuracy=0.88)
    signed = Key.made(tmp_path / "key.pem").gate
    model.edit(gates={"production": [FROM_STAGING, QUALITY, NO_REGRESSION, SMOKE, signed]}, stages={"production": 2})

    body = model.wait_for_reason("GatesNotPassed")
    found = verdicts(body)
    (job,) = model.jobs()
    assert found.pop("smoke")[1].startswith("exit code 1: AssertionError: 9.0 is no answer after ")
    assert found == {
        "was-staged": ("Failed", "version 2 has not been in Staging"),
        "quality": ("Failed", "f1_score is 0.81, at least 0.85 is wanted"),
        "no-regression": (
            "Failed",
            "accuracy is 0.88, version 1 in production has 0.9, at most 0.01 less is wanted",
        ),
        "signed": ("Failed", "the version is not signed: it has no model.sig"),
    }
    message = condition(body, "Ready")["message"]
    for name, (_, words) in verdicts(body).items():
        assert f"{name} failed: {words}" in message
    assert body["status"]["stages"]["production"]["version"] == 1
    assert "AssertionError: 9.0 is no answer" in model.evidence(artifacts, job, "log").decode()
    assert json.loads(model.evidence(artifacts, job, "json"))["verdict"] == "Failed"

    with pytest.raises(MlflowException) as refused:
        model.client.transition_model_version_stage(model.name, "2", "Production")
    for words in ("f1_score is 0.81, at least 0.85 is wanted", "version 1 in production has 0.9", "9.0 is no answer"):
        assert words in refused.value.message


def test_a_refused_version_is_judged_again_when_a_gate_changes_and_not_before(model: Model) -> None:
    model.register(1.0, f1_score=0.81)
    model.edit(gates={"production": [QUALITY, SMOKE]}, stages={"production": 1})
    refused = model.wait_for_reason("GatesNotPassed")
    # What makes the operator look again, and is no edit of the spec.
    model.kubectl("annotate", "registeredmodel", model.name, "example.com/looked-at=yes")
    model.kubectl("rollout", "restart", "deployment/modelyard-operator", "-n", "modelyard-system")
    model.kubectl("rollout", "status", "deployment/modelyard-operator", "-n", "modelyard-system", "--timeout=240s")
    again = model.wait_for_reason("GatesNotPassed")
    assert again["status"]["candidates"] == refused["status"]["candidates"]
    assert again["status"]["records"] == refused["status"]["records"]
    assert len(model.jobs()) == 1
    model.edit(gates={"production": [{**QUALITY, "min": "0.8"}, SMOKE]})
    model.wait_for_stage("production", 1)
    assert len(model.jobs()) == 2


def approval(model: Model, digest: str, user: str, group: str = "risk-team") -> Json:
    spec = {"model": model.name, "version": 1, "digest": digest, "stage": "production", "group": group, "user": user}
    return {"apiVersion": API_VERSION, "kind": "Approval", "metadata": {"generateName": "approval-"}, "spec": spec}


def may_approve(kubectl: Kubectl, user: str, group: str) -> bool:
    """Whether roles let somebody make approvals."""
    try:
        kubectl("auth", "can-i", "create", "approvals.modelyard.dev", f"--as={user}", f"--as-group={group}")
    except CommandFailed:
        return False
    return True


def test_only_a_member_of_the_group_approves(model: Model) -> None:
    model.register(1.0)
    model.edit(gates={"production": [APPROVAL]}, stages={"production": 1})
    body = model.wait_for_reason("AwaitingApproval")
    assert verdicts(body) == {"approval": ("Waiting", "nobody of risk-team has approved version 1 for production yet")}
    (version,) = body["status"]["versions"]

    made: list[str] = []

    def approve(user: str, member_of: str, *, group: str = "risk-team", named: str = "") -> None:
        body = approval(model, version["digest"], named or user, group)
        impersonated = (f"--as={user}", f"--as-group={member_of}")
        made.append(model.kubectl("create", "-f", "-", *impersonated, "-o", "name", stdin=json.dumps(body)).strip())

    binding = f"approvers-{model.name}"
    with pytest.raises(CommandFailed, match="cannot create resource"):
        approve("ann", "risk-team")
    groups = ["--group=risk-team", "--group=interns"]
    model.kubectl("create", "rolebinding", binding, "--clusterrole=modelyard-approver", *groups)
    try:
        # The API server knows of the binding a moment later; what refuses then is the policy.
        wait_until("the interns' role", lambda: may_approve(model.kubectl, "ivy", "interns"))
        wait_until("the risk team's role", lambda: may_approve(model.kubectl, "ann", "risk-team"))
        with pytest.raises(CommandFailed, match=r"spec\.group must be a group of ivy, which risk-team is not"):
            approve("ivy", "interns")
        with pytest.raises(CommandFailed, match=r"spec\.user must be who makes the request, ivy, not ann"):
            approve("ivy", "risk-team", named="ann")
        # An approval of another group is honest, and not asked for.
        approve("ivy", "interns", group="interns")
        assert model.kubectl.get("registeredmodel", model.name)["status"].get("stages", {}) == {}  # type: ignore[index]
        approve("ann", "risk-team")
        body = model.wait_for_stage("production", 1)
    finally:
        model.kubectl("delete", "rolebinding", binding)
        if made:
            model.kubectl("delete", *made)
    assert len(made) == 2
    transition = body["status"]["transitions"][0]
    assert (transition["version"], transition["to"], transition["gates"]) == (1, "Production", "1 passed")


def test_a_signature_by_the_gate_s_key_passes_and_another_one_does_not(model: Model, tmp_path: Path) -> None:
    ours, theirs = Key.made(tmp_path / "ours.pem"), Key.made(tmp_path / "theirs.pem")
    model.register(1.0, signed_by=ours)
    model.register(2.0, signed_by=theirs)
    model.edit(gates={"production": [ours.gate]}, stages={"production": 1})
    model.wait_for_stage("production", 1)
    with pytest.raises(
        MlflowException, match=r"signed failed: model\.sig is not signed with the public key of the gate"
    ):
        model.client.transition_model_version_stage(model.name, "2", "Production", archive_existing_versions=True)
    assert model.kubectl.get("registeredmodel", model.name)["status"]["stages"]["production"]["version"] == 1  # type: ignore[index]


def test_versions_and_metrics_that_git_declares_are_judged_without_a_tracking_server(
    kubectl: Kubectl, model: Model, tmp_path: Path
) -> None:
    model.register(1.0)
    (version,) = model._wait(lambda body: body["status"].get("versions"))["status"]["versions"]
    declared = f"declared-{uuid.uuid4().hex[:8]}"
    spec = {
        "versions": [{"version": 1, "source": version["artifact"], "metrics": {"f1_score": "0.81"}}],
        "gates": {"production": [QUALITY]},
        "stages": {"production": 1},
    }
    body = {"apiVersion": API_VERSION, "kind": "RegisteredModel", "metadata": {"name": declared}, "spec": spec}
    kubectl("apply", "-f", "-", stdin=json.dumps(body))
    try:
        mine = Model(kubectl, model.client, tmp_path, declared)
        found = mine.wait_for_reason("GatesNotPassed")
        assert verdicts(found) == {"quality": ("Failed", "f1_score is 0.81, at least 0.85 is wanted")}
        assert re.search(r"production stays empty", condition(found, "Ready")["message"])
        mine.edit(gates={"production": [{**QUALITY, "min": "0.8"}]})
        mine.wait_for_stage("production", 1)
    finally:
        run("kubectl", "-n", kubectl.namespace, "delete", "registeredmodel", declared, "--wait=false")
