"""The MLflow client's edits of an object's spec, under its own field manager; they yield to Git's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modelyard.api.model_status import InheritedStatus, RegisteredModelStatus
from modelyard.api.names import MLFLOW_FIELD_MANAGER
from modelyard.api.registeredmodel import RegisteredModel
from modelyard.cluster.client import Conflict
from modelyard.registry.edits import OwnedByGit, refuse_git
from modelyard.registry.objects import REGISTERED_MODELS, TRIES, Contended, ModelObjects

Json = dict[str, Any]


class SpecEdits:
    """Edits the models of one namespace."""

    def __init__(self, objects: ModelObjects, namespace: str, git_managers: Sequence[str]) -> None:
        self._objects = objects
        self._namespace = namespace
        self.git_managers = git_managers

    def set(self, model_name: str, field: str, value: Any) -> RegisteredModel:
        """Set one field of `spec` (of a map: the keys of `value`, None removes one); return the model after it.

        No request is made where that is the case already. Raises `OwnedByGit`, `ModelNotFound`, `Contended`.
        """
        for _ in range(TRIES):
            model = self._objects.get_model(self._namespace, model_name)
            changed = _changed(getattr(model.spec, field), value)
            if not changed:
                return self._disinherited(model, field, value)
            for path in changed:
                refuse_git(model, ("spec", field, *path), ".".join((field, *path)), self.git_managers)
            try:
                return self._disinherited(self.patch(model, {"spec": {field: value}}), field, value)
            except Conflict:
                continue
        raise Contended(f"others changed {model_name!r} every time")

    def let_go(self, model_name: str, version: int) -> None:
        """Take a version out of `spec.stages` and `spec.aliases`, and out of what an earlier object left.

        Raises `OwnedByGit` where Git wants it there or declares it, `ModelNotFound`, `Contended`.
        """
        for _ in range(TRIES):
            model = self._objects.get_model(self._namespace, model_name)
            if any(declared.version == version for declared in model.spec.versions):
                raise OwnedByGit(f"version {version} of {model_name} is declared in spec.versions: take it out there")
            patch: Json = {}
            for field, asked_for in (("stages", model.spec.stages), ("aliases", model.spec.aliases)):
                keys = [key for key, number in asked_for.items() if number == version]
                for key in keys:
                    refuse_git(model, ("spec", field, key), f"{field}.{key}", self.git_managers)
                if keys:
                    patch[field] = dict.fromkeys(keys)
            try:
                if patch:
                    model = self.patch(model, {"spec": patch})
            except Conflict:
                continue
            left = model.status.inherited or InheritedStatus()
            for field, inherited in (("stages", left.stages), ("aliases", left.aliases)):
                if keys := [key for key, number in inherited.items() if number == version]:
                    model = self.disinherit(model, field, keys)
            return
        raise Contended(f"others changed {model_name!r} every time")

    def refuse_managed(self, model: RegisteredModel, what: str) -> None:
        """Raise `OwnedByGit` where any field of the object is Git's: it would bring the object back."""
        for entry in model.metadata.managed_fields:
            if not entry.get("subresource") and entry.get("manager") in self.git_managers:
                raise OwnedByGit(f"{model.model_name} is managed by {entry['manager']}: {what} it there")

    def disinherit(self, model: RegisteredModel, field: str, keys: Sequence[str]) -> RegisteredModel:
        """Take keys (of the description: any) out of what an earlier object left to this one; return the model."""

        def without(model: RegisteredModel) -> RegisteredModelStatus:
            before = model.status.inherited or InheritedStatus()
            value = getattr(before, field)
            left = {key: held for key, held in value.items() if key not in keys} if isinstance(value, dict) else None
            after = before.model_copy(update={field: left})
            return model.status.model_copy(update={"inherited": None if after.is_empty else after})

        return self._objects.update_status(self._namespace, model.model_name, without)

    def _disinherited(self, model: RegisteredModel, field: str, value: Any) -> RegisteredModel:
        """Let a key that is removed not come back from an earlier object."""
        left = getattr(model.status.inherited or InheritedStatus(), field)
        removed = [key for key, wanted in value.items() if wanted is None] if isinstance(value, dict) else ["value"]
        stays = any(key in left for key in removed) if isinstance(left, dict) else left is not None and not value
        return self.disinherit(model, field, removed) if stays else model

    def patch(self, model: RegisteredModel, patch: Json) -> RegisteredModel:
        """Merge `patch` into the object as it was read. Raises `Conflict` where it has changed since."""
        metadata = {**patch.get("metadata", {}), "resourceVersion": model.metadata.resource_version}
        return RegisteredModel.parse(
            self._objects.client.merge_patch(
                REGISTERED_MODELS,
                self._namespace,
                model.metadata.name,
                {**patch, "metadata": metadata},
                MLFLOW_FIELD_MANAGER,
            )
        )


def _changed(present: Any, value: Any) -> list[tuple[str, ...]]:
    """Return the paths below the field that the patch changes."""
    if not isinstance(value, dict):
        return [()] if present != value else []
    return [(key,) for key, wanted in value.items() if present.get(key) != wanted]
