"""The run that is to be reproduced: which one is meant, what it ran, and whether that is known well enough."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from modelyard.api.experiment import EnvironmentSource, Experiment, TrialTemplate
from modelyard.api.names import GROUP, object_name
from modelyard.api.project_files import GitFiles, ImageFiles, KeptFiles, ProjectFiles, from_json
from modelyard.cli.errors import USAGE, CliError
from modelyard.cli.experiments import Experiments
from modelyard.cli.tracking import Tracking
from modelyard.cli.trials import of_runs, ranking, swept
from modelyard.cluster.client import ApiError
from modelyard.cluster.resources import SECRETS
from modelyard.decide.experiment_model import (
    EXECUTION_TAG,
    EXPERIMENT_TAG,
    GIVEN_TAG,
    IMAGE_TAG,
    MADE_BY_TAG,
    PARENT,
    PROJECT_TAG,
    TRIAL_TAG,
    Run,
)

Json = dict[str, Any]

REPRODUCES_TAG = f"{GROUP}/reproduces"
"""Tag of a reproduction's runs: the id of the run that is reproduced."""

_ENTRY_POINT_TAG = "mlflow.project.entryPoint"
_RUN_ID = re.compile(r"^[0-9a-f]{32}$")
_NAME_LIMIT = 52
_BEST = "best"


@dataclass(frozen=True)
class Original:
    """A run that can be run again. `experiment` is the one that made it, None where that is gone.

    `given` are the parameters that its entry point was given, and `notes` say what may be different now.
    """

    run: Run
    nested: tuple[Run, ...]
    namespace: str
    made_by: str
    files: ProjectFiles
    given: dict[str, str]
    experiment: Experiment | None
    notes: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name of the Experiment that reproduces it."""
        ending = f"-reproduce-{self.run.run_id[:8]}"
        return object_name(self.made_by, _NAME_LIMIT - len(ending)) + ending

    @property
    def called(self) -> str:
        """What a person calls the run."""
        return f"run {self.run.run_id} ({self.run.name} of {self.made_by})"

    def what(self) -> str:
        """Return what it ran, in words."""
        files = self.files
        if isinstance(files, GitFiles):
            where = f"commit {files.commit[:12]} of {files.url}"
        elif isinstance(files, KeptFiles):
            where = f"the copy of {files.origin} that was kept (sha256:{files.digest[:12]})"
        else:
            where = f"{files.path} of the image {self.run.tags.get(IMAGE_TAG, '')}"
        values = ", ".join(f"{name}={value}" for name, value in self.given.items())
        return f"entry point {self._entry_point} of {where}" + (f", with {values}" if values else "")

    @property
    def _entry_point(self) -> str:
        return self.run.tags.get(_ENTRY_POINT_TAG, "main")

    def body(self) -> Json:
        """Return the Experiment that runs it again."""
        before = self.experiment.spec if self.experiment else None
        template = _said(before.template) if before and before.template else {}
        spec: Json = {
            "project": {"run": {"id": self.run.run_id}},
            "entryPoint": self._entry_point,
            "tags": {**(before.tags if before else {}), REPRODUCES_TAG: self.run.run_id},
            "template": {**template, **({"image": self.run.tags[IMAGE_TAG]} if self.run.tags.get(IMAGE_TAG) else {})},
            **({"parameters": self.given} if self.given else {}),
            **({"objective": before.objective.to_dict()} if before and before.objective else {}),
        }
        if before and before.environment is not EnvironmentSource.PROJECT:
            spec["environment"] = before.environment.value
        if not spec["template"]:
            del spec["template"]
        return {
            "apiVersion": f"{GROUP}/v1alpha1",
            "kind": "Experiment",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": spec,
        }


def _said(template: TrialTemplate) -> Json:
    """Return what a template says, without defaults."""
    said: Json = template.model_dump(by_alias=True, mode="json", exclude_none=True, exclude_defaults=True)
    return said


def find_original(
    experiments: Experiments, tracking: Tracking, given: str, namespace: str | None, also: Sequence[str] = ()
) -> Original:
    """Return the run that `given` means: a run's id, `<experiment>/<trial>` or `<experiment>/best`.

    `namespace` is where it is reproduced, by default where it was made; `also` names further parameters that were
    given then. Raises `CliError` where it cannot be reproduced, and says why; `TrackingError`, `ApiError`.
    """
    run = _by_id(tracking, given) if "/" not in given else _by_trial(experiments, tracking, given)
    if maker := run.tags.get(MADE_BY_TAG):
        # A run that the program made by itself: it is the program that runs again.
        run = _by_id(tracking, maker)
    files = _files(run)
    if run.tags.get(TRIAL_TAG) == PARENT:
        raise CliError(
            f"run {run.run_id} is the parent of a sweep, which ran nothing itself: name one of its trials, e.g. "
            f"{run.tags.get(EXPERIMENT_TAG, '').partition('/')[2]}/best"
        )
    home, _, made_by = run.tags.get(EXPERIMENT_TAG, "").partition("/")
    place = replace(experiments, namespace=namespace or home or experiments.namespace)
    made_by = made_by or "run"
    experiment = replace(experiments, namespace=home or experiments.namespace).find(made_by)
    parameters, notes = _given(run, experiment, also)
    notes += _concerns(place, run, files)
    if experiment is None:
        notes.append(
            f"experiment {made_by} is gone: its template (resources, volumes, variables) is not known any more"
        )
    return Original(
        run, _nested(tracking, experiment, run), place.namespace, made_by, files, parameters, experiment, tuple(notes)
    )


def _by_id(tracking: Tracking, run_id: str) -> Run:
    if not _RUN_ID.match(run_id):
        raise CliError(
            f"{run_id!r} is no run: give a run's id (32 digits, as `runs -o wide` shows it), EXPERIMENT/TRIAL or "
            "EXPERIMENT/best",
            USAGE,
        )
    run = tracking.client.get_run(run_id)
    if run is None:
        raise CliError(f"{tracking.where} has no run {run_id}: it was deleted, or is on another server")
    return run


def _by_trial(experiments: Experiments, tracking: Tracking, given: str) -> Run:
    """Return the run of a trial of the present execution, or of the best one."""
    name, _, which = given.rpartition("/")
    experiment = experiments.get(name)
    status = experiment.status
    if which != _BEST and not which.isdigit():
        raise CliError(f"{which!r} is no trial of {name}: give its number, or best", USAGE)
    if status.experiment_id is None or status.execution is None:
        raise CliError(f"nothing of {name} has run yet")
    tags = {
        EXPERIMENT_TAG: f"{experiment.metadata.namespace}/{experiment.metadata.name}",
        EXECUTION_TAG: status.execution,
    }
    runs = tracking.client.search_runs(status.experiment_id, tags)
    trials = of_runs(runs, experiment.spec.objective, experiments.clock().timestamp())
    if which == _BEST:
        chosen = ranking(trials, experiment.spec.objective)[:1] or (trials if len(trials) == 1 else [])
        missing = f"no trial of {name} has succeeded with a value of its objective"
    else:
        chosen = [trial for trial in trials if trial.number == int(which)]
        missing = f"execution {status.execution} of {name} has no trial {which}"
    if not chosen:
        raise CliError(f"{missing} (kubectl modelyard runs {name} --all)")
    return next(run for run in runs if run.run_id == chosen[0].run_id)


def _files(run: Run) -> ProjectFiles:
    text = run.tags.get(PROJECT_TAG)
    if text is None:
        raise CliError(
            f"run {run.run_id} cannot be reproduced: it has no tag {PROJECT_TAG}, so that nobody knows what it ran. "
            "Runs that an Experiment makes have it; those that a notebook or `mlflow run` alone logs do not"
        )
    try:
        return from_json(text)
    except ValueError as error:
        raise CliError(f"run {run.run_id} cannot be reproduced: its tag {PROJECT_TAG} was changed: {error}") from error


def _given(run: Run, experiment: Experiment | None, also: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Return the parameters that the entry point was given, with the values that the run logged.

    Their names are in a tag. Without it those are taken that the sweep chose, and those of the spec, which may be
    another one by now: what the reproduction logs is compared afterwards.
    """
    for name in also:
        if name not in run.parameters:
            known = ", ".join(sorted(run.parameters)) or "none"
            raise CliError(f"--parameter {name}: the run has no such parameter; it has {known}", USAGE)
    if (told := _told(run)) is not None:
        return {name: run.parameters[name] for name in (*told, *also) if name in run.parameters}, []
    chosen = swept(run)
    fixed = experiment.spec.parameters if experiment else {}
    names = [*fixed, *chosen, *also]
    given = {name: run.parameters.get(name, chosen.get(name, fixed.get(name, ""))) for name in dict.fromkeys(names)}
    if experiment is not None and run.tags.get(EXECUTION_TAG) == experiment.status.execution:
        return given, []
    return given, [
        "the parameters are those that its sweep chose and that the experiment's spec names today; if it was given "
        "others then, name them with --parameter NAME"
    ]


