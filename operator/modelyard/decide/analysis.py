"""Whether a candidate may have (more) traffic: the bounds of spec.rest.rollout.analysis against measurements. Pure.

Two kinds of evidence:
- The replay: the candidate has answered requests again that the stable version had answered. It says whether the
  candidate answers at all, the same, and as fast. It is had before any traffic.
- The live requests that the candidate has got by its share of the traffic.

The rules:
1. A figure fails when its bound is broken beyond doubt: the one-sided 95 % confidence bound of what was found is on the
   wrong side, with minSamples requests at least. Where the bound is 0, one case is enough, however few requests.
2. A figure passes when there are minSamples requests and what was found keeps the bound.
3. Else it is inconclusive: more requests will tell. One that fails refuses the candidate; one that is inconclusive
   holds the rollout.
4. At weight 0 the replay is judged, and must pass: nobody's request goes to a candidate that has shown nothing.
   With traffic the live figures are judged as well. A replay of too few requests no longer holds the rollout then,
   as somebody must have let it pass; one that breaks a bound still refuses the candidate.
5. For a service with little traffic, the replay stands in for requests that do not come: a live figure with fewer than
   minSamples requests, but a tenth of them, passes when none of these failed (or was too slow) and when its
   counterpart of the replay passes with minSamples. So no candidate goes on unseen, and one failure among few holds it.
6. Requests that are answered with 4xx are the clients' fault, neither failures nor samples, up to the share that the
   stable version has in the same time. What is surely beyond it is the candidate's: it refuses what was taken before.
7. Answers that are NaN or infinite do not speak against a candidate that gives no more of them than the stable version
   gives to the same requests.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from modelyard.api.rollout import Analysis, Figure, FigureVerdict, PrometheusCheck
from modelyard.decide.analysis_figures import (
    Bound,
    Draft,
    Need,
    cut,
    latency,
    latency_ratio,
    percent,
    share,
    shift,
    size,
)
from modelyard.decide.drift import parse_quantity
from modelyard.decide.pod_metrics import Histogram, PodMetrics, Replay
from modelyard.decide.statistics import (
    MAX_SAMPLES,
    Quantile,
    population_shifts,
    quantile_of,
    share_at_least,
    share_at_most,
)

P99 = 0.99

_MESSAGE_LIMIT = 1024
_STANDING_IN = 10
"""A live figure needs at least the tenth part of minSamples, if the replay is to make up for the rest."""

_PAIRS = {"errorRate": "replayErrorRate", "p99": "replayP99", "p99Ratio": "replayP99Ratio"}
"""Live figure → its counterpart of the replay."""


@dataclass(frozen=True)
class QueryResult:
    """What a Prometheus server said: a number; nothing yet (both empty); or `problem`, why it said nothing."""

    value: float | None = None
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What was measured. Every field may be missing: then the figures that need it are inconclusive."""

    candidate: PodMetrics | None = None
    """The candidate's pods together, since they began; None when none of them answers."""

    stable: PodMetrics | None = None
    """The stable version's pods together, over the time in which the candidate had traffic."""

    stable_version: str = ""
    """What a replay must have been compared with; empty: with anything."""

    no_replay: str = ""
    """Why there can be no replay; empty where nothing stands in its way."""

    silent: str = ""
    """Which pods did not answer and why, for people; empty where all did."""

    queries: Mapping[str, QueryResult] = field(default_factory=dict)
    """Name of a Prometheus check → result."""

    restarts: int = 0
    """How often containers of the candidate were restarted during the rollout."""


@dataclass(frozen=True)
class Judgement:
    """The verdict, the figures that it comes from, and a message that names what fails, or what is missing."""

    verdict: FigureVerdict
    figures: tuple[Figure, ...]
    message: str = ""


