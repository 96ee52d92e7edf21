from __future__ import annotations

from typing import Any

import pytest

from modelyard.decide.experiment_jobs import need_pods, read_jobs
from modelyard.decide.jobs import Failure, JobState
from tests.unit.decide.experiments import UID, job, pod, terminated

Json = dict[str, Any]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (None, JobState.ACTIVE),
        ("FailureTarget", JobState.ACTIVE),
        ("SuccessCriteriaMet", JobState.ACTIVE),
        ("Suspended", JobState.ACTIVE),
        ("Complete", JobState.SUCCEEDED),
        ("Failed", JobState.FAILED),
    ],
)
def test_a_job_has_ended_when_its_controller_says_so(state: str | None, expected: JobState) -> None:
    (found,) = read_jobs([job(0, state=state)], [], UID)
    assert found.state is expected
    assert (found.execution, found.index, found.run_id) == ("e1", 0, "run-0")


def test_jobs_of_an_earlier_object_of_the_name_do_not_count() -> None:
    assert read_jobs([job(0, uid="gone")], [], UID) == ()


TRACEBACK = "Traceback (most recent call last):\n  File 'train.py', line 3\nValueError: no such column\n"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (
            {"containerStatuses": [terminated("trial", 1, message=TRACEBACK)]},
            Failure("Error", "exit code 1: ValueError: no such column"),
        ),
        (
            # Standard output is read apart, and may come later.
            {"containerStatuses": [terminated("trial", 1, message=f"{TRACEBACK}epoch 7 of 10\n")]},
            Failure("Error", "exit code 1: ValueError: no such column"),
        ),
        (
            {"containerStatuses": [terminated("trial", 2, message="usage: train.py\nunknown option -x\n")]},
            Failure("Error", "exit code 2: unknown option -x"),
        ),
        ({"containerStatuses": [terminated("trial", 137, "OOMKilled")]}, Failure("OOMKilled", "exit code 137")),
        (
            {"initContainerStatuses": [terminated("project", 1, message="git://x: refused")]},
            Failure("FetchFailed", "git://x: refused"),
        ),
        (
            {"initContainerStatuses": [terminated("environment", 1, message="another archive")]},
            Failure("EnvironmentFailed", "another archive"),
        ),
        (
            {
                "initContainerStatuses": [terminated("tracking", 137)],
                "containerStatuses": [terminated("trial", 3, message="no data")],
            },
            Failure("Error", "exit code 3: no data"),
        ),
        (
            {"reason": "Evicted", "message": "The node was low on memory"},
            Failure("Evicted", "The node was low on memory"),
        ),
        ({}, Failure("BackoffLimitExceeded", "Job has reached the specified backoff limit")),
    ],
)
def test_a_failure_says_what_the_pod_left_behind(status: Json, expected: Failure) -> None:
    failed = job(0, state="Failed", message="Job has reached the specified backoff limit")
    (found,) = read_jobs([failed], [pod("churn-e1-0", status=status), pod("churn-e1-1", status={"reason": "x"})], UID)
    assert found.failure == expected


def test_of_several_pods_the_newest_counts() -> None:
    pods = [
        pod("churn-e1-0", status={"reason": "Preempted"}, created="2026-01-01T00:00:00Z"),
        pod("churn-e1-0", status={"containerStatuses": [terminated("trial", 2)]}, created="2026-01-01T00:01:00Z"),
    ]
    (found,) = read_jobs([job(0, state="Failed")], pods, UID)
    assert found.failure == Failure("Error", "exit code 2")


WAITING = {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (
            {"containerStatuses": [{"name": "trial", "state": WAITING}]},
            "ImageUnavailable: pod churn-e1-0-x, container trial: ImagePullBackOff",
        ),
        (
            {
                "initContainerStatuses": [{"name": "project", "state": WAITING}],
                "containerStatuses": [{"name": "trial", "state": {"waiting": {"reason": "PodInitializing"}}}],
            },
            "ImageUnavailable: pod churn-e1-0-x, container project: ImagePullBackOff",
        ),
        (
            {
                "conditions": [
                    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
                ]
            },
            "Unschedulable: pod churn-e1-0-x: 0/3 nodes",
        ),
    ],
)
def test_what_keeps_a_pod_from_starting_is_told(status: Json, words: str) -> None:
    (found,) = read_jobs([job(0)], [pod("churn-e1-0", status=status)], UID)
    assert found.waiting is not None
    assert found.waiting.startswith(words)


def test_a_pod_on_its_way_waits_for_nothing() -> None:
    status = {
        "initContainerStatuses": [terminated("project", 0, "Completed")],
        "containerStatuses": [{"name": "trial", "state": {"running": {}}}],
    }
    (found,) = read_jobs([job(0)], [pod("churn-e1-0", status=status)], UID)
    assert found.waiting is None


