"""Reads trials' Jobs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from modelyard.api.names import ATTEMPT_ANNOTATION, EXECUTION_LABEL, RUN_ID_ANNOTATION, TRIAL_LABEL
from modelyard.decide.experiment_model import POD_DELETED, TrialJob
from modelyard.decide.jobs import JOB_NAME_LABEL, Failure, JobState, failure_of, state_of, waiting_for
from modelyard.decide.pods import needs_events

Json = dict[str, Any]

PATIENCE = timedelta(seconds=10)
"""How long a pod may take to be made and started before Events are asked for why it is not."""

_OUT_OF_ATTEMPTS = "BackoffLimitExceeded"
_OUT_OF_TIME = "DeadlineExceeded"


def need_pods(jobs: Iterable[Json]) -> bool:
    """Whether pods have something to tell of these Jobs: why one failed, or why one does not run."""
    return any(state_of(job) is JobState.FAILED or not _runs(job) for job in jobs)


def need_events(jobs: Iterable[Json], pods: Iterable[Json], now: datetime) -> bool:
    """Whether only Events tell why a Job's pod is not made, or not started, for longer than that takes as a rule."""
    by_job = _by_job(pods)
    waiting = (job for job in jobs if not _runs(job) and not _is_suspended(job))
    return any(
        now - datetime.fromisoformat(job["metadata"]["creationTimestamp"]) > PATIENCE
        and (job["metadata"]["name"] not in by_job or needs_events(by_job[job["metadata"]["name"]]))
        for job in waiting
    )


def read_jobs(
    jobs: Iterable[Json], pods: Iterable[Json], owner_uid: str, events: Sequence[Json] = ()
) -> tuple[TrialJob, ...]:
    """Return the Jobs that belong to the Experiment of this uid, with what their pods and the Events tell."""
    by_job = _by_job(pods)
    mine = (job for job in jobs if _belongs(job, owner_uid))
    return tuple(_read(job, by_job.get(job["metadata"]["name"], ()), events) for job in mine)


def _by_job(pods: Iterable[Json]) -> dict[str, list[Json]]:
    by_job: dict[str, list[Json]] = {}
    for pod in pods:
        by_job.setdefault(pod["metadata"].get("labels", {}).get(JOB_NAME_LABEL, ""), []).append(pod)
    return by_job


def _belongs(job: Json, owner_uid: str) -> bool:
    metadata = job["metadata"]
    labels = metadata.get("labels", {})
    owned = any(reference.get("uid") == owner_uid for reference in metadata.get("ownerReferences", []))
    return owned and EXECUTION_LABEL in labels and labels.get(TRIAL_LABEL, "").isdigit()


def _read(job: Json, pods: Sequence[Json], events: Sequence[Json]) -> TrialJob:
    metadata = job["metadata"]
    state = state_of(job)
    annotations = metadata.get("annotations", {})
    return TrialJob(
        name=metadata["name"],
        uid=metadata["uid"],
        execution=metadata["labels"][EXECUTION_LABEL],
        index=int(metadata["labels"][TRIAL_LABEL]),
        run_id=annotations.get(RUN_ID_ANNOTATION, ""),
        state=state,
        attempt=int(annotations.get(ATTEMPT_ANNOTATION, "1")),
        failure=_failure(job, pods) if state is JobState.FAILED else None,
        waiting=_waiting(job, pods, events) if state is JobState.ACTIVE else None,
    )


def _failure(job: Json, pods: Sequence[Json]) -> Failure:
    """Say why a Job failed. A program's own failure leaves its pod; a pod that somebody deletes is gone, or going."""
    failed = next(item for item in job["status"]["conditions"] if item["type"] == "Failed")
    stayed = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    if failed.get("reason") == _OUT_OF_ATTEMPTS and not stayed:
        return Failure(POD_DELETED, "its pod was deleted by somebody")
    limit = job.get("spec", {}).get("activeDeadlineSeconds")
    if failed.get("reason") == _OUT_OF_TIME and limit:
        return Failure(_OUT_OF_TIME, f"it ran longer than spec.template.timeLimit, {limit}s")
    return failure_of(job, pods)


def _runs(job: Json) -> bool:
    return bool(job.get("status", {}).get("ready")) or state_of(job) is not JobState.ACTIVE


def _is_suspended(job: Json) -> bool:
    return bool(job.get("spec", {}).get("suspend"))


def _waiting(job: Json, pods: Sequence[Json], events: Sequence[Json]) -> str | None:
    if _is_suspended(job):
        return "it is suspended, until its queue admits it"
    # A pod that has ended waits for nothing but the Job's controller to say so.
    over = pods and all(pod.get("status", {}).get("phase") in ("Succeeded", "Failed") for pod in pods)
    return None if over or _runs(job) else waiting_for(job, pods, events)
