"""Sends a model's transitions and refusals to its webhooks, in order, each until it is taken.

How far a receiver has followed is kept in `status.webhooks`, so an operator that ends between a receiver's yes and the
status sends that one event again, and none is left out. Nothing here holds up the model itself.
"""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import ValidationError

from modelyard.api.model_status import RegisteredModelStatus, WebhookStatus
from modelyard.api.registeredmodel import RegisteredModel, Webhook
from modelyard.cluster.client import ApiError, Client, NotFound
from modelyard.cluster.resources import SECRETS
from modelyard.decide.registeredmodel import precise_timestamp
from modelyard.decide.webhooks import present_since, retry_pause
from modelyard.notify.cloudevents import event_for
from modelyard.notify.hosts import UrlRefused
from modelyard.notify.sender import NotTaken, Sender
from modelyard.notify.signing import BadSecret, parse_secret
from modelyard.reconcile.base import Clock, Outcome
from modelyard.records.events import Sealed
from modelyard.registry.objects import REGISTERED_MODELS
from modelyard.registry.registry import Registry

log = logging.getLogger(__name__)

_BATCH = 100
"""How many records are read at a time."""

_LAG = 500
"""How many records that are not sent may follow the last that was before the status says so: a restart reads them."""

_ERROR_LIMIT = 1024


def key_name(model: str, webhook: str) -> str:
    """Return what names one webhook of a model in a work queue; neither name has a slash."""
    return f"{model}/{webhook}"


@dataclass
class _Memory:
    """What this process knows of one webhook besides the status. Losing it costs a look at the log or an attempt."""

    scanned: int = 0
    """Up to this record there is nothing more to send."""
    not_before: datetime | None = None
    generation: int = 0
    """Of the object when the last attempt failed: an edit is a reason to try at once."""


