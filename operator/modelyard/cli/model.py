"""One model as the commands see it: its object, and its records after they were checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from modelyard.api.model_status import RecordsStatus
from modelyard.api.registeredmodel import RegisteredModel
from modelyard.cli.chain import check
from modelyard.cli.errors import Altered, CliError
from modelyard.cli.sources import Source
from modelyard.cluster.client import Client
from modelyard.records.events import ModelContinued, Sealed
from modelyard.records.fold import ChainBroken, fold
from modelyard.records.state import ModelState
from modelyard.registry.objects import REGISTERED_MODELS


@dataclass(frozen=True)
class Records:
    """A log that was checked from its first record to its last. `earlier` are the logs that it continues."""

    events: tuple[Sealed, ...]
    earlier: tuple[Sealed, ...] = ()

    @cached_property
    def state(self) -> ModelState:
        """What holds now."""
        return fold(ModelState(), self.events)

    @property
    def head(self) -> RecordsStatus:
        """The newest record."""
        if not self.events:
            return RecordsStatus()
        return RecordsStatus(sequence=self.events[-1].event.sequence, digest=self.events[-1].digest)


class Models:
    """The models of one namespace. `source` finds where records are read; it is called when they are needed."""

    def __init__(self, client: Client, namespace: str, source: Callable[[], Source]) -> None:
        self.client = client
        self.namespace = namespace
        self._source = source

    @cached_property
    def source(self) -> Source:
        """Where records are read. Raises `Unavailable`."""
        return self._source()

    @staticmethod
    def object_name(given: str) -> str:
        """Return the object's name for what a person typed: MLflow's name, the object's, `registeredmodel/<name>`."""
        return RegisteredModel.object_name_of(given.removeprefix("registeredmodel/").removeprefix("rm/"))

    def find(self, given: str) -> RegisteredModel | None:
        """Return the model's object, or None."""
        body = self.client.find(REGISTERED_MODELS, self.namespace, self.object_name(given))
        return RegisteredModel.parse(body) if body else None

    def get(self, given: str) -> RegisteredModel:
        """Return the model's object. Raises `CliError`."""
        model = self.find(given)
        if model is None:
            raise CliError(f"there is no registered model {given!r} in namespace {self.namespace}")
        return model

    def records(self, given: str, model: RegisteredModel | None) -> Records:
        """Return the model's records, checked against each other and against the object's status where there is one.

        Raises `Altered`, `Unavailable`; `CliError` where there are neither records nor an object.
        """
        name = self.object_name(given)
        head = model.status.records if model else None
        events = check(self.source.records(self.namespace, name), head)
        if not events and model is None:
            raise CliError(
                f"there is no registered model {given!r} in namespace {self.namespace}, and no record of one"
            )
        found = Records(tuple(events), self._earlier(events, {name}))
        try:
            _ = found.state
        except ChainBroken as error:
            raise Altered(str(error)) from error
        return found

    def records_of(self, model: RegisteredModel) -> Records:
        """Return the records of any model of the cluster, checked as `records` does."""
        name = model.metadata.name
        events = check(self.source.records(model.metadata.namespace, name), model.status.records)
        return Records(tuple(events))

    def _earlier(self, events: list[Sealed], seen: set[str]) -> tuple[Sealed, ...]:
        """Return the records of the logs that this one continues, each up to where it was continued."""
        found: tuple[Sealed, ...] = ()
        for sealed in events:
            event = sealed.event
            if not isinstance(event, ModelContinued) or event.from_object in seen:
                continue
            before = check(self.source.records(self.namespace, event.from_object), None)[: event.from_sequence]
            if not before or before[-1].digest != event.digest:
                raise Altered(
                    f"record {event.from_sequence} of {event.from_object}, from which record {event.sequence} "
                    "continues, was altered or removed"
                )
            found += self._earlier(before, seen | {event.from_object}) + tuple(before)
        return found
