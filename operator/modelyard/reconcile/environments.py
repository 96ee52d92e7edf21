"""Has environments made by Jobs, once for each content and image, and records what came of it before it is used.

    <prefix>/environments/<key>/recipe.json            what it is made of; written here
    <prefix>/environments/<key>/environment.json       what the Job says it made
    <prefix>/environments/<key>/environment.tar.gz     what trials unpack, if there is anything
    <prefix>/environments/<key>/environment.lock.txt   all packages, exactly
    <prefix>/environments/<key>/record.json            what was found of these and checked; written here, last

The Job may write three of these. It runs code of packages, so nothing that it says of the objects is believed: the
operator reads and hashes them, and trials verify the digest of what they unpack.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from modelyard.api.experiment import EnvironmentSource, Experiment
from modelyard.api.names import FIELD_MANAGER
from modelyard.api.project_files import (
    Directory,
    ImageFiles,
    ProjectFiles,
    TrialEnvironment,
    environment_from_json,
    environment_to_json,
)
from modelyard.api.reasons import Reason
from modelyard.artifacts.store import ArtifactError, ArtifactMissing, ArtifactStore
from modelyard.cluster.client import ApiError, Client, Conflict
from modelyard.cluster.resources import JOBS, SECRETS
from modelyard.decide import environment as decide
from modelyard.decide.environment import Ask, ReportInvalid, job_failure, read_report, settled
from modelyard.decide.experiment_model import Problem
from modelyard.decide.jobs import JobState, state_of
from modelyard.decide.modeldeployment import parse_time
from modelyard.desired.environment import SECRET, Building, JobSettings, environment_job, upload_secret
from modelyard.desired.preparation import left_over, upload_manager
from modelyard.projects.environment_files import recipe_of
from modelyard.projects.mlproject import Environment, ProjectError
from modelyard.reconcile.base import Clock
from modelyard.reconcile.jobs import how_it_gets_on, pods_of
from modelyard.reconcile.reader import ensure_reader_secret
from modelyard.settings import Settings
from modelyard_environments.recipe import IMAGE, LOCK, Recipe

Json = dict[str, Any]
log = logging.getLogger(__name__)

LOOK_SECONDS = 3.0
"""How often a Job is looked at: Jobs of environments are not watched."""

INSTALLERS = ("UV_", "PIP_")
"""Beginnings of the names of variables that uv and pip read."""

_KNOWN = 1024
_SPARE_SECONDS = 600
"""How much longer than the Job its URLs live."""
_LOCK_LIMIT = 8 << 20


Found = tuple[TrialEnvironment, Directory | None]
"""An environment, and the directory of a project in an image."""


@dataclass(frozen=True)
class Ready:
    """The environment, and the project's directory: for a project in an image, as it was found there."""

    environment: TrialEnvironment
    directory: Directory


@dataclass(frozen=True)
class Waiting:
    """What is waited for, in words, and when to look again (seconds)."""

    message: str
    again_after: float = LOOK_SECONDS


