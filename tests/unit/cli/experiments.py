"""An Experiment in memory, with its runs in MLflow, as an operator would have left them."""

from __future__ import annotations

import io
import json
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from modelyard.api.experiment import Experiment
from modelyard.cli.errors import CliError
from modelyard.cli.experiments import EXPERIMENTS, Experiments
from modelyard.cli.output import Format, Output
from modelyard.cli.tracking import NoTracking, Tracking
from modelyard.decide.experiment_model import (
    EXECUTION_TAG,
    EXPERIMENT_TAG,
    JOB_TAG,
    MESSAGE_TAG,
    OUTCOME_TAG,
    PARAMETERS_TAG,
    PARENT,
    TRIAL_TAG,
    Run,
    RunStatus,
)
from tests.fakes.cluster import FakeClient
from tests.fakes.tracking import FakeTracking

NAMESPACE = "ml"
NOW = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)
GIT = ("argocd-controller",)
EXECUTION = "3f1c2ab9"

Json = dict[str, Any]
Command = Callable[[Experiments, Output, Namespace], int]

PROJECT: Json = {"git": {"url": "https://git.example/ml/churn.git", "revision": "main"}}
SWEEP: Json = {
    "algorithm": "Bayesian",
    "parameters": {"depth": {"min": "2", "max": "20", "type": "Int"}, "rate": {"min": "0.001", "max": "0.3"}},
    "maxTrials": 8,
    "parallelism": 2,
}
SPEC: Json = {
    "project": PROJECT,
    "entryPoint": "train",
    "sweep": SWEEP,
    "objective": {"metric": "f1_score", "goal": "Maximize"},
}


class Terminal(io.StringIO):
    """A stream that is one."""

    def isatty(self) -> bool:
        return True


