"""Which kopf events wake which objects, and what processes them. Nothing is decided here."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import kopf

from modelyard.api import Approval, Experiment, ModelDeployment, RegisteredModel
from modelyard.api.names import (
    DEPLOYMENT_LABEL,
    EXPERIMENT_LABEL,
    GROUP,
    MANAGED_BY,
    REGISTERED_MODEL_LABEL,
    VERSION,
)
from modelyard.cluster.client import Conflict
from modelyard.handlers.queue import Key, WorkQueue
from modelyard.reconcile.base import Reconciler
from modelyard.reconcile.webhooks import key_name

log = logging.getLogger(__name__)

WORKERS = 4
SENDERS = 8
CONFLICT_PAUSE_SECONDS = 0.2

_WEBHOOK = "Webhook"
"""Kind of the keys of the queue of webhooks: no object's, one of a RegisteredModel's receivers."""

_OUR_KINDS = (Experiment, RegisteredModel, ModelDeployment)
_OF_DEPLOYMENTS = {DEPLOYMENT_LABEL: ModelDeployment.kind_name}
_CHILDREN: tuple[tuple[str, str, str, Mapping[str, str]], ...] = (
    # group, version, plural, the labels that name owners, with the owners' kinds
    (
        "batch",
        "v1",
        "jobs",
        {EXPERIMENT_LABEL: Experiment.kind_name, REGISTERED_MODEL_LABEL: RegisteredModel.kind_name},
    ),
    ("apps", "v1", "deployments", _OF_DEPLOYMENTS),
    ("", "v1", "pods", _OF_DEPLOYMENTS),
    ("", "v1", "services", _OF_DEPLOYMENTS),
    ("networking.k8s.io", "v1", "ingresses", _OF_DEPLOYMENTS),
)


class Wiring:
    """Turns events into keys, and keys into reconciles."""

    def __init__(self, reconcilers: Mapping[str, Reconciler], webhooks: Reconciler | None = None) -> None:
        """`webhooks` reconciles one webhook of a model; its names are those of `key_name`."""
        self._reconcilers = reconcilers
        self._webhooks = webhooks
        self._queue = WorkQueue(self._process)
        # Receivers are slow, or dead: they have workers and threads of their own.
        self._outgoing = WorkQueue(self._deliver)
        self._senders = ThreadPoolExecutor(SENDERS, thread_name_prefix="webhook")
        self._followers: dict[tuple[str, str], set[Key]] = defaultdict(set)
        self._followed: dict[Key, tuple[str, str]] = {}
        self._last_event = time.monotonic()

    def register(self, registry: kopf.OperatorRegistry, settings: kopf.OperatorSettings) -> None:
        """Register the handlers and say what is watched."""
        for kind in _OUR_KINDS:
            kopf.on.event(GROUP, VERSION, kind.plural, registry=registry, id=kind.plural)(
                self._on_object(kind.kind_name)
            )
        kopf.on.event(GROUP, VERSION, Approval.plural, registry=registry, id=Approval.plural)(self._on_approval)
        for group, version, plural, owners in _CHILDREN:
            # The API server filters, so that the other pods of a large cluster are never sent here.
            label = f",{next(iter(owners))}" if len(owners) == 1 else ""
            settings.watching.label_selectors[group, version, plural] = f"{MANAGED_BY}=modelyard{label}"
            kopf.on.event(group, version, plural, registry=registry, id=plural)(self._on_child(owners))
        kopf.on.startup(registry=registry)(self._start)
        kopf.on.cleanup(registry=registry)(self._stop)
        kopf.on.probe(registry=registry, id="seconds-since-event")(self._age)

    async def _start(self, **_: Any) -> None:
        self._queue.start(WORKERS)
        self._outgoing.start(SENDERS)

    async def _stop(self, **_: Any) -> None:
        await self._queue.stop()
        await self._outgoing.stop()
        # What is being sent is left to end by itself; whether it was taken is seen after the restart.
        self._senders.shutdown(wait=False, cancel_futures=True)

    async def _age(self, **_: Any) -> float:
        return round(time.monotonic() - self._last_event, 1)

    def _on_object(self, kind: str) -> Any:
        async def on_event(event: kopf.RawEvent, namespace: str | None, name: str | None, **_: Any) -> None:
            self._last_event = time.monotonic()
            key = Key(kind, namespace or "", name or "")
            gone = event["type"] == "DELETED"
            if kind == ModelDeployment.kind_name:
                self._follow(key, None if gone else event["object"])
            if gone:
                self._queue.forget(key)
            else:
                self._queue.add(key)
            if kind == RegisteredModel.kind_name:
                for webhook in _webhooks(event["object"]):
                    self._outgoing.add(Key(_WEBHOOK, key.namespace, key_name(key.name, webhook)))
                for follower in self._followers.get((key.namespace, key.name), ()):
                    self._queue.add(follower)

        return on_event

    def _on_child(self, owners: Mapping[str, str]) -> Any:
        async def on_event(namespace: str | None, labels: kopf.Labels, **_: Any) -> None:
            self._last_event = time.monotonic()
            for label, kind in owners.items():
                if label in labels:
                    self._queue.add(Key(kind, namespace or "", labels[label]))

        return on_event

    async def _on_approval(self, event: kopf.RawEvent, namespace: str | None, **_: Any) -> None:
        """Wake the model that somebody has approved a version of, or no longer does."""
        self._last_event = time.monotonic()
        model = event["object"].get("spec", {}).get("model")
        if model:
            self._queue.add(Key(RegisteredModel.kind_name, namespace or "", RegisteredModel.object_name_of(model)))

    def _follow(self, key: Key, body: Mapping[str, Any] | None) -> None:
        """Remember which model a deployment serves, so that the model's events wake it."""
        before = self._followed.pop(key, None)
        if before is not None:
            self._followers[before].discard(key)
        model = (body or {}).get("spec", {}).get("model", {}).get("name")
        if model:
            followed = (key.namespace, RegisteredModel.object_name_of(model))
            self._followed[key] = followed
            self._followers[followed].add(key)

    async def _process(self, key: Key) -> float | None:
        try:
            outcome = await asyncio.to_thread(self._reconcilers[key.kind], key.namespace, key.name)
        except Conflict as conflict:
            # Somebody wrote between our read and our write: no fault, read again.
            log.info("%s: %s", key, conflict)
            return CONFLICT_PAUSE_SECONDS
        return outcome.requeue_after

    async def _deliver(self, key: Key) -> float | None:
        if self._webhooks is None:
            return None
        loop = asyncio.get_running_loop()
        outcome = await loop.run_in_executor(self._senders, self._webhooks, key.namespace, key.name)
        return outcome.requeue_after


def _webhooks(body: Mapping[str, Any]) -> Iterator[str]:
    """Give the names of a model's webhooks, and of those that are gone from its spec but not from its status yet."""
    known = [*body.get("spec", {}).get("webhooks", ()), *body.get("status", {}).get("webhooks", ())]
    yield from dict.fromkeys(each["name"] for each in known)
