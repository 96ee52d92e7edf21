"""Reads a gate's Job: whether it is still at work, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from modelyard.decide.jobs import JobState, failure_of, newest, short, state_of

Json = dict[str, Any]

_WORDS = 300


@dataclass(frozen=True)
class Ended:
    """What came of a Job. The times are the API server's, RFC 3339; empty where it does not tell."""

    passed: bool
    message: str
    started_at: str
    finished_at: str


def ended(job: Json, pods: Sequence[Json], timeout_seconds: int) -> Ended | None:
    """Return what came of the Job, or None where it has not ended. `timeout_seconds` is what its pod was given."""
    state = state_of(job)
    if state is JobState.ACTIVE:
        return None
    status = job["status"]
    started_at = str(status.get("startTime", ""))
    finished_at = str(status.get("completionTime") or _last_transition(status))
    passed = state is JobState.SUCCEEDED
    message = "exit code 0" if passed else _failure(job, pods, timeout_seconds)
    seconds = _seconds(started_at, finished_at)
    return Ended(passed, message if seconds is None else f"{message} after {seconds} s", started_at, finished_at)


def _failure(job: Json, pods: Sequence[Json], timeout_seconds: int) -> str:
    pod = newest(pods)
    if pod is not None and pod.get("status", {}).get("reason") == "DeadlineExceeded":
        return f"it was stopped: it may take {timeout_seconds} s"
    failure = failure_of(job, pods)
    if failure.reason == "DeadlineExceeded":
        return f"it was given up: its pod did not start and end within {job['spec']['activeDeadlineSeconds']} s"
    return short(f"{failure.message or failure.reason}", _WORDS)


def _last_transition(status: Json) -> str:
    ends = (item for item in status["conditions"] if item["type"] in ("Complete", "Failed"))
    return next((str(item["lastTransitionTime"]) for item in ends if "lastTransitionTime" in item), "")


def _seconds(started_at: str, finished_at: str) -> int | None:
    try:
        return int((datetime.fromisoformat(finished_at) - datetime.fromisoformat(started_at)).total_seconds())
    except ValueError:
        return None
