"""Brings an Experiment's Jobs, runs and status to what its spec asks for."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from datetime import datetime

from modelyard.api.experiment import Experiment
from modelyard.api.experiment_status import ExperimentStatus
from modelyard.api.names import EXPERIMENT_LABEL
from modelyard.api.project_files import TrialEnvironment, environment_from_json
from modelyard.api.reasons import Reason
from modelyard.artifacts.store import ArtifactError
from modelyard.cluster.client import ApiError, Client, NotFound
from modelyard.cluster.ensure import ensure_status
from modelyard.cluster.resources import JOBS, PODS, of_kind
from modelyard.decide import schedule
from modelyard.decide.conditions import timestamp
from modelyard.decide.experiment import Plan, Seen, plan
from modelyard.decide.experiment_jobs import need_pods, read_jobs
from modelyard.decide.experiment_model import (
    ENVIRONMENT_TAG,
    EXECUTION_TAG,
    EXPERIMENT_TAG,
    Execution,
    Problem,
    RunStatus,
    TrialJob,
)
from modelyard.decide.experiment_status import Result, is_over, pinned, progress, to_register, troubled, waiting
from modelyard.decide.experiment_trials import execution_id
from modelyard.decide.experiment_trigger import choose, fixed_content, next_time, renewed
from modelyard.desired.experiment import Images
from modelyard.reconcile.base import Clock, Outcome
from modelyard.reconcile.environments import Waiting
from modelyard.reconcile.experiment_follow import Follower
from modelyard.reconcile.experiment_ports import MakesEnvironments, Registers, Retains, Tracking
from modelyard.reconcile.experiment_project import Prepared, prepare
from modelyard.reconcile.experiment_runs import Runs, RunsOfExecutions
from modelyard.reconcile.experiment_source import Pinned, ProjectSources
from modelyard.reconcile.experiment_trials import Making, Trials
from modelyard.reconcile.jobs import telling_events
from modelyard.reconcile.reader import ensure_reader_secret
from modelyard.settings import Settings
from modelyard.tracking.client import TrackingError, TrackingUnreachable

log = logging.getLogger(__name__)

SOON_SECONDS = 1.0
"""After something was started or ended."""

RUNNING_SECONDS = 5.0
"""While trials run. Their Jobs' events come by themselves; what keeps a pod from starting does not."""

RETRY_SECONDS = 15.0
"""Where something does not answer, or a person has to correct it outside the Experiment."""

CLOSING_STEPS = 2
"""What the last trials' end takes after the first: what is told of it, and then what is removed for it."""

CONFIG_MAP_SECONDS = 60.0
"""How often the project's ConfigMap is looked at once all is done: ConfigMaps are not watched."""

STATUS_SECONDS = 2.0
"""How far apart two writes of the status are that only count on."""

_REFUSALS = (400, 403, 422)


@dataclass(frozen=True)
class Parts:
    """What the reconciler is made of; see `experiment_ports`."""

    tracking: Tracking
    sources: ProjectSources
    environments: MakesEnvironments
    trials: Trials
    registrar: Registers
    retention: Retains


