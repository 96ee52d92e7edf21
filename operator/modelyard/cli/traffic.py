"""What the pods of a deployment have answered, from their own /metrics through the API server's pod proxy."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from modelyard.api.names import REVISION_LABEL
from modelyard.cluster.client import ApiError, Client, Json
from modelyard.cluster.resources import PODS
from modelyard.decide.pod_metrics import PodMetrics, merge, since
from modelyard.decide.statistics import quantile_of
from modelyard.desired.pods import PORT
from modelyard.metrics.parse import BadMetrics, parse

_WORKERS = 4
"""Fewer than the connections that the client keeps open: five on a machine with one core."""
_PATIENCE_SECONDS = 3.0
_QUANTILE = 0.99


def p99(metrics: PodMetrics) -> float | None:
    """Return the 99th percentile of the requests' times in seconds, None without requests."""
    found = quantile_of(metrics.seconds, _QUANTILE)
    return found.estimate if found else None


@dataclass(frozen=True)
class Traffic:
    """What pods have counted, by their uid. `forbidden` is the API server's refusal, `silent` who did not answer."""

    counted: Mapping[str, PodMetrics] = field(default_factory=dict)
    silent: tuple[str, ...] = ()
    forbidden: str = ""
    at: float = 0.0
    """When it was asked for, in seconds of a clock that never goes back."""


def ask(client: Client, pods: Iterable[Json]) -> Traffic:
    """Ask all ready pods at once; who does not answer within a few seconds is passed over."""
    begun = time.monotonic()
    ready = [pod for pod in pods if _is_ready(pod)]
    answers = _in_parallel(lambda pod: _metrics(client, pod), ready)
    counted, silent, forbidden = {}, [], ""
    for pod, answer in zip(ready, answers, strict=True):
        if isinstance(answer, PodMetrics):
            counted[pod["metadata"]["uid"]] = answer
        elif isinstance(answer, ApiError) and answer.code in (401, 403):
            forbidden = str(answer)
        else:
            silent.append(str(pod["metadata"]["name"]))
    return Traffic(counted, tuple(silent), forbidden, begun)


def by_revision(pods: Iterable[Json], now: Traffic, before: Traffic | None) -> dict[str, PodMetrics]:
    """Return what the pods of each revision have counted; with `before`, what they have counted since.

    A pod that was not seen before says nothing about the time since: it is passed over until the next look.
    """
    found: dict[str, list[PodMetrics]] = {}
    for pod in pods:
        uid = pod["metadata"]["uid"]
        revision = pod["metadata"]["labels"][REVISION_LABEL]
        counted = now.counted.get(uid)
        if counted is None or (before is not None and uid not in before.counted):
            continue
        found.setdefault(revision, []).append(counted if before is None else since(before.counted[uid], counted))
    together = {revision: merge(counted) for revision, counted in found.items()}
    return {revision: counted for revision, counted in together.items() if counted is not None}


def _metrics(client: Client, pod: Json) -> PodMetrics:
    metadata = pod["metadata"]
    path = PODS.path(metadata["namespace"], f"{metadata['name']}:{PORT}", "proxy")
    return parse(client.read(f"{path}/metrics", headers={"Accept": "text/plain"}).decode())


def _is_ready(pod: Json) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _in_parallel(act: Callable[[Json], PodMetrics], pods: list[Json]) -> list[PodMetrics | Exception]:
    """Return what `act` gives or raises for each pod, `TimeoutError` for those that take too long.

    The threads are daemons: a pod that never answers keeps nobody from ending the program.
    """
    todo: queue.SimpleQueue[int] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[int, PodMetrics | Exception]] = queue.SimpleQueue()
    for index in range(len(pods)):
        todo.put(index)

    def work() -> None:
        while True:
            try:
                index = todo.get_nowait()
            except queue.Empty:
                return
            try:
                done.put((index, act(pods[index])))
            except (ApiError, BadMetrics, UnicodeDecodeError) as error:
                done.put((index, error))

    for _ in range(min(_WORKERS, len(pods))):
        threading.Thread(target=work, daemon=True).start()
    answers: list[PodMetrics | Exception] = [TimeoutError()] * len(pods)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    for _ in pods:
        try:
            index, answer = done.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        answers[index] = answer
    return answers
