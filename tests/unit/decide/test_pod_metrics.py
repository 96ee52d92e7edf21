"""Measurements of pods: together, and since an earlier one."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.decide.pod_metrics import Histogram, PodMetrics, Replay, merge, since

_codes = st.dictionaries(st.sampled_from(["200", "400", "422", "500", "503"]), st.integers(0, 1000))
_histograms = st.dictionaries(st.sampled_from([0.001, 0.01, 0.1, math.inf]), st.integers(0, 1000)).map(Histogram)
_pods = st.builds(PodMetrics, requests=_codes, seconds=_histograms)


def replayed(requests: int, **rest: object) -> Replay:
    return replace(Replay(reference_version="3", requests=requests, distinct=requests), **rest)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("requests", "failed", "refused", "total"),
    [
        ({}, 0, 0, 0),
        ({"200": 7}, 0, 0, 7),
        ({"200": 7, "500": 2, "503": 1}, 3, 0, 10),
        ({"200": 7, "400": 90, "422": 3, "500": 1}, 1, 93, 101),
    ],
)
def test_requests_by_what_became_of_them(requests: dict[str, int], failed: int, refused: int, total: int) -> None:
    pod = PodMetrics(requests=requests)
    assert (pod.failed, pod.refused, pod.total) == (failed, refused, total)


@pytest.mark.parametrize(("limit", "above"), [(0.0, 12), (0.01, 10), (0.03, 6), (0.1, 1), (5.0, 1)])
def test_values_above_a_limit_include_those_whose_bucket_begins_below_it(limit: float, above: int) -> None:
    histogram = Histogram({0.0: 100, 0.01: 2, 0.02: 4, 0.1: 5, math.inf: 1})
    assert histogram.above(limit) == above


def test_a_histograms_buckets_join() -> None:
    assert Histogram({math.inf: 1, 0.1: 2, 0.5: 3}).buckets() == [(0.0, 0.1, 2), (0.1, 0.5, 3), (0.5, math.inf, 1)]


def test_no_pods_have_measured_nothing() -> None:
    assert merge([]) is None


def test_pods_together() -> None:
    found = merge(
        [
            PodMetrics(
                version="4", requests={"200": 5, "500": 1}, seconds=Histogram({0.1: 6, math.inf: 0}), memory_growth=10
            ),
            PodMetrics(version="4", requests={"200": 2}, seconds=Histogram({0.1: 1, math.inf: 1}), memory_growth=30),
            PodMetrics(version="4"),
        ]
    )
    assert found == PodMetrics(
        pods=3,
        version="4",
        requests={"200": 7, "500": 1},
        seconds=Histogram({0.1: 7, math.inf: 1}),
        # One pod that leaks is one that leaks, however many do not.
        memory_growth=30,
    )


def test_replays_of_several_pods_are_the_same_requests() -> None:
    found = merge(
        [
            PodMetrics(replay=replayed(100, errors=1, least={"candidate": 0.2}, greatest={"candidate": 0.8})),
            PodMetrics(replay=replayed(80, errors=2, least={"candidate": 0.1}, greatest={"candidate": math.nan})),
            PodMetrics(replay=Replay(fetch_errors=3)),
        ]
    )
    assert found is not None
    replay = found.replay
    assert (replay.requests, replay.distinct, replay.errors, replay.fetch_errors) == (180, 100, 3, 3)
    assert replay.reference_version == "3"
    assert (replay.least, replay.greatest) == ({"candidate": 0.1}, {"candidate": 0.8})


def test_answers_and_times_are_added_by_side() -> None:
    one = replayed(2, answers={"candidate": {"a": 2}}, seconds={"reference": Histogram({0.1: 2})})
    other = replayed(3, answers={"candidate": {"a": 1, "b": 2}, "reference": {"a": 3}})
    found = merge([PodMetrics(replay=one), PodMetrics(replay=other)])
    assert found is not None
    assert found.replay.answers == {"candidate": {"a": 3, "b": 2}, "reference": {"a": 3}}
    assert found.replay.seconds["reference"] == Histogram({0.1: 2})


def test_replays_of_different_versions_are_of_none() -> None:
    found = merge([PodMetrics(replay=replayed(1)), PodMetrics(replay=replayed(1, reference_version="2"))])
    assert found is not None
    assert found.replay.reference_version == "mixed"


def test_what_came_since() -> None:
    base = PodMetrics(started=100.0, requests={"200": 5}, seconds=Histogram({0.1: 5, math.inf: 0}))
    now = PodMetrics(started=100.0, requests={"200": 8, "500": 1}, seconds=Histogram({0.1: 7, math.inf: 2}))
    found = since(base, now)
    assert found.requests == {"200": 3, "500": 1}
    assert found.seconds == Histogram({0.1: 2, math.inf: 2})


@pytest.mark.parametrize(
    "again",
    [
        pytest.param(PodMetrics(requests={"200": 2}, seconds=Histogram({0.1: 2})), id="fewer requests"),
        pytest.param(PodMetrics(requests={"200": 9}, seconds=Histogram({0.1: 0, 0.2: 9})), id="fewer in a bucket"),
        pytest.param(PodMetrics(requests={"500": 9}, seconds=Histogram({0.1: 9})), id="none with this code"),
        pytest.param(PodMetrics(started=160.0, requests={"200": 9}, seconds=Histogram({0.1: 9})), id="a later process"),
    ],
)
def test_a_pod_that_began_again_counts_from_zero(again: PodMetrics) -> None:
    base = PodMetrics(started=100.0, requests={"200": 5}, seconds=Histogram({0.1: 5}))
    assert since(base, again) == again


@given(_pods, _pods)
def test_what_is_added_to_a_measurement_comes_out_again(base: PodMetrics, more: PodMetrics) -> None:
    now = merge([base, more])
    assert now is not None
    found = since(base, now)
    assert {code: count for code, count in found.requests.items() if count} == {
        code: count for code, count in more.requests.items() if count
    }
    assert found.seconds.total == more.seconds.total


@given(_pods, _pods)
def test_nothing_is_ever_negative(base: PodMetrics, now: PodMetrics) -> None:
    found = since(base, now)
    assert all(count >= 0 for count in (*found.requests.values(), *found.seconds.counts.values()))
