"""Collects the evidence that a candidate is judged by: from its pods, the stable version's, and Prometheus servers."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from modelyard.api.rollout import Analysis, PrometheusCheck
from modelyard.decide.analysis import Evidence, QueryResult
from modelyard.decide.pod_metrics import PodMetrics, Replay, merge, since
from modelyard.metrics.client import Answer, Ask, Client, NoAnswer
from modelyard.metrics.parse import BadMetrics, parse
from modelyard.metrics.prometheus import question, result_of

LEASE_SECONDS = 30
"""How long candidates go on replaying after they were last told to."""

MAX_REFERENCES = 256
"""As many pods a candidate takes requests from, at most."""

_MAX_ROLLOUTS = 10_000


@dataclass(frozen=True)
class PodAddress:
    """A pod: its name, which is never used again, and where it listens."""

    name: str
    ip: str
    port: int = 8080

    @property
    def url(self) -> str:
        """`http://<ip>:<port>`."""
        host = f"[{self.ip}]" if ":" in self.ip else self.ip
        return f"http://{host}:{self.port}"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Who is to be compared with whom."""

    key: str
    """Of the rollout: another candidate of the same deployment has another key."""

    candidates: Sequence[PodAddress]
    candidate_version: str
    stables: Sequence[PodAddress]
    stable_version: str
    token: str | None
    """The control token of the namespace's model pods; None where there is none."""

    recent_requests: int = 1
    """spec.rest.recentRequests of the stable version's pods."""

    restarts: int = 0
    """How often containers of the candidate were restarted during the rollout."""


class Scraper:
    """Asks pods and servers, all at once. Safe to use from several threads.

    What it remembers of a rollout is only where the stable pods' counters stood when the candidate got its first
    request. After a restart of the operator the comparison of live latencies begins anew.
    """

    def __init__(self, timeout: float = 2.0, check_url: Callable[[str], object] | None = None) -> None:
        """`check_url` raises, with a message for people, for a Prometheus server that may not be asked."""
        self._client = Client(timeout)
        self._check_url = check_url
        self._lock = threading.Lock()
        self._bases: OrderedDict[str, dict[str, PodMetrics]] = OrderedDict()

    def evidence(self, subject: Subject, bounds: Analysis) -> Evidence:
        """Have the candidates replay for another while, and return what is measured by now. Takes the timeout at most.

        Never raises for what others do: what is not had is missing in the evidence, with the reason.
        """
        refused, allowed = self._checked(bounds.prometheus)
        versions = {"candidate": subject.candidate_version, "stable": subject.stable_version}
        pods = [*subject.candidates, *subject.stables]
        leases = [_lease(pod, subject) for pod in subject.candidates] if subject.token and subject.stables else []
        answers = self._client.ask(
            [
                *(Ask(f"{pod.url}/metrics") for pod in pods),
                *leases,
                *(question(check, versions) for check in allowed),
            ]
        )
        of_pods, of_leases = answers[: len(pods)], answers[len(pods) : len(pods) + len(leases)]
        results = [result_of(answer) for answer in answers[len(pods) + len(leases) :]]
        measured = [_measured(answer) for answer in of_pods]
        candidates, stables = measured[: len(subject.candidates)], measured[len(subject.candidates) :]
        candidate = merge(found for found in candidates if isinstance(found, PodMetrics))
        known = {
            pod.name: found
            for pod, found in zip(subject.stables, stables, strict=True)
            if isinstance(found, PodMetrics)
        }
        return Evidence(
            candidate=candidate,
            stable=self._since_base(subject, known, candidate),
            stable_version=subject.stable_version,
            no_replay=_no_replay(subject, candidate, known, of_leases),
            silent="; ".join(filter(None, (_silent("candidate", candidates), _silent("stable version", stables)))),
            queries={**refused, **{check.name: found for check, found in zip(allowed, results, strict=True)}},
            restarts=subject.restarts,
        )

    def forget(self, key: str) -> None:
        """Drop what is remembered of a rollout that has ended."""
        with self._lock:
            self._bases.pop(key, None)

    def close(self) -> None:
        """End what runs in the background."""
        self._client.close()

    def _since_base(
        self, subject: Subject, known: Mapping[str, PodMetrics], candidate: PodMetrics | None
    ) -> PodMetrics | None:
        """Return what the stable pods have measured since the candidate got its first request."""
        with self._lock:
            bases = self._bases.setdefault(subject.key, {})
            self._bases.move_to_end(subject.key)
            while len(self._bases) > _MAX_ROLLOUTS:
                self._bases.popitem(last=False)
            if candidate is not None and not any(candidate.requests.values()):
                bases.update(known)
            for name in bases.keys() - {pod.name for pod in subject.stables}:
                del bases[name]
            return merge([since(bases.setdefault(name, now), now) for name, now in known.items()])

    def _checked(self, checks: Sequence[PrometheusCheck]) -> tuple[dict[str, QueryResult], list[PrometheusCheck]]:
        """Return the results of checks whose server may not be asked, and the checks to ask."""
        refused: dict[str, QueryResult] = {}
        for check in checks:
            if self._check_url is not None:
                try:
                    self._check_url(check.url)
                except Exception as error:
                    refused[check.name] = QueryResult(problem=str(error))
        return refused, [check for check in checks if check.name not in refused]


