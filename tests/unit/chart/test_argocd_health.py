"""The health checks for Argo CD, run by Argo CD's own program over what the operator writes."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelyard.api.common import Condition, ConditionStatus
from modelyard.api.modeldeployment import Phase
from modelyard.api.names import GROUP, VERSION
from modelyard.api.reasons import ConditionType, Reason
from modelyard.decide.conditions import Verdict, conditions, kstatus
from tests.cluster import versions
from tests.unit.chart.kstatus import CURRENT, FAILED, IN_PROGRESS
from tests.unit.chart.kstatus import kstatus as kstatus_of

SCRIPTS = Path(__file__).resolve().parents[3] / "charts/modelyard/files/argocd" / GROUP
KINDS = ("Experiment", "ModelDeployment", "RegisteredModel")
GENERATION = 3

TRUE, FALSE, UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN
READY, SUCCEEDED = ConditionType.READY, ConditionType.SUCCEEDED


@dataclass(frozen=True)
class Case:
    """A status of the operator's, and what Argo CD is to show for it."""

    kind: str
    type: ConditionType
    status: ConditionStatus
    reason: Reason
    expected: str
    progressing: bool = False
    stalled: bool = False
    phase: str = ""

    def __str__(self) -> str:
        return "-".join(filter(None, (self.kind, self.reason, self.phase)))

    def body(self) -> dict[str, Any]:
        verdict = Verdict(self.type, self.status, self.reason, f"what {self.reason} means")
        verdicts = kstatus(verdict, progressing=self.progressing, stalled=self.stalled)
        made = conditions([], verdicts, GENERATION, datetime(2026, 1, 15, tzinfo=UTC))
        return body(self.kind, GENERATION, made, phase=self.phase)


def body(kind: str, observed: int, made: tuple[Condition, ...], phase: str = "") -> dict[str, Any]:
    status = {"observedGeneration": observed, "conditions": [each.model_dump(by_alias=True) for each in made]}
    return {**bare(kind), "status": status | ({"phase": phase} if phase else {})}


def bare(kind: str) -> dict[str, Any]:
    metadata = {"name": "churn", "namespace": "default", "generation": GENERATION}
    return {"apiVersion": f"{GROUP}/{VERSION}", "kind": kind, "metadata": metadata, "spec": {}}


CASES = [
    Case("RegisteredModel", READY, TRUE, Reason.AS_WANTED, "Healthy"),
    Case("RegisteredModel", READY, TRUE, Reason.NO_VERSIONS, "Healthy"),
    Case("RegisteredModel", READY, FALSE, Reason.GATES_RUNNING, "Progressing", progressing=True),
    Case("RegisteredModel", READY, FALSE, Reason.AWAITING_APPROVAL, "Suspended", progressing=True),
    Case("RegisteredModel", READY, FALSE, Reason.GATES_NOT_PASSED, "Degraded", stalled=True),
    Case("RegisteredModel", READY, FALSE, Reason.VERSION_NOT_FOUND, "Degraded", stalled=True),
    Case("RegisteredModel", READY, FALSE, Reason.ARTIFACT_STORE_UNREACHABLE, "Progressing", progressing=True),
    *(
        Case("ModelDeployment", READY, TRUE, reason, "Healthy", phase=phase)
        for reason, phase in [
            (Reason.SERVING, Phase.SERVING),
            (Reason.SCALED_TO_ZERO, Phase.SERVING),
            # As wanted, and to stay so: there is nothing that waits.
            (Reason.SERVING, Phase.PAUSED),
        ]
    ),
    *(
        Case("ModelDeployment", READY, FALSE, reason, "Progressing", progressing=True, phase=Phase.PROGRESSING)
        for reason in (Reason.ROLLING_OUT, Reason.ANALYSING, Reason.TOO_FEW_READY_PODS)
    ),
    *(
        Case("ModelDeployment", READY, FALSE, reason, "Progressing", phase=Phase.PENDING)
        for reason in (Reason.MODEL_NOT_FOUND, Reason.NO_VERSION_IN_STAGE)
    ),
    *(
        Case("ModelDeployment", READY, FALSE, reason, "Suspended", progressing=True, phase=Phase.HELD)
        for reason in (Reason.AWAITING_PROMOTION, Reason.ANALYSIS_INCONCLUSIVE)
    ),
    Case("ModelDeployment", READY, FALSE, Reason.PAUSED, "Suspended", phase=Phase.PAUSED),
    Case("ModelDeployment", READY, FALSE, Reason.ROLLED_BACK, "Degraded", stalled=True, phase=Phase.ROLLED_BACK),
    *(
        Case("ModelDeployment", READY, FALSE, reason, "Degraded", stalled=True, phase=Phase.DEGRADED)
        for reason in (Reason.NO_READY_PODS, Reason.CANDIDATE_FAILED, Reason.QUOTA_EXCEEDED, Reason.GATEWAY_NOT_FOUND)
    ),
    Case("Experiment", SUCCEEDED, TRUE, Reason.COMPLETED, "Healthy"),
    Case("Experiment", SUCCEEDED, UNKNOWN, Reason.TRIALS_RUNNING, "Progressing", progressing=True),
    Case("Experiment", SUCCEEDED, UNKNOWN, Reason.ENVIRONMENT_BUILDING, "Progressing", progressing=True),
    Case("Experiment", SUCCEEDED, UNKNOWN, Reason.SUSPENDED, "Suspended"),
    Case("Experiment", SUCCEEDED, UNKNOWN, Reason.SCHEDULED, "Healthy"),
    Case("Experiment", READY, TRUE, Reason.FOLLOWING, "Healthy"),
    Case("Experiment", READY, FALSE, Reason.TRACKING_SERVER_REFUSED, "Degraded", stalled=True),
    Case("Experiment", SUCCEEDED, FALSE, Reason.TRIALS_FAILED, "Degraded", stalled=True),
    Case("Experiment", SUCCEEDED, FALSE, Reason.NOT_GOOD_ENOUGH, "Degraded", stalled=True),
]


