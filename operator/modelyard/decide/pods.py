"""What is wrong with pods, in one reason and one sentence, from what the API server shows of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from modelyard.api.reasons import Reason

Json = dict[str, Any]

_IMAGE_PROBLEMS = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError")
_MESSAGE_LIMIT = 512


@dataclass(frozen=True)
class Diagnosis:
    """Why pods are not ready."""

    reason: Reason
    message: str


def diagnose(deployment: Json | None, pods: Iterable[Json]) -> Diagnosis | None:
    """Return the first thing that keeps a Deployment's pods from being ready, or None where they only need time.

    The order is that of a pod's life: made, scheduled, image, start, run.
    """
    refused = _condition((deployment or {}).get("status", {}), "ReplicaFailure")
    if refused and refused["status"] == "True":
        return Diagnosis(Reason.POD_REFUSED, _short(refused.get("message", "")))
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"]["name"])):
        if pod["metadata"].get("deletionTimestamp"):
            continue
        found = _diagnose_pod(pod)
        if found:
            return found
    deadline = _condition((deployment or {}).get("status", {}), "Progressing")
    if deadline and deadline.get("reason") == "ProgressDeadlineExceeded":
        return Diagnosis(Reason.CANDIDATE_NOT_READY, _short(deadline.get("message", "")))
    return None


def _diagnose_pod(pod: Json) -> Diagnosis | None:
    name = pod["metadata"]["name"]
    status = pod.get("status", {})
    scheduled = _condition(status, "PodScheduled")
    if scheduled and scheduled["status"] == "False" and scheduled.get("reason") == "Unschedulable":
        return Diagnosis(Reason.UNSCHEDULABLE, _short(f"pod {name}: {scheduled.get('message', '')}"))
    for container in status.get("containerStatuses", []):
        waiting = container.get("state", {}).get("waiting", {})
        if waiting.get("reason") in _IMAGE_PROBLEMS:
            text = f"pod {name}: {waiting['reason']}: {waiting.get('message', '')}"
            return Diagnosis(Reason.IMAGE_UNAVAILABLE, _short(text))
        if waiting.get("reason") in ("CreateContainerConfigError", "CreateContainerError", "RunContainerError"):
            text = f"pod {name}: {waiting['reason']}: {waiting.get('message', '')}"
            return Diagnosis(Reason.CANDIDATE_FAILED, _short(text))
        ended = container.get("state", {}).get("terminated") or container.get("lastState", {}).get("terminated")
        if ended and not container.get("ready"):
            return Diagnosis(Reason.CANDIDATE_FAILED, _short(f"pod {name}: {_ending(ended)}"))
    return None


def _ending(terminated: Json) -> str:
    """Say how a container ended: its own last words, if it left any, else what the kubelet knows."""
    message = str(terminated.get("message", "")).strip()
    cause = f"{terminated.get('reason', 'Error')}, exit code {terminated.get('exitCode')}"
    return f"{message} ({cause})" if message else cause


def _condition(status: Json, kind: str) -> Json | None:
    return next((condition for condition in status.get("conditions", []) if condition["type"] == kind), None)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _MESSAGE_LIMIT else text[: _MESSAGE_LIMIT - 1] + "…"
