"""Plays the programs of trials whose pods are objects only: they log the objective and end their runs and pods."""

from __future__ import annotations

import heapq
import json
import re
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import urllib3

from modelyard.api.names import RUN_ID_ANNOTATION, TRIAL_LABEL
from modelyard.cluster.client import Client, NotFound
from modelyard.cluster.resources import PODS
from modelyard.desired.experiment import TRIAL_CONTAINER
from tests.bench.kwok import NAMESPACE

Json = dict[str, Any]
EXIT_CODE = "bench.modelyard.dev/exit-code"
"""Annotation on a pod: kwok-trials.yaml has it end so."""

PROGRAM = "bench-program"
"""What the programs call themselves towards MLflow."""


def score(pod: Json) -> float:
    """Return what the program of a trial's pod finds, from its command."""
    (trial,) = (each for each in pod["spec"]["containers"] if each["name"] == TRIAL_CONTAINER)
    x, y = re.findall(r"-?[0-9.]+(?:e-?[0-9]+)?", str((trial.get("command") or []) + (trial.get("args") or [])))[-2:]
    return 1 - (float(x) - 0.3) ** 2 - (float(y) - 0.7) ** 2


@dataclass(order=True)
class _Due:
    at: float
    pod: Json = field(compare=False)


class Programs:
    """Plays what runs in the pods: each for some seconds, then it logs the objective and ends its run and its pod."""

    def __init__(self, client: Client, tracking_uri: str, seconds: float) -> None:
        self._client = client
        self._mlflow = httpx.Client(
            base_url=f"{tracking_uri}/api/2.0/mlflow", headers={"User-Agent": PROGRAM}, timeout=60
        )
        self._seconds = seconds
        self._due: list[_Due] = []
        self._changed = threading.Condition()
        self._known: set[str] = set()
        self._pool = ThreadPoolExecutor(8)
        self.pods: Counter[str] = Counter()
        """How many pods ran for each trial."""
        self.running = 0
        self.most = 0
        self.failures: list[Exception] = []
        for work in (self._follow, self._start_due):
            threading.Thread(target=work, daemon=True).start()

    def _follow(self) -> None:
        api = self._client._api
        headers: dict[str, str] = {}
        api.update_params_for_auth(headers, [], ["BearerToken"], "", "GET", None)
        url = f"{api.configuration.host}{PODS.path(NAMESPACE)}?watch=true"
        answer = api.rest_client.pool_manager.request("GET", url, headers=headers, preload_content=False)
        rest = b""
        # It ends with the API server.
        with suppress(urllib3.exceptions.HTTPError):
            for chunk in answer.stream(1 << 16):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self._see(_event(line))

    def _see(self, pod: Json) -> None:
        uid = pod["metadata"]["uid"]
        if uid in self._known or pod.get("status", {}).get("phase") != "Running":
            return
        self._known.add(uid)
        index = pod["metadata"].get("labels", {}).get(TRIAL_LABEL)
        if index is not None:
            self.pods[index] += 1
        with self._changed:
            self.running += 1
            self.most = max(self.most, self.running)
            heapq.heappush(self._due, _Due(time.monotonic() + (self._seconds if index is not None else 0), pod))
            self._changed.notify()

    def _start_due(self) -> None:
        while True:
            with self._changed:
                while not self._due or self._due[0].at > time.monotonic():
                    self._changed.wait(self._due[0].at - time.monotonic() if self._due else None)
                pod = heapq.heappop(self._due).pod
            self._pool.submit(self._end, pod)

    def _end(self, pod: Json) -> None:
        try:
            if TRIAL_LABEL in pod["metadata"].get("labels", {}):
                self._log(pod["metadata"]["annotations"][RUN_ID_ANNOTATION], score(pod))
            patch = {"metadata": {"annotations": {EXIT_CODE: "0"}}}
            with suppress(NotFound):
                self._client.merge_patch(PODS, NAMESPACE, pod["metadata"]["name"], patch, "bench")
        except Exception as error:
            self.failures.append(error)
            raise
        finally:
            with self._changed:
                self.running -= 1

    def _log(self, run_id: str, value: float) -> None:
        now = int(time.time() * 1000)
        metric = {"key": "score", "value": value, "timestamp": now, "step": 0}
        self._mlflow.post("/runs/log-batch", json={"run_id": run_id, "metrics": [metric]}).raise_for_status()
        ended = {"run_id": run_id, "status": "FINISHED", "end_time": now}
        self._mlflow.post("/runs/update", json=ended).raise_for_status()


def _event(line: bytes) -> Json:
    body: Json = json.loads(line)["object"]
    return body