class Environments:
    """Makes and finds environments. Safe to use from several threads."""

    def __init__(self, client: Client, store: ArtifactStore, settings: Settings, clock: Clock) -> None:
        """`clock` tells when a Job's URLs have expired."""
        self._client = client
        self._store = store
        self._settings = settings
        self._clock = clock
        self._uri = store.uri("").rstrip("/")
        self._known: OrderedDict[str, Found] = OrderedDict()
        self._ended_jobs: set[str] = set()
        """Keys of those whose URLs were taken back: a failure is told again without a write."""
        self._lock = threading.Lock()

    def ensure(
        self,
        experiment: Experiment,
        files: ProjectFiles,
        directory: Directory | None,
        environment: Environment | None,
        image: str,
        *,
        again: TrialEnvironment | None = None,
        since: datetime | None = None,
    ) -> Ready | Waiting | Problem:
        """Return the environment of an execution, what it waits for, or why it cannot be had.

        For a project in an image call it with `directory` and `environment` None first: the directory that comes back
        says, parsed, which environment to ask for in a second call. `image` is the trials'. `again` is the environment
        of a run that is to be run again: exactly its packages are used. A Job that failed before `since`, when the
        execution began, is made anew. Raises `ApiError` where the API server does not answer.
        """
        try:
            if again is not None and directory is not None and self._is_there(again, image):
                return Ready(again, directory)
            recipe = self._recipe(experiment, files, directory, environment, again)
            ask = Ask(experiment.metadata.namespace, image, recipe)
            if directory is not None and not self._settings.environments.enabled:
                message = "environments are turned off in this installation: the image is used as it is"
                return Ready(TrialEnvironment(ask.key, image, message=message), directory)
            return _ready(self._look(experiment, ask, since), directory)
        except ProjectError as error:
            return Problem(error.reason, str(error))
        except ArtifactError as error:
            return Problem(Reason.ARTIFACT_STORE_UNREACHABLE, str(error), transient=True)

    def _recipe(
        self,
        experiment: Experiment,
        files: ProjectFiles,
        directory: Directory | None,
        environment: Environment | None,
        again: TrialEnvironment | None,
    ) -> Recipe:
        if directory is None:
            assert isinstance(files, ImageFiles), "only a project in an image is not known yet"
            return Recipe(IMAGE, directory=files.path)
        if experiment.spec.environment is EnvironmentSource.IMAGE or not self._settings.environments.enabled:
            return Recipe(IMAGE)
        variables = installer_variables(experiment)
        if again is not None and again.archive is not None and again.lock_uri:
            texts = {"lock": self._lock_text(again)}
            return Recipe(LOCK, files=texts, origin=f"the environment {again.key}", variables=variables)
        recipe = recipe_of(environment, directory)
        return recipe if recipe.kind == IMAGE else replace(recipe, variables=variables)

    def _is_there(self, again: TrialEnvironment, image: str) -> bool:
        """Whether the environment of a run of before can be used as it is."""
        if again.image != image or again.archive is None:
            return False
        return self._store.exists(self._key(again.archive))

    def _key(self, uri: str) -> str:
        if not uri.startswith(f"{self._uri}/"):
            raise ArtifactMissing(f"{uri} is not below {self._uri}")
        return uri.removeprefix(f"{self._uri}/")

    def _lock_text(self, again: TrialEnvironment) -> str:
        """Return the lock of a run of before. Raises `ArtifactMissing`, or `ProjectError` for another text."""
        data = self._store.get_small(self._key(again.lock_uri), _LOCK_LIMIT)
        if f"sha256:{hashlib.sha256(data).hexdigest()}" != again.lock:
            raise ProjectError(Reason.ENVIRONMENT_FAILED, f"{again.lock_uri} is not the lock {again.lock} of the run")
        return data.decode()

    def _look(self, experiment: Experiment, ask: Ask, since: datetime | None) -> Found | Waiting | Problem:
        if recorded := self._recorded(ask):
            return recorded
        job = self._client.find(JOBS, ask.namespace, ask.job)
        if job is None:
            # Nobody may have looked before it was removed.
            return self._found(ask) or self._start(experiment, ask)
        if job["metadata"].get("deletionTimestamp"):
            return Waiting(f"Job {ask.job} of before is about to be removed")
        if state_of(job) is JobState.ACTIVE:
            pods = pods_of(self._client, ask.namespace, ask.job)
            return Waiting(how_it_gets_on(self._client, job, pods, self._clock()))
        return self._ended(ask, job, since)

    def _ended(self, ask: Ask, job: Json, since: datetime | None) -> Found | Waiting | Problem:
        message = f"Job {ask.job} has ended without leaving {decide.REPORT}"
        if state_of(job) is JobState.FAILED:
            message = job_failure(job, pods_of(self._client, ask.namespace, ask.job))
        elif found := self._found(ask):
            return found
        if since is not None and _finished(job) < since:
            self._client.delete(JOBS, ask.namespace, ask.job, uid=job["metadata"]["uid"])
            return Waiting(f"Job {ask.job} is made anew: it failed before")
        self._take_back(ask)
        return Problem(Reason.ENVIRONMENT_FAILED, message)

    def _recorded(self, ask: Ask) -> Found | None:
        """Return what was found and checked before."""
        with self._lock:
            if known := self._known.get(ask.key):
                return known
        try:
            said = json.loads(self._store.get(f"{ask.directory}/{decide.RECORD}").data)
            environment = environment_from_json(json.dumps(said["environment"]))
            told = said["directory"]
            directory = Directory(frozenset(told["paths"]), dict(told["texts"])) if told else None
        except ArtifactMissing:
            return None
        except (ValueError, KeyError, TypeError) as error:
            log.warning("%s: environment %s: %s is made anew: %s", ask.namespace, ask.key, decide.RECORD, error)
            return None
        if environment.archive is not None and not self._store.exists(self._key(environment.archive)):
            # Somebody has removed it: it is built again.
            return None
        return self._know(ask, environment, directory)

    def _know(self, ask: Ask, environment: TrialEnvironment, directory: Directory | None) -> Found:
        with self._lock:
            self._known[ask.key] = environment, directory
            if len(self._known) > _KNOWN:
                self._known.popitem(last=False)
        return environment, directory

    def _found(self, ask: Ask) -> Found | Problem | None:
        """Read and check what was uploaded, and record it; None where there is no report."""
        try:
            data = self._store.get_small(f"{ask.directory}/{decide.REPORT}", decide.REPORT_LIMIT)
        except ArtifactMissing:
            return None
        self._take_back(ask)
        try:
            report = read_report(data, ask)
            hashes = {name: self._hash(f"{ask.directory}/{name}") for name in report.objects}
            environment, directory = settled(ask, report, self._uri, hashes)
        except ReportInvalid as error:
            return Problem(Reason.ENVIRONMENT_FAILED, f"what Job {ask.job} has uploaded is not used: {error}")
        told = {"paths": sorted(directory.paths), "texts": dict(directory.texts)} if directory else None
        record = {"environment": json.loads(environment_to_json(environment)), "directory": told}
        self._store.put(f"{ask.directory}/{decide.RECORD}", json.dumps(record).encode())
        log.info("%s: environment %s: %d packages. %s", ask.namespace, ask.key, report.packages, report.message)
        return self._know(ask, environment, directory)

    def _hash(self, key: str) -> tuple[str, int] | None:
        try:
            return self._store.hash(key)
        except ArtifactMissing:
            return None

    def _start(self, experiment: Experiment, ask: Ask) -> Waiting | Problem:
        ensure_reader_secret(self._client, self._settings, ask.namespace)
        self._ended_jobs.discard(ask.key)
        self._store.put(f"{ask.directory}/{decide.RECIPE}", ask.recipe.to_json().encode())
        recipe = self._store.uri(f"{ask.directory}/{decide.RECIPE}")
        building = Building(ask.job, ask.key, ask.image, recipe, conda=decide.asks_channels(ask.recipe))
        job = environment_job(experiment, building, self._job_settings)
        try:
            for old in left_over(self._client.find(SECRETS, ask.namespace, SECRET), self._clock()):
                self._client.apply(SECRETS, upload_secret(ask.namespace, old, {}), upload_manager(FIELD_MANAGER, old))
            # First what the Job cannot begin without.
            self._client.apply(SECRETS, self._secret(ask), upload_manager(FIELD_MANAGER, ask.job))
            self._client.create(JOBS, ask.namespace, job, FIELD_MANAGER)
        except Conflict:
            # Another Experiment was faster.
            return Waiting(f"Job {ask.job} is at work")
        except ApiError as error:
            if not error.code:
                raise
            message = f"the API server does not take Job {ask.job}: {error}"
            return Problem(Reason.ENVIRONMENT_FAILED, message, transient=True)
        log.info("%s/%s: started job %s", ask.namespace, experiment.metadata.name, ask.job)
        return Waiting(f"Job {ask.job} is at work")

    def _secret(self, ask: Ask) -> Json:
        names = {"report": decide.REPORT, "archive": decide.ARCHIVE, "lock": decide.LOCK}
        seconds = self._settings.environments.deadline_seconds + _SPARE_SECONDS
        urls = {part: self._store.put_url(f"{ask.directory}/{name}", seconds) for part, name in names.items()}
        return upload_secret(ask.namespace, ask.job, urls)

    def _take_back(self, ask: Ask) -> None:
        """Take the Job's URLs from it."""
        if ask.key in self._ended_jobs:
            return
        manager = upload_manager(FIELD_MANAGER, ask.job)
        self._client.apply(SECRETS, upload_secret(ask.namespace, ask.job, {}), manager)
        self._ended_jobs.add(ask.key)

    @property
    def _job_settings(self) -> JobSettings:
        settings = self._settings.environments
        return JobSettings(
            operator_image=self._settings.operator_image,
            pull_policy=self._settings.image_pull_policy,
            deadline_seconds=settings.deadline_seconds,
            resources=settings.resources,
            env_from=settings.env_from,
            index_url=settings.index_url,
            channel_alias=settings.channel_alias,
        )


def installer_variables(experiment: Experiment) -> dict[str, str]:
    """Return what spec.template.env sets for those that install packages: which index, packages of which day."""
    given = experiment.spec.trial_template.env
    return {each.name: each.value for each in given if each.name.startswith(INSTALLERS)}


def _ready(look: Found | Waiting | Problem, directory: Directory | None) -> Ready | Waiting | Problem:
    if isinstance(look, Waiting | Problem):
        return look
    made, told = look
    known = directory or told
    # What was asked to tell the directory, and was checked to have done so, tells it.
    assert known is not None
    return Ready(made, known)


def _finished(job: Json) -> datetime:
    conditions = job.get("status", {}).get("conditions", [])
    times = [item["lastTransitionTime"] for item in conditions if item.get("lastTransitionTime")]
    return parse_time(max(times) if times else job["metadata"]["creationTimestamp"])
