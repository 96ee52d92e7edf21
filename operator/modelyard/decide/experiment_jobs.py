"""Reads trials' Jobs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from modelyard.api.names import ATTEMPT_ANNOTATION, EXECUTION_LABEL, RUN_ID_ANNOTATION, TRIAL_LABEL
from modelyard.decide.experiment_model import POD_DELETED, TrialJob
from modelyard.decide.jobs import Failure, JobState, by_job, failure_of, runs, state_of, waiting_for

Json = dict[str, Any]

_OUT_OF_ATTEMPTS = "BackoffLimitExceeded"
_OUT_OF_TIME = "DeadlineExceeded"


def need_pods(jobs: Iterable[Json]) -> bool:
    """Whether pods have something to tell of these Jobs: why one failed, or why one does not run."""
    return any(state_of(job) is JobState.FAILED or not runs(job) for job in jobs)


def read_jobs(
    jobs: Iterable[Json], pods: Iterable[Json], owner_uid: str, events: Sequence[Json] = ()
) -> tuple[TrialJob, ...]:
    """Return the Jobs that belong to the Experiment of this uid, with what their pods and the Events tell."""
    grouped = by_job(pods)
    mine = (job for job in jobs if _belongs(job, owner_uid))
    return tuple(_read(job, grouped.get(job["metadata"]["name"], ()), events) for job in mine)


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
        waiting=waiting_for(job, pods, events) if state is JobState.ACTIVE else None,
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
