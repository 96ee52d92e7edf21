"""When nothing is to do, the operator writes nothing: the API server's own audit log says so."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from examples.demo.steps import SYSTEM_NAMESPACE, Demo
from tests.e2e.scenario import Scenario

QUIET_SECONDS = 60.0
WRITES = {"create", "update", "patch", "delete", "deletecollection"}
OPERATOR = f"system:serviceaccount:{SYSTEM_NAMESPACE}:modelyard-operator"


def requests(log: Path, since: int) -> list[dict[str, str]]:
    """Return the operator's requests in the audit log after that byte."""
    with log.open() as lines:
        lines.seek(since)
        events = [json.loads(line) for line in lines if line.endswith("\n")]
    return [each for each in events if each["user"]["username"] == OPERATOR and each["stage"] == "ResponseComplete"]


@pytest.mark.timeout(900)
def test_a_quiet_minute_has_no_write(scenario: Scenario, installation: Demo) -> None:
    log = Path(os.environ["MODELYARD_AUDIT_LOG"])
    before = log.stat().st_size
    scenario.apply(scenario.project(), scenario.experiment(), scenario.deployment())
    scenario.wait_trained()
    scenario.promote(1)
    scenario.wait_served(1)
    busy = [each for each in requests(log, before) if each["verb"] in WRITES]
    assert busy, "the operator's work is in the log, so its idleness would be, too"

    settled = log.stat().st_size
    # A quiet minute is what is measured; there is no condition to wait for.
    time.sleep(QUIET_SECONDS)
    quiet = [(each["verb"], each["requestURI"]) for each in requests(log, settled) if each["verb"] in WRITES]
    assert quiet == []