def test_a_job_without_a_pod_says_where_to_look() -> None:
    (found,) = read_jobs([job(0)], [], UID)
    assert found.waiting == "its Job has no pod; kubectl describe job churn-e1-0 says why"


def failed_create(note: str, at: str = "2026-01-01T00:00:05Z", name: str = "churn-e1-0", kind: str = "Job") -> Json:
    about = {"kind": kind, "name": name}
    return {"regarding": about, "reason": "FailedCreate", "note": note, "deprecatedLastTimestamp": at}


QUOTA = 'Error creating: pods "churn-e1-0-8xk2p" is forbidden: exceeded quota: small, requested: pods=1, used: pods=2'


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([failed_create(QUOTA)], "forbidden: exceeded quota: small, requested: pods=1, used: pods=2"),
        ([failed_create("Error creating: admission webhook denied it")], "admission webhook denied it"),
        ([failed_create(QUOTA), failed_create("Error creating: newer", "2026-01-01T00:01:00Z")], "newer"),
    ],
)
def test_an_event_says_why_a_job_has_no_pod(events: list[Json], words: str) -> None:
    (found,) = read_jobs([job(0)], [], UID, events)
    assert found.waiting == f"its pod cannot be made: {words}"


@pytest.mark.parametrize("event", [failed_create(QUOTA, name="churn-e1-1"), failed_create(QUOTA, kind="ReplicaSet")])
def test_events_of_others_say_nothing(event: Json) -> None:
    (found,) = read_jobs([job(0)], [], UID, [event])
    assert found.waiting == "its Job has no pod; kubectl describe job churn-e1-0 says why"


def test_an_event_says_why_a_pod_is_not_started() -> None:
    begun = {"phase": "Pending", "containerStatuses": [{"name": "trial", "state": CREATING}]}
    lacks = {
        "regarding": {"kind": "Pod", "name": "churn-e1-0-x"},
        "reason": "FailedMount",
        "note": 'MountVolume.SetUp failed for volume "d": secret "data" not found',
    }
    (found,) = read_jobs([job(0)], [scheduled(begun)], UID, [lacks])
    assert found.waiting == f"ConfigurationMissing: pod churn-e1-0-x: FailedMount: {lacks['note']}"


CREATING = {"waiting": {"reason": "ContainerCreating"}}


def scheduled(status: Json) -> Json:
    conditions = [{"type": "PodScheduled", "status": "True"}]
    return pod("churn-e1-0", status={**status, "conditions": conditions})


@pytest.mark.parametrize("going", [True, False])
def test_a_job_whose_pod_somebody_deleted_did_not_fail_by_its_program(going: bool) -> None:
    left = pod("churn-e1-0", status={"containerStatuses": [terminated("trial", 137)]})
    left["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    (found,) = read_jobs([job(0, state="Failed")], [left] if going else [], UID)
    assert found.failure == Failure("PodDeleted", "its pod was deleted by somebody")


def test_a_job_past_its_time_failed_by_that_though_its_pod_is_gone() -> None:
    late = job(0, state="Failed", message="Job was active longer than specified deadline")
    late["status"]["conditions"][0]["reason"] = "DeadlineExceeded"
    (found,) = read_jobs([late], [], UID)
    assert found.failure == Failure("DeadlineExceeded", "Job was active longer than specified deadline")
    (found,) = read_jobs([{**late, "spec": {"activeDeadlineSeconds": 90}}], [], UID)
    assert found.failure == Failure("DeadlineExceeded", "it ran longer than spec.template.timeLimit, 90s")


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_has_ended_waits_for_nothing(phase: str) -> None:
    status = {"phase": phase, "containerStatuses": [terminated("trial", 0 if phase == "Succeeded" else 1)]}
    (found,) = read_jobs([job(0)], [pod("churn-e1-0", status=status)], UID)
    assert found.waiting is None


def test_a_suspended_job_waits_for_its_queue() -> None:
    (found,) = read_jobs([{**job(0), "spec": {"suspend": True}}], [], UID)
    assert found.waiting == "it is suspended, until its queue admits it"


def test_a_job_made_again_says_which_attempt_it_is() -> None:
    again = job(0)
    again["metadata"]["annotations"]["modelyard.dev/attempt"] = "2"
    assert [each.attempt for each in read_jobs([again, job(1)], [], UID)] == [2, 1]


def test_pods_are_asked_for_only_where_they_have_something_to_tell() -> None:
    running = job(0)
    running["status"]["ready"] = 1
    assert not need_pods([running, job(1, state="Complete")])
    assert need_pods([job(0)])
    assert need_pods([running, job(1, state="Failed")])
