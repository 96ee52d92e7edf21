"""Bad versions are not promoted, harmless ones are: each is promoted in its turn, under load, and judged by itself.

`make test` takes every fourth version; `make test-models` takes all forty.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from examples.demo import screen
from examples.demo.kubectl import Kubectl, condition
from tests.e2e.rollouts.models import classifier, stored
from tests.e2e.rollouts.scenario import Json, Rollouts
from tests.e2e.rollouts.zoo import BAD, HARMLESS, Version
from tests.e2e.store import ArtifactAccess

EACH = 1 if os.environ.get("MODELYARD_ALL_MODELS") else 4
JUDGED_SECONDS = 300.0
ANALYSIS = {
    "minSamples": 100,
    "maxErrorRate": "0.01",
    "maxDisagreement": "0.2",
    "maxPSI": "0.25",
    "maxP99": "250ms",
    "maxMemoryGrowth": "64Mi",
}
REST = {
    "replicas": 1,
    "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}},
    "rollout": {"strategy": "RollingUpdate", "analysis": ANALYSIS},
}

pytestmark = pytest.mark.timeout(2400)


@pytest.fixture
def rollouts(kubectl: Kubectl) -> Iterator[Rollouts]:
    created = Rollouts(kubectl, [])
    yield created
    created.remove()


def judged(rollouts: Rollouts, number: int) -> Json:
    """Promote a version; return the deployment once it is served or was taken back."""

    def over(body: Json) -> bool:
        status = body["status"]
        served = condition(body, "Ready").get("status") == "True" and status["served"]["version"] == number
        return bool(served or (status.get("refused") or {}).get("version") == number)

    rollouts.promote(number)
    body = rollouts.until(over, JUDGED_SECONDS)
    screen.say(f"  version {number:>2}: {condition(body, 'Ready')['message'][:160]}")
    return body


def test_none_of_the_bad_and_at_most_one_of_twenty_harmless_versions_is_treated_wrongly(
    rollouts: Rollouts, artifacts: ArtifactAccess
) -> None:
    # Given a version that is served, under load
    bad, harmless = BAD[::EACH], HARMLESS[::EACH]
    zoo = [Version("served", classifier), *bad, *harmless]
    rollouts.sources = [stored(artifacts, f"zoo/{each.name}", each.model()) for each in zoo]
    rollouts.given(REST)
    refused: list[str] = []
    with rollouts.load() as load:
        # When bad versions are promoted, each is taken back
        for number, version in enumerate(bad, start=2):
            body = judged(rollouts, number)
            assert "refused" in body["status"], f"{version.name} was promoted"
            assert body["status"]["served"]["version"] == 1
        assert set(load.record.answers) == {"1"}, "a bad version answered somebody"
        # When harmless ones are, they are served
        for number, version in enumerate(harmless, start=2 + len(bad)):
            body = judged(rollouts, number)
            if "refused" in body["status"]:
                refused.append(f"{version.name}: {body['status']['refused']['message']}")
    # Then at most one in twenty was refused, and nobody's request failed
    assert len(refused) <= len(harmless) // 20, refused
    assert load.record.failures == []
