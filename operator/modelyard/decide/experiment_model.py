"""What an Experiment's decisions are made of: trials, runs, Jobs, problems."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from modelyard.api.names import GROUP
from modelyard.api.reasons import Reason
from modelyard.decide.jobs import Failure, JobState

EXPERIMENT_TAG = f"{GROUP}/experiment"
"""Run tag: `<namespace>/<name>` of the Experiment."""

EXECUTION_TAG = f"{GROUP}/execution"
TRIAL_TAG = f"{GROUP}/trial"
"""Run tag: the trial's index, or `PARENT`."""

PARENT = "parent"


class RunStatus(StrEnum):
    """MLflow's states of a run."""

    RUNNING = "RUNNING"
    SCHEDULED = "SCHEDULED"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"


@dataclass(frozen=True)
class Run:
    """One MLflow run. `start_time` is in milliseconds since the epoch."""

    run_id: str
    name: str = ""
    status: RunStatus = RunStatus.RUNNING
    start_time: int = 0
    artifact_uri: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether MLflow calls the run over."""
        return self.status not in (RunStatus.RUNNING, RunStatus.SCHEDULED)


@dataclass(frozen=True)
class Trial:
    """One run of the entry point with given parameters. `index` counts from 0."""

    index: int
    name: str
    parameters: Mapping[str, str]


@dataclass(frozen=True)
class TrialJob:
    """What the cluster shows of a Job. `waiting` says what keeps its pod from starting, if something does."""

    name: str
    uid: str
    execution: str
    index: int
    run_id: str
    state: JobState
    failure: Failure | None = None
    waiting: str | None = None


@dataclass(frozen=True)
class Problem:
    """Why the project cannot be run. A transient one is tried again; the others wait for a person."""

    reason: Reason
    message: str
    transient: bool = False
