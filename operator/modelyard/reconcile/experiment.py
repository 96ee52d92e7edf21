"""Brings an Experiment's Jobs, runs and status to what its spec asks for."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from modelyard.api.experiment import Experiment
from modelyard.api.experiment_status import ExperimentStatus
from modelyard.api.names import EXPERIMENT_LABEL, FIELD_MANAGER
from modelyard.api.reasons import Reason
from modelyard.cluster.client import ApiError, Client, NotFound
from modelyard.cluster.ensure import ensure_status
from modelyard.cluster.resources import JOBS, PODS, of_kind
from modelyard.decide.experiment import Plan, Seen, TrialState, plan
from modelyard.decide.experiment_jobs import read_jobs
from modelyard.decide.experiment_model import (
    EXECUTION_TAG,
    EXPERIMENT_TAG,
    PARENT,
    TRIAL_TAG,
    Problem,
    Run,
    RunStatus,
    TrialJob,
)
from modelyard.decide.experiment_status import Execution, Result, is_over, pinned, progress, to_register, troubled
from modelyard.decide.experiment_trials import execution_name, job_name
from modelyard.desired.experiment import GitFiles, Images, TrialRun, trial_job
from modelyard.reconcile.base import Clock, Outcome
from modelyard.reconcile.experiment_project import Git, Pinned, Prepared, Projects
from modelyard.reconcile.experiment_registration import Models, Registrar, Tracking
from modelyard.settings import Settings
from modelyard.tracking.client import TrackingError, TrackingUnreachable

log = logging.getLogger(__name__)

SOON_SECONDS = 1.0
"""After something was started or ended."""

RUNNING_SECONDS = 5.0
"""While trials run. Their Jobs' events come by themselves; what keeps a pod from starting does not."""

RETRY_SECONDS = 15.0
"""Where something does not answer, or a person has to correct it outside the Experiment."""

CONFIG_MAP_SECONDS = 60.0
"""How often the project's ConfigMap is looked at once all is done: ConfigMaps are not watched."""

_REFUSALS = (400, 403, 422)


@dataclass(frozen=True)
class _Making:
    """What every run and Job of one pass is made from."""

    experiment: Experiment
    fixed: Pinned
    prepared: Prepared
    experiment_id: str