def _told(run: Run) -> list[str] | None:
    """Return the names that the run says it was given."""
    try:
        names = json.loads(run.tags.get(GIVEN_TAG, "null"))
    except ValueError:
        return None
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def _concerns(experiments: Experiments, run: Run, files: ProjectFiles) -> list[str]:
    """Return what may stand in the way of the same result. Raises `CliError` for what surely does."""
    notes = []
    if isinstance(files, GitFiles) and files.secret and not _may_be_there(experiments, files.secret):
        raise CliError(
            f"the repository {files.url} was read with the Secret {files.secret}, and there is none in namespace "
            f"{experiments.namespace}: make it again, or reproduce the run where it is (-n)"
        )
    image = run.tags.get(IMAGE_TAG, "")
    if image and "@sha256:" not in image:
        inside = ", and so may the project's files in it" if isinstance(files, ImageFiles) else ""
        notes.append(f"the image {image} has no digest: what that tag names may have changed since{inside}")
    return notes


def _may_be_there(experiments: Experiments, secret: str) -> bool:
    """Whether there is such a Secret, as far as the person may know; what is in it is not asked for."""
    try:
        return (experiments.namespace, secret) in experiments.client.list_names(SECRETS, experiments.namespace)
    except ApiError as error:
        if error.code not in (401, 403):
            raise
        return True


def _nested(tracking: Tracking, experiment: Experiment | None, run: Run) -> tuple[Run, ...]:
    """Return the runs that the trial's program made by itself."""
    experiment_id = experiment_of(run) or (experiment.status.experiment_id if experiment else None)
    if experiment_id is None:
        return ()
    return tuple(tracking.client.search_runs(experiment_id, {MADE_BY_TAG: run.run_id}))


def experiment_of(run: Run) -> str | None:
    """Return the id of the MLflow experiment that a run belongs to, by where its artifacts are."""
    segments = run.artifact_uri.rstrip("/").split("/")
    place = segments.index(run.run_id) if run.run_id in segments else 0
    return segments[place - 1] if place > 0 and segments[place - 1].isdigit() else None


def to_json(original: Original) -> Json:
    """Return what is run again, for a program."""
    return {
        "run": original.run.run_id,
        "experiment": original.name,
        "namespace": original.namespace,
        "files": json.loads(original.run.tags[PROJECT_TAG]),
        "parameters": original.given,
        "notes": list(original.notes),
    }