def judge(bounds: Analysis, evidence: Evidence, weight: int) -> Judgement:
    """Judge a candidate that has `weight` percent of the traffic, by the rules of this module.

    Figures: restarts, memoryGrowth, replayErrorRate, replayP99, replayP99Ratio, disagreement, psi, invalid,
    answerRange, errorRate, p99, p99Ratio, prometheus/<name>. Those without a bound in the spec are left out.
    """
    replayed = list(_Replayed(bounds, evidence).figures())
    passed = {figure.name for figure in replayed if figure.verdict == FigureVerdict.PASSED}
    if weight > 0:
        replayed = [figure for figure in replayed if not _too_few(figure, bounds)]
    figures = (
        *_pods(bounds, evidence),
        *replayed,
        *(_Live(bounds, evidence, passed).figures(weight) if weight > 0 else ()),
        *(found for check in bounds.prometheus if (found := _prometheus(check, evidence, weight)) is not None),
    )
    return _judgement(figures, evidence)


def _judgement(figures: tuple[Figure, ...], evidence: Evidence) -> Judgement:
    for verdict in (FigureVerdict.FAILED, FigureVerdict.INCONCLUSIVE):
        # Several figures may lack the same thing: it is said once.
        said = dict.fromkeys(figure.message for figure in figures if figure.verdict == verdict)
        if said:
            also = [evidence.silent] if evidence.silent and verdict == FigureVerdict.INCONCLUSIVE else []
            return Judgement(verdict, figures, cut("; ".join([*said, *also]), _MESSAGE_LIMIT))
    return Judgement(FigureVerdict.PASSED, figures, f"all {len(figures)} figures keep their bounds")


def _too_few(figure: Figure, bounds: Analysis) -> bool:
    return figure.verdict == FigureVerdict.INCONCLUSIVE and figure.samples < bounds.min_samples


def _pods(bounds: Analysis, evidence: Evidence) -> Iterator[Figure]:
    """Judge what is seen of the candidate's pods whether or not they have answered requests."""
    draft = Draft("restarts", str(evidence.restarts), "0", evidence.candidate.pods if evidence.candidate else 0)
    if evidence.restarts:
        times = "once" if evidence.restarts == 1 else f"{evidence.restarts} times"
        yield draft.failed(f"the candidate's containers were restarted {times}")
    else:
        yield draft.passed()
    if bounds.max_memory_growth is not None:
        yield _memory_growth(bounds.max_memory_growth, evidence.candidate)


def _memory_growth(limit: str, candidate: PodMetrics | None) -> Figure:
    most = float(parse_quantity(limit))
    if candidate is None or candidate.memory_growth is None:
        return Draft("memoryGrowth", "", limit).inconclusive("no pod of the candidate tells how much memory it has")
    requests = sum(candidate.requests.values()) + candidate.replay.requests
    draft = Draft("memoryGrowth", size(candidate.memory_growth), limit, requests)
    if candidate.memory_growth > most:
        return draft.above(Bound(draft.name, "memory growth", "maxMemoryGrowth", most))
    return draft.passed()


