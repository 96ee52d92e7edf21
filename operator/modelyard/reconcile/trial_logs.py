"""Keeps the last lines of a failed trial's log with its run."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from modelyard.cluster.client import ApiError, Client
from modelyard.cluster.pod_logs import last_lines
from modelyard.decide.experiment_model import LOG_ARTIFACT, Run
from modelyard.decide.jobs import newest
from modelyard.reconcile.jobs import pods_of
from modelyard.tracking.client import TrackingError, TrackingUnreachable

log = logging.getLogger(__name__)

Json = dict[str, Any]

LINES = 200
"""Of each container."""

BYTES = 64 * 1024
"""Of each container, the last ones."""

PATIENCE_SECONDS = 300.0
"""For how long a trial's failure may wait for its log to be written: a bucket that is full answers so for good."""


class Artifacts(Protocol):
    """What is needed of the tracking server; see `tracking.client.TrackingClient`."""

    def put_artifact(self, run: Run, path: str, data: bytes) -> None:
        """Write an artifact of a run."""


class TrialLogs:
    """Keeps logs as an artifact of the run, `modelyard/log.txt`: a part for each container of the newest pod."""

    def __init__(self, client: Client, tracking: Artifacts, seconds: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._tracking = tracking
        self._seconds = seconds
        self._failing: dict[str, float] = {}
        """Runs whose log could not be written, by id, with when that was tried first."""

    def keep(self, namespace: str, job_name: str, run: Run) -> None:
        """Write what is there of the log of the Job's newest pod; a second time writes the same.

        Where there is none (any more), nothing is written: what was kept before stays. A log that cannot be read or
        that the tracking server refuses is a warning: the trial's failure is told all the same. Raises
        `TrackingUnreachable` for some minutes, so that it is tried again, and `ApiError` where the API server does not
        answer.
        """
        try:
            pod = newest(pods_of(self._client, namespace, job_name))
            parts = list(self._parts(namespace, pod)) if pod else []
        except ApiError as error:
            if not error.code:
                raise
            log.warning("the log of job %s/%s cannot be read: %s", namespace, job_name, error)
            return
        if not parts:
            return
        try:
            self._tracking.put_artifact(run, LOG_ARTIFACT, "\n".join(parts).encode())
        except TrackingError as error:
            first = self._failing.setdefault(run.run_id, self._seconds())
            if isinstance(error, TrackingUnreachable) and self._seconds() - first < PATIENCE_SECONDS:
                raise
            log.warning("the log of job %s/%s is not kept: %s", namespace, job_name, error)
        self._failing.pop(run.run_id, None)

    def _parts(self, namespace: str, pod: Json) -> Iterator[str]:
        """Give the containers' logs, each below a line that says whose it is and how the container ended."""
        status, spec = pod.get("status", {}), pod["spec"]
        states = {
            item["name"]: item.get("state", {})
            for item in (*status.get("initContainerStatuses", []), *status.get("containerStatuses", []))
        }
        for container in (*spec.get("initContainers", []), *spec["containers"]):
            name = container["name"]
            state = states.get(name, {})
            if not state or "waiting" in state:
                continue
            lines = _last_bytes(last_lines(self._client, namespace, pod["metadata"]["name"], name, LINES))
            if lines:
                yield f"==> {name}{_ending(state)} <==\n{lines}"


def _ending(state: Json) -> str:
    ended = state.get("terminated")
    if not ended:
        return ""
    reason = ended.get("reason")
    return f" (exit code {ended.get('exitCode')}{f', {reason}' if reason else ''})"


def _last_bytes(text: str) -> str:
    """Cut the text at its start to what is kept, and end it with a line break."""
    data = text.rstrip().encode()
    cut = f"… {len(data) - BYTES} bytes before this are left out\n" if len(data) > BYTES else ""
    kept = data[-BYTES:].decode(errors="ignore")
    return f"{cut}{kept}\n" if kept else ""
