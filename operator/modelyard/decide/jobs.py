"""Reads Jobs and their pods: how each stands, and in one sentence why one failed or does not get on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from modelyard.decide.pods import diagnose, needs_events, newest_first

Json = dict[str, Any]

FETCH_CONTAINER = "project"
"""Name of the init container that brings a project's files."""

ENVIRONMENT_CONTAINER = "environment"
"""Name of the init container that unpacks the libraries."""

SIDECARS = ("tracking",)
"""Names of containers that run beside a program, and end because it did."""

JOB_NAME_LABEL = "batch.kubernetes.io/job-name"
_MESSAGE_LIMIT = 1000
_PROGRESS_LIMIT = 300

_PATIENCE = timedelta(seconds=10)
"""How long a pod may take to be made and started before Events are asked for why it is not."""

_RAISED = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*(Error|Exception|Interrupt|Exit)(:|$)")
"""The line of a Python traceback that says what was raised."""

_UNSTABLE = re.compile(r'^Error creating: (pods? "[^"]*" is )?', re.IGNORECASE)
"""How a FailedCreate begins: the pod has another name each time."""


class JobState(StrEnum):
    """How a Job stands."""

    ACTIVE = "Active"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


@dataclass(frozen=True)
class Failure:
    """Why a Job failed: a CamelCase reason and a sentence."""

    reason: str
    message: str = ""


def state_of(job: Json) -> JobState:
    """Return how a Job stands."""
    conditions = {
        item["type"]: item for item in job.get("status", {}).get("conditions", []) if item["status"] == "True"
    }
    if "Complete" in conditions:
        return JobState.SUCCEEDED
    return JobState.FAILED if "Failed" in conditions else JobState.ACTIVE


def runs(job: Json) -> bool:
    """Whether a Job's pod is ready, or nothing more is to come of it."""
    return bool(job.get("status", {}).get("ready")) or state_of(job) is not JobState.ACTIVE


def _is_suspended(job: Json) -> bool:
    return bool(job.get("spec", {}).get("suspend"))


def by_job(pods: Iterable[Json]) -> dict[str, list[Json]]:
    """Return pods by the names of their Jobs."""
    found: dict[str, list[Json]] = {}
    for pod in pods:
        found.setdefault(pod["metadata"].get("labels", {}).get(JOB_NAME_LABEL, ""), []).append(pod)
    return found


def newest(pods: Sequence[Json]) -> Json | None:
    """Return the pod whose log counts: where the cluster took one away, the one that replaced it."""
    return max(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp")), default=None)


def need_events(jobs: Iterable[Json], pods: Iterable[Json], now: datetime) -> bool:
    """Whether only Events tell why a Job's pod is not made, or not started, for longer than that takes as a rule."""
    grouped = by_job(pods)
    waiting = (job for job in jobs if not runs(job) and not _is_suspended(job))
    return any(
        now - datetime.fromisoformat(job["metadata"]["creationTimestamp"]) > _PATIENCE
        and (job["metadata"]["name"] not in grouped or needs_events(grouped[job["metadata"]["name"]]))
        for job in waiting
    )


def progress(job: Json, pods: Sequence[Json], events: Sequence[Json] = ()) -> str:
    """Say in one sentence how an active Job gets on."""
    name = job["metadata"]["name"]
    waiting = waiting_for(job, pods, events)
    return f"Job {name} does not get on: {short(waiting, _PROGRESS_LIMIT)}" if waiting else f"Job {name} is at work"


def failure_of(job: Json, pods: Sequence[Json]) -> Failure:
    """Say why a Job failed: what the newest pod's containers left, else what the Job's controller says."""
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp")), reverse=True):
        status = pod.get("status", {})
        for container in (*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])):
            if container["name"] in SIDECARS:
                continue
            ended = container.get("state", {}).get("terminated")
            if ended and ended.get("exitCode"):
                return _ending(container["name"], ended)
        if status.get("reason"):
            return Failure(status["reason"], short(status.get("message", "")))
    failed = next(item for item in job["status"]["conditions"] if item["type"] == "Failed")
    return Failure(failed.get("reason", "JobFailed"), short(failed.get("message", "")))


def _ending(container: str, ended: Json) -> Failure:
    words = str(ended.get("message", "")).strip()
    if container == FETCH_CONTAINER:
        return Failure("FetchFailed", short(words or f"exit code {ended['exitCode']}"))
    if container == ENVIRONMENT_CONTAINER:
        return Failure("EnvironmentFailed", short(words or f"exit code {ended['exitCode']}"))
    # A traceback's last line is the error itself, and messages are cut at their end. It need not come last: the
    # runtime reads standard output and standard error apart.
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    errors = [line for line in lines if _RAISED.match(line)]
    last = f": {(errors or lines)[-1]}" if lines else ""
    return Failure(ended.get("reason") or "Error", short(f"exit code {ended['exitCode']}{last}"))


def waiting_for(job: Json, pods: Sequence[Json], events: Sequence[Json] = ()) -> str | None:
    """Say what keeps an active Job's pod from starting, if anything does; Events of v1 or events.k8s.io/v1 may tell."""
    if _is_suspended(job):
        return "it is suspended, until its queue admits it"
    # Pods that have ended wait for nothing but the Job's controller to say so.
    if runs(job) or _are_over(pods):
        return None
    if not pods:
        return _no_pod(job["metadata"]["name"], events)
    found = diagnose(None, [_as_started(pod) for pod in pods], events)
    return f"{found.reason}: {found.message}" if found else None


def _no_pod(job: str, events: Sequence[Json]) -> str:
    """Say why a Job has no pod: a quota, a limit, a policy or a webhook refuses it, which only an Event tells."""
    about = (event for event in newest_first(events) if event.get("reason") == "FailedCreate")
    for event in about:
        regarding = event.get("regarding") or event.get("involvedObject") or {}
        if (regarding.get("kind"), regarding.get("name")) == ("Job", job):
            return f"its pod cannot be made: {short(_UNSTABLE.sub('', str(event.get('note') or event.get('message'))))}"
    return f"its Job has no pod; kubectl describe job {job} says why"


def _are_over(pods: Sequence[Json]) -> bool:
    return bool(pods) and all(pod.get("status", {}).get("phase") in ("Succeeded", "Failed") for pod in pods)


def _as_started(pod: Json) -> Json:
    """Return the pod with its init containers among the others: what keeps those from starting counts as well."""
    status = pod.get("status", {})
    running = [item for item in status.get("initContainerStatuses", []) if "waiting" in item.get("state", {})]
    waiting = [item for item in status.get("containerStatuses", []) if "waiting" in item.get("state", {})]
    return {**pod, "status": {**status, "containerStatuses": [*running, *waiting]}}


def short(text: str, limit: int = _MESSAGE_LIMIT) -> str:
    """Return `text` on one line, cut to what a status shows."""
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
