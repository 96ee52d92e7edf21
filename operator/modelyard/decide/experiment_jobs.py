"""Reads trials' Jobs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from modelyard.api.names import EXECUTION_LABEL, RUN_ID_ANNOTATION, TRIAL_LABEL
from modelyard.decide.experiment_model import TrialJob
from modelyard.decide.jobs import JOB_NAME_LABEL, JobState, failure_of, state_of, waiting_for

Json = dict[str, Any]


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
    state = state_of(job)
    return TrialJob(
        name=metadata["name"],
        uid=metadata["uid"],
        execution=metadata["labels"][EXECUTION_LABEL],
        index=int(metadata["labels"][TRIAL_LABEL]),
        run_id=metadata.get("annotations", {}).get(RUN_ID_ANNOTATION, ""),
        state=state,
        failure=failure_of(job, pods) if state is JobState.FAILED else None,
        waiting=waiting_for(job, pods) if state is JobState.ACTIVE else None,
    )
