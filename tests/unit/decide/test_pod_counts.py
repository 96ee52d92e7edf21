"""How many pods each side of a rollout has."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.api.modeldeployment import RestSpec
from modelyard.decide.pod_counts import (
    PodCounts,
    by_counts,
    by_route,
    first_replicas,
    full_replicas,
    rolling,
    share,
    surge,
)

SCALED = RestSpec.model_validate({"replicas": 9, "autoscaling": {"minReplicas": 2, "maxReplicas": 5, "targetCPU": 70}})
REPLICAS, WEIGHTS = st.integers(1, 1000), st.integers(1, 99)


@pytest.mark.parametrize(
    ("replicas", "percent", "allowed"), [(1, 25, 1), (2, 25, 1), (3, 25, 1), (10, 25, 3), (10, 100, 10), (10, 1, 1)]
)
def test_a_rolling_update_may_have_so_many_pods_more(replicas: int, percent: int, allowed: int) -> None:
    assert surge(replicas, percent) == allowed


@pytest.mark.parametrize(
    ("rest", "live", "first", "full"),
    [
        pytest.param(RestSpec(replicas=3), 7, 3, 3, id="replicas say it"),
        pytest.param(RestSpec(replicas=0), 7, 0, 0, id="also that there are none"),
        pytest.param(SCALED, 4, 2, 4, id="an autoscaler has it"),
        pytest.param(SCALED, 1, 2, 2, id="not below its bounds"),
        pytest.param(SCALED, 9, 2, 5, id="nor above"),
    ],
)
def test_a_version_that_gets_everything_has_so_many(rest: RestSpec, live: int, first: int, full: int) -> None:
    assert (first_replicas(rest), full_replicas(rest, live)) == (first, full)


@pytest.mark.parametrize(
    ("replicas", "weight", "stable", "candidate"),
    [
        (1, 10, 1, 1),
        (2, 10, 2, 1),
        (3, 25, 3, 1),
        (3, 50, 3, 3),
        (10, 10, 10, 1),
        (10, 33, 10, 5),
        (10, 50, 10, 10),
        (10, 75, 3, 10),
        (10, 99, 1, 10),
        (1, 99, 1, 1),
    ],
)
def test_pods_give_about_the_share_where_each_gets_an_equal_part(
    replicas: int, weight: int, stable: int, candidate: int
) -> None:
    assert by_counts(replicas, weight, fixed=False) == PodCounts(stable, candidate)


@pytest.mark.parametrize(("weight", "candidate"), [(10, 1), (50, 10), (75, 10), (99, 10)])
def test_pods_of_an_autoscaler_stay_and_the_candidate_has_half_at_most(weight: int, candidate: int) -> None:
    assert by_counts(10, weight, fixed=True) == PodCounts(10, candidate)


@given(REPLICAS, WEIGHTS, st.booleans())
def test_capacity_never_shrinks_and_the_share_is_as_near_as_whole_pods_allow(
    replicas: int, weight: int, fixed: bool
) -> None:
    counts = by_counts(replicas, weight, fixed=fixed)
    assert max(counts.stable, counts.candidate) == replicas
    assert min(counts.stable, counts.candidate) >= 1
    asked = min(weight, 50) if fixed else weight
    found = 100 * counts.candidate / (counts.stable + counts.candidate)
    one_pod = 100 / (counts.stable + counts.candidate)
    assert abs(found - asked) <= one_pod


@pytest.mark.parametrize(
    ("replicas", "weight", "candidate"), [(1, 10, 1), (3, 10, 1), (3, 50, 2), (10, 25, 3), (10, 99, 10)]
)
def test_where_a_route_has_the_share_pods_have_to_bear_it(replicas: int, weight: int, candidate: int) -> None:
    assert by_route(replicas, weight) == PodCounts(replicas, candidate)


@pytest.mark.parametrize(
    ("replicas", "allowed", "present", "ready", "stable", "candidate"),
    [
        pytest.param(3, 1, 3, 0, 3, 1, id="one more at first"),
        pytest.param(3, 1, 3, 1, 2, 1, id="one that is ready takes the place of one"),
        pytest.param(3, 1, 2, 1, 2, 2, id="when that is gone the next one comes"),
        pytest.param(3, 1, 1, 2, 1, 3, id="and the last"),
        pytest.param(3, 1, 1, 3, 0, 3, id="till all are replaced"),
        pytest.param(10, 3, 10, 0, 10, 3, id="three at a time"),
        pytest.param(10, 3, 4, 3, 7, 6, id="pods that went missing are not made up for by the candidate"),
        pytest.param(10, 3, 4, 6, 4, 9, id="the candidate had come far"),
        pytest.param(10, 3, 7, 3, 7, 6, id="and lost pods: the stable version's come back"),
        pytest.param(1, 1, 1, 0, 1, 1, id="a single one has another beside it"),
        pytest.param(1, 1, 1, 1, 0, 1, id="which replaces it"),
        pytest.param(2, 1, 5, 0, 2, 1, id="too many of the stable version: still one of the candidate"),
    ],
)
def test_a_rolling_update_goes_on_like_this(  # noqa: PLR0917 - a table
    replicas: int, allowed: int, present: int, ready: int, stable: int, candidate: int
) -> None:
    assert rolling(replicas, allowed, present, ready) == PodCounts(stable, candidate)


@given(REPLICAS, st.integers(1, 100), st.integers(0, 1500), st.integers(0, 1000))
def test_a_rolling_update_keeps_capacity_and_its_limit(replicas: int, percent: int, present: int, ready: int) -> None:
    allowed = surge(replicas, percent)
    counts = rolling(replicas, allowed, present, ready)
    assert counts.stable + min(ready, counts.candidate) >= replicas
    assert counts.stable + counts.candidate <= replicas + allowed
    assert counts.candidate >= 1


@pytest.mark.parametrize(("stable", "candidate", "percent"), [(0, 0, 0), (3, 1, 25), (2, 1, 33), (0, 2, 100)])
def test_the_share_that_pods_bring_about(stable: int, candidate: int, percent: int) -> None:
    assert share(stable, candidate) == percent