class Assessor:
    """Argo CD's assessment of one object, with our scripts in its ConfigMap."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._program = versions.load().program("argocd")
        assert self._program.exists(), f"{self._program} is not built: make cluster-build"
        data = {
            f"resource.customizations.health.{GROUP}_{kind}": (SCRIPTS / kind / "health.lua").read_text()
            for kind in KINDS
        }
        labels = {"app.kubernetes.io/part-of": "argocd"}
        metadata = {"name": "argocd-cm", "namespace": "argocd", "labels": labels}
        config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
        self._config = directory / "argocd-cm.yaml"
        self._config.write_text(yaml.safe_dump(config))

    def __call__(self, resource: dict[str, Any]) -> tuple[str, str]:
        path = self._directory / "resource.yaml"
        path.write_text(json.dumps(resource))
        command: list[str | Path] = [self._program, "admin", "settings", "resource-overrides", "health", path]
        done = subprocess.run(
            [*command, "--argocd-cm-path", self._config],
            env={"HOME": str(self._directory)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        lines = dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)
        return lines["STATUS"], lines["MESSAGE"]


@pytest.fixture(scope="module")
def assess(tmp_path_factory: pytest.TempPathFactory) -> Assessor:
    return Assessor(tmp_path_factory.mktemp("argocd"))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_health_follows_the_conditions_and_quotes_their_message(assess: Assessor, case: Case) -> None:
    assert assess(case.body()) == (case.expected, f"what {case.reason} means")


MEANS = {"Healthy": CURRENT, "Progressing": IN_PROGRESS, "Suspended": IN_PROGRESS, "Degraded": FAILED}
"""What kstatus is to say where Argo CD says so: it knows no Suspended, and waits as for what is in progress."""


@pytest.mark.parametrize("case", [case for case in CASES if case.type is READY], ids=str)
def test_kstatus_comes_to_the_same_verdict(case: Case) -> None:
    assert kstatus_of(case.body()) == MEANS[case.expected]


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_operator_has_not_seen_yet_is_progressing(assess: Assessor, kind: str) -> None:
    message = "waiting for the operator to see the present spec"
    condition = SUCCEEDED if kind == "Experiment" else READY
    good = conditions([], [Verdict(condition, TRUE, Reason.COMPLETED)], GENERATION, datetime(2026, 1, 15, tzinfo=UTC))
    assert assess(body(kind, GENERATION, good))[0] == "Healthy"
    assert assess(body(kind, GENERATION - 1, good)) == ("Progressing", message)
    assert assess(bare(kind)) == ("Progressing", message)
    assert assess({**bare(kind), "status": {"conditions": []}}) == ("Progressing", message)