class _Replayed:
    """The figures of the replay."""

    def __init__(self, bounds: Analysis, evidence: Evidence) -> None:
        self._bounds = bounds
        self._replay = evidence.candidate.replay if evidence.candidate else Replay()
        compared = self._replay.reference_version
        self._other = bool(evidence.stable_version and compared and compared != evidence.stable_version)
        if self._other:
            self._replay = Replay()
        self._samples = self._replay.distinct
        self._need = Need(bounds.min_samples, self._why_short(evidence, compared))

    def _why_short(self, evidence: Evidence, compared: str) -> str:
        short = f"{self._samples} of {self._bounds.min_samples} requests replayed"
        if evidence.no_replay:
            return f"{short}: {evidence.no_replay}"
        if evidence.candidate is None:
            return f"{short}: no pod of the candidate answers GET /metrics"
        if self._other:
            return f"{short}: the candidate was compared with version {compared}, not {evidence.stable_version}"
        return f"{short}: more come with requests to the stable version"

    def figures(self) -> Iterator[Figure]:
        """Judge what has a bound."""
        bounds, replay = self._bounds, self._replay
        bound = Bound("replayErrorRate", "error rate of the replay", "maxErrorRate", float(bounds.max_error_rate))
        yield self._share(bound, replay.errors, replay.requests)
        candidate, reference = self._p99("candidate"), self._p99("reference")
        if bounds.max_p99 is not None:
            bound = Bound("replayP99", "p99 of the replay", "maxP99", seconds(bounds.max_p99))
            yield latency(bound, candidate, self._need)
        if bounds.max_p99_ratio is not None:
            bound = Bound("replayP99Ratio", "p99 ratio of the replay", "maxP99Ratio", float(bounds.max_p99_ratio))
            yield latency_ratio(bound, candidate, reference, self._need)
        if bounds.max_disagreement is not None:
            tolerance = float(bounds.tolerance)
            bound = Bound("disagreement", "disagreement", "maxDisagreement", float(bounds.max_disagreement))
            yield self._share(bound, replay.difference.above(tolerance), replay.difference.total)
        if bounds.max_psi is not None:
            yield self._psi(Bound("psi", "population stability index", "maxPSI", float(bounds.max_psi)))
        yield self._invalid(Bound("invalid", "share of invalid answers", "maxInvalid", float(bounds.max_invalid)))
        if bounds.min_answer is not None or bounds.max_answer is not None:
            yield self._answer_range(bounds.min_answer, bounds.max_answer)

    def _share(self, bound: Bound, hits: int, total: int) -> Figure:
        return share(bound, hits, total, self._samples, self._need)

    def _p99(self, side: str) -> Quantile | None:
        return quantile_of(self._replay.seconds.get(side, Histogram()), P99, self._samples)

    def _psi(self, bound: Bound) -> Figure:
        reference, candidate = (self._replay.answers.get(side, {}) for side in ("reference", "candidate"))
        # Of answers that are lists, the position counts that has shifted most.
        worst = max(population_shifts(reference, candidate), key=lambda found: found.psi, default=None)
        answers = min(sum(reference.values()), sum(candidate.values()))
        return shift(bound, worst, min(self._samples, answers), self._need)

    def _invalid(self, bound: Bound) -> Figure:
        found, of_reference = (self._replay.invalid.get(side, 0) for side in ("candidate", "reference"))
        total = self._replay.difference.total
        if not found or found > of_reference:
            return self._share(bound, min(found, total), total)
        shown = f"{percent(found / total)} ({found} of {total})" if total else str(found)
        draft = Draft("invalid", shown, percent(bound.value), min(self._samples, total))
        if draft.samples < self._bounds.min_samples:
            return draft.inconclusive(self._need.short)
        return draft.passed(f"the stable version gives {of_reference} to the same requests")

    def _answer_range(self, least: str | None, greatest: str | None) -> Figure:
        bound = f"{least if least is not None else '…'} to {greatest if greatest is not None else '…'}"
        low, high = self._replay.least.get("candidate"), self._replay.greatest.get("candidate")
        if low is None or high is None:
            draft = Draft("answerRange", "", bound, self._samples)
            if draft.samples < self._bounds.min_samples:
                return draft.inconclusive(self._need.short)
            return draft.inconclusive("the answers hold no numbers: minAnswer and maxAnswer have nothing to bound")
        draft = Draft("answerRange", f"{low:g} to {high:g}", bound, self._samples)
        if least is not None and low < float(least):
            return draft.failed(f"an answer {low:g} is below minAnswer {least}")
        if greatest is not None and high > float(greatest):
            return draft.failed(f"an answer {high:g} is above maxAnswer {greatest}")
        return draft.passed() if self._samples >= self._bounds.min_samples else draft.inconclusive(self._need.short)