def ago(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def condition(status: str, reason: str, message: str = "") -> list[Json]:
    return [
        {
            "type": "Succeeded",
            "status": status,
            "reason": reason,
            "message": message,
            "lastTransitionTime": ago(60),
        }
    ]


RUNNING: Json = {
    "experimentId": "1",
    "execution": EXECUTION,
    "trigger": {"kind": "Spec"},
    "commit": "3f1c2ab9d0e1f2a3b4c5d6e7f8091a2b3c4d5e6f",
    "environment": {"key": "k", "packages": 87, "lock": "sha256:4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba87"},
    "startedAt": ago(724),
    "runs": {"total": 8, "running": 1, "succeeded": 4, "failed": 1, "stopped": 1, "pending": 1},
    "conditions": condition("Unknown", "TrialsRunning", "6 of 8 trials ended"),
}


@dataclass
class Reached:
    """A tracking server that is reached."""

    client: FakeTracking
    where: str = "the tracking server"

    def text(self, run: Run, path: str) -> str | None:
        data = self.client.artifacts.get(run.run_id, {}).get(path)
        return None if data is None else data.decode()


@dataclass
class Lab:
    """A namespace with the experiment `churn`, a tracking server, and a terminal."""

    client: FakeClient = field(default_factory=lambda: FakeClient(clock=lambda: NOW))
    tracking: FakeTracking = field(default_factory=FakeTracking)
    unreachable: str = ""
    out: io.StringIO = field(default_factory=io.StringIO)
    err: io.StringIO = field(default_factory=io.StringIO)

    @property
    def experiments(self) -> Experiments:
        return Experiments(self.client, NAMESPACE, self._reach, GIT, lambda: NOW)

    def _reach(self) -> Tracking:
        if self.unreachable:
            raise NoTracking(self.unreachable)
        return cast(Tracking, Reached(self.tracking))

    def create(
        self,
        status: Json | None = None,
        spec: Json | None = None,
        name: str = "churn",
        manager: str = "kubectl",
        **metadata: Any,
    ) -> None:
        body = {
            "apiVersion": "modelyard.dev/v1alpha1",
            "kind": "Experiment",
            "metadata": {"name": name, "namespace": NAMESPACE, "annotations": {}, **metadata},
            "spec": SPEC if spec is None else spec,
        }
        self.client.create(EXPERIMENTS, NAMESPACE, body, manager)
        if status is not None:
            self.set_status(status, name)

    def set_status(self, status: Json, name: str = "churn") -> None:
        body = self.client.get(EXPERIMENTS, NAMESPACE, name)
        whole = {"observedGeneration": body["metadata"]["generation"], **status}
        self.client.replace_status(EXPERIMENTS, {**body, "status": whole}, "modelyard-operator")

    def experiment(self, name: str = "churn") -> Experiment:
        return Experiment.parse(self.client.get(EXPERIMENTS, NAMESPACE, name))

    def log(self, run_id: str, **fields: Any) -> Run:
        """Let there be a run; times are in seconds before now."""
        start, end = fields.pop("began", 600), fields.pop("ended", None)
        at = int(NOW.timestamp() * 1000)
        run = Run(
            run_id,
            fields.pop("name", run_id),
            fields.pop("status", RunStatus.RUNNING if end is None else RunStatus.FINISHED),
            at - int(start * 1000),
            0 if end is None else at - int(end * 1000),
            f"mlflow-artifacts:/1/{run_id}/artifacts",
            **fields,
        )
        self.tracking.runs[run_id] = run
        return run

    def trial(
        self,
        index: int,
        value: float | None = None,
        *,
        swept: dict[str, str] | None = None,
        outcome: tuple[str, str] | None = None,
        job: str = "uid",
        execution: str = EXECUTION,
        experiment: str = "churn",
        metric: str = "f1_score",
        **fields: Any,
    ) -> Run:
        """Let there be the run of a trial, which ended unless `ended` is None."""
        failed = outcome is not None and outcome[0] != "Stopped"
        fields = {"began": 600 - 60 * index, "ended": 560 - 60 * index, **fields}
        if failed:
            fields.setdefault("status", RunStatus.FAILED)
        tags = {
            EXPERIMENT_TAG: f"{NAMESPACE}/{experiment}",
            EXECUTION_TAG: execution,
            TRIAL_TAG: str(index),
            JOB_TAG: job,
            PARAMETERS_TAG: json.dumps({"depth": str(2 + index), "rate": f"0.0{index}1"} if swept is None else swept),
            **({OUTCOME_TAG: outcome[0], MESSAGE_TAG: outcome[1]} if outcome else {}),
            **fields.pop("tags", {}),
        }
        metrics = {} if value is None else {metric: value}
        return self.log(
            fields.pop("run_id", f"{index:032x}"), tags=tags, metrics={**metrics, **fields.pop("metrics", {})}, **fields
        )

    def parent(self, **fields: Any) -> Run:
        tags = {EXPERIMENT_TAG: f"{NAMESPACE}/churn", EXECUTION_TAG: EXECUTION, TRIAL_TAG: PARENT}
        return self.log("a" * 32, tags={**tags, **fields.pop("tags", {})}, **fields)

    def sweep(self) -> None:
        """Let six trials have ended, one run, and one be to come."""
        self.create(RUNNING)
        self.parent(name="churn-3f1c2ab9")
        self.trial(0, 0.81)
        self.trial(1, 0.86)
        self.trial(2, outcome=("ProgramFailed", "exit code 1: ValueError: could not convert\nstring to float"))
        self.trial(3, 0.84)
        self.trial(4, 0.79, outcome=("Stopped", "at step 5 its f1_score 0.79 is below the median 0.84 of 3 others"))
        self.trial(5, 0.9321)
        self.trial(6, ended=None)

    def run(self, command: Command, form: Format = Format.TABLE, **given: Any) -> int:
        self.out, self.err = io.StringIO(), io.StringIO()
        return command(
            self.experiments, Output(form, self.out, self.err), Namespace(**{"experiment": "churn", **given})
        )

    def json(self, command: Command, **given: Any) -> Any:
        assert self.run(command, Format.JSON, **given) == 0
        return json.loads(self.out.getvalue())

    def refused(self, command: Command, **given: Any) -> str:
        """The message with which a command ends."""
        try:
            self.run(command, **given)
        except CliError as error:
            return str(error)
        raise AssertionError(f"it was done: {self.text}")

    @property
    def text(self) -> str:
        return self.out.getvalue()

    @property
    def notes(self) -> list[str]:
        return self.err.getvalue().splitlines()
