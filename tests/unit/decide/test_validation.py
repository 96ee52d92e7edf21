from __future__ import annotations

from typing import Any

import pytest

from modelyard.decide.validation import Ended, ended

Json = dict[str, Any]
STARTED, FINISHED = "2026-05-01T12:00:00Z", "2026-05-01T12:01:15Z"


def job(condition: str = "", reason: str = "", **status: Any) -> Json:
    conditions = [{"type": condition, "status": "True", "reason": reason, "lastTransitionTime": FINISHED}]
    times = {"startTime": STARTED, **({"completionTime": FINISHED} if condition == "Complete" else {})}
    return {
        "metadata": {"name": "churn-smoke-1"},
        "spec": {"activeDeadlineSeconds": 960},
        "status": {**times, **({"conditions": conditions} if condition else {}), **status},
    }


def pod(name: str = "p", created: str = STARTED, **status: Any) -> Json:
    return {"metadata": {"name": name, "creationTimestamp": created}, "status": status}


def terminated(code: int, message: str = "", reason: str = "Error") -> Json:
    return {"name": "validation", "state": {"terminated": {"exitCode": code, "message": message, "reason": reason}}}


@pytest.mark.parametrize(
    ("condition", "reason", "pods", "passed", "message"),
    [
        ("Complete", "CompletionsReached", [], True, "exit code 0 after 75 s"),
        (
            "Failed",
            "PodFailurePolicy",
            [pod(containerStatuses=[terminated(3, "AssertionError: f1 is 0.3")])],
            False,
            "exit code 3: AssertionError: f1 is 0.3 after 75 s",
        ),
        (
            "Failed",
            "BackoffLimitExceeded",
            [pod(containerStatuses=[terminated(137, reason="OOMKilled")])],
            False,
            "exit code 137 after 75 s",
        ),
        (
            "Failed",
            "BackoffLimitExceeded",
            [pod(reason="DeadlineExceeded", containerStatuses=[terminated(143, "half of it")])],
            False,
            "it was stopped: it may take 60 s after 75 s",
        ),
        ("Failed", "DeadlineExceeded", [], False, "it was given up: its pod did not start and end within 960 s"),
    ],
    ids=["passed", "failed", "memory", "too slow", "never started"],
)
def test_what_came_of_a_job(condition: str, reason: str, pods: list[Json], passed: bool, message: str) -> None:
    found = ended(job(condition, reason), pods, 60)
    assert found is not None
    assert (found.passed, found.started_at, found.finished_at) == (passed, STARTED, FINISHED)
    assert found.message.startswith(message)


def test_a_job_at_work_has_not_ended() -> None:
    assert ended(job(), [pod()], 60) is None


def test_times_that_the_api_server_does_not_tell_are_left_out() -> None:
    bare = {"metadata": {"name": "x"}, "status": {"conditions": [{"type": "Complete", "status": "True"}]}}
    assert ended(bare, [], 60) == Ended(True, "exit code 0", "", "")