class _Live:
    """The figures of the requests that the candidate has got."""

    def __init__(self, bounds: Analysis, evidence: Evidence, vouched: set[str]) -> None:
        self._bounds = bounds
        self._candidate = evidence.candidate
        self._stable = evidence.stable
        self._vouched = vouched
        """The figures of the replay that pass."""

    def figures(self, weight: int) -> Iterator[Figure]:
        """Judge what has a bound."""
        bounds = self._bounds
        yield self._error_rate()
        found = quantile_of(self._candidate.seconds, P99) if self._candidate else None
        if bounds.max_p99 is not None:
            bound = Bound("p99", "p99", "maxP99", seconds(bounds.max_p99))
            judged = latency(bound, found, self._need(found.samples if found else 0))
            yield self._or_vouched(judged, keeps=found is not None and found.estimate <= bound.value)
        # At 100 % there is nobody left to compare with.
        if bounds.max_p99_ratio is not None and weight < 100:
            yield self._ratio(Bound("p99Ratio", "p99 ratio", "maxP99Ratio", float(bounds.max_p99_ratio)), found)

    def _error_rate(self) -> Figure:
        """Judge the share of 5xx, and of what is refused (4xx) beyond the share that clients are to blame for."""
        candidate = self._candidate or PodMetrics()
        excess = self._refused_in_excess()
        failed, answered = candidate.failed + excess, candidate.total - candidate.refused + excess
        words = f"error rate (with {excess} 4xx beyond the stable version's share)" if excess else "error rate"
        bound = Bound("errorRate", words, "maxErrorRate", float(self._bounds.max_error_rate))
        judged = share(bound, failed, answered, answered, self._need(answered))
        return self._or_vouched(judged, keeps=failed == 0)

    def _refused_in_excess(self) -> int:
        """Return how many 4xx are the candidate's doing: those beyond the share that the stable version has surely.

        MLflow's protocol answers 400 also where the model raises, and a model may refuse what its predecessor took.
        Without requests to the stable version nobody can tell.
        """
        candidate, stable = self._candidate or PodMetrics(), self._stable or PodMetrics()
        if not stable.total or not candidate.refused:
            return 0
        usual = share_at_most(*_counted(stable.refused, stable.total))
        if share_at_least(*_counted(candidate.refused, candidate.total)) <= usual:
            return 0
        return max(1, int(candidate.refused - usual * candidate.total))

    def _ratio(self, bound: Bound, found: Quantile | None) -> Figure:
        stable = quantile_of(self._stable.seconds, P99) if self._stable else None
        need = self._need(found.samples if found else 0)
        if found and found.samples >= need.requests:
            need = self._need(stable.samples if stable else 0, "the stable version in the same time")
        judged = latency_ratio(bound, found, stable, need)
        keeps = bool(found and stable and found.estimate <= bound.value * stable.estimate)
        return self._or_vouched(judged, keeps=keeps)

    def _need(self, seen: int, by: str = "the candidate") -> Need:
        return Need(self._bounds.min_samples, f"{seen} of {self._bounds.min_samples} requests seen by {by}")

    def _or_vouched(self, judged: Figure, *, keeps: bool) -> Figure:
        """Return the figure; passed, if its few requests `keep` the bound and the replay makes up for the rest."""
        enough = judged.samples * _STANDING_IN >= self._bounds.min_samples
        if _too_few(judged, self._bounds) and keeps and enough and _PAIRS[judged.name] in self._vouched:
            said = f"{judged.samples} of {self._bounds.min_samples} requests: the replay makes up for the rest"
            return judged.model_copy(update={"verdict": FigureVerdict.PASSED, "message": said})
        return judged


def _counted(hits: int, total: int) -> tuple[int, int]:
    """Return a share's counts, scaled down to as many samples as are looked at."""
    counted = min(total, MAX_SAMPLES)
    return hits * counted // total, counted


def _prometheus(check: PrometheusCheck, evidence: Evidence, weight: int) -> Figure | None:
    """Judge a figure of a Prometheus server; None for one without data while there is no traffic to have it from."""
    limits = [f"{word} {limit}" for word, limit in (("min", check.min), ("max", check.max)) if limit is not None]
    result = evidence.queries.get(check.name, QueryResult(problem="the server was not asked"))
    bare = Draft(f"prometheus/{check.name}", "", ", ".join(limits))
    if result.problem:
        return bare.inconclusive(f"Prometheus check {check.name}: {result.problem}")
    if result.value is None or math.isnan(result.value):
        return bare.inconclusive(f"Prometheus check {check.name}: the query has no result yet") if weight > 0 else None
    draft = Draft(bare.name, f"{result.value:g}", bare.bound, 1)
    if check.min is not None and result.value < float(check.min):
        return draft.failed(f"Prometheus check {check.name}: {draft.found} is below min {check.min}")
    if check.max is not None and result.value > float(check.max):
        return draft.failed(f"Prometheus check {check.name}: {draft.found} is above max {check.max}")
    return draft.passed()


def seconds(text: str) -> float:
    """Return what a bound like 250ms or 1.5s stands for."""
    return float(text.removesuffix("ms")) / 1000 if text.endswith("ms") else float(text.removesuffix("s"))
