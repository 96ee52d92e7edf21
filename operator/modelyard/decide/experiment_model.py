"""What an Experiment's decisions are made of: trials, runs, Jobs, problems."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from modelyard.api.experiment_status import Dataset, ExecutionTrigger
from modelyard.api.names import GROUP
from modelyard.api.reasons import Reason
from modelyard.decide.jobs import Failure, JobState

EXPERIMENT_TAG = f"{GROUP}/experiment"
"""Run tag: `<namespace>/<name>` of the Experiment."""

EXECUTION_TAG = f"{GROUP}/execution"
TRIGGER_TAG = f"{GROUP}/trigger"
"""Run tag: what began the execution, e.g. `Schedule 2026-01-05T03:00:00Z`."""

TRIAL_TAG = f"{GROUP}/trial"
"""Run tag: the trial's index, or `PARENT`."""

PARENT = "parent"

MADE_BY_TAG = f"{GROUP}/made-by"
"""Run tag: the trial's run whose program made this one by itself; such runs count as results of the trial."""

PARAMETERS_TAG = f"{GROUP}/parameters"
"""Run tag: the swept parameters of the trial, JSON: chosen once, when the run is made."""

GIVEN_TAG = f"{GROUP}/given"
"""Run tag: the names of the parameters that the entry point was given, JSON; the others that are logged are its
defaults."""

JOB_TAG = f"{GROUP}/job"
"""Run tag: the uid of the Job that runs the trial, from when it exists; empty where it is to be made anew."""

ATTEMPT_TAG = f"{GROUP}/attempt"
"""Run tag: how often the trial's Job was made, where more than once."""

OUTCOME_TAG = f"{GROUP}/outcome"
"""Run tag: how the trial ended, as decided: a CamelCase reason (`Succeeded`, `Stopped`, `ObjectiveMissing`, …)."""

MESSAGE_TAG = f"{GROUP}/message"
"""Run tag: the sentence that belongs to the outcome."""

PROJECT_TAG = f"{GROUP}/project"
"""Run tag: the project's files, JSON as `api.project_files.to_json` writes it: what running it again needs."""

IMAGE_TAG = f"{GROUP}/image"
"""Run tag: the image in which the entry point ran."""

ENVIRONMENT_TAG = f"{GROUP}/environment"
"""Run tag: the environment, JSON as `api.project_files.environment_to_json` writes it."""

LOG_ARTIFACT = "modelyard/log.txt"
"""Artifact of a failed trial's run: the last lines of its log."""

LOCK_ARTIFACT = "modelyard/environment.lock.txt"
"""Artifact of the parent's run, or of the only one: every package of the environment."""


class RunStatus(StrEnum):
    """MLflow's states of a run."""

    RUNNING = "RUNNING"
    SCHEDULED = "SCHEDULED"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"


@dataclass(frozen=True)
class Run:
    """One MLflow run. Times are in milliseconds since the epoch; `end_time` is 0 until it ends."""

    run_id: str
    name: str = ""
    status: RunStatus = RunStatus.RUNNING
    start_time: int = 0
    end_time: int = 0
    artifact_uri: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    datasets: tuple[Dataset, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether MLflow calls the run over."""
        return self.status not in (RunStatus.RUNNING, RunStatus.SCHEDULED)

    @property
    def attempt(self) -> int:
        """How often the trial's Job was made, or is about to be."""
        return int(self.tags.get(ATTEMPT_TAG, "1"))


@dataclass(frozen=True)
class Execution:
    """What is run: named by its hash, with what began it, and with what names the files: the commit, in git."""

    id: str
    trigger: ExecutionTrigger = field(default_factory=ExecutionTrigger)
    commit: str | None = None
    content: str = ""


@dataclass(frozen=True)
class Trial:
    """One run of the entry point. `index` counts from 0; `swept` are those of the parameters that the sweep chose."""

    index: int
    name: str
    parameters: Mapping[str, str]
    swept: Mapping[str, str] = field(default_factory=dict)


POD_DELETED = "PodDeleted"
"""Why a Job failed whose pod somebody removed: no fault of the program."""


@dataclass(frozen=True)
class TrialJob:
    """What the cluster shows of a Job. `waiting` says what keeps its pod from starting, if something does."""

    name: str
    uid: str
    execution: str
    index: int
    run_id: str
    state: JobState
    attempt: int = 1
    failure: Failure | None = None
    waiting: str | None = None


@dataclass(frozen=True)
class Problem:
    """Why the project cannot be run. A transient one is tried again; the others wait for a person."""

    reason: Reason
    message: str
    transient: bool = False
