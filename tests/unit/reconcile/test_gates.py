"""Gates on an API server, a bucket and a tracking server in memory, up to the promotion that they lead to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from modelyard.api.approval import Approval
from modelyard.api.model_status import Verdict
from modelyard.api.registeredmodel import RegisteredModel
from modelyard.artifacts.store import ArtifactStoreUnreachable
from modelyard.cluster.client import ApiError, Invalid
from modelyard.cluster.resources import (
    JOBS,
    PODS,
    SECRETS,
    VALIDATING_ADMISSION_POLICIES,
    VALIDATING_ADMISSION_POLICY_BINDINGS,
    ResourceType,
    of_kind,
)
from modelyard.decide.experiment_model import Run
from modelyard.decide.gates import Judgement
from modelyard.reconcile.gate_jobs import LOG_LIMIT
from modelyard.reconcile.gates import Gates
from modelyard.reconcile.registeredmodel import RegisteredModelReconciler
from modelyard.registry.registry import Candidate, Registry
from modelyard.settings import Settings
from modelyard.tracking.client import TrackingUnreachable
from tests.fakes import artifacts
from tests.fakes.cluster import FakeClient
from tests.fakes.tracking import FakeTracking

Json = dict[str, Any]
NAMESPACE, NAME = "ml", "churn"
POLICY = "modelyard-approvals.system"
SMOKE = {"name": "smoke", "job": {"command": ["python", "-c", "check()"], "timeoutSeconds": 60}}
QUALITY = {"name": "quality", "metric": "f1", "min": "0.8"}
APPROVAL = {"name": "approval", "approvers": ["risk"]}

SETTINGS = Settings.from_environment(
    {
        "MODELYARD_TRACKING_URI": "http://tracking:5000",
        "MODELYARD_ARTIFACT_STORE": artifacts.SETTINGS.artifact_store,
        "MODELYARD_READER_ACCESS_KEY_ID": "reader",
        "MODELYARD_READER_SECRET_ACCESS_KEY": "secret",
        "MODELYARD_SERVING_IMAGE": "serving:1",
        "MODELYARD_TRAINING_IMAGE": "training:1",
        "MODELYARD_OPERATOR_IMAGE": "operator:1",
        "MODELYARD_APPROVAL_POLICY": POLICY,
    }
)


class Killed(BaseException):
    """The operator's process ends here."""


