"""Carries out what was decided of an Experiment's trials: makes their runs and Jobs, and records how they ended."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from modelyard.api.experiment import Experiment
from modelyard.api.experiment_status import ExecutionTrigger
from modelyard.api.names import FIELD_MANAGER
from modelyard.api.project_files import TrialEnvironment, environment_to_json, to_json
from modelyard.cluster.client import ApiError, Client
from modelyard.cluster.resources import JOBS
from modelyard.decide.experiment import EndRun, Plan
from modelyard.decide.experiment_model import (
    ATTEMPT_TAG,
    ENVIRONMENT_TAG,
    EXECUTION_TAG,
    EXPERIMENT_TAG,
    GIVEN_TAG,
    IMAGE_TAG,
    JOB_TAG,
    LOCK_ARTIFACT,
    MADE_BY_TAG,
    MESSAGE_TAG,
    OUTCOME_TAG,
    PARAMETERS_TAG,
    PARENT,
    PROJECT_TAG,
    TRIAL_TAG,
    TRIGGER_TAG,
    Execution,
    Run,
    TrialJob,
)
from modelyard.decide.experiment_outcome import Phase, TrialState
from modelyard.decide.experiment_trials import execution_name, job_name
from modelyard.decide.jobs import JobState, short
from modelyard.desired.environment import entering
from modelyard.desired.experiment import Images, TrialRun, trial_job
from modelyard.desired.project_files import fetching
from modelyard.reconcile.experiment_ports import Logs, Tracking
from modelyard.reconcile.experiment_project import Prepared
from modelyard.reconcile.experiment_runs import Runs
from modelyard.reconcile.experiment_source import Pinned

log = logging.getLogger(__name__)

STARTED_AT_ONCE = 25
"""How many trials one pass starts: in between a change of the spec is seen, and the status is told."""

_PARENT_TAG = "mlflow.parentRunId"
_MESSAGE_LIMIT = 1000

JOBS_QUOTA = "count/jobs.batch"
"""What a ResourceQuota calls the number of Jobs."""


@dataclass(frozen=True)
class Making:
    """What every run and Job of an execution is made from."""

    experiment: Experiment
    execution: Execution
    fixed: Pinned
    prepared: Prepared
    environment: TrialEnvironment
    experiment_id: str
    tracking_uri: str
    images: Images

    @property
    def full_name(self) -> str:
        """`<namespace>/<name>` of the Experiment."""
        return f"{self.experiment.metadata.namespace}/{self.experiment.metadata.name}"


class Trials:
    """Carries out one plan after the other. What a crash leaves in between is found by the runs' tags."""

    def __init__(
        self,
        client: Client,
        tracking: Tracking,
        logs: Logs,
        read_lock: Callable[[TrialEnvironment], bytes | None],
        clock: Callable[[], datetime],
    ) -> None:
        self._client = client
        self._tracking = tracking
        self._logs = logs
        self._read_lock = read_lock
        self._clock = clock

    def carry_out(self, making: Making, runs: Runs, decided: Plan) -> str:
        """Do what was decided; return what keeps trials from being started, if the cluster does.

        Raises `TrackingError` and `ApiError`.
        """
        for state in decided.settle:
            self._settle(making, runs, state)
        for state in decided.again:
            self._again(making, runs, state)
        for state in decided.adopt:
            assert state.run
            assert state.job
            runs.tag(state.run, {JOB_TAG: state.job.uid})
        for end in decided.end_runs:
            self._end(runs, end)
        for job in decided.remove_jobs:
            self._remove(making.experiment, job)
        parent = decided.parent
        if decided.needs_parent and parent is None and decided.start:
            name = execution_name(making.experiment, making.execution.id)
            parent = self._create(making, runs, name, {TRIAL_TAG: PARENT})
        if parent is not None:
            self._keep_lock(making, runs, parent)
        try:
            for state in decided.start[:STARTED_AT_ONCE]:
                self._start(making, runs, state, parent)
        except ApiError as error:
            if error.code == 403 and "quota" in str(error):
                if JOBS_QUOTA in str(error):
                    # Ended Jobs count, too, and nothing else would ever make room.
                    for job in (job for job in decided.spare_jobs if job not in decided.remove_jobs):
                        self._remove(making.experiment, job)
                return f"no trial can be started now: {short(str(error), _MESSAGE_LIMIT)}"
            raise
        return ""

    def _settle(self, making: Making, runs: Runs, state: TrialState) -> None:
        """Record on the run why its trial failed or was given up, its log first, and stop what still runs."""
        run, job, failure = state.run, state.job, state.failure
        assert run
        assert failure
        active = job is not None and job.state is JobState.ACTIVE
        if state.phase is Phase.STOPPED and active:
            now = self._tracking.get_run(run.run_id)
            if now is None or now.ended:
                # The program was faster: it counts as it ended.
                return
        elif job is not None:
            self._logs.keep(making.experiment.metadata.namespace, job.name, run)
        log.info("experiment %s: trial %s: %s: %s", making.full_name, state.trial.name, failure.reason, failure.message)
        runs.tag(run, {OUTCOME_TAG: failure.reason, MESSAGE_TAG: short(failure.message, _MESSAGE_LIMIT)})
        if job is not None and active:
            self._remove(making.experiment, job)

    def _again(self, making: Making, runs: Runs, state: TrialState) -> None:
        """Let the trial's Job be made once more; the one that lost its pod goes once the run says so."""
        assert state.run
        log.info("experiment %s: trial %s lost its pod and is run again", making.full_name, state.trial.name)
        runs.tag(state.run, {JOB_TAG: "", ATTEMPT_TAG: str(state.run.attempt + 1)})

    def _end(self, runs: Runs, end: EndRun) -> None:
        now = self._milliseconds()
        self._tracking.end_run(end.run_id, end.status, now)
        runs.ended(end.run_id, end.status, now)

    def _remove(self, experiment: Experiment, job: TrialJob) -> None:
        log.info("experiment %s: removing job %s", experiment.metadata.name, job.name)
        self._client.delete(JOBS, experiment.metadata.namespace, job.name, uid=job.uid)

    def _start(self, making: Making, runs: Runs, state: TrialState, parent: Run | None) -> None:
        """Make the run first and then the Job, so that what a crash leaves between them is found by its tags."""
        trial = state.trial
        invocation = making.prepared.invocation(trial)
        run = state.run
        if run is None:
            tags = {
                TRIAL_TAG: str(trial.index),
                PARAMETERS_TAG: json.dumps(dict(trial.swept), sort_keys=True),
                GIVEN_TAG: json.dumps(sorted(trial.parameters)),
            }
            run = self._create(making, runs, trial.name, {**tags, **({_PARENT_TAG: parent.run_id} if parent else {})})
        missing = {key: value for key, value in invocation.parameters.items() if key not in run.parameters}
        if missing:
            self._tracking.log_parameters(run.run_id, missing)
            run = replace(run, parameters={**run.parameters, **missing})
            runs.note(run)
        if parent is None:
            run = self._keep_lock(making, runs, run)
        trial_run = TrialRun(
            name=job_name(making.experiment, making.execution.id, trial.index, run.attempt),
            execution=making.execution.id,
            index=trial.index,
            attempt=run.attempt,
            run_id=run.run_id,
            experiment_id=making.experiment_id,
            tracking_uri=making.tracking_uri,
            command=invocation.command,
            context=self._context(making, run),
            variables=dict(making.prepared.variables),
            in_docker=making.prepared.in_docker,
        )
        fetch = fetching(making.fixed.files, invocation.downloads, invocation.paths, making.images, making.tracking_uri)
        body = trial_job(
            making.experiment, trial_run, fetch, entering(making.environment, making.images), making.images
        )
        log.info("experiment %s: starting trial %s as job %s", making.full_name, trial.name, trial_run.name)
        made = self._client.create(JOBS, making.experiment.metadata.namespace, body, FIELD_MANAGER)
        runs.tag(run, {JOB_TAG: made["metadata"]["uid"]})

    @staticmethod
    def _context(making: Making, run: Run) -> dict[str, str]:
        """Return the tags of runs that the trial's program makes itself, beside the one it was given."""
        return {
            **making.experiment.spec.tags,
            _PARENT_TAG: run.run_id,
            EXPERIMENT_TAG: making.full_name,
            EXECUTION_TAG: making.execution.id,
            MADE_BY_TAG: run.run_id,
        }

    def _create(self, making: Making, runs: Runs, name: str, extra: dict[str, str]) -> Run:
        """Create the run of a trial, or the parent's; its tags are what it is found by."""
        spec = making.experiment.spec
        tags = {
            "mlflow.user": FIELD_MANAGER,
            **spec.tags,
            "mlflow.source.type": "PROJECT",
            "mlflow.project.entryPoint": spec.entry_point,
            "mlflow.project.backend": "modelyard",
            **making.fixed.tags,
            EXPERIMENT_TAG: making.full_name,
            EXECUTION_TAG: making.execution.id,
            TRIGGER_TAG: _trigger_text(making.execution.trigger),
            PROJECT_TAG: to_json(making.fixed.files),
            IMAGE_TAG: making.images.trial,
            **({ENVIRONMENT_TAG: environment_to_json(making.environment)} if _PARENT_TAG in extra else {}),
            **extra,
        }
        run = self._tracking.create_run(making.experiment_id, name, tags, self._milliseconds())
        runs.note(run)
        return run

    def _keep_lock(self, making: Making, runs: Runs, run: Run) -> Run:
        """Keep the list of all packages with the run, which says so by its tag."""
        if ENVIRONMENT_TAG in run.tags:
            return run
        if (lock := self._read_lock(making.environment)) is not None:
            self._tracking.put_artifact(run, LOCK_ARTIFACT, lock)
        return runs.tag(run, {ENVIRONMENT_TAG: environment_to_json(making.environment)})

    def _milliseconds(self) -> int:
        return int(self._clock().timestamp() * 1000)


def _trigger_text(trigger: ExecutionTrigger) -> str:
    return f"{trigger.kind} {trigger.value}".strip()
