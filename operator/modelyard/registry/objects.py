"""The objects that hold the models: finding and creating them, and writing their status."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

from modelyard.api.model_status import RegisteredModelStatus
from modelyard.api.names import API_VERSION, FIELD_MANAGER
from modelyard.api.registeredmodel import RegisteredModel
from modelyard.cluster.client import Client, Conflict
from modelyard.cluster.resources import of_kind

Json = dict[str, Any]

REGISTERED_MODELS = of_kind(RegisteredModel)

TRIES = 100
"""How often one write is tried while others get theirs in first."""


class RegistryError(Exception):
    """A request that cannot be met as it is; the message says why."""


class ModelNotFound(RegistryError):
    """There is no such model."""


class VersionNotFound(RegistryError):
    """The model has no such version."""


class NameTaken(RegistryError):
    """The object that would hold the model holds another one."""


class NumberTaken(RegistryError):
    """The number of a version is not free any more."""


class Outdated(RegistryError):
    """Others have written records since those that were decided on."""


class Contended(RegistryError):
    """Others wrote the same object every time; trying again later will do."""


class NotInStatus(RegistryError):
    """The version is recorded, so it must not be registered again; it appears as soon as somebody takes it in."""


class ModelObjects:
    """The RegisteredModels of a cluster. Every method may raise `ApiError`."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def find_model(self, namespace: str, model_name: str) -> RegisteredModel | None:
        """Return the model of that MLflow name, or None."""
        body = self.client.find(REGISTERED_MODELS, namespace, RegisteredModel.object_name_of(model_name))
        model = RegisteredModel.parse(body) if body else None
        return model if model and model.model_name == model_name else None

    def get_model(self, namespace: str, model_name: str) -> RegisteredModel:
        """Return the model of that MLflow name. Raises `ModelNotFound`."""
        model = self.find_model(namespace, model_name)
        if model is None:
            raise ModelNotFound(f"there is no registered model {model_name!r} in namespace {namespace}")
        return model

    def create_model(
        self, namespace: str, model_name: str, field_manager: str, spec: Json | None = None
    ) -> RegisteredModel:
        """Create the object of a model, with further fields of `spec` if given. Raises `Conflict` where it exists."""
        name = RegisteredModel.object_name_of(model_name)
        wanted = dict(spec or {})
        if name != model_name:
            wanted["name"] = model_name
        body = {
            "apiVersion": API_VERSION,
            "kind": RegisteredModel.kind_name,
            "metadata": {"namespace": namespace, "name": name},
            "spec": wanted,
        }
        return RegisteredModel.parse(self.client.create(REGISTERED_MODELS, namespace, body, field_manager))

    def ensure_model(self, namespace: str, model_name: str, field_manager: str) -> RegisteredModel:
        """Return the model, which is created where it is missing.

        Raises `NameTaken` where the object of that name holds a model of another name.
        """
        name = RegisteredModel.object_name_of(model_name)
        body = self.client.find(REGISTERED_MODELS, namespace, name)
        if body is None:
            try:
                return self.create_model(namespace, model_name, field_manager)
            except Conflict:
                body = self.client.get(REGISTERED_MODELS, namespace, name)
        model = RegisteredModel.parse(body)
        if model.model_name != model_name:
            raise NameTaken(
                f"registeredmodel {namespace}/{name} holds {model.model_name!r}, so {model_name!r} has no object"
            )
        return model

    def update_status(
        self,
        namespace: str,
        model_name: str,
        change: Callable[[RegisteredModel], RegisteredModelStatus],
    ) -> RegisteredModel:
        """Replace the status by what `change` makes of the present one; no write where that is the same."""
        name = RegisteredModel.object_name_of(model_name)
        for attempt in range(TRIES):
            body = self.client.find(REGISTERED_MODELS, namespace, name)
            if body is None:
                raise ModelNotFound(f"registered model {model_name!r} in namespace {namespace} was deleted meanwhile")
            model = RegisteredModel.parse(body)
            status = change(model)
            try:
                return self.write_status(body, model, status)
            except Conflict:
                # Somebody else has written, so somebody has got on; spread those who have not. Who writes takes in what
                # the others recorded, so waiting saves them writes of their own.
                time.sleep(random.uniform(0.01, 0.03 * min(attempt + 1, 10)))  # noqa: S311
        raise Contended(
            f"others wrote the status of {model_name!r} every time; its records are safe and will be taken in"
        )

    def write_status(self, body: Json, model: RegisteredModel, status: RegisteredModelStatus) -> RegisteredModel:
        """Replace the status of the object as it was read, if it differs. Raises `Conflict`, `NotFound`."""
        if status == model.status:
            return model
        known = {info.alias or name for name, info in RegisteredModelStatus.model_fields.items()}
        # A field that another release wrote stays as it is.
        foreign = {key: value for key, value in (body.get("status") or {}).items() if key not in known}
        wanted = {**body, "status": {**foreign, **status.to_dict()}}
        return RegisteredModel.parse(self.client.replace_status(REGISTERED_MODELS, wanted, FIELD_MANAGER))
