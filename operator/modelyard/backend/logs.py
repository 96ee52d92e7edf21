"""Follows the logs of an Experiment's trials, as `kubectl logs` with timestamps gives them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from modelyard.api.names import EXECUTION_LABEL, EXPERIMENT_LABEL, TRIAL_LABEL
from modelyard.cluster.client import ApiError, Client
from modelyard.cluster.resources import PODS
from modelyard.desired.experiment import TRIAL_CONTAINER

AT_ONCE = 10
"""How many trials' logs are shown at a time; the others' can be read in MLflow and with kubectl."""

_FRACTION = re.compile(r"\.[0-9]+")

Json = dict[str, Any]


@dataclass
class _Place:
    """How far a pod's log was read: the newest line's time, and how many lines have that very time."""

    time: str = ""
    lines: int = 0
    ended: bool = False


class Logs:
    """The logs of one execution's trials. Each line is given once, with its trial's index where there are several."""

    def __init__(self, client: Client, namespace: str, experiment: str) -> None:
        self._client = client
        self._namespace = namespace
        self._experiment = experiment
        self._places: dict[str, _Place] = {}

    def new(self, execution: str, *, several: bool) -> Iterator[str]:
        """Give the lines that were written since the last call. Raises `ApiError`."""
        labels = f"{EXPERIMENT_LABEL}={self._experiment},{EXECUTION_LABEL}={execution}"
        pods = [pod for pod in self._client.list_all(PODS, self._namespace, labels) if TRIAL_LABEL in _labels(pod)]
        open_pods = [pod for pod in pods if not self._place(pod).ended and _has_started(pod)]
        for pod in sorted(open_pods, key=lambda pod: int(_labels(pod)[TRIAL_LABEL]))[:AT_ONCE]:
            # What ended before its log is read has written all of it.
            ended = _has_ended(pod)
            for line in self._read(pod):
                yield f"[{_labels(pod)[TRIAL_LABEL]}] {line}" if several else line
            self._place(pod).ended = ended

    def _place(self, pod: Json) -> _Place:
        return self._places.setdefault(pod["metadata"]["uid"], _Place())

    def _read(self, pod: Json) -> Iterator[str]:
        place = self._place(pod)
        query = [("container", TRIAL_CONTAINER), ("timestamps", "true")]
        if place.time:
            # It counts whole seconds: lines that are known come again and are left out.
            query.append(("sinceTime", _FRACTION.sub("", place.time)))
        try:
            text = self._client.read(PODS.path(self._namespace, pod["metadata"]["name"], "log"), query)
        except ApiError as error:
            if error.code in (400, 404):
                # The container is not there yet, or not any more.
                return
            raise
        known, seen = _Place(place.time, place.lines), 0
        for line in text.decode(errors="replace").splitlines(keepends=True):
            if not line.endswith("\n") and not _has_ended(pod):
                # It is being written.
                break
            when, _, words = line.rstrip("\n").partition(" ")
            seen += when == known.time
            if when < known.time or (when == known.time and seen <= known.lines):
                continue
            place.time, place.lines = when, place.lines + 1 if when == place.time else 1
            yield words


def _labels(pod: Json) -> dict[str, str]:
    labels: dict[str, str] = pod["metadata"].get("labels", {})
    return labels


def _state(pod: Json) -> Json:
    containers = pod.get("status", {}).get("containerStatuses", ())
    return next((each.get("state", {}) for each in containers if each["name"] == TRIAL_CONTAINER), {})


def _has_started(pod: Json) -> bool:
    return "running" in _state(pod) or "terminated" in _state(pod)


def _has_ended(pod: Json) -> bool:
    return "terminated" in _state(pod) or pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