class ExperimentReconciler:
    """Reconciles Experiments."""

    def __init__(  # noqa: PLR0917 - each is a connection of the process
        self, client: Client, tracking: Tracking, git: Git, registry: Models, settings: Settings, clock: Clock
    ) -> None:
        self._client = client
        self._tracking = tracking
        self._projects = Projects(client, git)
        self._registration = Registrar(tracking, registry, settings.artifacts_destination)
        self._settings = settings
        self._clock = clock

    def __call__(self, namespace: str, name: str) -> Outcome:
        """Reconcile one object."""
        body = self._client.find(of_kind(Experiment), namespace, name)
        if body is None or body["metadata"].get("deletionTimestamp"):
            return Outcome()
        experiment = Experiment.parse(body)
        fixed = self._projects.pin(experiment)
        if is_over(experiment, None if isinstance(fixed, Problem) else fixed.execution):
            return _rest(experiment)
        if isinstance(fixed, Problem):
            return self._report(experiment, fixed, None)
        return self._run(experiment, fixed)

    def _run(self, experiment: Experiment, fixed: Pinned) -> Outcome:
        """Run what was fixed, from wherever it stands."""
        prepared = self._projects.prepare(experiment, fixed)
        if isinstance(prepared, Problem):
            outcome = self._report(experiment, prepared, fixed.execution)
            self._stop_others(experiment, fixed.execution)
            return outcome
        if experiment.status.execution != fixed.execution.id:
            # Before anything is made: a crash must not leave runs of a commit that nobody remembers.
            experiment = self._write(experiment, pinned(experiment, fixed.execution, self._clock()))
        try:
            return self._advance(experiment, fixed, prepared)
        except TrackingError as error:
            unreachable = isinstance(error, TrackingUnreachable)
            reason = Reason.TRACKING_SERVER_UNREACHABLE if unreachable else Reason.TRACKING_SERVER_REFUSED
            problem = Problem(reason, str(error), transient=unreachable)
        except ApiError as error:
            if error.code not in _REFUSALS:
                raise
            problem = Problem(Reason.OBJECT_REFUSED, str(error))
        return self._report(experiment, problem, fixed.execution)

    def _advance(self, experiment: Experiment, fixed: Pinned, prepared: Prepared) -> Outcome:
        """Take every step that can be taken now."""
        execution = fixed.execution
        experiment_id = self._tracking.ensure_experiment(experiment.metadata.name, experiment.spec.tags)
        tags, mine = {EXPERIMENT_TAG: _full_name(experiment)}, {EXECUTION_TAG: execution.id}
        seen = Seen(
            jobs=self._jobs(experiment),
            runs=tuple(self._tracking.search_runs(experiment_id, {**tags, **mine})),
            stale=tuple(self._tracking.search_runs(experiment_id, tags, without=mine, running=True)),
        )
        decided = plan(experiment, execution.id, prepared.trials, seen)
        self._end(experiment, decided)
        making = _Making(experiment, fixed, prepared, experiment_id)
        parent = decided.parent.run_id if decided.parent else None
        if decided.needs_parent and parent is None and decided.start:
            name = execution_name(experiment, execution.id)
            parent = self._create_run(making, name, PARENT, None).run_id
        for state in decided.start:
            self._start(making, state, parent)
        best = to_register(experiment, decided)
        registered = self._registration(experiment, best) if best else None
        result = Result(experiment_id, decided, registered, prepared.notes)
        status = self._write(experiment, progress(experiment, execution, result, self._clock())).status
        if status.finished_at:
            return _rest(experiment)
        if isinstance(registered, Problem):
            return Outcome(RETRY_SECONDS)
        return Outcome(SOON_SECONDS if decided.start or decided.end_runs else RUNNING_SECONDS)

    def _jobs(self, experiment: Experiment) -> tuple[TrialJob, ...]:
        namespace, labels = experiment.metadata.namespace, f"{EXPERIMENT_LABEL}={experiment.metadata.name}"
        jobs = self._client.list_all(JOBS, namespace, labels)
        pods = self._client.list_all(PODS, namespace, labels) if jobs else []
        return read_jobs(jobs, pods, experiment.metadata.uid)

    def _end(self, experiment: Experiment, decided: Plan) -> None:
        """Remove what is left of other executions, and end runs that nobody else will end."""
        self._remove(experiment, decided.remove_jobs)
        for end in decided.end_runs:
            self._tracking.end_run(end.run_id, end.status, self._milliseconds())

    def _remove(self, experiment: Experiment, jobs: tuple[TrialJob, ...]) -> None:
        for job in jobs:
            log.info("experiment %s: removing job %s of another execution", _full_name(experiment), job.name)
            self._client.delete(JOBS, experiment.metadata.namespace, job.name, uid=job.uid)

    def _start(self, making: _Making, state: TrialState, parent: str | None) -> None:
        """Make the run first and then the Job, so that what a crash leaves between them is found by its tags."""
        experiment, trial = making.experiment, state.trial
        invocation = making.prepared.invocations[trial.index]
        run = state.run or self._create_run(making, trial.name, str(trial.index), parent)
        missing = {key: value for key, value in invocation.parameters.items() if key not in run.parameters}
        if missing:
            self._tracking.log_parameters(run.run_id, missing)
        execution = making.fixed.execution.id
        trial_run = TrialRun(
            name=job_name(experiment, execution, trial.index),
            execution=execution,
            index=trial.index,
            run_id=run.run_id,
            experiment_id=making.experiment_id,
            tracking_uri=self._settings.tracking_uri,
            command=invocation.command,
        )
        images = Images(
            trial=making.prepared.image or self._settings.training_image,
            fetch=self._settings.operator_image,
            pull_policy=self._settings.image_pull_policy,
        )
        log.info("experiment %s: starting trial %s as job %s", _full_name(experiment), trial.name, trial_run.name)
        body = trial_job(experiment, trial_run, making.fixed.files, images)
        self._client.create(JOBS, experiment.metadata.namespace, body, FIELD_MANAGER)

    def _create_run(self, making: _Making, name: str, trial: str, parent: str | None) -> Run:
        """Create the run of a trial, or the parent's; its tags are what it is found by."""
        spec = making.experiment.spec
        tags = {
            "mlflow.user": FIELD_MANAGER,
            **spec.tags,
            "mlflow.source.type": "PROJECT",
            "mlflow.project.entryPoint": spec.entry_point,
            **_source_tags(making.fixed),
            EXPERIMENT_TAG: _full_name(making.experiment),
            EXECUTION_TAG: making.fixed.execution.id,
            TRIAL_TAG: trial,
        }
        if parent:
            tags["mlflow.parentRunId"] = parent
        return self._tracking.create_run(making.experiment_id, name, tags, self._milliseconds())

    def _stop_others(self, experiment: Experiment, execution: Execution) -> None:
        """Stop what another execution left running, where the present one cannot start."""
        jobs = tuple(job for job in self._jobs(experiment) if job.execution != execution.id)
        if jobs and experiment.status.experiment_id:
            tags, mine = {EXPERIMENT_TAG: _full_name(experiment)}, {EXECUTION_TAG: execution.id}
            found = self._tracking.search_runs(experiment.status.experiment_id, tags, without=mine, running=True)
            for run in found:
                self._tracking.end_run(run.run_id, RunStatus.KILLED, self._milliseconds())
        self._remove(experiment, jobs)

    def _report(self, experiment: Experiment, problem: Problem, execution: Execution | None) -> Outcome:
        self._write(experiment, troubled(experiment, problem, execution, self._clock()))
        return Outcome(RETRY_SECONDS)

    def _write(self, experiment: Experiment, status: ExperimentStatus) -> Experiment:
        """Write the status where it differs, and return the Experiment with it."""
        try:
            written = ensure_status(self._client, experiment, status, experiment.status)
        except NotFound:
            written = False
        if written and status.conditions[:1] != experiment.status.conditions[:1]:
            verdict = status.conditions[0]
            log.info("experiment %s: %s: %s", _full_name(experiment), verdict.reason, verdict.message)
        return experiment.model_copy(update={"status": status})

    def _milliseconds(self) -> int:
        return int(self._clock().timestamp() * 1000)


def _rest(experiment: Experiment) -> Outcome:
    """Return when to look at an Experiment again that is done: a commit does not change, a ConfigMap may."""
    return Outcome(CONFIG_MAP_SECONDS if experiment.spec.project and experiment.spec.project.config_map else None)


def _full_name(experiment: Experiment) -> str:
    return f"{experiment.metadata.namespace}/{experiment.metadata.name}"


def _source_tags(fixed: Pinned) -> dict[str, str]:
    files = fixed.files
    if not isinstance(files, GitFiles):
        return {"mlflow.source.name": f"configmap:{files.name}"}
    where = "" if files.path in ("", ".") else f"#{files.path}"
    return {
        "mlflow.source.name": f"{files.url}{where}",
        "mlflow.source.git.commit": files.commit,
        "mlflow.source.git.repoURL": files.url,
    }
