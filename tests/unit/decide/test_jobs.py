from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from modelyard.decide.jobs import need_events, newest, progress

Json = dict[str, Any]
LONG_AGO, JUST_NOW = "2026-01-01T00:00:00Z", "2026-01-01T00:00:55Z"
NOW = datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
SCHEDULED = [{"type": "PodScheduled", "status": "True"}]


def job(created: str = LONG_AGO, *, suspend: bool = False, ready: int = 0) -> Json:
    return {
        "metadata": {"name": "build-1", "creationTimestamp": created},
        "spec": {"suspend": suspend},
        "status": {"ready": ready},
    }


def pod(phase: str = "Pending", waiting: str = "", message: str = "") -> Json:
    state = {"waiting": {"reason": waiting, "message": message}} if waiting else {"running": {}}
    containers = [{"name": "build", "ready": not waiting, "state": state}]
    return {
        "metadata": {"name": "p", "labels": {"batch.kubernetes.io/job-name": "build-1"}},
        "status": {"phase": phase, "conditions": SCHEDULED, "containerStatuses": containers},
    }


REFUSED = {
    "regarding": {"kind": "Job", "name": "build-1"},
    "reason": "FailedCreate",
    "note": 'Error creating: pods "build-1-x" is forbidden: exceeded quota: small',
    "deprecatedLastTimestamp": LONG_AGO,
}


@pytest.mark.parametrize(
    ("subject", "pods", "events", "expected"),
    [
        (job(), [pod("Running")], [], "Job build-1 is at work"),
        (job(ready=1), [pod("Running")], [], "Job build-1 is at work"),
        (job(), [pod("Succeeded")], [], "Job build-1 is at work"),
        (
            job(),
            [pod(waiting="ImagePullBackOff", message="not found")],
            [],
            "Job build-1 does not get on: ImageUnavailable: pod p, container build: ImagePullBackOff: not found",
        ),
        (
            job(),
            [],
            [REFUSED],
            "Job build-1 does not get on: its pod cannot be made: forbidden: exceeded quota: small",
        ),
        (
            job(suspend=True),
            [],
            [],
            "Job build-1 does not get on: it is suspended, until its queue admits it",
        ),
    ],
    ids=["running", "ready", "ended", "no image", "quota", "suspended"],
)
def test_a_job_says_how_it_gets_on(subject: Json, pods: list[Json], events: list[Json], expected: str) -> None:
    assert progress(subject, pods, events) == expected


@pytest.mark.parametrize(
    ("subject", "pods", "expected"),
    [
        (job(), [], True),
        (job(JUST_NOW), [], False),
        (job(suspend=True), [], False),
        (job(), [pod(waiting="ContainerCreating")], True),
        (job(), [pod("Running")], False),
        (job(ready=1), [], False),
    ],
    ids=["no pod", "just made", "suspended", "not started", "running", "ready"],
)
def test_events_are_asked_for_where_nothing_else_tells(subject: Json, pods: list[Json], expected: bool) -> None:
    assert need_events([subject], pods, NOW) is expected


def test_the_log_that_counts_is_the_newest_pod_s() -> None:
    first = {"metadata": {"name": "a", "creationTimestamp": LONG_AGO}}
    second = {"metadata": {"name": "b", "creationTimestamp": JUST_NOW}}
    assert newest([second, first]) is second
    assert newest([]) is None
