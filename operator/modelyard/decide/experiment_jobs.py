"""Reads trials' Jobs: how each stands, and in one sentence why one failed or does not get on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from modelyard.api.names import EXECUTION_LABEL, RUN_ID_ANNOTATION, TRIAL_LABEL
from modelyard.decide.experiment_model import Failure, JobState, TrialJob
from modelyard.decide.pods import diagnose

Json = dict[str, Any]

FETCH_CONTAINER = "project"
"""Name of the init container that brings the project's files."""

JOB_NAME_LABEL = "batch.kubernetes.io/job-name"
_MESSAGE_LIMIT = 1000


def read_jobs(jobs: Iterable[Json], pods: Iterable[Json], owner_uid: str) -> tuple[TrialJob, ...]:
    """Return the Jobs that belong to the Experiment of this uid, with what their pods tell."""
    by_job: dict[str, list[Json]] = {}
    for pod in pods:
        by_job.setdefault(pod["metadata"].get("labels", {}).get(JOB_NAME_LABEL, ""), []).append(pod)
    return tuple(_read(job, by_job.get(job["metadata"]["name"], ())) for job in jobs if _belongs(job, owner_uid))


def _belongs(job: Json, owner_uid: str) -> bool:
    metadata = job["metadata"]
    labels = metadata.get("labels", {})
    owned = any(reference.get("uid") == owner_uid for reference in metadata.get("ownerReferences", []))
    return owned and EXECUTION_LABEL in labels and labels.get(TRIAL_LABEL, "").isdigit()


def _read(job: Json, pods: Sequence[Json]) -> TrialJob:
    metadata = job["metadata"]
    state = _state(job)
    return TrialJob(
        name=metadata["name"],
        uid=metadata["uid"],
        execution=metadata["labels"][EXECUTION_LABEL],
        index=int(metadata["labels"][TRIAL_LABEL]),
        run_id=metadata.get("annotations", {}).get(RUN_ID_ANNOTATION, ""),
        state=state,
        failure=_failure(job, pods) if state is JobState.FAILED else None,
        waiting=_waiting(job, pods) if state is JobState.ACTIVE else None,
    )


def _state(job: Json) -> JobState:
    conditions = {
        item["type"]: item for item in job.get("status", {}).get("conditions", []) if item["status"] == "True"
    }
    if "Complete" in conditions:
        return JobState.SUCCEEDED
    return JobState.FAILED if "Failed" in conditions else JobState.ACTIVE


def _failure(job: Json, pods: Sequence[Json]) -> Failure:
    """Say why a Job failed: what the newest pod's containers left, else what the Job's controller says."""
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp")), reverse=True):
        status = pod.get("status", {})
        for container in (*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])):
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
    # A traceback's last line is the error itself, and messages are cut at their end.
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    last = f": {lines[-1]}" if lines else ""
    return Failure(ended.get("reason") or "Error", short(f"exit code {ended['exitCode']}{last}"))


def _waiting(job: Json, pods: Sequence[Json]) -> str | None:
    if not pods:
        return f"its Job has no pod; kubectl describe job {job['metadata']['name']} says why"
    found = diagnose(None, [_as_started(pod) for pod in pods])
    return f"{found.reason}: {found.message}" if found else None


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
