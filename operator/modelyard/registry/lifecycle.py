"""Deleting and renaming a model: the record first, then the objects. The operator finishes what a crash leaves."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from modelyard.api.names import API_VERSION
from modelyard.api.registeredmodel import RegisteredModel
from modelyard.cluster.client import Conflict
from modelyard.decide.registeredmodel import precise_timestamp
from modelyard.records.events import Event, ModelContinued, ModelDeleted, ModelRenamed
from modelyard.records.state import ModelState
from modelyard.registry.objects import REGISTERED_MODELS, ModelNotFound, NameTaken
from modelyard.registry.registry import Clock, Registry

Json = dict[str, Any]


class Lifecycle:
    """Deletes and renames models for a field manager."""

    def __init__(self, registry: Registry, clock: Clock) -> None:
        self._registry = registry
        self._clock = clock

    def delete(self, namespace: str, model_name: str, by: str) -> None:
        """Delete a model. Its records and files stay; its numbers stay taken. Raises `ModelNotFound`."""
        model, _ = self._registry.read(namespace, model_name)
        event = ModelDeleted(by=by, at=precise_timestamp(self._clock()), uid=model.metadata.uid)
        self._end(model, event)
        self._finish_deletion(model)

    def rename(self, namespace: str, model_name: str, new_name: str, by: str) -> None:
        """Let a model go on under another name, with its versions, tags, aliases and stages.

        Raises `ModelNotFound`, and `NameTaken` where there is a model of the new name.
        """
        model, _ = self._registry.read(namespace, model_name)
        if self._registry.find_model(namespace, new_name) is not None:
            raise NameTaken(f"Registered Model (name={new_name}) already exists.")
        event = ModelRenamed(by=by, at=precise_timestamp(self._clock()), to=new_name, uid=model.metadata.uid)
        self._finish_renaming(model, self._end(model, event), by)

    def finish(self, model: RegisteredModel, state: ModelState, by: str) -> None:
        """Do what is left of the deletion or renaming that the state of this object's model ended with."""
        assert state.ended is not None
        if state.ended.renamed_to is None:
            self._finish_deletion(model)
        else:
            self._finish_renaming(model, state, by)

    def _end(self, model: RegisteredModel, event: Event) -> ModelState:
        def draft(state: ModelState) -> Event | None:
            return None if state.has_ended(model.metadata.uid) else event

        return self._registry.ledger(model.metadata.namespace, model.metadata.name).append(draft)

    def _finish_deletion(self, model: RegisteredModel) -> None:
        self._registry.client.delete(
            REGISTERED_MODELS, model.metadata.namespace, model.metadata.name, uid=model.metadata.uid
        )

    def _finish_renaming(self, model: RegisteredModel, ended: ModelState, by: str) -> None:
        """Whoever renames and the operator may do this at the same time: who is late leaves what was finished alone."""
        assert ended.ended is not None
        new_name = ended.ended.renamed_to
        assert new_name is not None
        namespace = model.metadata.namespace
        before = self._registry.ledger(namespace, model.metadata.name).state_at(ended.sequence - 1)
        before = before.model_copy(update={"created_at": before.created_at or model.metadata.creation_timestamp})
        # What was known of the new name may be older than the log that was continued under it.
        self._registry.ledger(namespace, RegisteredModel.object_name_of(new_name)).refresh()
        other = self._registry.look_up(namespace, new_name)
        if not self._is_left(model):
            return
        if other is not None and other[1].continued_from != ended.digest:
            # Somebody was faster: this model goes on under the name that it has.
            self._continue_log(model, ended, before, model.metadata.name, by)
            raise NameTaken(f"Registered Model (name={new_name}) already exists.")
        self._continue_log(model, ended, before, RegisteredModel.object_name_of(new_name), by)
        # Where it is there, an earlier attempt got as far as this.
        with suppress(Conflict):
            self._registry.client.create(REGISTERED_MODELS, namespace, self._body(model, new_name), by)
        self._finish_deletion(model)
        # Somebody may have deleted it, or renamed it again, since then.
        with suppress(ModelNotFound):
            self._registry.show(namespace, new_name)

    def _is_left(self, model: RegisteredModel) -> bool:
        """Whether the object is still there; its deletion is the last that is done of a renaming."""
        body = self._registry.client.find(REGISTERED_MODELS, model.metadata.namespace, model.metadata.name)
        return body is not None and body["metadata"]["uid"] == model.metadata.uid

    def _continue_log(self, model: RegisteredModel, ended: ModelState, before: ModelState, name: str, by: str) -> None:
        """Let the log of the object `name` go on with what this model's folded to before its end, unless it does."""
        continued = ModelContinued(
            by=by,
            at=precise_timestamp(self._clock()),
            from_object=model.metadata.name,
            from_sequence=ended.sequence,
            digest=ended.digest,
            state=before.model_dump(by_alias=True, mode="json", exclude_none=True),
        )
        ledger = self._registry.ledger(model.metadata.namespace, name)

        def draft(state: ModelState) -> Event | None:
            return None if state.continued_from == ended.digest else continued

        ledger.append(draft)

    @staticmethod
    def _body(model: RegisteredModel, new_name: str) -> Json:
        name = RegisteredModel.object_name_of(new_name)
        spec = model.spec.model_dump(by_alias=True, mode="json", exclude_unset=True)
        spec.pop("name", None)
        if name != new_name:
            spec["name"] = new_name
        # What an earlier object left to this one goes with it.
        for field, values in (("stages", model.wanted_stages), ("aliases", model.aliases), ("tags", model.tags)):
            if values:
                spec[field] = values
        if model.description is not None:
            spec["description"] = model.description
        metadata: Json = {"namespace": model.metadata.namespace, "name": name}
        if model.metadata.labels:
            metadata["labels"] = model.metadata.labels
        return {"apiVersion": API_VERSION, "kind": model.kind_name, "metadata": metadata, "spec": spec}
