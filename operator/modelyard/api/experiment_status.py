"""What an Experiment's status tells: what ran, what runs, and what came of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from modelyard.api.common import Conditions, StatusModel, Timestamp, VersionNumber


class Trigger(StrEnum):
    """What began an execution."""

    SPEC = "Spec"
    ANNOTATION = "Annotation"
    SCHEDULE = "Schedule"


class ExecutionTrigger(StatusModel):
    """What began an execution: for Annotation its value, for Schedule the time that was due (RFC 3339)."""

    kind: Trigger = Trigger.SPEC
    value: Annotated[str, Field(max_length=256)] = ""


class RunCounts(StatusModel):
    """How many trials are in which state."""

    total: Annotated[int, Field(ge=0)] = 0
    pending: Annotated[int, Field(ge=0)] = 0
    running: Annotated[int, Field(ge=0)] = 0
    succeeded: Annotated[int, Field(ge=0)] = 0
    failed: Annotated[int, Field(ge=0)] = 0
    stopped: Annotated[int, Field(ge=0, description="Given up early: hopeless by their intermediate metrics.")] = 0


class Dataset(StatusModel):
    """Data that a run logged as its input (`mlflow.log_input`)."""

    name: Annotated[str, Field(max_length=500)]
    digest: Annotated[str, Field(max_length=64)] = ""
    context: Annotated[str, Field(max_length=250, description="training, testing, …")] = ""
    source: Annotated[str, Field(max_length=1024)] = ""


class BestRun(StatusModel):
    """The run with the best objective so far."""

    run_id: Annotated[str, Field(max_length=64)]
    name: Annotated[str, Field(max_length=256)] = ""
    parameters: Annotated[dict[str, str], Field(max_length=100)] = Field(default_factory=dict)
    metrics: Annotated[dict[str, str], Field(max_length=100)] = Field(default_factory=dict)
    datasets: Annotated[tuple[Dataset, ...], Field(max_length=10)] = ()


class LeaderboardEntry(StatusModel):
    """One run of the leaderboard, best first."""

    run_id: Annotated[str, Field(max_length=64)]
    name: Annotated[str, Field(max_length=256)] = ""
    value: Annotated[str, Field(max_length=40, description="The objective's metric.")]


class FailedTrial(StatusModel):
    """Why a trial failed."""

    name: Annotated[str, Field(max_length=256)]
    run_id: Annotated[str, Field(max_length=64)] = ""
    reason: Annotated[str, Field(max_length=128)]
    message: Annotated[str, Field(max_length=1024)] = ""


class RegisteredVersion(StatusModel):
    """The version that the best run became."""

    model: Annotated[str, Field(max_length=256)]
    version: VersionNumber
    run_id: Annotated[str, Field(max_length=64)]


class EnvironmentStatus(StatusModel):
    """What the entry point's libraries are."""

    key: Annotated[str, Field(max_length=64, description="Names the environment's content and the image.")]
    image: Annotated[str, Field(max_length=512)] = ""
    lock: Annotated[str, Field(max_length=128, description="sha256:… of the list of all packages.")] = ""
    packages: Annotated[int, Field(ge=0)] = 0
    message: Annotated[str, Field(max_length=1024)] = ""


class ExecutionSummary(StatusModel):
    """An execution of before."""

    id: Annotated[str, Field(max_length=16)]
    trigger: ExecutionTrigger = ExecutionTrigger()
    commit: Annotated[str, Field(max_length=64)] | None = None
    parent_run_id: Annotated[str, Field(max_length=64)] | None = None
    started_at: Timestamp | None = None
    finished_at: Timestamp | None = None
    runs: RunCounts = RunCounts()
    best_run_id: Annotated[str, Field(max_length=64)] | None = None
    best_value: Annotated[str, Field(max_length=40)] | None = None
    version: VersionNumber | None = None
    reason: Annotated[str, Field(max_length=128)] = ""


class CleanUpStatus(StatusModel):
    """What retention has deleted."""

    last_at: Timestamp | None = None
    runs: Annotated[int, Field(ge=0, description="All runs that were deleted so far.")] = 0
    artifacts: Annotated[int, Field(ge=0, description="All runs whose artifacts were deleted so far.")] = 0
    message: Annotated[str, Field(max_length=1024, description="What the last clean-up deleted, and why.")] = ""


class ExperimentStatus(StatusModel):
    """What ran and what came of it."""

    observed_generation: Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})] | None = None
    experiment_id: Annotated[str, Field(max_length=64)] | None = None
    execution: (
        Annotated[
            str,
            Field(
                max_length=16,
                description="Names this execution: a hash of what is run.",
            ),
        ]
        | None
    ) = None
    trigger: ExecutionTrigger | None = None
    commit: Annotated[str, Field(max_length=64, description="The git commit that runs.")] | None = None
    content: (
        Annotated[str, Field(max_length=256, description="Names the project's files: the commit, or their SHA-256.")]
        | None
    ) = None
    environment: EnvironmentStatus | None = None
    parent_run_id: Annotated[str, Field(max_length=64)] | None = None
    started_at: Timestamp | None = None
    finished_at: Timestamp | None = None
    runs: RunCounts | None = None
    best_run: BestRun | None = None
    leaderboard: Annotated[tuple[LeaderboardEntry, ...], Field(max_length=10)] = ()
    failures: Annotated[tuple[FailedTrial, ...], Field(max_length=10)] = ()
    registered: RegisteredVersion | None = None
    run_annotation: (
        Annotated[str, Field(max_length=256, description="The value of modelyard.dev/run that was heeded last.")] | None
    ) = None
    last_schedule_at: Annotated[Timestamp | None, Field(description="The time that was due and heeded last.")] = None
    next_schedule_at: Timestamp | None = None
    executions: Annotated[tuple[ExecutionSummary, ...], Field(max_length=10, description="Newest first.")] = ()
    clean_up: CleanUpStatus | None = None
    conditions: Conditions = ()