class World:
    """A model with two versions, of which the first is in Production, and the operator that is started anew."""

    def __init__(self, bucket: artifacts.Bucket, gates: list[Json]) -> None:
        self.now = datetime(2026, 5, 1, 12, tzinfo=UTC)
        self.bucket = bucket
        self.client = FakeClient(self._on_request, lambda: self.now)
        self.tracking = FakeTracking()
        self.store = bucket.store(lambda _: self._write())
        self.left: int | None = None
        registry = Registry(self.client, self.store, lambda: self.now)
        registry.create_model(NAMESPACE, NAME, "kubectl")
        for number in (1, 2):
            self.tracking.runs[f"r{number}"] = Run(f"r{number}", metrics={"f1": {1: 0.81, 2: 0.82}[number]})
            artifact = bucket.put_model(f"v{number}", str(number).encode())
            registry.register_version(NAMESPACE, NAME, Candidate(artifact, artifact, "test", run_id=f"r{number}"))
        self.edit(stages={"production": 1})
        self.restart()
        self.reconcile()
        self.edit(gates={"production": gates})
        self.client.requests.clear()

    def restart(self) -> None:
        self.left = None
        self.registry = Registry(self.client, self.store, lambda: self.now)
        self.gates = Gates(
            self.client, self.store, self.tracking, self.registry.ledger, settings=SETTINGS, clock=lambda: self.now
        )
        self.reconciler = RegisteredModelReconciler(
            self.client, self.store, lambda: self.now, registry=self.registry, judge=self.gates
        )

    def _on_request(self, method: str, path: str) -> None:  # noqa: ARG002
        if method != "GET":
            self._write()

    def _write(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Killed

    def edit(self, **spec: Any) -> None:
        self.client.merge_patch(of_kind(RegisteredModel), NAMESPACE, NAME, {"spec": spec}, "kubectl")

    def model(self) -> RegisteredModel:
        return RegisteredModel.parse(self.client.get(of_kind(RegisteredModel), NAMESPACE, NAME))

    def reconcile(self) -> RegisteredModel:
        self.reconciler(NAMESPACE, NAME)
        return self.model()

    def promote(self, version: int = 2) -> RegisteredModel:
        self.edit(stages={"production": version})
        return self.reconcile()

    def judge(self, version: int = 2) -> Judgement:
        """Judge without a reconcile."""
        model = self.model()
        state = self.registry.state_of(model)
        return self.gates.judge(model, state, state.versions[version], "production")

    def verdict(self, version: int = 2) -> tuple[str, str]:
        """Judge the one gate there is."""
        (result,) = self.judge(version).results
        return result.verdict.value, result.message

    def in_production(self) -> int:
        return self.model().status.stages["production"].version

    def jobs(self) -> list[Json]:
        return self.client.list_all(JOBS, NAMESPACE)

    def end(self, job: Json, *, passed: bool, log: bytes | None = b"all good\n", **pod: Any) -> None:
        """Let a Job end, with a pod that has that log."""
        name = job["metadata"]["name"]
        status: Json = {"startTime": "2026-05-01T12:00:00Z"}
        if passed:
            status |= {"completionTime": "2026-05-01T12:00:12Z", "conditions": [{"type": "Complete", "status": "True"}]}
        else:
            failed = {"type": "Failed", "status": "True", "lastTransitionTime": "2026-05-01T12:00:12Z"}
            status["conditions"] = [
                {**failed, "reason": "BackoffLimitExceeded", "message": "Job has reached the limit"}
            ]
        if log is not None:
            metadata = {"name": f"{name}-pod", "labels": {"batch.kubernetes.io/job-name": name}}
            self.client.create(PODS, NAMESPACE, {"metadata": metadata}, "job-controller")
            terminated = {"exitCode": 0 if passed else 1, "message": "Traceback\nAssertionError: f1 is 0.3"}
            pod_status = {"containerStatuses": [{"name": "validation", "state": {"terminated": terminated}}], **pod}
            body = self.client.get(PODS, NAMESPACE, f"{name}-pod")
            self.client.replace_status(PODS, {**body, "status": pod_status}, "kubelet")
            self.client.answers[PODS.path(NAMESPACE, f"{name}-pod", "log")] = log
        self.client.replace_status(JOBS, {**self.client.get(JOBS, NAMESPACE, name), "status": status}, "job-controller")

    def evidence(self) -> dict[str, bytes]:
        prefix = f"registry/{NAMESPACE}/{NAME}/evidence/"
        return {key.removeprefix(prefix): self.store.get(key).data for key in self.store.keys(prefix)}

    def events(self, kind: str) -> int:
        return sum(sealed.event.type == kind for sealed in self.registry.ledger(NAMESPACE, NAME).events(0))


@pytest.fixture
def gates() -> list[Json]:
    return [SMOKE]


@pytest.fixture
def world(gates: list[Json]) -> Iterator[World]:
    with artifacts.bucket() as bucket:
        yield World(bucket, gates)


# Jobs


def test_a_version_is_promoted_when_its_job_has_passed(world: World) -> None:
    model = world.promote()
    (job,) = world.jobs()
    (candidate,) = model.status.candidates
    assert (candidate.version, candidate.verdict) == (2, Verdict.RUNNING)
    assert candidate.gates[0].message == f"Job {job['metadata']['name']} was started"
    assert world.in_production() == 1
    world.end(job, passed=True)
    model = world.reconcile()
    assert world.in_production() == 2
    assert model.status.candidates == ()
    assert model.status.transitions[0].gates in ("1 passed", None)
    assert world.events("PromotionRefused") == 0


def test_the_job_gets_what_it_needs_to_read_the_version(world: World) -> None:
    model = world.promote()
    (job,) = world.jobs()
    (container,) = job["spec"]["template"]["spec"]["containers"]
    found = {item["name"]: item["value"] for item in container["env"]}
    version = model.status.find(2)
    assert version is not None
    assert (found["MODEL_URI"], found["MODEL_DIGEST"]) == (version.artifact, version.digest)
    assert (container["image"], found["MLFLOW_TRACKING_URI"]) == ("training:1", "http://tracking:5000")
    assert world.client.find(SECRETS, NAMESPACE, "modelyard-artifacts-reader") is not None


def test_the_log_and_the_verdict_are_kept(world: World) -> None:
    world.promote()
    (job,) = world.jobs()
    name = job["metadata"]["name"]
    world.end(job, passed=False, log=b"loading\nAssertionError: f1 is 0.3\n")
    model = world.reconcile()
    kept = world.evidence()
    assert kept[f"{name}.log"] == b"loading\nAssertionError: f1 is 0.3\n"
    verdict = json.loads(kept[f"{name}.json"])
    digest = hashlib.sha256(kept[f"{name}.log"]).hexdigest()
    assert verdict["log"] == {"bytes": 34, "sha256": digest}
    assert (verdict["gate"], verdict["stage"], verdict["version"], verdict["verdict"]) == (
        "smoke",
        "production",
        2,
        "Failed",
    )
    (result,) = model.status.candidates[0].gates
    assert result.message == f"exit code 1: AssertionError: f1 is 0.3 after 12 s ({name}.log, sha256:{digest[:16]})"
    assert model.status.conditions[0].reason == "GatesNotPassed"
    assert f"smoke failed: {result.message}" in model.status.conditions[0].message


def test_a_refused_version_is_not_tried_again_until_something_changes(world: World) -> None:
    world.promote()
    world.end(world.jobs()[0], passed=False)
    world.reconcile()
    assert world.events("PromotionRefused") == 1
    world.client.requests.clear()
    world.reconcile()
    assert world.client.writes == []
    world.restart()
    world.reconcile()
    assert (len(world.jobs()), world.events("PromotionRefused")) == (1, 1)
    world.edit(description="another word")
    world.reconcile()
    assert len(world.jobs()) == 2


def test_an_edit_of_something_else_does_not_start_the_job_again(world: World) -> None:
    world.promote()
    world.edit(aliases={"champion": 1})
    world.reconcile()
    (job,) = world.jobs()
    world.end(job, passed=True)
    world.reconcile()
    assert world.in_production() == 2


def test_a_version_that_comes_back_has_passed_already(world: World) -> None:
    world.promote()
    world.end(world.jobs()[0], passed=True)
    world.reconcile()
    world.client.delete(JOBS, NAMESPACE, world.jobs()[0]["metadata"]["name"])
    world.edit(gates={"production": []})
    world.promote(1)
    world.edit(gates={"production": [SMOKE]})
    world.restart()
    assert world.promote(2).status.stages["production"].version == 2
    assert world.jobs() == []


def test_the_job_of_a_version_that_is_wanted_no_more_is_stopped(world: World) -> None:
    artifact = world.bucket.put_model("v3", b"3")
    world.registry.register_version(NAMESPACE, NAME, Candidate(artifact, artifact, "test"))
    world.promote(2)
    world.promote(3)
    assert [job["metadata"]["labels"]["modelyard.dev/model-version"] for job in world.jobs()] == ["3"]


def test_a_job_that_does_not_get_on_is_told(world: World) -> None:
    world.promote()
    (job,) = world.jobs()
    name = job["metadata"]["name"]
    found = f"Job {name} does not get on: its Job has no pod; kubectl describe job {name} says why"
    assert world.verdict() == ("Running", found)


def test_a_job_that_takes_too_long_is_told_so(world: World) -> None:
    world.promote()
    world.end(world.jobs()[0], passed=False, reason="DeadlineExceeded")
    verdict, message = world.verdict()
    assert verdict == "Failed"
    assert message.startswith("it was stopped: it may take 60 s after 12 s (")


@pytest.mark.parametrize("passed", [True, False])
def test_a_kill_at_any_write_changes_nothing_in_the_outcome(gates: list[Json], passed: bool) -> None:
    for killed_at in range(12):
        with artifacts.bucket() as bucket:
            world = World(bucket, gates)
            world.edit(stages={"production": 2})
            finished = _carried_through(world, killed_at, passed)
            assert len(world.jobs()) == 1
            assert world.in_production() == (2 if passed else 1)
            assert world.events("PromotionRefused") == (0 if passed else 1)
            assert len(world.evidence()) == 2
            if finished:
                return
    pytest.fail("there are more writes than that")


def _carried_through(world: World, killed_at: int, passed: bool) -> bool:
    """Reconcile until all is said, with one kill; return whether all was done before it."""
    world.left = killed_at
    killed = False
    for _ in range(6):
        try:
            world.reconcile()
        except Killed:
            killed = True
            world.restart()
            continue
        left, world.left = world.left, None
        for job in world.jobs():
            if not job.get("status"):
                world.end(job, passed=passed)
        world.left = left
    return not killed


def test_only_the_end_of_a_long_log_is_kept(world: World) -> None:
    world.promote()
    world.end(world.jobs()[0], passed=True, log=b"a" * LOG_LIMIT + b"the end\n")
    world.reconcile()
    kept = next(data for name, data in world.evidence().items() if name.endswith(".log"))
    assert kept.startswith(b"(the beginning was cut off)\n")
    assert kept.endswith(b"the end\n")
    assert len(kept) < LOG_LIMIT + 100


def test_a_pod_that_is_gone_leaves_a_verdict_without_a_log(world: World) -> None:
    world.promote()
    world.end(world.jobs()[0], passed=False, log=None)
    verdict, message = world.verdict()
    assert (verdict, message.split(" after")[0]) == ("Failed", "Job has reached the limit")
    assert b"(there is no log: the pod is gone)\n" in world.evidence().values()


def test_a_node_that_does_not_answer_is_waited_for_but_not_for_ever(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: Any, **__: Any) -> bytes:
        raise ApiError(500, "InternalError", "dial tcp 10.0.0.1:10250: connection refused")

    world.promote()
    world.end(world.jobs()[0], passed=True)
    monkeypatch.setattr(world.client, "read", unreachable)
    verdict, message = world.verdict()
    assert (verdict, "its log cannot be read yet" in message) == ("Unknown", True)
    assert world.evidence() == {}
    world.now += timedelta(minutes=11)
    assert world.verdict()[0] == "Passed"
    assert any(b"connection refused" in data for data in world.evidence().values())


@pytest.mark.parametrize(
    ("error", "verdict"),
    [(Invalid(422, "Invalid", "spec is wrong"), "Failed"), (ApiError(403, "Forbidden", "quota exceeded"), "Unknown")],
)
def test_a_job_that_the_api_server_does_not_take(
    world: World, monkeypatch: pytest.MonkeyPatch, error: ApiError, verdict: str
) -> None:
    create = world.client.create

    def refuse(resource: ResourceType, *rest: Any) -> Json:
        if resource is JOBS:
            raise error
        return create(resource, *rest)

    monkeypatch.setattr(world.client, "create", refuse)
    found, message = world.verdict()
    assert found == verdict
    assert str(error) in message


def test_a_job_of_an_object_that_was_deleted_is_no_evidence(world: World) -> None:
    world.promote()
    (job,) = world.jobs()
    job["metadata"]["ownerReferences"][0]["uid"] = "another"
    world.client.apply(JOBS, job, "test")
    world.end(job, passed=True)
    verdict, message = world.verdict()
    assert (verdict, message) == ("Running", f"Job {job['metadata']['name']} of before is about to be removed")
    assert world.evidence() == {}


# Metrics


@pytest.mark.parametrize("gates", [[QUALITY]])
@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        ({"f1": 0.82}, ("Passed", "f1 is 0.82, at least 0.8 is wanted")),
        ({"f1": float("nan")}, ("Failed", "f1 of version 2 is NaN, which is no number to compare")),
        ({"f1": 1e-7}, ("Failed", "f1 is 1E-7, at least 0.8 is wanted")),
        ({"auc": 1.0}, ("Failed", "version 2 has no metric f1; it has auc")),
    ],
)
def test_metrics_are_those_of_the_version_s_run(
    world: World, metrics: Mapping[str, float], expected: tuple[str, str]
) -> None:
    world.tracking.change("r2", metrics=metrics)
    assert world.verdict() == expected


