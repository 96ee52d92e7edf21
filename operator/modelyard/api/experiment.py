"""`Experiment`: an MLproject to run, once, as a sweep or on a schedule, with an objective."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field

from modelyard.api.common import ApiModel, Decimal, EnvVar, Resource, ResourceRequirements, rules
from modelyard.api.experiment_status import ExperimentStatus
from modelyard.api.pods import PodFields
from modelyard.api.project import ProjectSource
from modelyard.api.rollout import Duration
from modelyard.api.sweep import ParameterValue, Sweep

MetricName = Annotated[str, Field(min_length=1, max_length=250)]
Age = Annotated[str, Field(max_length=7, pattern=r"^[1-9][0-9]{0,5}[hdw]$", description="12h, 180d, 26w.")]


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


class EnvironmentSource(StrEnum):
    """Which libraries the entry point runs with."""

    PROJECT = "Project"
    IMAGE = "Image"


class TrialTemplate(PodFields):
    """Overrides of the pods that run the entry point, under Kubernetes' own names."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.env) || self.env.all(e, !e.name.startsWith('MODELYARD_') && !(e.name in"
                " ['MLFLOW_RUN_ID', 'MLFLOW_EXPERIMENT_ID', 'MLFLOW_TRACKING_URI', 'MLFLOW_RUN_CONTEXT']))",
                "spec.template.env: MODELYARD_…, MLFLOW_RUN_ID, MLFLOW_EXPERIMENT_ID, MLFLOW_TRACKING_URI and"
                " MLFLOW_RUN_CONTEXT are the operator's",
            ),
            (
                "!has(self.labels) || self.labels.all(key, !key.startsWith('modelyard.dev/')"
                " && !key.startsWith('app.kubernetes.io/') && !key.startsWith('batch.kubernetes.io/'))",
                "spec.template.labels: modelyard.dev/, app.kubernetes.io/ and batch.kubernetes.io/ are not yours",
            ),
            (
                "!has(self.volumes) || self.volumes.all(v, !v.name.startsWith('modelyard-'))",
                "spec.template.volumes: names that begin with modelyard- are the operator's",
            ),
            (
                "!has(self.volumeMounts) || self.volumeMounts.all(m, !(m.mountPath in"
                " ['/', '/tmp', '/tmp/', '/workspace', '/workspace/', '/environment', '/environment/']))",
                "spec.template.volumeMounts: /, /tmp, /workspace and /environment are taken",
            ),
            (
                "!has(self.volumeMounts) || self.volumeMounts.all(m, has(self.volumes)"
                " && self.volumes.exists(v, v.name == m.name))",
                "spec.template.volumeMounts: each needs a volume of that name in spec.template.volumes",
            ),
        )
    )

    image: (
        Annotated[
            str,
            Field(min_length=1, max_length=512, description="Default: docker_env's, else the installation's."),
        ]
        | None
    ) = None
    resources: ResourceRequirements | None = None
    time_limit: Annotated[Duration | None, Field(description="How long one trial may run.")] = None
    queue: Annotated[
        str | None,
        Field(
            max_length=63,
            pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
            description="A LocalQueue of Kueue: trials are made suspended and wait until it admits them.",
        ),
    ] = None
    local_tracking_server: Annotated[
        bool,
        Field(description="The tracking server is at http://localhost:5000, too, for scripts that name it so."),
    ] = False
    env: Annotated[tuple[EnvVar, ...], Field(max_length=64)] = ()


class ArtifactRetention(ApiModel):
    """Which runs keep their artifacts; their parameters and metrics stay."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("has(self.maxRuns) || has(self.maxAge)", "spec.retention.artifacts needs maxRuns or maxAge")
        )
    )

    max_runs: Annotated[int | None, Field(ge=0, le=100_000, description="The newest so many keep them.")] = None
    max_age: Age | None = None


class ExperimentRetention(ApiModel):
    """Which ended runs are deleted. One whose model is registered never is, nor one of the present execution."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "has(self.maxRuns) || has(self.maxAge) || has(self.artifacts)",
                "set maxRuns, maxAge or artifacts: without them nothing is deleted",
            )
        )
    )

    max_runs: Annotated[int | None, Field(ge=0, le=100_000, description="The newest so many stay.")] = None
    max_age: Annotated[Age | None, Field(description="Since they ended.")] = None
    keep_best: Annotated[
        int, Field(ge=0, le=1000, description="The best so many by the objective stay, however old, with artifacts.")
    ] = 1
    artifacts: ArtifactRetention | None = None


class ExperimentSpec(ApiModel):
    """What the users want run. The operator never writes it."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.register) || has(self.objective)",
                "spec.register needs spec.objective: it says which run is best",
            ),
            (
                "!has(self.sweep) || has(self.objective) || (!has(self.sweep.earlyStopping)"
                " && (!has(self.sweep.algorithm) || self.sweep.algorithm != 'Bayesian'))",
                "spec.sweep.earlyStopping and algorithm Bayesian need spec.objective",
            ),
            (
                "!has(self.sweep) || !has(self.parameters)"
                " || self.sweep.parameters.all(name, !(name in self.parameters))",
                "a parameter is either in spec.parameters or in spec.sweep.parameters, not in both",
            ),
            (
                "has(self.project) || !(has(self.sweep) || has(self.schedule) || has(self.template)"
                " || (has(self.parameters) && self.parameters.size() > 0))",
                "without spec.project nothing is run: sweep, schedule, template and parameters need it",
            ),
            (
                "!has(self.timeZone) || has(self.schedule)",
                "spec.timeZone needs spec.schedule",
            ),
        ),
    )

    experiment_name: Annotated[
        str | None,
        Field(min_length=1, max_length=250, description="The name in MLflow. Default: metadata.name."),
    ] = None
    tags: Annotated[dict[str, Annotated[str, Field(max_length=5000)]], Field(max_length=64)] = Field(
        default_factory=dict,
        description="Tags of the MLflow experiment and of every run.",
    )
    project: Annotated[
        ProjectSource | None,
        Field(description="What is run. Without it the runs are followed that others log."),
    ] = None
    entry_point: Annotated[str, Field(min_length=1, max_length=255)] = "main"
    parameters: Annotated[dict[str, ParameterValue], Field(max_length=64)] = Field(default_factory=dict)
    environment: Annotated[
        EnvironmentSource,
        Field(description="Project: what python_env or conda_env ask for. Image: what is in the image."),
    ] = EnvironmentSource.PROJECT
    sweep: Sweep | None = None
    objective: Objective | None = None
    register_: Annotated[Registration | None, Field(alias="register")] = None
    schedule: Annotated[
        str | None,
        Field(
            max_length=128,
            pattern=r"^(@(hourly|daily|midnight|weekly|monthly|yearly|annually)|[^\s]+( +[^\s]+){4})$",
            description="When to run, as cron writes it: minute, hour, day, month, weekday.",
        ),
    ] = None
    time_zone: Annotated[str | None, Field(max_length=64, description="Of the schedule. Default: UTC.")] = None
    suspend: Annotated[bool, Field(description="No trial is started; those that run go on.")] = False
    template: TrialTemplate | None = None
    retention: ExperimentRetention | None = None

    @property
    def trial_template(self) -> TrialTemplate:
        """The template, also where none is given."""
        return self.template or TrialTemplate()


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
        {"name": "Running", "type": "integer", "jsonPath": ".status.runs.running", "priority": 1},
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
