"""Which events wake which objects."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import kopf
import pytest

from modelyard.api.names import object_name
from modelyard.cluster.cache import ObjectCache
from modelyard.cluster.client import Conflict
from modelyard.cluster.feed import Changed, Feed, kinds
from modelyard.cluster.resources import DEPLOYMENTS, HORIZONTAL_POD_AUTOSCALERS
from modelyard.handlers import wiring as wiring_module
from modelyard.handlers.wiring import Wiring
from modelyard.reconcile.base import Outcome
from tests.fakes.cluster import FakeClient

KINDS = ("Experiment", "RegisteredModel", "ModelDeployment")


class Woken:
    """Stands for all three reconcilers and remembers what it was called for."""

    def __init__(self, *failures: Exception) -> None:
        self.calls: list[str] = []
        self.failures = list(failures)

    def of(self, kind: str) -> Any:
        def reconcile(namespace: str, name: str) -> Outcome:
            self.calls.append(f"{kind} {namespace}/{name}")
            if self.failures:
                raise self.failures.pop(0)
            return Outcome()

        return reconcile


async def woken_by(*events: dict[str, Any], failures: tuple[Exception, ...] = ()) -> list[str]:
    """Send events through the registered handlers; return the reconciles that came of the last one."""
    woken = Woken(*failures)
    wiring = Wiring({kind: woken.of(kind) for kind in KINDS})
    registry, settings = kopf.OperatorRegistry(), kopf.OperatorSettings()
    wiring.register(registry, settings)
    handlers: dict[str, Any] = {handler.id: handler.fn for handler in registry._watching.get_all_handlers()}
    await wiring._start()
    try:
        for event in events:
            woken.calls.clear()
            body = event["object"]
            metadata = body["metadata"]
            await handlers[event["plural"]](
                event=event, namespace=metadata["namespace"], name=metadata["name"], labels=metadata.get("labels", {})
            )
            async with asyncio.timeout(10):
                while not wiring._queue.idle:
                    await asyncio.sleep(0.005)
    finally:
        await wiring._stop()
    return sorted(woken.calls)


def event(plural: str, name: str, *, type_: str = "MODIFIED", **rest: Any) -> dict[str, Any]:
    labels = rest.pop("labels", {})
    metadata = {"namespace": "ml", "name": name, "labels": labels}
    return {"plural": plural, "type": type_, "object": {"metadata": metadata, **rest}}


@pytest.mark.parametrize(
    ("plural", "kind"),
    [
        ("experiments", "Experiment"),
        ("registeredmodels", "RegisteredModel"),
        ("modeldeployments", "ModelDeployment"),
    ],
)
async def test_an_object_wakes_itself(plural: str, kind: str) -> None:
    assert await woken_by(event(plural, "x")) == [f"{kind} ml/x"]


@pytest.mark.parametrize(
    ("plural", "label", "kind"),
    [
        ("jobs", "modelyard.dev/experiment", "Experiment"),
        ("jobs", "modelyard.dev/model", "RegisteredModel"),
        ("deployments", "modelyard.dev/deployment", "ModelDeployment"),
        ("pods", "modelyard.dev/deployment", "ModelDeployment"),
        ("services", "modelyard.dev/deployment", "ModelDeployment"),
        ("ingresses", "modelyard.dev/deployment", "ModelDeployment"),
    ],
)
async def test_what_was_made_for_an_object_wakes_it(plural: str, label: str, kind: str) -> None:
    assert await woken_by(event(plural, "child", labels={label: "owner"})) == [f"{kind} ml/owner"]


@pytest.mark.parametrize("change", ["ADDED", "DELETED"])
async def test_an_approval_wakes_the_model_that_it_is_about(change: str) -> None:
    approval = event("approvals", "ann-1", type_=change, spec={"model": "Wine_RF"})
    assert await woken_by(approval) == [f"RegisteredModel ml/{object_name('Wine_RF')}"]


@pytest.mark.parametrize("change", ["MODIFIED", "DELETED"])
async def test_a_model_wakes_the_deployments_that_follow_it(change: str) -> None:
    deployment = event("modeldeployments", "web", spec={"model": {"name": "Wine_RF"}})
    calls = await woken_by(deployment, event("registeredmodels", object_name("Wine_RF"), type_=change))
    assert "ModelDeployment ml/web" in calls


async def test_a_deployment_that_is_gone_is_woken_no_more() -> None:
    spec = {"model": {"name": "churn"}}
    calls = await woken_by(
        event("modeldeployments", "web", type_="DELETED", spec=spec),
        event("registeredmodels", "churn"),
    )
    assert calls == ["RegisteredModel ml/churn"]


async def test_a_write_conflict_is_no_failure_but_another_look(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    conflict = Conflict(409, "Conflict", "the object has been modified")
    calls = await woken_by(event("experiments", "x"), failures=(conflict,))
    assert calls == ["Experiment ml/x", "Experiment ml/x"]
    assert [record.levelname for record in caplog.records if "modified" in record.getMessage()] == ["INFO"]


async def test_the_api_server_is_asked_for_our_own_pods_only() -> None:
    settings = kopf.OperatorSettings()
    Wiring({}).register(kopf.OperatorRegistry(), settings)
    assert set(settings.watching.label_selectors.values()) == {
        "app.kubernetes.io/managed-by=modelyard",
        "app.kubernetes.io/managed-by=modelyard,modelyard.dev/deployment",
    }


def model_event(*, spec: tuple[str, ...] = (), status: tuple[str, ...] = ()) -> dict[str, Any]:
    wanted, known = ({"webhooks": [{"name": each} for each in names]} for names in (spec, status))
    return event("registeredmodels", "churn", spec=wanted, status=known)


async def delivered(*events: dict[str, Any], deliver: Any) -> None:
    """Send events through the registered handlers and wait until both queues are empty."""
    wiring = Wiring({kind: Woken().of(kind) for kind in KINDS}, deliver)
    registry = kopf.OperatorRegistry()
    wiring.register(registry, kopf.OperatorSettings())
    handlers: dict[str, Any] = {handler.id: handler.fn for handler in registry._watching.get_all_handlers()}
    await wiring._start()
    try:
        for each in events:
            metadata = each["object"]["metadata"]
            await handlers[each["plural"]](
                event=each, namespace=metadata["namespace"], name=metadata["name"], labels={}
            )
        async with asyncio.timeout(10):
            while not (wiring._queue.idle and wiring._outgoing.idle):
                await asyncio.sleep(0.005)
    finally:
        await wiring._stop()


async def test_a_model_wakes_each_of_its_webhooks_and_those_that_its_status_still_has() -> None:
    woken = Woken()
    await delivered(model_event(spec=("ci", "chat"), status=("ci", "old")), deliver=woken.of("Webhook"))
    assert sorted(woken.calls) == ["Webhook ml/churn/chat", "Webhook ml/churn/ci", "Webhook ml/churn/old"]


async def test_receivers_that_do_not_answer_hold_up_no_model() -> None:
    """More webhooks hang than there are threads for reconciles and for webhooks together."""
    ended = threading.Event()
    woken = Woken()

    def hang(namespace: str, name: str) -> Outcome:
        ended.wait(30)
        return Outcome()

    wiring = Wiring({kind: woken.of(kind) for kind in KINDS}, hang)
    registry = kopf.OperatorRegistry()
    wiring.register(registry, kopf.OperatorSettings())
    handlers: dict[str, Any] = {handler.id: handler.fn for handler in registry._watching.get_all_handlers()}
    await wiring._start()
    try:
        slow = model_event(spec=tuple(f"hook-{number}" for number in range(40)))
        await handlers["registeredmodels"](event=slow, namespace="ml", name="churn", labels={})
        await asyncio.sleep(0)
        await handlers["experiments"](event=event("experiments", "x"), namespace="ml", name="x", labels={})
        # The webhooks hang for longer.
        async with asyncio.timeout(20):
            while not wiring._queue.idle:
                await asyncio.sleep(0.005)
        assert sorted(woken.calls) == ["Experiment ml/x", "RegisteredModel ml/churn"]
    finally:
        ended.set()
        await wiring._stop()


CHILD = {
    "namespace": "ml",
    "name": "web-v1",
    "uid": "u1",
    "resourceVersion": "7",
    "labels": {"modelyard.dev/deployment": "web", "app.kubernetes.io/managed-by": "modelyard"},
}


class Watched:
    """A wiring with a cache, and what its events come to."""

    def __init__(self, live: FakeClient | None = None) -> None:
        self.woken = Woken()
        self.cache = ObjectCache(kinds())
        feed = Feed(live or FakeClient(), self.cache)
        self.wiring = Wiring({kind: self.woken.of(kind) for kind in KINDS}, None, self.cache, feed)
        registry = kopf.OperatorRegistry()
        self.wiring.register(registry, kopf.OperatorSettings())
        self.handlers: dict[str, Any] = {each.id: each.fn for each in registry._watching.get_all_handlers()}

    async def __aenter__(self) -> Watched:
        await self.wiring._start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.wiring._stop()

    async def send(self, plural: str, metadata: dict[str, Any], type_: str | None = "MODIFIED") -> list[str]:
        """Send an event; return what it had reconciled once nothing is left to do."""
        self.woken.calls.clear()
        sent = {"type": type_, "object": {"metadata": metadata}}
        labels, namespace, name = metadata.get("labels", {}), metadata["namespace"], metadata["name"]
        await self.handlers[plural](event=sent, namespace=namespace, name=name, labels=labels)
        await self.rest()
        return self.woken.calls

    async def rest(self) -> None:
        async with asyncio.timeout(10):
            while not self.wiring._queue.idle:
                await asyncio.sleep(0.005)


async def test_an_event_that_tells_nothing_new_wakes_nobody() -> None:
    async with Watched() as watched:
        watched.cache.put(DEPLOYMENTS, {"metadata": CHILD})
        assert await watched.send("deployments", CHILD) == []
        assert await watched.send("deployments", CHILD | {"resourceVersion": "6"}) == []
        assert await watched.send("deployments", CHILD | {"resourceVersion": "8"}) == ["ModelDeployment ml/web"]
        assert watched.cache.versions(DEPLOYMENTS) == {("ml", "web-v1"): 8}


async def test_an_object_that_goes_wakes_its_owner_once() -> None:
    async with Watched() as watched:
        await watched.send("deployments", CHILD, "ADDED")
        gone = CHILD | {"resourceVersion": "9"}
        assert await watched.send("deployments", gone, "DELETED") == ["ModelDeployment ml/web"]
        assert watched.cache.versions(DEPLOYMENTS) == {}
        assert await watched.send("deployments", gone, "DELETED") == []


async def test_at_the_start_every_object_of_ours_is_looked_at_and_its_children_are_not() -> None:
    live = FakeClient()
    labels = CHILD["labels"]
    live.apply(DEPLOYMENTS, {"metadata": {"namespace": "ml", "name": "web-v1", "labels": labels}}, "us")
    async with Watched(live) as watched:
        known = watched.cache.get(DEPLOYMENTS, ("ml", "web-v1"))
        assert known is not None, "the cache is filled before anything is reconciled"
        assert await watched.send("deployments", known["metadata"], None) == []
        own = {"namespace": "ml", "name": "web", "uid": "u", "resourceVersion": "9"}
        assert await watched.send("modeldeployments", own, None) == ["ModelDeployment ml/web"]
        assert await watched.send("modeldeployments", own, None) == ["ModelDeployment ml/web"], "and at a new listing"


async def test_ones_own_write_is_looked_at_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wiring_module, "ECHO_SECONDS", 0.05)
    own = {"namespace": "ml", "name": "web", "uid": "u", "resourceVersion": "9"}
    async with Watched() as watched:
        await watched.send("modeldeployments", own, "ADDED")
        assert await watched.send("modeldeployments", own) == ["ModelDeployment ml/web"]


async def test_what_lists_find_wakes_the_owners() -> None:
    async with Watched() as watched:
        changes = [Changed("modelyard.dev/deployment", "ml", "web"), Changed("", "ml", "other")]
        await watched.wiring._take_in(lambda _: changes, (HORIZONTAL_POD_AUTOSCALERS,))
        await watched.rest()
        assert watched.woken.calls == ["ModelDeployment ml/web"]
