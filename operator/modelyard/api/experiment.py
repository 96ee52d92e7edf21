"""`Experiment`: an MLproject to run, once or as a grid of trials, with an objective."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field

from modelyard.api.common import (
    ApiModel,
    Conditions,
    Decimal,
    EnvVar,
    Resource,
    ResourceRequirements,
    StatusModel,
    Timestamp,
    VersionNumber,
    rules,
)

ParameterValue = Annotated[str, Field(max_length=1024)]
MetricName = Annotated[str, Field(min_length=1, max_length=250)]


class ConfigMapSource(ApiModel):
    """A ConfigMap of the Experiment's namespace: each key is a file of the project."""

    name: Annotated[str, Field(min_length=1, max_length=253)]


class GitSource(ApiModel):
    """A git repository that can be read without credentials."""

    url: Annotated[
        str,
        Field(
            min_length=1,
            max_length=2048,
            pattern=r"^(https?|git)://[^\s@]+$",
            description="http://, https:// or git://, without a user or password in it.",
        ),
    ]
    revision: Annotated[
        str,
        Field(
            min_length=1,
            max_length=255,
            description="A branch, a tag or a full commit SHA.",
        ),
    ] = "HEAD"
    path: Annotated[
        str,
        Field(
            max_length=1024,
            description="The project's directory in the repository.",
            json_schema_extra=rules(
                (
                    "!self.startsWith('/') && !self.split('/').exists(part, part == '..')",
                    "spec.project.git.path must stay inside the repository: no leading slash, no '..'",
                )
            ),
        ),
    ] = "."


class ProjectSource(ApiModel):
    """Where the MLproject directory comes from."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "has(self.git) != has(self.configMap)",
                "exactly one of spec.project.git and spec.project.configMap must be set",
            )
        ),
    )

    git: GitSource | None = None
    config_map: ConfigMapSource | None = None


class SweepAlgorithm(StrEnum):
    """How trials are chosen."""

    GRID = "Grid"


class SweepParameter(ApiModel):
    """The values that one parameter takes."""

    values: Annotated[tuple[ParameterValue, ...], Field(min_length=1, max_length=100)]


class Sweep(ApiModel):
    """Several trials: one parent run, and one child run and one Job a trial."""

    algorithm: SweepAlgorithm = SweepAlgorithm.GRID
    parameters: Annotated[dict[str, SweepParameter], Field(min_length=1, max_length=16)]
    parallelism: Annotated[int, Field(ge=1, le=100, description="How many trials run at the same time.")] = 1


class Goal(StrEnum):
    """Which way is better."""

    MAXIMIZE = "Maximize"
    MINIMIZE = "Minimize"


class Objective(ApiModel):
    """The metric by which runs are compared."""

    metric: MetricName
    goal: Goal = Goal.MAXIMIZE


class MetricBound(ApiModel):
    """Bounds that a run's metric has to keep, both inclusive."""

    model_config = ConfigDict(
        json_schema_extra=rules(("has(self.min) || has(self.max)", "a bound needs min or max")),
    )

    metric: MetricName
    min: Decimal | None = None
    max: Decimal | None = None


class Registration(ApiModel):
    """Register the best run's model when it is good enough."""

    model: Annotated[
        str,
        Field(min_length=1, max_length=256, description="The model's name in MLflow."),
    ]
    artifact_path: Annotated[
        str,
        Field(
            min_length=1,
            max_length=512,
            description="The name under which the run logs its model.",
        ),
    ] = "model"
    when: Annotated[tuple[MetricBound, ...], Field(max_length=16)] = ()


class TrialTemplate(ApiModel):
    """Overrides of the pods that run the entry point."""

    image: (
        Annotated[
            str,
            Field(
                min_length=1,
                max_length=512,
                description="Default: the installation's training image.",
            ),
        ]
        | None
    ) = None
    env: Annotated[tuple[EnvVar, ...], Field(max_length=64)] = ()
    resources: ResourceRequirements | None = None


class ExperimentSpec(ApiModel):
    """What the users want run. The operator never writes it."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.register) || has(self.objective)",
                "spec.register needs spec.objective: it says which run is best",
            ),
            (
                "!has(self.sweep) || !has(self.parameters)"
                " || self.sweep.parameters.all(name, !(name in self.parameters))",
                "a parameter is either in spec.parameters or in spec.sweep.parameters, not in both",
            ),
        ),
    )

    tags: Annotated[dict[str, Annotated[str, Field(max_length=5000)]], Field(max_length=64)] = Field(
        default_factory=dict,
        description="Tags of the MLflow experiment and of every run.",
    )
    project: ProjectSource
    entry_point: Annotated[str, Field(min_length=1, max_length=255)] = "main"
    parameters: Annotated[dict[str, ParameterValue], Field(max_length=64)] = Field(default_factory=dict)
    sweep: Sweep | None = None
    objective: Objective | None = None
    register_: Annotated[Registration | None, Field(alias="register")] = None
    template: TrialTemplate | None = None


class RunCounts(StatusModel):
    """How many trials are in which state."""

    total: Annotated[int, Field(ge=0)] = 0
    pending: Annotated[int, Field(ge=0)] = 0
    running: Annotated[int, Field(ge=0)] = 0
    succeeded: Annotated[int, Field(ge=0)] = 0
    failed: Annotated[int, Field(ge=0)] = 0


class BestRun(StatusModel):
    """The run with the best objective so far."""

    run_id: Annotated[str, Field(max_length=64)]
    name: Annotated[str, Field(max_length=256)] = ""
    parameters: Annotated[dict[str, str], Field(max_length=100)] = Field(default_factory=dict)
    metrics: Annotated[dict[str, str], Field(max_length=100)] = Field(default_factory=dict)


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
    commit: Annotated[str, Field(max_length=64, description="The git commit that runs.")] | None = None
    parent_run_id: Annotated[str, Field(max_length=64)] | None = None
    started_at: Timestamp | None = None
    finished_at: Timestamp | None = None
    runs: RunCounts | None = None
    best_run: BestRun | None = None
    leaderboard: Annotated[tuple[LeaderboardEntry, ...], Field(max_length=10)] = ()
    failures: Annotated[tuple[FailedTrial, ...], Field(max_length=10)] = ()
    registered: RegisteredVersion | None = None
    conditions: Conditions = ()


class Experiment(Resource):
    """An MLproject, run on the cluster."""

    kind_name: ClassVar[str] = "Experiment"
    plural: ClassVar[str] = "experiments"
    singular: ClassVar[str] = "experiment"
    short_names: ClassVar[tuple[str, ...]] = ("exp",)
    printer_columns: ClassVar[tuple[dict[str, Any], ...]] = (
        {"name": "Runs", "type": "integer", "jsonPath": ".status.runs.total"},
        {"name": "Succeeded", "type": "integer", "jsonPath": ".status.runs.succeeded"},
        {"name": "Failed", "type": "integer", "jsonPath": ".status.runs.failed"},
        {"name": "Best", "type": "string", "jsonPath": ".status.leaderboard[0].name"},
        {"name": "Value", "type": "string", "jsonPath": ".status.leaderboard[0].value"},
        {
            "name": "Version",
            "type": "integer",
            "jsonPath": ".status.registered.version",
        },
        {
            "name": "Done",
            "type": "string",
            "jsonPath": ".status.conditions[?(@.type=='Succeeded')].status",
        },
        {
            "name": "Reason",
            "type": "string",
            "jsonPath": ".status.conditions[?(@.type=='Succeeded')].reason",
        },
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    )

    spec: ExperimentSpec
    status: ExperimentStatus = ExperimentStatus()
