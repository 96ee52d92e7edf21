"""Measures a candidate while it is judged: asks its pods and those of the served version."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

from modelyard.api.modeldeployment import ModelDeployment
from modelyard.api.rollout import Analysis
from modelyard.api.serving import ServedModel, pod_labels
from modelyard.cluster.client import Client
from modelyard.cluster.resources import PODS
from modelyard.decide.analysis import Evidence, judge
from modelyard.decide.modeldeployment import Revision
from modelyard.decide.rollout import Observed, analysed, is_paused
from modelyard.desired.pods import PORT
from modelyard.metrics.scrape import PodAddress, Subject
from modelyard.reconcile.reader import control_token_of

Json = dict[str, Any]


class Measuring(Protocol):
    """Asks pods what they have measured (`metrics.scrape.Scraper`)."""

    def evidence(self, subject: Subject, bounds: Analysis) -> Evidence:
        """Return what is measured by now."""

    def forget(self, key: str) -> None:
        """Drop what is remembered of a rollout."""


class DeploymentAnalysis:
    """Gives what is seen of a rollout the judgement on its candidate."""

    def __init__(self, client: Client, measuring: Measuring) -> None:
        self._client = client
        self._measuring = measuring
        self._keys: dict[tuple[str, str], str] = {}

    def judged(self, owner: ModelDeployment, seen: Observed) -> Observed:
        """Return what was seen with the judgement, where there is a candidate that is ready to be judged."""
        rollout = owner.spec.rest.rollout
        under_way = _under_way(owner, seen)
        if under_way is None or rollout is None or not analysed(rollout) or is_paused(owner):
            self.forget(owner.metadata.namespace, owner.metadata.name)
            return seen
        wanted, stable = under_way
        bounds = rollout.analysis or Analysis()
        subject = self._subject(owner, wanted, stable, seen.restarts)
        known = owner.status.rollout
        weight = known.weight if known and known.revision == wanted.revision else 0
        return replace(seen, judgement=judge(bounds, self._measuring.evidence(subject, bounds), weight))

    def forget(self, namespace: str, name: str) -> None:
        """Drop what is remembered of a deployment's rollout."""
        key = self._keys.pop((namespace, name), None)
        if key is not None:
            self._measuring.forget(key)

    def _subject(self, owner: ModelDeployment, wanted: ServedModel, stable: Revision, restarts: int) -> Subject:
        namespace, name = owner.metadata.namespace, owner.metadata.name
        key = f"{namespace}/{name}/{wanted.revision}"
        if self._keys.get((namespace, name)) != key:
            self.forget(namespace, name)
            self._keys[namespace, name] = key
        return Subject(
            key=key,
            candidates=self._pods(owner, wanted.revision),
            candidate_version=str(wanted.version),
            stables=self._pods(owner, stable.revision),
            stable_version=str(stable.version),
            token=control_token_of(self._client, namespace),
            recent_requests=owner.spec.rest.recent_requests,
            restarts=restarts,
        )

    def _pods(self, owner: ModelDeployment, revision: str) -> list[PodAddress]:
        """Return where the revision's ready pods answer."""
        labels = ",".join(f"{key}={value}" for key, value in pod_labels(owner.metadata.name, revision).items())
        pods = self._client.list_all(PODS, owner.metadata.namespace, labels)
        return [_address(pod) for pod in pods if _is_ready(pod) and pod["status"].get("podIP")]


def _address(pod: Json) -> PodAddress:

    return PodAddress(pod["metadata"]["name"], pod["status"]["podIP"], PORT)


def _under_way(owner: ModelDeployment, seen: Observed) -> tuple[ServedModel, Revision] | None:
    """Return the candidate that has a ready pod and the version it would replace."""
    stable, refused = seen.stable, owner.status.refused
    if not isinstance(seen.wanted, ServedModel) or stable is None or stable.revision == seen.wanted.revision:
        return None
    if refused and refused.revision == seen.wanted.revision and refused.generation == owner.metadata.generation:
        return None
    candidate = seen.revisions.get(seen.wanted.revision)
    return (seen.wanted, stable) if candidate and candidate.ready else None


def _is_ready(pod: Json) -> bool:
    if pod["metadata"].get("deletionTimestamp"):
        return False
    conditions = pod.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
