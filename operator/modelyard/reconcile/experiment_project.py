"""Prepares an Experiment's project: fixes what is run, reads it, checks it, and works out each trial's command."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol

from modelyard.api import project_files
from modelyard.api.experiment import Experiment
from modelyard.api.project import ConfigMapSource, GitSource
from modelyard.api.reasons import Reason
from modelyard.cluster.client import Client
from modelyard.cluster.resources import CONFIG_MAPS
from modelyard.decide.experiment_model import Problem, Trial
from modelyard.decide.experiment_status import Execution
from modelyard.decide.experiment_trials import execution_id, trials
from modelyard.desired.experiment import ConfigMapFiles, GitFiles
from modelyard.projects.command import Invocation, invoke
from modelyard.projects.mlproject import Environment, EnvironmentKind, Project, ProjectError, find_mlproject, parse
from modelyard.sources import configmap
from modelyard.sources.errors import SourceError, SourceUnreachable
from modelyard.sources.git import Directory

_CACHED = 64


class Git(Protocol):
    """What is needed of git."""

    def resolve(self, url: str, revision: str) -> str:
        """Return the commit that a revision names now. Raises `SourceError`."""

    def read(self, url: str, commit: str, path: str) -> Directory:
        """Return what a directory holds at a commit. Raises `SourceError`."""


@dataclass(frozen=True)
class Pinned:
    """What is run, fixed: the same content for every trial of an execution."""

    execution: Execution
    files: GitFiles | ConfigMapFiles
    directory: Directory | None = None
    """What the project's directory holds, where that is known already."""


@dataclass(frozen=True)
class Prepared:
    """Trials that can be run, each with its invocation."""

    trials: tuple[Trial, ...]
    invocations: tuple[Invocation, ...]
    image: str | None
    """The image that the project or the spec names."""

    notes: tuple[str, ...]


class Projects:
    """Reads projects. What was read of a commit is kept, since it cannot change."""

    def __init__(self, client: Client, git: Git) -> None:
        self._client = client
        self._git = git
        self._directories: OrderedDict[GitFiles, Directory] = OrderedDict()

    def pin(self, experiment: Experiment) -> Pinned | Problem:
        """Fix what is run. A branch is resolved once an execution: afterwards the status has its commit."""
        source = experiment.spec.project
        assert source is not None
        try:
            if source.git:
                return self._pin_git(experiment, source.git)
            assert source.config_map is not None
            return self._pin_config_map(experiment, source.config_map)
        except SourceError as error:
            return _problem(error)

    def prepare(self, experiment: Experiment, pinned: Pinned) -> Prepared | Problem:
        """Read the project and check what each trial asks of it."""
        planned = trials(experiment, pinned.execution.id)
        if isinstance(planned, Problem):
            return planned
        try:
            directory = self._directory(pinned)
            project = parse(_described(directory))
            entry_point = project.entry_point(experiment.spec.entry_point)
            invocations = tuple(invoke(entry_point, trial.parameters) for trial in planned)
        except SourceError as error:
            return _problem(error)
        except ProjectError as error:
            return Problem(error.reason, str(error))
        image, notes = _environment(experiment, project)
        return Prepared(planned, invocations, image, notes)

    def _pin_git(self, experiment: Experiment, git: GitSource) -> Pinned:
        status = experiment.status
        commit = status.commit
        if commit is None or execution_id(experiment, commit) != status.execution:
            commit = self._git.resolve(git.url, git.revision)
        files = GitFiles(git.url, commit, git.path)
        return Pinned(Execution(execution_id(experiment, commit), commit), files)

    def _pin_config_map(self, experiment: Experiment, source: ConfigMapSource) -> Pinned | Problem:
        namespace = experiment.metadata.namespace
        body = self._client.find(CONFIG_MAPS, namespace, source.name)
        if body is None:
            return Problem(Reason.PROJECT_NOT_FOUND, f"there is no ConfigMap {source.name} in namespace {namespace}")
        content = configmap.files(body)
        files = ConfigMapFiles(source.name, configmap.digest(content))
        return Pinned(Execution(execution_id(experiment, files.digest)), files, configmap.directory(content))

    def _directory(self, pinned: Pinned) -> Directory:
        if pinned.directory is not None:
            return pinned.directory
        files = pinned.files
        assert isinstance(files, GitFiles)
        found = self._directories.get(files)
        if found is None:
            found = self._directories[files] = self._git.read(files.url, files.commit, files.path)
            while len(self._directories) > _CACHED:
                self._directories.popitem(last=False)
        return found


def _described(directory: Directory) -> project_files.Directory:
    name = find_mlproject(directory.names)
    return project_files.Directory(directory.names, {name: directory.mlproject or ""} if name else {})


def _problem(error: SourceError) -> Problem:
    if isinstance(error, SourceUnreachable):
        return Problem(Reason.PROJECT_UNREACHABLE, str(error), transient=True)
    return Problem(Reason.PROJECT_NOT_FOUND, str(error))


def _environment(experiment: Experiment, project: Project) -> tuple[str | None, tuple[str, ...]]:
    """Return the image that is asked for, and what is not done of what the project says about its environment."""
    template = experiment.spec.template
    asked = template.image if template else None
    found = project.environment
    if found is None:
        return asked, ()
    if found.kind is EnvironmentKind.DOCKER:
        return asked or found.image, _docker_notes(found, asked)
    where = f"the image {asked}" if asked else "the training image"
    return asked, (f"{found.file} is not built in this release: the entry point runs in {where}",)


def _docker_notes(environment: Environment, asked: str | None) -> tuple[str, ...]:
    fields = {"volumes": environment.docker_volumes, "environment": environment.docker_environment}
    notes = [f"docker_env.{field} is not applied in this release" for field, found in fields.items() if found]
    if asked and asked != environment.image:
        notes.append(f"spec.template.image takes the place of docker_env.image {environment.image}")
    return tuple(notes)
