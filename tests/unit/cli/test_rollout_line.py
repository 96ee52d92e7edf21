"""The line that says where a rollout is."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.cli.draw import _line
from modelyard.cli.rollout_line import points
from tests.unit.cli.deployments import NOW, Site, ago, deployed, rollout

STEPS = [{"weight": 10, "hold": True}, {"weight": 50, "pause": "5m"}]
CANARY = {"strategy": "Canary", "steps": STEPS}
JUDGED = {**CANARY, "analysis": {}}
BLUE_GREEN = {"strategy": "BlueGreen", "hold": True}
SHADOW = {"strategy": "Shadow", "pause": "10m"}


@pytest.mark.parametrize(
    ("spec", "state", "line"),
    [
        (CANARY, {"phase": "Starting"}, "start starting → 10 % → 50 % → 100 %"),
        (JUDGED, {"phase": "Analysing"}, "start ✓ → analysis analysing → 10 % → 50 % → 100 %"),
        (
            CANARY,
            {"phase": "Shifting", "step": 1, "actualWeight": 5},
            "start ✓ → 10 % shifting, 5 % now → 50 % → 100 %",
        ),
        (
            CANARY,
            {"phase": "Held", "step": 1, "stepSince": ago(72)},
            "start ✓ → 10 % held 1m12s → 50 % → 100 %",
        ),
        (
            JUDGED,
            {"phase": "Pausing", "step": 2, "stepSince": ago(60)},
            "start ✓ → analysis ✓ → 10 % ✓ → 50 % holding 1m of 5m → 100 %",
        ),
        (
            JUDGED,
            {"phase": "Analysing", "step": 2, "stepSince": ago(301)},
            "start ✓ → analysis ✓ → 10 % ✓ → 50 % analysing 5m1s → 100 %",
        ),
        (CANARY, {"phase": "Finishing", "step": 2}, "start ✓ → 10 % ✓ → 50 % ✓ → 100 % finishing"),
        # The spec was changed to another strategy meanwhile.
        ({}, {"phase": "Pausing", "step": 1, "steps": 2}, "start ✓ → step 1 holding → step 2 → 100 %"),
        ({}, {"strategy": "RollingUpdate", "phase": "Starting", "steps": 1}, "start starting → 100 %"),
        (
            {},
            {"strategy": "RollingUpdate", "phase": "Shifting", "step": 1, "steps": 1, "actualWeight": 40},
            "start ✓ → 100 % shifting, 40 % now",
        ),
        (
            {"analysis": {}},
            {"strategy": "RollingUpdate", "phase": "Analysing", "step": 0},
            "start ✓ → analysis analysing → 100 %",
        ),
        (
            BLUE_GREEN,
            {"strategy": "BlueGreen", "phase": "Held", "stepSince": ago(30)},
            "start ✓ → preview held 30s → 100 %",
        ),
        ({"strategy": "BlueGreen"}, {"strategy": "BlueGreen", "phase": "Finishing"}, "start ✓ → 100 % finishing"),
        (
            SHADOW,
            {"strategy": "Shadow", "phase": "Pausing", "stepSince": ago(300)},
            "start ✓ → shadow holding 5m of 10m → 100 %",
        ),
        (SHADOW, {"strategy": "Shadow", "phase": "Finishing"}, "start ✓ → shadow ✓ → 100 % finishing"),
    ],
)
def test_where_a_rollout_is(spec: dict[str, Any], state: dict[str, Any], line: str) -> None:
    site = Site()
    under_way = {"served": deployed(4, 60), "candidate": deployed(5, 30), "rollout": rollout(5, **state)}
    site.create(under_way, {"rollout": spec} if spec else {})
    held = state["phase"] == "Held"
    assert str(_line(points(site.deployment, held=held, now=NOW))) == line


def test_without_a_rollout_there_is_no_line() -> None:
    site = Site()
    site.create({"served": deployed(4, 60)})
    assert points(site.deployment, held=False, now=NOW) == ()