class ExperimentReconciler:
    """Reconciles Experiments."""

    def __init__(self, client: Client, parts: Parts, settings: Settings, clock: Clock) -> None:
        self._client = client
        self._parts = parts
        self._settings = settings
        self._clock = clock
        tracking = parts.tracking
        self._runs = RunsOfExecutions(lambda *key: Runs(tracking, *key))
        self._follower = Follower(client, tracking, parts.registrar, parts.retention, clock)
        self._written: dict[str, float] = {}

    def __call__(self, namespace: str, name: str) -> Outcome:
        """Reconcile one object."""
        body = self._client.find(of_kind(Experiment), namespace, name)
        if body is None or body["metadata"].get("deletionTimestamp"):
            self._abandon(f"{namespace}/{name}")
            return Outcome()
        experiment = Experiment.parse(body)
        if experiment.spec.project is None:
            return self._follower(experiment)
        if wrong := _schedule_fault(experiment):
            return self._report(experiment, Problem(Reason.INVALID_SPEC, wrong), None)
        return self._chosen(experiment)

    def _chosen(self, experiment: Experiment) -> Outcome:
        """Find out which execution is the present one, and go on with it."""
        choice = choose(experiment, self._clock())
        if choice is None:
            return self._wait(experiment)
        if experiment.status.trigger is None and is_over(experiment, None) and not choice.fresh:
            # An operator of before triggers finished it, and named it by another hash: it is not run again for that.
            return self._rest(experiment)
        try:
            fixed = self._parts.sources.pin(experiment, fixed_content(experiment, choice))
        except ArtifactError as error:
            fixed = Problem(Reason.ARTIFACT_STORE_UNREACHABLE, str(error), transient=True)
        if isinstance(fixed, Problem):
            over = not choice.fresh and is_over(experiment, None)
            return self._rest(experiment) if over else self._report(experiment, fixed, None)
        choice = renewed(experiment, choice, fixed.content)
        if choice is None:
            return self._wait(experiment)
        name = execution_id(experiment, fixed.content, choice.trigger)
        execution = Execution(name, choice.trigger, fixed.commit, fixed.content)
        if not choice.fresh and is_over(experiment, execution):
            return self._rest(experiment)
        return self._attempt(experiment, execution, fixed)

    def _attempt(self, experiment: Experiment, execution: Execution, fixed: Pinned) -> Outcome:
        """Run what was fixed; what does not answer, or refuses, is told."""
        try:
            return self._run(experiment, execution, fixed)
        except TrackingError as error:
            unreachable = isinstance(error, TrackingUnreachable)
            reason = Reason.TRACKING_SERVER_UNREACHABLE if unreachable else Reason.TRACKING_SERVER_REFUSED
            problem = Problem(reason, str(error), transient=unreachable)
        except ArtifactError as error:
            problem = Problem(Reason.ARTIFACT_STORE_UNREACHABLE, str(error), transient=True)
        except ApiError as error:
            if error.code not in _REFUSALS:
                raise
            problem = Problem(Reason.OBJECT_REFUSED, str(error))
        return self._report(self._again(experiment), problem, execution)

    def _run(self, experiment: Experiment, execution: Execution, fixed: Pinned) -> Outcome:
        """Run what was fixed, from wherever it stands."""
        prepared = self._prepare(experiment, execution, fixed)
        if isinstance(prepared, Problem | Waiting):
            if isinstance(prepared, Waiting):
                outcome = self._building(experiment, execution, prepared)
            else:
                outcome = self._report(experiment, prepared, execution)
            self._stop_others(experiment, execution)
            return outcome
        if experiment.status.execution != execution.id:
            # Before anything is made: a crash must not leave runs of a commit that nobody remembers.
            experiment = self._write(experiment, pinned(experiment, execution, self._clock()))
        kept = self._parts.sources.keep(fixed)
        if isinstance(kept, Problem):
            return self._report(experiment, kept, execution)
        fixed = kept
        environment = self._environment(experiment, fixed, prepared)
        if isinstance(environment, Problem):
            return self._report(experiment, environment, execution)
        if isinstance(environment, Waiting):
            outcome = self._building(experiment, execution, environment)
            self._stop_others(experiment, execution)
            return outcome
        spec = experiment.spec
        making = Making(
            experiment=experiment,
            execution=execution,
            fixed=fixed,
            prepared=prepared,
            environment=environment,
            experiment_id=self._parts.tracking.ensure_experiment(
                spec.experiment_name or experiment.metadata.name, spec.tags
            ),
            tracking_uri=self._settings.tracking_uri,
            images=self._images(prepared.image),
        )
        return self._advance(making)

    def _prepare(self, experiment: Experiment, execution: Execution, fixed: Pinned) -> Prepared | Problem | Waiting:
        """Read the project and check what is asked of it. One that lies in an image is read by a Job there."""
        directory = self._parts.sources.directory(fixed)
        if isinstance(directory, Problem):
            return directory
        if directory is None:
            image = experiment.spec.trial_template.image or self._settings.training_image
            since = _started(experiment)
            found = self._parts.environments.ensure(experiment, fixed.files, None, None, image, since=since)
            if isinstance(found, Problem | Waiting):
                return found
            directory = found.directory
        return prepare(experiment, execution.id, directory, self._settings.training_image)

    def _environment(
        self, experiment: Experiment, fixed: Pinned, prepared: Prepared
    ) -> TrialEnvironment | Problem | Waiting:
        found = self._parts.environments.ensure(
            experiment,
            fixed.files,
            prepared.directory,
            prepared.environment,
            prepared.image,
            again=self._environment_before(experiment),
            since=_started(experiment),
        )
        return found if isinstance(found, Problem | Waiting) else found.environment

    def _environment_before(self, experiment: Experiment) -> TrialEnvironment | None:
        """Return the environment of the run that is run again, if the Experiment runs one again."""
        project = experiment.spec.project
        if project is None or project.run is None:
            return None
        run = self._parts.tracking.get_run(project.run.id)
        try:
            return environment_from_json(run.tags[ENVIRONMENT_TAG]) if run else None
        except (KeyError, ValueError):
            return None

    def _advance(self, making: Making) -> Outcome:
        """Take every step that can be taken now."""
        experiment, execution = making.experiment, making.execution
        runs = self._runs.of(making.full_name, making.experiment_id, execution.id)
        decided, held = self._step(making, runs)
        for _ in range(CLOSING_STEPS):
            if decided.done or not decided.ended:
                break
            decided, held = self._step(making, runs)
        best = to_register(experiment, decided)
        registered = self._parts.registrar(experiment, best) if best else None
        notes = (*making.prepared.notes, *filter(None, (making.environment.message, held)))
        result = Result(making.experiment_id, decided, registered, notes, making.environment)
        status = progress(experiment, execution, result, self._clock())
        if not self._is_due(experiment, status):
            return Outcome(STATUS_SECONDS)
        status = self._write(experiment, status).status
        if status.finished_at:
            self._runs.forget(making.full_name)
            return self._rest(experiment.model_copy(update={"status": status}))
        if isinstance(registered, Problem):
            return Outcome(RETRY_SECONDS)
        moved = (decided.start and not held) or decided.end_runs or decided.settle or decided.again
        return Outcome(SOON_SECONDS if moved else RUNNING_SECONDS)

    def _step(self, making: Making, runs: Runs) -> tuple[Plan, str]:
        """Decide, and do it; return what keeps trials from being started, too."""
        decided = self._decide(making, runs)
        return decided, self._parts.trials.carry_out(making, runs, decided)

    def _decide(self, making: Making, runs: Runs) -> Plan:
        experiment, execution = making.experiment, making.execution
        cold = runs.cold
        if cold:
            # What brings files and libraries into trials' pods reads them with it.
            ensure_reader_secret(self._client, self._settings, experiment.metadata.namespace)
        # The Jobs first: what a Job's program logged before it ended is in what is read afterwards.
        jobs = self._jobs(experiment)
        seen = Seen(now=self._clock(), jobs=jobs, runs=runs.look(), stale=runs.stale() if cold else ())
        sweep, objective = experiment.spec.sweep, experiment.spec.objective
        if sweep and sweep.early_stopping and objective:
            seen = replace(seen, steps=runs.steps(seen.runs, objective.metric))
        decided = plan(experiment, execution, making.prepared.search, seen)
        if not cold and (decided.ended or decided.misses_objective):
            # A program may have made runs of its own, and ended them, between two looks.
            decided = plan(experiment, execution, making.prepared.search, replace(seen, runs=runs.look(whole=True)))
        return decided

    def _jobs(self, experiment: Experiment) -> tuple[TrialJob, ...]:
        namespace, labels = experiment.metadata.namespace, f"{EXPERIMENT_LABEL}={experiment.metadata.name}"
        jobs = self._client.list_all(JOBS, namespace, labels)
        pods = self._client.list_all(PODS, namespace, labels) if need_pods(jobs) else []
        events = telling_events(self._client, namespace, jobs, pods, self._clock())
        return read_jobs(jobs, pods, experiment.metadata.uid, events)

    def _stop_others(self, experiment: Experiment, execution: Execution) -> None:
        """Stop what another execution left running, where the present one cannot start."""
        jobs = tuple(job for job in self._jobs(experiment) if job.execution != execution.id)
        if jobs and experiment.status.experiment_id:
            tags, mine = {EXPERIMENT_TAG: _full_name(experiment)}, {EXECUTION_TAG: execution.id}
            tracking, now = self._parts.tracking, int(self._clock().timestamp() * 1000)
            for run in tracking.search_runs(experiment.status.experiment_id, tags, without=mine, running=True):
                tracking.end_run(run.run_id, RunStatus.KILLED, now)
        for job in jobs:
            log.info("experiment %s: removing job %s of another execution", _full_name(experiment), job.name)
            self._client.delete(JOBS, experiment.metadata.namespace, job.name, uid=job.uid)

    def _images(self, trial: str) -> Images:
        return Images(trial, self._settings.operator_image, self._settings.image_pull_policy)

    def _wait(self, experiment: Experiment) -> Outcome:
        """Wait for the schedule."""
        now = self._clock()
        due = next_time(experiment, now)
        assert due is not None, "only a schedule is waited for"
        self._write(experiment, waiting(experiment, due, now))
        return Outcome(max((due - now).total_seconds(), SOON_SECONDS))

    def _rest(self, experiment: Experiment) -> Outcome:
        """Delete what retention does not keep, and return when to look again at an Experiment that is done.

        A commit does not change, a ConfigMap may.
        """
        project, now = experiment.spec.project, self._clock()
        soon: list[float] = []
        if experiment.spec.retention:
            experiment, soon = self._retain(experiment)
        if (due := next_time(experiment, now)) is not None:
            self._write(experiment, experiment.status.model_copy(update={"next_schedule_at": timestamp(due)}))
            soon.append(max((due - now).total_seconds(), SOON_SECONDS))
        if project and project.config_map:
            soon.append(CONFIG_MAP_SECONDS)
        return Outcome(min(soon) if soon else None)

    def _retain(self, experiment: Experiment) -> tuple[Experiment, list[float]]:
        """Delete what retention does not keep; return the Experiment as it is told, and when to look again."""
        retention, now = self._parts.retention, self._clock()
        done = retention.apply(experiment, now)
        if done is not None:
            experiment = self._write(experiment, experiment.status.model_copy(update={"clean_up": done}))
        again = retention.again_after(experiment, now)
        return experiment, [] if again is None else [again]

    def _building(self, experiment: Experiment, execution: Execution, what: Waiting) -> Outcome:
        problem = Problem(Reason.ENVIRONMENT_BUILDING, what.message, transient=True)
        self._write(experiment, troubled(experiment, problem, execution, self._clock()))
        return Outcome(what.again_after)

    def _report(self, experiment: Experiment, problem: Problem, execution: Execution | None) -> Outcome:
        self._write(experiment, troubled(experiment, problem, execution, self._clock()))
        return Outcome(RETRY_SECONDS)

    def _again(self, experiment: Experiment) -> Experiment:
        """Return the Experiment with the status that was written last: the pass may have begun an execution."""
        body = self._client.find(of_kind(Experiment), experiment.metadata.namespace, experiment.metadata.name)
        return Experiment.parse(body) if body else experiment

    def _is_due(self, experiment: Experiment, status: ExperimentStatus) -> bool:
        """Whether to write now: what only counts on waits until a moment has passed since the last time."""
        before = experiment.status
        if status == before or not before.conditions or status.finished_at:
            return True
        said, told = status.conditions[0], before.conditions[0]
        now = (said.status, said.reason, status.experiment_id, status.parent_run_id)
        if now != (told.status, told.reason, before.experiment_id, before.parent_run_id):
            return True
        return time.monotonic() - self._written.get(_full_name(experiment), -STATUS_SECONDS) >= STATUS_SECONDS

    def _write(self, experiment: Experiment, status: ExperimentStatus) -> Experiment:
        """Write the status where it differs, and return the Experiment with it."""
        try:
            written = ensure_status(self._client, experiment, status, experiment.status)
        except NotFound:
            written = False
        if written:
            self._written[_full_name(experiment)] = time.monotonic()
        if written and status.conditions[:1] != experiment.status.conditions[:1]:
            verdict = status.conditions[0]
            log.info("experiment %s: %s: %s", _full_name(experiment), verdict.reason, verdict.message)
        return experiment.model_copy(update={"status": status})

    def _abandon(self, name: str) -> None:
        """End what still runs of an Experiment that is gone: its Jobs go with it, its runs would stay open.

        Those that this process has not seen are ended when an Experiment of the name is made again.
        """
        now = int(self._clock().timestamp() * 1000)
        try:
            for runs in self._runs.known(name):
                for run in runs.look():
                    if not run.ended:
                        self._parts.tracking.end_run(run.run_id, RunStatus.KILLED, now)
        except TrackingError as error:
            log.warning("experiment %s is gone; its runs cannot be ended: %s", name, error)
        self._runs.forget(name)
        self._written.pop(name, None)


def _schedule_fault(experiment: Experiment) -> str | None:
    spec = experiment.spec
    return schedule.check(spec.schedule, spec.time_zone) if spec.schedule else None


def _started(experiment: Experiment) -> datetime | None:
    started = experiment.status.started_at
    return datetime.fromisoformat(started) if started else None


def _full_name(experiment: Experiment) -> str:
    return f"{experiment.metadata.namespace}/{experiment.metadata.name}"
