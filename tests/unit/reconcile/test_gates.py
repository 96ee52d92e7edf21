"""What gates ask of a tracking server, of people and of signatures."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from modelyard.api.approval import Approval
from modelyard.api.model_status import Verdict
from modelyard.artifacts.store import ArtifactStoreUnreachable
from modelyard.cluster.client import ApiError
from modelyard.cluster.resources import (
    VALIDATING_ADMISSION_POLICIES,
    VALIDATING_ADMISSION_POLICY_BINDINGS,
    of_kind,
)
from modelyard.records.events import PromotionRefused
from modelyard.registry.registry import Candidate
from modelyard.tracking.client import TrackingUnreachable
from tests.unit.reconcile.gate_world import (
    APPROVAL,
    NAME,
    NAMESPACE,
    POLICY,
    QUALITY,
    SMOKE,
    Json,
    World,
    gates,
    world,
)

__all__ = ["gates", "world"]


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
def test_a_refusal_is_recorded_once_in_the_name_of_who_asked_for_the_version(world: World) -> None:
    world.tracking.change("r2", metrics={"f1": 0.7})
    world.promote()
    world.reconcile()
    events = [sealed.event for sealed in world.registry.ledger(NAMESPACE, NAME).events(0)]
    (refusal,) = [event for event in events if isinstance(event, PromotionRefused)]
    assert (refusal.stage, refusal.version, refusal.by) == ("production", 2, "kubectl")


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
