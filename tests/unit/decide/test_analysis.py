"""Verdicts on candidates: every figure, every verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from modelyard.api.rollout import Analysis, Figure, FigureVerdict
from modelyard.decide.analysis import Evidence, Judgement, QueryResult, judge, seconds
from modelyard.decide.pod_metrics import Histogram, PodMetrics, Replay

PASSED, FAILED, INCONCLUSIVE = FigureVerdict.PASSED, FigureVerdict.FAILED, FigureVerdict.INCONCLUSIVE
EDGES = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, math.inf)


def times(of: Mapping[float, int]) -> Histogram:
    """A histogram over EDGES with so many values of each number of seconds."""
    counts = dict.fromkeys(EDGES, 0)
    for value, count in of.items():
        counts[min(edge for edge in EDGES if value <= edge)] += count
    return Histogram(counts)


def equal_rows(rows: int, differing: int = 0, by: float = math.inf) -> Histogram:
    """Differences of so many answers, some of which differ by a bucket's bound."""
    counts = {0.0: rows - differing, 0.01: 0, 0.02: 0, 0.05: 0, math.inf: 0}
    counts[by] += differing
    return Histogram(counts)


def replay(requests: int = 500, **rest: Any) -> Replay:
    """A replay in which the candidate answered just as the reference."""
    same: dict[str, Any] = {
        "reference_version": "3",
        "requests": requests,
        "distinct": requests,
        "difference": equal_rows(requests),
        "answers": {
            side: {"no": requests - requests // 4, "yes": requests // 4} for side in ("candidate", "reference")
        },
        "seconds": {side: times({0.01: requests}) for side in ("candidate", "reference")},
        "least": {"candidate": 0.1},
        "greatest": {"candidate": 0.9},
    }
    return Replay(**{**same, **rest})


def pod(ok: int = 0, failed: int = 0, *, took: float = 0.01, **rest: Any) -> PodMetrics:
    """A pod that has answered so many requests, each in `took` seconds."""
    given: dict[str, Any] = {"requests": {"200": ok, "500": failed}, "seconds": times({took: ok + failed})}
    return PodMetrics(**{**given, **rest})


def bounds(**spec: Any) -> Analysis:
    return Analysis.model_validate(spec)


def at_zero(spec: Mapping[str, Any], **measured: Any) -> Judgement:
    """The judgement before any traffic, by a replay with `measured`."""
    return judge(bounds(**spec), Evidence(candidate=pod(replay=replay(**measured)), stable_version="3"), 0)


def named(judgement: Judgement, name: str) -> Figure:
    return next(figure for figure in judgement.figures if figure.name == name)


def names(judgement: Judgement) -> list[str]:
    return [figure.name for figure in judgement.figures]


ALL: dict[str, Any] = {
    "maxP99": "250ms",
    "maxP99Ratio": "1.5",
    "maxDisagreement": "0.05",
    "maxPSI": "0.2",
    "minAnswer": "0",
    "maxAnswer": "1",
    "maxMemoryGrowth": "100Mi",
}
OF_REPLAY = ["replayErrorRate", "replayP99", "replayP99Ratio", "disagreement", "psi", "invalid", "answerRange"]


# Which figures there are


def test_without_bounds_only_what_has_a_default_is_judged() -> None:
    assert names(at_zero({})) == ["restarts", "replayErrorRate", "invalid"]


def test_before_traffic_only_the_replay_is_judged() -> None:
    assert names(at_zero(ALL)) == ["restarts", "memoryGrowth", *OF_REPLAY]


@pytest.mark.parametrize(("weight", "live"), [(10, ["errorRate", "p99", "p99Ratio"]), (100, ["errorRate", "p99"])])
def test_with_traffic_the_live_requests_are_judged_too(weight: int, live: list[str]) -> None:
    # At 100 % the stable version has no requests to compare with.
    evidence = Evidence(candidate=pod(500, replay=replay(), memory_growth=0), stable=pod(500), stable_version="3")
    judgement = judge(bounds(**ALL), evidence, weight)
    assert names(judgement) == ["restarts", "memoryGrowth", *OF_REPLAY, *live]
    assert judgement.verdict == PASSED
    assert judgement.message == f"all {len(judgement.figures)} figures keep their bounds"


# The replay's figures


@pytest.mark.parametrize(
    ("name", "spec", "measured", "verdict", "found", "limit"),
    [
        # Error rate: 1 % is kept by 5 of 500, may be chance at 8, is not at 21.
        ("replayErrorRate", {}, {"errors": 0}, PASSED, "0 % (0 of 500)", "1 %"),
        ("replayErrorRate", {}, {"errors": 5}, PASSED, "1 % (5 of 500)", "1 %"),
        ("replayErrorRate", {}, {"errors": 8}, INCONCLUSIVE, "1.6 % (8 of 500)", "1 %"),
        ("replayErrorRate", {}, {"errors": 21}, FAILED, "4.2 % (21 of 500)", "1 %"),
        ("replayErrorRate", {}, {"requests": 99}, INCONCLUSIVE, "0 % (0 of 99)", "1 %"),
        ("replayErrorRate", {}, {"requests": 99, "errors": 99}, INCONCLUSIVE, "100 % (99 of 99)", "1 %"),
        ("replayErrorRate", {}, {"requests": 100}, PASSED, "0 % (0 of 100)", "1 %"),
        ("replayErrorRate", {"minSamples": 1000}, {}, INCONCLUSIVE, "0 % (0 of 500)", "1 %"),
        ("replayErrorRate", {"maxErrorRate": "0"}, {"requests": 7, "errors": 1}, FAILED, "14.3 % (1 of 7)", "0 %"),
        ("replayErrorRate", {"maxErrorRate": "0"}, {"requests": 7}, INCONCLUSIVE, "0 % (0 of 7)", "0 %"),
        ("replayErrorRate", {"maxErrorRate": "0.2"}, {"errors": 100}, PASSED, "20 % (100 of 500)", "20 %"),
        # 99th percentile of the model's time. 0.01 s lies in the bucket from 8 to 16 ms, 0.02 s in that up to 32 ms.
        ("replayP99", {"maxP99": "16ms"}, {}, PASSED, "15.9 ms", "16 ms"),
        ("replayP99", {"maxP99": "10ms"}, {}, INCONCLUSIVE, "15.9 ms", "10 ms"),
        ("replayP99", {"maxP99": "7ms"}, {}, FAILED, "15.9 ms", "7 ms"),
        ("replayP99", {"maxP99": "1s"}, {"requests": 3}, INCONCLUSIVE, "15.9 ms", "1 s"),
        ("replayP99", {"maxP99": "1s"}, {"seconds": {}}, INCONCLUSIVE, "", "1 s"),
        # Nine slow ones of 500 may be chance; twenty are not.
        (
            "replayP99",
            {"maxP99": "20ms"},
            {"seconds": {"candidate": times({0.01: 491, 0.2: 9})}},
            INCONCLUSIVE,
            "185 ms",
            "20 ms",
        ),
        (
            "replayP99",
            {"maxP99": "20ms"},
            {"seconds": {"candidate": times({0.01: 480, 0.2: 20})}},
            FAILED,
            "224 ms",
            "20 ms",
        ),
        # Against the reference.
        ("replayP99Ratio", {"maxP99Ratio": "1"}, {}, PASSED, "1 (15.9 ms to 15.9 ms)", "1"),
        (
            "replayP99Ratio",
            {"maxP99Ratio": "1.5"},
            {"seconds": {"candidate": times({0.02: 500}), "reference": times({0.01: 500})}},
            INCONCLUSIVE,
            "2 (31.8 ms to 15.9 ms)",
            "1.5",
        ),
        (
            "replayP99Ratio",
            {"maxP99Ratio": "1.5"},
            {"seconds": {"candidate": times({0.05: 500}), "reference": times({0.01: 500})}},
            FAILED,
            "4 (63.7 ms to 15.9 ms)",
            "1.5",
        ),
        (
            "replayP99Ratio",
            {"maxP99Ratio": "4"},
            {"seconds": {"candidate": times({0.05: 500}), "reference": times({0.01: 500})}},
            PASSED,
            "4 (63.7 ms to 15.9 ms)",
            "4",
        ),
        # Twice as slow, but by a millisecond: nobody would notice.
        (
            "replayP99Ratio",
            {"maxP99Ratio": "1.5"},
            {"seconds": {"candidate": times({0.002: 500}), "reference": times({0.001: 500})}},
            PASSED,
            "2.01 (1.99 ms to 0.99 ms)",
            "1.5",
        ),
        ("replayP99Ratio", {"maxP99Ratio": "1.5"}, {"seconds": {}}, INCONCLUSIVE, "", "1.5"),
        ("replayP99Ratio", {"maxP99Ratio": "1.5"}, {"requests": 99}, INCONCLUSIVE, "1 (15.9 ms to 15.9 ms)", "1.5"),
        # Disagreement.
        ("disagreement", {"maxDisagreement": "0.05"}, {}, PASSED, "0 % (0 of 500)", "5 %"),
        (
            "disagreement",
            {"maxDisagreement": "0.05"},
            {"difference": equal_rows(500, 25)},
            PASSED,
            "5 % (25 of 500)",
            "5 %",
        ),
        (
            "disagreement",
            {"maxDisagreement": "0.05"},
            {"difference": equal_rows(500, 30)},
            INCONCLUSIVE,
            "6 % (30 of 500)",
            "5 %",
        ),
        (
            "disagreement",
            {"maxDisagreement": "0.05"},
            {"difference": equal_rows(500, 50)},
            FAILED,
            "10 % (50 of 500)",
            "5 %",
        ),
        (
            "disagreement",
            {"maxDisagreement": "0"},
            {"requests": 3, "difference": equal_rows(3, 1)},
            FAILED,
            "33.3 % (1 of 3)",
            "0 %",
        ),
        # Numbers within the tolerance agree; a tolerance between two buckets is taken as the lower one.
        *(
            (
                "disagreement",
                {"maxDisagreement": "0", "tolerance": tolerance},
                {"difference": equal_rows(500, 50, 0.02)},
                verdict,
                f"{share} % ({count} of 500)",
                "0 %",
            )
            for tolerance, verdict, share, count in (
                ("0.02", PASSED, 0, 0),
                ("0.03", PASSED, 0, 0),
                ("0.015", FAILED, 10, 50),
                ("0", FAILED, 10, 50),
            )
        ),
        # A hundred rows a request, wrong together: two wrong requests of a hundred prove no more than two rows.
        (
            "disagreement",
            {"maxDisagreement": "0.01"},
            {"requests": 100, "difference": equal_rows(10_000, 200)},
            INCONCLUSIVE,
            "2 % (200 of 10000)",
            "1 %",
        ),
        # Population stability index.
        ("psi", {"maxPSI": "0.2"}, {}, PASSED, "0", "0.2"),
        ("psi", {"maxPSI": "0.2"}, {"answers": {}}, INCONCLUSIVE, "", "0.2"),
        ("psi", {"maxPSI": "0.2"}, {"requests": 60}, INCONCLUSIVE, "0", "0.2"),
        (
            "psi",
            {"maxPSI": "0.2"},
            {"answers": {"reference": {"no": 375, "yes": 125}, "candidate": {"no": 125, "yes": 375}}},
            FAILED,
            "1.09",
            "0.2",
        ),
        (
            "psi",
            {"maxPSI": "0.2"},
            {"answers": {"reference": {"no": 375, "yes": 125}, "candidate": {"no": 260, "yes": 240}}},
            INCONCLUSIVE,
            "0.233",
            "0.2",
        ),
        # Invalid answers.
        ("invalid", {}, {}, PASSED, "0 % (0 of 500)", "0 %"),
        ("invalid", {}, {"invalid": {"candidate": 1}}, FAILED, "0.2 % (1 of 500)", "0 %"),
        ("invalid", {}, {"invalid": {"candidate": 4, "reference": 4}}, PASSED, "0.8 % (4 of 500)", "0 %"),
        ("invalid", {}, {"invalid": {"candidate": 5, "reference": 4}}, FAILED, "1 % (5 of 500)", "0 %"),
        (
            "invalid",
            {},
            {"requests": 9, "invalid": {"candidate": 1, "reference": 1}},
            INCONCLUSIVE,
            "11.1 % (1 of 9)",
            "0 %",
        ),
        ("invalid", {"maxInvalid": "0.01"}, {"invalid": {"candidate": 5}}, PASSED, "1 % (5 of 500)", "1 %"),
        ("invalid", {"maxInvalid": "0.01"}, {"invalid": {"candidate": 7}}, INCONCLUSIVE, "1.4 % (7 of 500)", "1 %"),
        ("invalid", {"maxInvalid": "0.01"}, {"invalid": {"candidate": 15}}, FAILED, "3 % (15 of 500)", "1 %"),
        # The range of the answers.
        ("answerRange", {"minAnswer": "0.1", "maxAnswer": "0.9"}, {}, PASSED, "0.1 to 0.9", "0.1 to 0.9"),
        ("answerRange", {"minAnswer": "0.2"}, {}, FAILED, "0.1 to 0.9", "0.2 to …"),
        ("answerRange", {"maxAnswer": "0.8"}, {}, FAILED, "0.1 to 0.9", "… to 0.8"),
        ("answerRange", {"maxAnswer": "0.8"}, {"requests": 2}, FAILED, "0.1 to 0.9", "… to 0.8"),
        ("answerRange", {"maxAnswer": "1"}, {"requests": 2}, INCONCLUSIVE, "0.1 to 0.9", "… to 1"),
        ("answerRange", {"maxAnswer": "1"}, {"least": {}, "greatest": {}}, INCONCLUSIVE, "", "… to 1"),
    ],
)
def test_a_figure_of_the_replay(  # noqa: PLR0917
    name: str, spec: dict[str, Any], measured: dict[str, Any], verdict: FigureVerdict, found: str, limit: str
) -> None:
    figure = named(at_zero(spec, **measured), name)
    assert (figure.verdict, figure.found, figure.bound) == (verdict, found, limit)
    assert bool(figure.message) or verdict == PASSED


def test_of_lists_the_position_that_has_shifted_most_counts() -> None:
    answers = {
        "reference": {"0:a": 250, "0:b": 250, "1:a": 250, "1:b": 250},
        "candidate": {"0:a": 250, "0:b": 250, "1:a": 25, "1:b": 475},
    }
    assert named(at_zero({"maxPSI": "0.2"}, answers=answers), "psi").verdict == FAILED


def test_several_pods_that_replay_the_same_prove_no_more_than_one() -> None:
    # 12 of 500 four times over: as sure as 12 of 500.
    measured = {"requests": 2000, "distinct": 500, "errors": 32}
    assert named(at_zero({}, **measured), "replayErrorRate").verdict == INCONCLUSIVE
    assert named(at_zero({}, **{**measured, "distinct": 2000}), "replayErrorRate").verdict == FAILED


# What the pods show


@pytest.mark.parametrize(
    ("growth", "verdict", "found"),
    [
        (None, INCONCLUSIVE, ""),
        (0, PASSED, "0 B"),
        (-5 * 2**20, PASSED, "-5 MiB"),
        (100 * 2**20, PASSED, "100 MiB"),
        (100 * 2**20 + 4096, FAILED, "100 MiB"),
        (3 * 2**30, FAILED, "3 GiB"),
    ],
)
def test_memory_growth(growth: int | None, verdict: FigureVerdict, found: str) -> None:
    evidence = Evidence(candidate=pod(replay=replay(), memory_growth=growth))
    figure = named(judge(bounds(maxMemoryGrowth="100Mi"), evidence, 0), "memoryGrowth")
    assert (figure.verdict, figure.found, figure.bound) == (verdict, found, "100Mi")


@pytest.mark.parametrize(
    ("restarts", "verdict", "message"),
    [
        (0, PASSED, "all 3 figures keep their bounds"),
        (1, FAILED, "the candidate's containers were restarted once"),
        (3, FAILED, "the candidate's containers were restarted 3 times"),
    ],
)
def test_restarts(restarts: int, verdict: FigureVerdict, message: str) -> None:
    judgement = judge(bounds(), Evidence(candidate=pod(replay=replay()), restarts=restarts), 0)
    assert (judgement.verdict, judgement.message) == (verdict, message)


# Prometheus

CHECK = {"name": "gpu", "url": "http://prometheus:9090", "query": "gpu", "min": "0.2", "max": "0.8"}


@pytest.mark.parametrize(
    ("result", "before", "after", "found"),
    [
        (QueryResult(0.5), PASSED, PASSED, "0.5"),
        (QueryResult(0.2), PASSED, PASSED, "0.2"),
        (QueryResult(0.8), PASSED, PASSED, "0.8"),
        (QueryResult(0.19), FAILED, FAILED, "0.19"),
        (QueryResult(math.inf), FAILED, FAILED, "inf"),
        # Before traffic there may be nothing to work a rate out of.
        (QueryResult(), None, INCONCLUSIVE, ""),
        (QueryResult(math.nan), None, INCONCLUSIVE, ""),
        (QueryResult(problem="no answer within 2 s"), INCONCLUSIVE, INCONCLUSIVE, ""),
        (None, INCONCLUSIVE, INCONCLUSIVE, ""),
    ],
)
def test_a_prometheus_check(
    result: QueryResult | None, before: FigureVerdict | None, after: FigureVerdict, found: str
) -> None:
    queries = {"gpu": result} if result else {}
    evidence = Evidence(candidate=pod(500, replay=replay()), queries=queries)
    for weight, expected in ((0, before), (10, after)):
        figures = {figure.name: figure for figure in judge(bounds(prometheus=[CHECK]), evidence, weight).figures}
        figure = figures.get("prometheus/gpu")
        assert (figure.verdict if figure else None) == expected
        assert figure is None or (figure.found, figure.bound) == (found, "min 0.2, max 0.8")


def test_a_checks_long_name_fits_into_the_status() -> None:
    check = {**CHECK, "name": "a" * 63}
    judgement = judge(bounds(prometheus=[check]), Evidence(), 0)
    assert len(judgement.figures[-1].name) == 63


# The live figures


def live(spec: Mapping[str, Any], candidate: PodMetrics | None, stable: PodMetrics | None = None) -> Judgement:
    return judge(bounds(**spec), Evidence(candidate=candidate, stable=stable, stable_version="3"), 10)


@pytest.mark.parametrize(
    ("name", "spec", "candidate", "stable", "verdict", "found"),
    [
        ("errorRate", {}, pod(500), None, PASSED, "0 % (0 of 500)"),
        ("errorRate", {}, pod(495, 5), None, PASSED, "1 % (5 of 500)"),
        ("errorRate", {}, pod(492, 8), None, INCONCLUSIVE, "1.6 % (8 of 500)"),
        ("errorRate", {}, pod(479, 21), None, FAILED, "4.2 % (21 of 500)"),
        ("errorRate", {}, pod(0, 99), None, INCONCLUSIVE, "100 % (99 of 99)"),
        ("errorRate", {}, pod(0, 100), None, FAILED, "100 % (100 of 100)"),
        ("errorRate", {"maxErrorRate": "0"}, pod(1, 1), None, FAILED, "50 % (1 of 2)"),
        ("errorRate", {}, pod(), None, INCONCLUSIVE, ""),
        ("errorRate", {}, None, None, INCONCLUSIVE, ""),
        # 400s are the clients' doing, neither failures nor samples, up to the share that the stable version has.
        (
            "errorRate",
            {},
            pod(requests={"200": 400, "400": 100}),
            pod(requests={"200": 80, "400": 20}),
            PASSED,
            "0 % (0 of 400)",
        ),
        ("errorRate", {}, pod(requests={"200": 400, "400": 100}), pod(900), FAILED, "19.7 % (98 of 498)"),
        ("errorRate", {}, pod(requests={"400": 500}), pod(900), FAILED, "100 % (498 of 498)"),
        ("errorRate", {}, pod(requests={"200": 499, "400": 1}), pod(900), PASSED, "0 % (0 of 499)"),
        ("errorRate", {}, pod(requests={"200": 400, "400": 100}), pod(), PASSED, "0 % (0 of 400)"),
        ("errorRate", {}, pod(requests={"200": 50, "400": 450}), None, INCONCLUSIVE, "0 % (0 of 50)"),
        ("p99", {"maxP99": "16ms"}, pod(500), None, PASSED, "15.9 ms"),
        ("p99", {"maxP99": "10ms"}, pod(500), None, INCONCLUSIVE, "15.9 ms"),
        ("p99", {"maxP99": "7ms"}, pod(500), None, FAILED, "15.9 ms"),
        ("p99", {"maxP99": "16ms"}, pod(), None, INCONCLUSIVE, ""),
        ("p99Ratio", {"maxP99Ratio": "1.5"}, pod(500), pod(900), PASSED, "1 (15.9 ms to 15.9 ms)"),
        ("p99Ratio", {"maxP99Ratio": "1.5"}, pod(500, took=0.1), pod(900), FAILED, "8 (127 ms to 15.9 ms)"),
        ("p99Ratio", {"maxP99Ratio": "1.5"}, pod(500, took=0.1), pod(99), INCONCLUSIVE, "8 (127 ms to 15.9 ms)"),
        ("p99Ratio", {"maxP99Ratio": "1.5"}, pod(500), None, INCONCLUSIVE, ""),
    ],
)
def test_a_live_figure(  # noqa: PLR0917
    name: str,
    spec: dict[str, Any],
    candidate: PodMetrics | None,
    stable: PodMetrics | None,
    verdict: FigureVerdict,
    found: str,
) -> None:
    figure = named(live(spec, candidate, stable), name)
    assert (figure.verdict, figure.found) == (verdict, found)


def test_the_message_says_that_requests_were_refused() -> None:
    judgement = live({}, pod(requests={"200": 400, "400": 100}), pod(900))
    assert judgement.message == (
        "error rate (with 98 4xx beyond the stable version's share) 19.7 % (98 of 498) is above maxErrorRate 1 %"
    )


@pytest.mark.parametrize(
    ("candidate", "verdict"),
    [
        pytest.param(pod(9, replay=replay()), INCONCLUSIVE, id="too few even so"),
        pytest.param(pod(10, replay=replay()), PASSED, id="a tenth, and the replay"),
        pytest.param(pod(10, replay=replay(99)), INCONCLUSIVE, id="a tenth, and too short a replay"),
        pytest.param(pod(10), INCONCLUSIVE, id="a tenth, and no replay"),
        pytest.param(pod(49, 1, replay=replay()), INCONCLUSIVE, id="one failure"),
        pytest.param(pod(50, replay=replay(errors=8)), INCONCLUSIVE, id="a replay that is in doubt"),
    ],
)
def test_with_little_traffic_the_replay_makes_up_for_the_rest(candidate: PodMetrics, verdict: FigureVerdict) -> None:
    judgement = live({}, candidate)
    assert named(judgement, "errorRate").verdict == verdict
    if verdict == PASSED:
        assert judgement.verdict == PASSED


@pytest.mark.parametrize(
    ("spec", "candidate", "stable", "verdict"),
    [
        ({"maxP99": "50ms"}, pod(20, replay=replay()), None, PASSED),
        ({"maxP99": "50ms"}, pod(20, took=0.1, replay=replay()), None, INCONCLUSIVE),
        ({"maxP99Ratio": "1.5"}, pod(20, replay=replay()), pod(180), PASSED),
        ({"maxP99Ratio": "1.5"}, pod(20, took=0.1, replay=replay()), pod(180), INCONCLUSIVE),
        ({"maxP99Ratio": "1.5"}, pod(20, replay=replay()), pod(0), INCONCLUSIVE),
    ],
)
def test_so_it_does_for_latencies(
    spec: dict[str, Any], candidate: PodMetrics, stable: PodMetrics | None, verdict: FigureVerdict
) -> None:
    assert live(spec, candidate, stable).verdict == verdict


def test_once_there_is_traffic_too_short_a_replay_does_not_hold() -> None:
    # Somebody let the candidate pass without it.
    judgement = live(ALL, pod(500, replay=replay(20), memory_growth=0), pod(500))
    assert judgement.verdict == PASSED
    assert names(judgement) == ["restarts", "memoryGrowth", "errorRate", "p99", "p99Ratio"]


def test_but_what_a_replay_shows_still_refuses() -> None:
    judgement = live({}, pod(500, replay=replay(20, invalid={"candidate": 1})))
    assert judgement.verdict == FAILED


# The verdict as a whole


def test_the_message_names_every_broken_bound() -> None:
    judgement = at_zero(ALL, errors=21, difference=equal_rows(500, 50), greatest={"candidate": 1.5})
    assert judgement.verdict == FAILED
    assert judgement.message == (
        "error rate of the replay 4.2 % (21 of 500) is above maxErrorRate 1 %; "
        "disagreement 10 % (50 of 500) is above maxDisagreement 5 %; "
        "an answer 1.5 is above maxAnswer 1"
    )


def test_what_is_missing_is_said_once() -> None:
    spec = {key: value for key, value in ALL.items() if key != "maxMemoryGrowth"}
    judgement = at_zero(spec, requests=41)
    assert judgement.verdict == INCONCLUSIVE
    assert judgement.message == "41 of 100 requests replayed: more come with requests to the stable version"


@pytest.mark.parametrize(
    ("evidence", "message"),
    [
        (
            Evidence(candidate=pod(), no_replay="no request has reached the stable version yet"),
            "0 of 100 requests replayed: no request has reached the stable version yet",
        ),
        (
            Evidence(silent="2 of 2 pods of the candidate tell nothing: no answer within 2 s"),
            "0 of 100 requests replayed: no pod of the candidate answers GET /metrics; "
            "2 of 2 pods of the candidate tell nothing: no answer within 2 s",
        ),
        (
            Evidence(candidate=pod(replay=replay(reference_version="2")), stable_version="3"),
            "0 of 100 requests replayed: the candidate was compared with version 2, not 3",
        ),
    ],
)
def test_why_there_is_no_replay(evidence: Evidence, message: str) -> None:
    judgement = judge(bounds(), evidence, 0)
    assert (judgement.verdict, judgement.message) == (INCONCLUSIVE, message)


def test_a_failure_outweighs_what_is_in_doubt() -> None:
    judgement = at_zero({}, errors=8, invalid={"candidate": 1})
    assert {figure.verdict for figure in judgement.figures} == {PASSED, INCONCLUSIVE, FAILED}
    assert judgement.verdict == FAILED
    assert judgement.message == "share of invalid answers 0.2 % (1 of 500) is above maxInvalid 0 %"


def test_the_message_fits_into_the_status_whatever_a_server_said() -> None:
    checks = [{**CHECK, "name": f"check-{number}"} for number in range(8)]
    queries = {check["name"]: QueryResult(problem="x" * 300) for check in checks}
    judgement = judge(bounds(prometheus=checks), Evidence(candidate=pod(replay=replay()), queries=queries), 0)
    assert len(judgement.message) <= 1024
    assert all(len(figure.message) <= 256 for figure in judgement.figures)


def test_numbers_of_any_size_fit_into_the_status() -> None:
    huge = 2**53
    judgement = at_zero(ALL, requests=huge, difference=equal_rows(huge), least={"candidate": -1e308})
    assert judgement.verdict == FAILED


@pytest.mark.parametrize(("text", "expected"), [("250ms", 0.25), ("1.5s", 1.5), ("0.001s", 0.001), ("0.5ms", 0.0005)])
def test_latency_bounds_are_read(text: str, expected: float) -> None:
    assert seconds(text) == pytest.approx(expected)


def test_evidence_is_not_needed_to_say_what_is_missing() -> None:
    judgement = judge(bounds(**ALL, prometheus=[CHECK]), replace(Evidence(), restarts=0), 50)
    assert judgement.verdict == INCONCLUSIVE
