"""Prepares an Experiment's project: checks it, and works out what each trial runs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from modelyard.api.experiment import Experiment
from modelyard.api.project_files import Directory
from modelyard.api.reasons import Reason
from modelyard.decide.experiment_model import Problem, Trial
from modelyard.decide.experiment_trials import Search
from modelyard.decide.sweep import Told
from modelyard.projects.command import Invocation, invoke
from modelyard.projects.mlproject import EntryPoint, Environment, EnvironmentKind, Project, ProjectError, parse

_TRIED = 200
"""How many trials of a sweep are tried out before any is made: conditions may leave a parameter out that is needed."""


@dataclass(frozen=True)
class Prepared:
    """A project whose trials can be run."""

    project: Project
    entry_point: EntryPoint
    search: Search
    directory: Directory
    image: str
    variables: tuple[tuple[str, str], ...] = ()
    """Those of docker_env."""

    notes: tuple[str, ...] = ()

    @property
    def environment(self) -> Environment | None:
        """What the project says of its libraries."""
        return self.project.environment

    @property
    def in_docker(self) -> bool:
        """Whether docker_env names the image that is used."""
        found = self.project.environment
        return found is not None and found.kind is EnvironmentKind.DOCKER and found.image == self.image

    def invocation(self, trial: Trial) -> Invocation:
        """Return what the trial runs. Raises `ProjectError`."""
        mounted = [mount.mount_path for mount in self.search.experiment.spec.trial_template.volume_mounts]
        return invoke(self.entry_point, trial.parameters, mounted=mounted)


def prepare(experiment: Experiment, execution: str, directory: Directory, training_image: str) -> Prepared | Problem:
    """Return the prepared project, or what is wrong with it or with what is asked of it."""
    try:
        project = parse(directory)
        entry_point = project.entry_point(experiment.spec.entry_point)
        types = {name: parameter.type for name, parameter in entry_point.parameters.items()}
        prepared = Prepared(project, entry_point, Search(experiment, execution, types), directory, training_image)
        if wrong := prepared.search.check():
            return Problem(Reason.INVALID_SPEC, wrong)
        for trial in _first(prepared.search):
            prepared.invocation(trial)
        return _with_image(experiment, prepared)
    except ProjectError as error:
        return Problem(error.reason, str(error))


def _first(search: Search) -> Iterable[Trial]:
    history: list[Told] = []
    bayesian = search.experiment.spec.sweep is not None and search.experiment.spec.sweep.algorithm == "Bayesian"
    for index in range(min(search.size, 1 if bayesian else _TRIED)):
        if (trial := search.next(index, history)) is None:
            return
        yield trial


def _with_image(experiment: Experiment, prepared: Prepared) -> Prepared:
    """Put in the image that is asked for, with what docker_env says besides. Raises `ProjectError`."""
    asked, found = experiment.spec.trial_template.image, prepared.environment
    if found is None or found.kind is not EnvironmentKind.DOCKER:
        return replace(prepared, image=asked or prepared.image)
    notes = []
    if asked and asked != found.image:
        notes.append(f"spec.template.image takes the place of docker_env.image {found.image}")
    _check_volumes(experiment, found)
    variables = tuple(_variables(experiment, found))
    return replace(prepared, image=asked or found.image, variables=variables, notes=tuple(notes))


def _variables(experiment: Experiment, found: Environment) -> Iterable[tuple[str, str]]:
    """Yield docker_env's variables. One without a value is taken over from around the project: from the template."""
    template = experiment.spec.trial_template
    given = {item.name for item in template.env}
    for name, value in found.docker_environment:
        if value is not None:
            yield name, value
        elif name not in given and not template.env_from:
            raise ProjectError(
                Reason.PROJECT_INVALID,
                f"docker_env.environment takes {name} over from where the project is run: set it in spec.template.env,"
                " or name a Secret that has it in spec.template.envFrom",
            )


def _check_volumes(experiment: Experiment, found: Environment) -> None:
    mounted = {re.sub("/+$", "", mount.mount_path) for mount in experiment.spec.trial_template.volume_mounts}
    for volume in found.docker_volumes:
        if re.sub("/+$", "", volume.target) not in mounted:
            raise ProjectError(
                Reason.PROJECT_INVALID,
                f"docker_env.volumes mounts {volume.source}, of the machine where the project was run, at"
                f" {volume.target}: say in spec.template.volumes what is there in the cluster, with mountPath"
                f" {volume.target} in spec.template.volumeMounts",
            )
