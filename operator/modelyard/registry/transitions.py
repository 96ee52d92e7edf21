"""A stage transition that the MLflow client asks for: an edit of `spec.stages`, and the wait for the verdict."""

from __future__ import annotations

import time

from modelyard.api.common import ConditionStatus
from modelyard.api.names import MLFLOW_FIELD_MANAGER
from modelyard.api.reasons import ConditionType
from modelyard.api.registeredmodel import ASSIGNABLE, RegisteredModel, Stage
from modelyard.cluster.client import Conflict
from modelyard.registry.edits import StageEdit, enter, leave
from modelyard.registry.objects import TRIES, Contended, RegistryError
from modelyard.registry.registry import Registry, version_of
from modelyard.registry.spec_edits import SpecEdits

_FIRST_PAUSE_SECONDS = 0.02
_LAST_PAUSE_SECONDS = 0.5


class Refused(RegistryError):
    """The operator does not put the version into the stage; the message is the condition's."""


class Pending(RegistryError):
    """The wish is recorded, and the verdict is not there within the bound; the message says how to follow it."""


class Transitions:
    """Asks for stages in one namespace. Raises `OwnedByGit` and `StillInStage` besides its own errors."""

    def __init__(self, registry: Registry, edits: SpecEdits, namespace: str, timeout: float) -> None:
        """`timeout` is how long to wait for the verdict, in seconds."""
        self._registry = registry
        self._edits = edits
        self._namespace = namespace
        self._timeout = timeout

    def transition(self, name: str, version: int, stage: Stage, *, archive: bool) -> RegisteredModel:
        """Ask for the stage and return the model in which it is effective.

        `archive` says whether a version that is replaced becomes Archived or None. Raises `VersionNotFound`, `Refused`,
        `Pending`.
        """
        for _ in range(TRIES):
            model, state = self._registry.read(self._namespace, name)
            version_of(state, name, version)
            edit = self._edit(model, version, stage, archive=archive)
            try:
                if edit.patch is not None:
                    model = self._edits.patch(model, edit.patch)
                if edit.disinherit:
                    model = self._edits.disinherit(model, "stages", edit.disinherit)
                elif edit.patch is None and not _asked_for(model, version, stage):
                    self._registry.label_version(self._namespace, name, version, stage, MLFLOW_FIELD_MANAGER)
                    return self._registry.get_model(self._namespace, name)
            except Conflict:
                continue
            return self._verdict(model, version, stage)
        raise Contended(f"others changed {name!r} every time")

    def _edit(self, model: RegisteredModel, version: int, stage: Stage, *, archive: bool) -> StageEdit:
        managers = self._edits.git_managers
        if stage in ASSIGNABLE.values():
            return enter(model, version, stage, archive=archive, git_managers=managers)
        return leave(model, version, stage, git_managers=managers)

    def _verdict(self, asked: RegisteredModel, version: int, stage: Stage) -> RegisteredModel:
        """Wait until the operator has seen the edit and return the model, or raise its refusal."""
        deadline = time.monotonic() + self._timeout
        pause, model = _FIRST_PAUSE_SECONDS, asked
        while True:
            seen = (model.status.observed_generation or 0) >= asked.metadata.generation
            if seen and self._effective(model, version, stage):
                return model
            wish = f"version {version} of {asked.model_name} is not in {stage}"
            if not _asked_for(model, version, stage) and stage in ASSIGNABLE.values():
                raise Refused(f"{wish}: spec.stages was changed again meanwhile")
            if seen and _stalled(model):
                raise Refused(f"{wish}: {_ready(model)}")
            if time.monotonic() >= deadline:
                raise Pending(self._pending(model, wish))
            time.sleep(pause)
            pause = min(pause * 1.5, _LAST_PAUSE_SECONDS)
            model = self._registry.get_model(self._namespace, asked.model_name)

    def _effective(self, model: RegisteredModel, version: int, stage: Stage) -> bool:
        held = {ASSIGNABLE[key] for key, status in model.status.stages.items() if status.version == version}
        if stage in ASSIGNABLE.values():
            return stage in held
        found = self._registry.state_of(model).find(version)
        return not held and found is not None and found.stage == stage

    def _pending(self, model: RegisteredModel, wish: str) -> str:
        name = model.metadata.name
        return (
            f"{wish} yet, after {self._timeout:g} s; the wish is recorded in registeredmodel/{name} "
            f"and takes effect by itself. Follow it: kubectl get registeredmodel {name} -n {self._namespace} --watch. "
            f"{_ready(model)}".rstrip()
        )


def _asked_for(model: RegisteredModel, version: int, stage: Stage) -> bool:
    """Whether `spec.stages` asks for the version in the stage."""
    return any(ASSIGNABLE[key] == stage and number == version for key, number in model.wanted_stages.items())


def _stalled(model: RegisteredModel) -> bool:
    return any(
        condition.type == ConditionType.STALLED and condition.status == ConditionStatus.TRUE
        for condition in model.status.conditions
    )


def _ready(model: RegisteredModel) -> str:
    return next((c.message for c in model.status.conditions if c.type == ConditionType.READY), "")