def _lease(pod: PodAddress, subject: Subject) -> Ask:
    references = [stable.url for stable in subject.stables[:MAX_REFERENCES]]
    body = {"from": references, "version": subject.stable_version, "seconds": LEASE_SECONDS}
    return Ask(
        f"{pod.url}/modelyard/replay",
        method="PUT",
        headers={"Authorization": f"Bearer {subject.token}"},
        body=json.dumps(body).encode(),
    )


def _measured(answer: Answer | NoAnswer) -> PodMetrics | str:
    """Return a pod's metrics, or why there are none."""
    if isinstance(answer, NoAnswer):
        return str(answer)
    if answer.status != 200:
        return f"GET /metrics answered {answer.status}"
    try:
        return parse(answer.body.decode())
    except UnicodeDecodeError:
        return "GET /metrics: no text"
    except BadMetrics as error:
        return f"GET /metrics: {error}"


def _silent(who: str, measured: Sequence[PodMetrics | str]) -> str:
    """Return how many pods tell nothing and why the first of them does not; empty where all tell."""
    reasons = [found for found in measured if isinstance(found, str)]
    return f"{len(reasons)} of {len(measured)} pods of the {who} tell nothing: {reasons[0]}" if reasons else ""


def _no_replay(
    subject: Subject,
    candidate: PodMetrics | None,
    stables: Mapping[str, PodMetrics],
    leases: Sequence[Answer | NoAnswer],
) -> str:
    """Return why nothing can be replayed; empty where something can."""
    taken = any(isinstance(answer, Answer) and answer.status == 200 for answer in leases)
    asked = any(pod.requests.get("200") for pod in stables.values())
    replay = candidate.replay if candidate else Replay()
    reasons = (
        (
            subject.recent_requests <= 0,
            "the stable version's pods do not remember requests: spec.rest.recentRequests is 0",
        ),
        (not subject.token, "no control token in Secret modelyard-artifacts-reader"),
        (not subject.stables, "the stable version has no pods"),
        (bool(leases) and not taken, f"the candidate takes no replay: {_refusal(leases)}"),
        (bool(stables) and not asked, "no request has reached the stable version yet"),
        (
            replay.fetch_errors > 0 and not replay.requests,
            "the candidate's pods cannot fetch requests from the stable version's: their logs say why",
        ),
    )
    return next((text for holds, text in reasons if holds), "")


def _refusal(leases: Sequence[Answer | NoAnswer]) -> str:
    """Return why the first pod takes no replay."""
    answer = leases[0] if leases else NoAnswer()
    if isinstance(answer, NoAnswer):
        return str(answer)
    known = {
        401: "its control token is another one: restart its pods",
        404: "its pods have no control token (MODELYARD_CONTROL_TOKEN)",
        409: "it is the stable version itself",
        503: "it is not ready",
    }
    return known.get(answer.status, f"PUT /modelyard/replay answered {answer.status}")
