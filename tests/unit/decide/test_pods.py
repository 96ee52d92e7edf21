"""What is wrong with pods, as the API server shows it."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.api.reasons import Reason
from modelyard.decide.pods import Diagnosis, diagnose


def pod(*, conditions: list[dict[str, Any]] | None = None, going: bool = False, **container: Any) -> dict[str, Any]:
    status: dict[str, Any] = {"conditions": conditions or []}
    if container:
        status["containerStatuses"] = [{"name": "model", "ready": False, **container}]
    metadata = {"name": "web-1", **({"deletionTimestamp": "2026-01-01T00:00:00Z"} if going else {})}
    return {"metadata": metadata, "status": status}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"state": {"waiting": {"reason": reason, "message": message}}}


def ended(message: str, reason: str = "Error", code: int = 1) -> dict[str, Any]:
    return {"terminated": {"reason": reason, "exitCode": code, "message": message}}


UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes: cpu"}


@pytest.mark.parametrize(
    ("found", "reason", "message"),
    [
        pytest.param(pod(conditions=[UNSCHEDULABLE]), Reason.UNSCHEDULABLE, "pod web-1: 0/1 nodes: cpu", id="no room"),
        pytest.param(
            pod(**waiting("ErrImageNeverPull", "not present")),
            Reason.IMAGE_UNAVAILABLE,
            "pod web-1: ErrImageNeverPull: not present",
            id="image missing",
        ),
        pytest.param(
            pod(**waiting("CreateContainerConfigError", 'secret "x" not found')),
            Reason.CANDIDATE_FAILED,
            'pod web-1: CreateContainerConfigError: secret "x" not found',
            id="secret missing",
        ),
        pytest.param(
            pod(**waiting("CrashLoopBackOff"), lastState=ended("DigestMismatch: expected a\nfound b")),
            Reason.CANDIDATE_FAILED,
            "pod web-1: DigestMismatch: expected a found b (Error, exit code 1)",
            id="crash loop, with its own last words",
        ),
        pytest.param(
            pod(state=ended("", "OOMKilled", 137)),
            Reason.CANDIDATE_FAILED,
            "pod web-1: OOMKilled, exit code 137",
            id="out of memory, without",
        ),
    ],
)
def test_a_pod_that_cannot_become_ready_is_diagnosed(found: dict[str, Any], reason: Reason, message: str) -> None:
    assert diagnose(None, [found]) == Diagnosis(reason, message)


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(pod(), id="just made"),
        pytest.param(pod(**waiting("ContainerCreating")), id="being created"),
        pytest.param(pod(state={"running": {}}), id="starting"),
        pytest.param(pod(ready=True, state={"running": {}}, lastState=ended("old")), id="recovered from a crash"),
        pytest.param(pod(going=True, state=ended("", "OOMKilled", 137)), id="on its way out"),
    ],
)
def test_a_pod_that_only_needs_time_is_not(found: dict[str, Any]) -> None:
    assert diagnose({"status": {}}, [found]) is None


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        (
            {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota"},
            Reason.POD_REFUSED,
        ),
        (
            {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "too slow"},
            Reason.CANDIDATE_NOT_READY,
        ),
    ],
)
def test_a_deployment_without_telling_pods_is_diagnosed_by_its_conditions(
    condition: dict[str, str], reason: Reason
) -> None:
    assert diagnose({"status": {"conditions": [condition]}}, []) == Diagnosis(reason, condition["message"])


def test_a_long_message_is_cut() -> None:
    found = diagnose(None, [pod(**waiting("ErrImagePull", "x" * 5000))])
    assert found is not None
    assert len(found.message) == 512