class _Failed(Exception):
    """The event was not delivered; the message is fit for the status."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class WebhookReconciler:
    """Brings one receiver up to date. Called with the model's namespace and `key_name(…)`."""

    def __init__(self, client: Client, registry: Registry, sender: Sender, clock: Clock) -> None:
        self._client = client
        self._registry = registry
        self._sender = sender
        self._clock = clock
        self._memories: dict[tuple[str, str], _Memory] = {}

    def __call__(self, namespace: str, name: str) -> Outcome:
        """Send what is due. Raises `ApiError`, `ArtifactStoreUnreachable`, `RegistryError`."""
        model_name, _, webhook_name = name.partition("/")
        body = self._client.find(REGISTERED_MODELS, namespace, model_name)
        model = RegisteredModel.parse(body) if body else None
        if model is None or model.metadata.deletion_timestamp:
            self._memories.pop((namespace, name), None)
            return Outcome()
        webhook = next((each for each in model.spec.webhooks if each.name == webhook_name), None)
        status = next((each for each in model.status.webhooks if each.name == webhook_name), None)
        if webhook is None:
            self._memories.pop((namespace, name), None)
            if status is not None:
                self._write(model, webhook_name, None)
            return Outcome()
        if status is None:
            status = WebhookStatus(name=webhook_name, delivered=self._start(model, webhook_name))
            self._write(model, webhook_name, status)
        return self._deliver(model, webhook, status, self._memories.setdefault((namespace, name), _Memory()))

    def _deliver(self, model: RegisteredModel, webhook: Webhook, status: WebhookStatus, memory: _Memory) -> Outcome:
        wait = self._wait(model, memory)
        if wait is not None:
            return Outcome(wait)
        key: bytes | None = None
        try:
            for sealed in self._unsent(model, status, memory):
                key = key or self._key(model, webhook)
                self._send(model, webhook, key, sealed)
                status = WebhookStatus(
                    name=webhook.name,
                    delivered=sealed.event.sequence,
                    last_attempt_at=precise_timestamp(self._clock()),
                )
                self._write(model, webhook.name, status)
        except _Failed as error:
            return Outcome(self._failed(model, status, error, memory))
        memory.not_before = None
        if memory.scanned - status.delivered >= _LAG:
            self._write(model, webhook.name, status.model_copy(update={"delivered": memory.scanned}))
        return Outcome()

    def _wait(self, model: RegisteredModel, memory: _Memory) -> float | None:
        """Return for how many seconds the receiver is to be left alone still; None for not at all."""
        if memory.not_before is None or memory.generation != model.metadata.generation:
            return None
        left = (memory.not_before - self._clock()).total_seconds()
        return left if left > 0 else None

    def _unsent(self, model: RegisteredModel, status: WebhookStatus, memory: _Memory) -> Iterator[Sealed]:
        """Give the records to send, oldest first; where the status knows of no newer record nothing is read."""
        ledger = self._registry.ledger(model.metadata.namespace, model.metadata.name)
        after = max(status.delivered, memory.scanned)
        while after < model.status.records.sequence:
            batch = ledger.raw(after, _BATCH)
            if not batch:
                return
            for number, (key, data) in enumerate(batch, start=after + 1):
                try:
                    sealed = Sealed.of(data)
                except ValidationError as error:
                    raise _Failed(f"{key}, the next record, was altered: nothing is sent from there on") from error
                if sealed.event.sequence != number:
                    raise _Failed(f"record {number} is missing or altered: nothing is sent from there on")
                if event_for(model, sealed) is not None:
                    yield sealed
                after = memory.scanned = number

    def _send(self, model: RegisteredModel, webhook: Webhook, key: bytes, sealed: Sealed) -> None:
        event = event_for(model, sealed)
        assert event is not None
        try:
            self._sender.send(webhook.url, key, event)
        except NotTaken as error:
            raise _Failed(str(error), error.retry_after) from error
        except UrlRefused as error:
            raise _Failed(str(error)) from error

    def _key(self, model: RegisteredModel, webhook: Webhook) -> bytes:
        """Read the key that signs; the Secret is not kept."""
        wanted = webhook.secret_ref
        try:
            data = self._client.get(SECRETS, model.metadata.namespace, wanted.name).get("data") or {}
            return parse_secret(base64.b64decode(data[wanted.key], validate=True))
        except NotFound as error:
            raise _Failed(f"there is no Secret {wanted.name}, which signs the requests") from error
        except KeyError as error:
            raise _Failed(f"the Secret {wanted.name} has no key {wanted.key}") from error
        except binascii.Error as error:
            raise _Failed(f"the Secret {wanted.name} cannot be read") from error
        except BadSecret as error:
            raise _Failed(f"the key {wanted.key} of the Secret {wanted.name} cannot be used: {error}") from error
        except ApiError as error:
            raise _Failed(f"the Secret {wanted.name} cannot be read: {error}") from error

    def _failed(self, model: RegisteredModel, status: WebhookStatus, error: _Failed, memory: _Memory) -> float:
        now, attempts = self._clock(), status.attempts + 1
        pause = retry_pause(attempts, error.retry_after)
        memory.not_before, memory.generation = now + timedelta(seconds=pause), model.metadata.generation
        self._write(
            model,
            status.name,
            status.model_copy(
                update={
                    "attempts": attempts,
                    "last_error": str(error)[:_ERROR_LIMIT],
                    "last_attempt_at": precise_timestamp(now),
                }
            ),
        )
        log.warning(
            "registeredmodel %s/%s: webhook %s: nothing after record %d delivered, attempt %d: %s; again in %.0f s",
            model.metadata.namespace,
            model.metadata.name,
            status.name,
            status.delivered,
            attempts,
            error,
            pause,
        )
        return pause

    def _start(self, model: RegisteredModel, webhook: str) -> int:
        """Return the last record that is older than the webhook: what happened before is not sent."""
        since = present_since(model, webhook)
        ledger = self._registry.ledger(model.metadata.namespace, model.metadata.name)
        last, reach = ledger.refresh().sequence, _BATCH
        while last:
            first = max(0, last - reach)
            older = [sealed.event.sequence for sealed in ledger.events(first) if sealed.event.at < since]
            if older or first == 0:
                return max(older, default=0)
            reach *= 4
        return 0

    def _write(self, model: RegisteredModel, name: str, status: WebhookStatus | None) -> None:
        """Put one webhook's status in place of the one that was there; None removes it."""

        def changed(model: RegisteredModel) -> RegisteredModelStatus:
            others = [each for each in model.status.webhooks if each.name != name]
            wanted = sorted([*others, *([status] if status else [])], key=lambda each: each.name)
            return model.status.model_copy(update={"webhooks": tuple(wanted)})

        self._registry.update_status(model.metadata.namespace, model.model_name, changed)