@pytest.mark.parametrize("gates", [[QUALITY]])
def test_a_run_that_is_gone_fails_and_a_server_that_is_away_does_not(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    del world.tracking.runs["r2"]
    assert world.verdict() == ("Failed", "f1 of version 2 is not known: run r2: Run with id=r2 not found")

    def away(_: str) -> dict[str, float]:
        raise TrackingUnreachable("UNREACHABLE", "the tracking server does not answer")

    monkeypatch.setattr(world.tracking, "metrics", away)
    assert world.verdict() == ("Unknown", "f1 of version 2 is not known: the tracking server does not answer")
    assert world.promote().status.conditions[0].reason == "GatesRunning"
    assert world.in_production() == 1


@pytest.mark.parametrize("gates", [[QUALITY]])
def test_a_version_without_a_run_has_the_metrics_that_were_declared(world: World) -> None:
    artifact = world.bucket.put_model("v3", b"3")
    candidate = Candidate(artifact, artifact, "test", metrics={"f1": "0.95"})
    world.registry.register_version(NAMESPACE, NAME, candidate)
    assert world.verdict(3) == ("Passed", "f1 is 0.95, at least 0.8 is wanted")


@pytest.mark.parametrize("gates", [[{"name": "better", "metric": "f1", "comparedTo": "production"}]])
def test_a_comparison_is_with_the_version_that_is_in_the_stage(world: World) -> None:
    assert world.verdict() == ("Passed", "f1 is 0.82, version 1 in production has 0.81, no less is wanted")
    world.tracking.change("r1", metrics={"f1": 0.9})
    assert world.verdict() == ("Failed", "f1 is 0.82, version 1 in production has 0.9, no less is wanted")


# Approvals


def protect(world: World, *, binding: Json | None = None, policy: Json | None = None) -> None:
    bound = {"policyName": POLICY, "validationActions": ["Deny"], **(binding or {})}
    for resource, spec in (
        (VALIDATING_ADMISSION_POLICIES, {"failurePolicy": "Fail", **(policy or {})}),
        (VALIDATING_ADMISSION_POLICY_BINDINGS, bound),
    ):
        body = {"metadata": {"name": POLICY}, "spec": spec}
        world.client.create(resource, None, body, "helm")  # type: ignore[arg-type]


def approve(world: World, **spec: Any) -> None:
    version = world.model().status.find(2)
    assert version is not None
    base = {"model": NAME, "version": 2, "digest": version.digest, "stage": "production"}
    body = {"metadata": {"name": "ok"}, "spec": {**base, "group": "risk", "user": "ann", **spec}}
    world.client.create(of_kind(Approval), NAMESPACE, body, "kubectl")


@pytest.mark.parametrize("gates", [[APPROVAL]])
def test_a_version_waits_for_an_approval(world: World) -> None:
    protect(world)
    model = world.promote()
    assert (model.status.candidates[0].verdict, model.status.conditions[0].reason) == (
        Verdict.WAITING,
        "AwaitingApproval",
    )
    approve(world)
    assert world.verdict() == ("Passed", "approved by ann of risk (ok)")
    assert world.reconcile().status.stages["production"].version == 2


@pytest.mark.parametrize("gates", [[APPROVAL]])
def test_approvals_without_a_policy_do_not_count(world: World) -> None:
    approve(world)
    verdict, message = world.verdict()
    assert verdict == "Waiting"
    assert message.startswith("approvals by risk do not count: nothing says who made them: ")


@pytest.mark.parametrize("gates", [[APPROVAL]])
def test_an_approval_that_is_older_than_the_policy_does_not_count(world: World) -> None:
    approve(world)
    world.now += timedelta(seconds=1)
    protect(world)
    expected = (
        "nobody of risk has approved version 2 for production yet "
        "(ok is older than the admission policy and does not count: make it again)"
    )
    assert world.verdict() == ("Waiting", expected)


@pytest.mark.parametrize("gates", [[APPROVAL]])
@pytest.mark.parametrize(
    ("weak", "message"),
    [
        ({"binding": {"validationActions": ["Audit"]}}, "does not deny everywhere"),
        ({"binding": {"matchResources": {"namespaceSelector": {}}}}, "does not deny everywhere"),
        ({"binding": {"policyName": "other"}}, "binds another policy"),
        ({"policy": {"failurePolicy": "Ignore"}}, "lets through what it cannot judge"),
    ],
    ids=["audit", "some namespaces", "another policy", "failures"],
)
def test_a_policy_that_was_weakened_does_not_vouch(world: World, weak: Json, message: str) -> None:
    protect(world, **weak)
    approve(world)
    found, words = world.verdict()
    assert found == "Waiting"
    assert message in words


@pytest.mark.parametrize("gates", [[APPROVAL]])
def test_approvals_that_cannot_be_read_are_asked_for_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    protect(world)

    def away(*_: Any, **__: Any) -> list[Json]:
        raise ApiError(0, "Unreachable", "the API server did not answer")

    monkeypatch.setattr(world.client, "list_all", away)
    assert world.verdict() == ("Unknown", "approvals by risk do not count: the API server did not answer")


# Signatures

SIGNED = {"name": "signed", "signature": {"identity": "ann@example.com", "issuer": "https://issuer.example.com"}}


@pytest.mark.parametrize("gates", [[SIGNED]])
def test_an_unsigned_version_fails(world: World) -> None:
    assert world.verdict() == ("Failed", "the version is not signed: it has no model.sig")


@pytest.mark.parametrize("gates", [[SIGNED]])
def test_a_signature_that_is_none_fails(world: World) -> None:
    artifact = world.bucket.put_model("v3", b"3")
    world.bucket.put(f"{artifact}/model.sig", b"x")
    world.registry.register_version(NAMESPACE, NAME, Candidate(artifact, artifact, "test"))
    verdict, message = world.verdict(3)
    assert (verdict, message.split(":")[0]) == ("Failed", "model.sig is no Sigstore bundle with a certificate")


@pytest.mark.parametrize("gates", [[SIGNED, SMOKE]])
def test_a_store_that_does_not_answer_refuses_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> Any:
        raise ArtifactStoreUnreachable("the store does not answer")

    monkeypatch.setattr(world.store, "get", away)
    judgement = world.judge()
    assert judgement.verdict is Verdict.UNKNOWN
    assert [(result.verdict.value, result.message) for result in judgement.results] == [
        ("Unknown", "the store does not answer"),
        ("Unknown", "the store does not answer"),
    ]
