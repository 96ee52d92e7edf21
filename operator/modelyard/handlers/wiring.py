"""Which kopf events wake which objects, and what processes them. Nothing is decided here."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import kopf

from modelyard.api import Approval, Experiment, ModelDeployment, RegisteredModel
from modelyard.api.names import (
    DEPLOYMENT_LABEL,
    EXPERIMENT_LABEL,
    MANAGED_BY,
    REGISTERED_MODEL_LABEL,
)
from modelyard.cluster.cache import ObjectCache
from modelyard.cluster.client import ApiError, Conflict
from modelyard.cluster.feed import LISTED, WATCHED, Changed, Feed
from modelyard.cluster.resources import JOBS, ResourceType, of_kind
from modelyard.handlers.queue import Key, WorkQueue
from modelyard.reconcile.base import Reconciler
from modelyard.reconcile.webhooks import key_name

log = logging.getLogger(__name__)

WORKERS = 8
SENDERS = 8
CONFLICT_PAUSE_SECONDS = 0.2

START_PAUSE_SECONDS = 2.0
"""After what time the first lists are asked for again."""

SPACING_SECONDS = 0.25
"""How far apart the reconciles of a ModelDeployment are that its objects ask for: a dozen events make a pod ready. What
a user changes is not held up."""

TRIALS_SECONDS = 0.5
"""The same for an Experiment, of which many trials may begin and end at a time."""

ECHO_SECONDS = 1.0
"""After what time an object is looked at because of what its own reconcile wrote last."""

LISTED_SECONDS = 20.0
"""How often the kinds that are not watched are listed."""

CHECKED_EVERY = 15
"""At every which of these times it is found out, too, whether watched objects went unseen."""

_WEBHOOK = "Webhook"
"""Kind of the keys of the queue of webhooks: no object's, one of a RegisteredModel's receivers."""

_OUR_KINDS = (Experiment, RegisteredModel, ModelDeployment)
_OWN_RESOURCES = tuple(map(of_kind, _OUR_KINDS))
_SPACING = {ModelDeployment.kind_name: SPACING_SECONDS, Experiment.kind_name: TRIALS_SECONDS}
_OF_DEPLOYMENTS = {DEPLOYMENT_LABEL: ModelDeployment.kind_name}
_CHILDREN: tuple[tuple[ResourceType, Mapping[str, str]], ...] = (
    # The labels that name owners, with the owners' kinds.
    (JOBS, {EXPERIMENT_LABEL: Experiment.kind_name, REGISTERED_MODEL_LABEL: RegisteredModel.kind_name}),
    *((resource, _OF_DEPLOYMENTS) for resource in WATCHED),
)


class Wiring:
    """Turns events into keys, and keys into reconciles."""

    def __init__(
        self,
        reconcilers: Mapping[str, Reconciler],
        webhooks: Reconciler | None = None,
        cache: ObjectCache | None = None,
        feed: Feed | None = None,
    ) -> None:
        """`webhooks` reconciles one webhook of a model; its names are those of `key_name`.

        `cache` is told what the watches see, `feed` fills it before anything is reconciled and looks after it.
        """
        self._reconcilers = reconcilers
        self._cache = cache if cache is not None else ObjectCache(())
        self._feed = feed
        self._looking: asyncio.Task[None] | None = None
        self._threads = ThreadPoolExecutor(WORKERS, thread_name_prefix="worker")
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
            _watch(registry, of_kind(kind), self._on_object(kind.kind_name, of_kind(kind)))
        _watch(registry, of_kind(Approval), self._on_approval)
        for resource, owners in _CHILDREN:
            # The API server filters, so that the other pods of a large cluster are never sent here.
            label = f",{next(iter(owners))}" if len(owners) == 1 else ""
            selected = resource.group, resource.version, resource.plural
            settings.watching.label_selectors[selected] = f"{MANAGED_BY}=modelyard{label}"
            _watch(registry, resource, self._on_child(owners, resource))
        kopf.on.startup(registry=registry, backoff=START_PAUSE_SECONDS)(self._start)
        kopf.on.cleanup(registry=registry)(self._stop)
        kopf.on.probe(registry=registry, id="seconds-since-event")(self._age)

    async def _start(self, **_: Any) -> None:
        if self._feed is not None:
            await asyncio.to_thread(self._feed.fill)
            self._looking = asyncio.create_task(self._look_again(), name="look-again")
        self._queue.start(WORKERS)
        self._outgoing.start(SENDERS)

    async def _stop(self, **_: Any) -> None:
        if self._looking is not None:
            self._looking.cancel()
        await self._queue.stop()
        await self._outgoing.stop()
        # What is being sent is left to end by itself; whether it was taken is seen after the restart.
        self._senders.shutdown(wait=False, cancel_futures=True)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _age(self, **_: Any) -> float:
        return round(time.monotonic() - self._last_event, 1)

    def _on_object(self, kind: str, resource: ResourceType) -> Any:
        async def on_event(event: kopf.RawEvent, namespace: str | None, name: str | None, **_: Any) -> None:
            key = Key(kind, namespace or "", name or "")
            news, gone = self._is_news(event, resource), event["type"] == "DELETED"
            if kind == ModelDeployment.kind_name:
                self._follow(key, None if gone else event["object"])
            if gone:
                self._queue.forget(key)
            elif news:
                self._queue.add(key)
            else:
                # It was our own write, and whoever made it knew.
                self._queue.add_after(key, ECHO_SECONDS)
            if kind == RegisteredModel.kind_name:
                for webhook in _webhooks(event["object"]):
                    self._outgoing.add(Key(_WEBHOOK, key.namespace, key_name(key.name, webhook)))
                for follower in self._followers.get((key.namespace, key.name), ()):
                    self._queue.add(follower)

        return on_event

    def _on_child(self, owners: Mapping[str, str], resource: ResourceType) -> Any:
        async def on_event(event: kopf.RawEvent, namespace: str | None, labels: kopf.Labels, **_: Any) -> None:
            if not self._is_news(event, resource):
                return
            for label, kind in owners.items():
                if label in labels:
                    self._queue.add_spaced(Key(kind, namespace or "", labels[label]), _SPACING.get(kind, 0))

        return on_event

    def _is_news(self, event: kopf.RawEvent, resource: ResourceType) -> bool:
        """Take an event into the cache; return whether somebody has to look at what it says."""
        self._last_event = time.monotonic()
        if not self._cache.kind(resource):
            return True
        body = dict(event["object"])
        if event["type"] == "DELETED":
            return self._cache.remove(resource, body)
        # What a watch begins with is looked at, known or not.
        return self._cache.put(resource, body) or (event["type"] is None and resource in _OWN_RESOURCES)

    async def _look_again(self) -> None:
        """Look after what no watch tells of."""
        assert self._feed is not None
        for turn in itertools.count(1):
            await asyncio.sleep(LISTED_SECONDS)
            await self._take_in(self._feed.refresh, LISTED)
            if turn % CHECKED_EVERY == 0:
                await self._take_in(self._feed.check, (*_OWN_RESOURCES, *WATCHED))

    async def _take_in(self, look: Callable[[ResourceType], list[Changed]], resources: Iterable[ResourceType]) -> None:
        for resource in resources:
            try:
                changes = await asyncio.to_thread(look, resource)
            except ApiError as error:
                log.warning("%s could not be listed: %s", resource.plural, error)
                continue
            for changed in changes:
                if kind := _OF_DEPLOYMENTS.get(changed.owner_label):
                    self._queue.add_spaced(Key(kind, changed.namespace, changed.owner), SPACING_SECONDS)

    async def _on_approval(self, event: kopf.RawEvent, namespace: str | None, **_: Any) -> None:
        """Wake the model that somebody has approved a version of, or no longer does."""
        self._is_news(event, of_kind(Approval))
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
        loop = asyncio.get_running_loop()
        try:
            outcome = await loop.run_in_executor(self._threads, self._reconcilers[key.kind], key.namespace, key.name)
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


def _watch(registry: kopf.OperatorRegistry, resource: ResourceType, on_event: Any) -> None:
    where = resource.group, resource.version, resource.plural
    kopf.on.event(*where, registry=registry, id=resource.plural)(on_event)


def _webhooks(body: Mapping[str, Any]) -> Iterator[str]:
    """Give the names of a model's webhooks, and of those that are gone from its spec but not from its status yet."""
    known = [*body.get("spec", {}).get("webhooks", ()), *body.get("status", {}).get("webhooks", ())]
    yield from dict.fromkeys(each["name"] for each in known)
