"""Why a Job of an environment failed, and when conda's channels are asked."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.decide.environment import Ask, asks_channels, job_failure
from modelyard_environments.recipe import CONDA, IMAGE, LOCK, PYTHON, Recipe

Json = dict[str, Any]
JOB: Json = {
    "metadata": {"name": "environment-abc"},
    "spec": {"activeDeadlineSeconds": 1800},
    "status": {"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "so"}]},
}
LATE: Json = {
    **JOB,
    "status": {"conditions": [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": "late"}]},
}


def pod(created: str = "2026-05-01T12:00:00Z", **ended: Any) -> Json:
    status = {"initContainerStatuses": [{"name": "build", "state": {"terminated": {"exitCode": 1, **ended}}}]}
    return {"metadata": {"name": "p", "creationTimestamp": created}, "status": status if ended else {}}


@pytest.mark.parametrize(
    ("job", "pods", "says"),
    [
        (JOB, [pod(message="error: no numpy==99\n")], "error: no numpy==99"),
        (JOB, [pod("2026-05-01T13:00:00Z", message="new"), pod(message="old")], "new"),
        (JOB, [pod(reason="OOMKilled")], "Job environment-abc: container build ran out of memory (OOMKilled)"),
        (JOB, [pod(reason="Error")], "Job environment-abc: Error: exit code 1"),
        (JOB, [], "Job environment-abc: BackoffLimitExceeded: so"),
        (LATE, [], "Job environment-abc did not end within 1800 s"),
    ],
)
def test_a_failure_is_told_by_who_knows_most(job: Json, pods: list[Json], says: str) -> None:
    assert job_failure(job, pods) == says


@pytest.mark.parametrize(
    ("recipe", "asked"),
    [
        (Recipe(IMAGE), False),
        (Recipe(PYTHON), False),
        (Recipe(CONDA), True),
        (Recipe(LOCK, files={"lock": "# modelyard-lock: 1\n# python: 3.12\nnumpy==1\n"}), False),
        (Recipe(LOCK, files={"lock": "# modelyard-lock: 1\n# python: 3.12\n# conda: https://x#sha256:1\n"}), True),
    ],
)
def test_channels_are_asked_where_something_of_them_is_wanted(recipe: Recipe, asked: bool) -> None:
    assert asks_channels(recipe) is asked


def test_names_fit_and_differ() -> None:
    asks = [
        Ask("ml", "training:1", Recipe(IMAGE)),
        Ask("ml", "training:2", Recipe(IMAGE)),
        Ask("team", "training:1", Recipe(IMAGE)),
        Ask("ml", "training:1", Recipe(PYTHON)),
    ]
    assert len({ask.key for ask in asks}) == len({ask.job for ask in asks}) == 4
    assert all(len(ask.job) <= 63 for ask in asks)
