"""Webhooks: what is sent, in which order, how often, and what the status says of it."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest

from modelyard.api.model_status import WebhookStatus
from modelyard.cluster.resources import SECRETS
from modelyard.notify.sender import Sender
from modelyard.reconcile.base import Outcome
from modelyard.reconcile.webhooks import WebhookReconciler, key_name
from modelyard.registry.objects import REGISTERED_MODELS
from tests.fakes import artifacts
from tests.fakes.receiver import Receiver, receiver
from tests.unit.registry.world import NAMESPACE, Crash, World

SECRET_NAME = "modelyard-webhooks"


class Site:
    """A model with two versions, and a receiver that follows it."""

    def __init__(self, world: World, receiver: Receiver) -> None:
        self.world = world
        self.receiver = receiver
        self.reconciler = self.new_reconciler()
        world.create()
        world.register(source="one")
        world.register(source="two")
        world.reconcile()
        world.clock.forward(10)

    def new_reconciler(self, hosts: tuple[str, ...] = ("127.0.0.1",)) -> WebhookReconciler:
        """The operator, just started."""
        return WebhookReconciler(self.world.client, self.world.registry, Sender(hosts, seconds=5), self.world.clock)

    def put_secret(self, **data: str) -> None:
        encoded = {name: base64.b64encode(value.encode()).decode() for name, value in data.items()}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET_NAME}, "data": encoded}
        self.world.client.create(SECRETS, NAMESPACE, body, "test")

    def follow(self, *names: str) -> None:
        """Let the spec have these webhooks."""
        secret = {"name": SECRET_NAME, "key": "ci"}
        webhooks = [{"name": name, "url": self.receiver.url, "secretRef": secret} for name in names]
        self.world.edit({"webhooks": webhooks}, "kubectl-edit-webhooks")

    def promote(self, version: int, stage: str = "production") -> None:
        self.world.clock.forward(1)
        self.world.edit({"stages": {stage: version}})
        self.world.reconcile()

    def deliver(self, name: str = "ci") -> Outcome:
        return self.reconciler(NAMESPACE, key_name("churn", name))

    def status(self, name: str = "ci") -> WebhookStatus | None:
        return next((each for each in self.world.status().webhooks if each.name == name), None)

    def restart(self) -> None:
        self.world.restart()
        self.reconciler = self.new_reconciler()


@pytest.fixture
def bucket() -> Iterator[artifacts.Bucket]:
    with artifacts.bucket() as bucket:
        yield bucket


@pytest.fixture
def site(bucket: artifacts.Bucket) -> Iterator[Site]:
    with receiver() as running:
        yield Site(World(bucket), running)


@pytest.fixture
def followed(site: Site) -> Site:
    """The receiver is known and has nothing to catch up with."""
    site.put_secret(ci=site.receiver.secret)
    site.follow("ci")
    assert site.deliver() == Outcome()
    return site


def test_a_promotion_is_sent(followed: Site) -> None:
    followed.promote(1)
    assert followed.deliver() == Outcome()
    (delivery,) = followed.receiver.taken
    event = delivery.event
    assert event["type"] == "dev.modelyard.registeredmodel.stages-changed.v1"
    assert event["id"] == "ml/churn/3"
    assert event["source"] == "/namespaces/ml/registeredmodels/churn"
    assert event["subject"] == "versions/1"
    assert event["time"] == "2026-05-01T12:00:11.000Z"
    data = event["data"]
    assert data["moves"] == [{"version": 1, "from": "None", "to": "Production", "by": "kubectl-edit"}]
    assert data["stages"]["production"]["version"] == 1
    assert (data["namespace"], data["object"], data["model"], data["sequence"]) == ("ml", "churn", "churn", 3)
    assert followed.status() == WebhookStatus(name="ci", delivered=3, last_attempt_at="2026-05-01T12:00:11.000Z")


def test_what_happened_before_a_webhook_was_added_is_not_sent(site: Site) -> None:
    site.promote(1)
    site.world.clock.forward(60)
    site.put_secret(ci=site.receiver.secret)
    site.follow("ci")
    site.deliver()
    assert site.status() == WebhookStatus(name="ci", delivered=3)
    site.promote(2)
    site.deliver()
    assert site.receiver.sequences == [4]


def test_what_happened_since_a_webhook_was_added_is_sent_although_the_operator_was_down(site: Site) -> None:
    site.put_secret(ci=site.receiver.secret)
    site.follow("ci")
    site.promote(1)
    site.promote(2)
    site.deliver()
    assert site.receiver.sequences == [3, 4]


def test_several_transitions_are_sent_in_order_and_only_those(followed: Site) -> None:
    followed.promote(1)
    followed.world.register(source="three")
    followed.promote(2)
    followed.promote(3, "staging")
    followed.deliver()
    assert followed.receiver.sequences == [3, 5, 6]


def test_where_nothing_is_to_send_nothing_is_read_and_nothing_written(followed: Site) -> None:
    followed.promote(1)
    followed.deliver()
    followed.world.register(source="three")
    followed.deliver()
    followed.world.client.requests.clear()
    followed.world.bucket.requests.clear()
    assert followed.deliver() == Outcome()
    assert [method for method, _ in followed.world.client.requests] == ["GET"]
    assert followed.world.bucket.requests == []


def test_the_secret_is_read_only_to_send(followed: Site) -> None:
    followed.world.client.requests.clear()
    followed.deliver()
    assert not [path for _, path in followed.world.client.requests if "secrets" in path]


def test_a_receiver_that_fails_is_tried_again_after_growing_pauses_and_gets_everything(followed: Site) -> None:
    followed.receiver.answer = lambda _: 500
    followed.promote(1)
    followed.promote(2)
    pauses = []
    for attempt in range(1, 12):
        pause = followed.deliver().requeue_after
        assert pause is not None
        pauses.append(pause)
        status = followed.status()
        assert status is not None
        assert (status.delivered, status.attempts) == (2, attempt)
        assert status.last_error == "127.0.0.1 answered 500 Internal Server Error"
        followed.world.clock.forward(pause)
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    assert [each.event["id"] for each in followed.receiver.requests] == ["ml/churn/3"] * 11
    followed.receiver.answer = lambda _: 200
    assert followed.deliver() == Outcome()
    assert followed.receiver.sequences == [3, 4]
    status = followed.status()
    assert status is not None
    assert (status.delivered, status.attempts, status.last_error) == (4, 0, None)


def test_an_event_of_the_object_does_not_cut_a_pause_short(followed: Site) -> None:
    followed.receiver.answer = lambda _: 500
    followed.promote(1)
    assert followed.deliver().requeue_after == 1
    followed.world.clock.forward(0.25)
    assert followed.deliver().requeue_after == 0.75
    assert len(followed.receiver.requests) == 1


def test_an_edit_of_the_spec_does(followed: Site) -> None:
    followed.receiver.answer = lambda _: 500
    followed.promote(1)
    followed.deliver()
    followed.receiver.answer = lambda _: 200
    followed.world.edit({"description": "another"})
    followed.deliver()
    assert followed.receiver.sequences == [3]


def test_a_receiver_may_ask_for_a_longer_pause_but_not_for_any(followed: Site) -> None:
    followed.receiver.answer = lambda _: 429
    followed.receiver.headers["retry-after"] = "60"
    followed.promote(1)
    assert followed.deliver().requeue_after == 60
    followed.receiver.headers["retry-after"] = "86400"
    followed.world.clock.forward(60)
    assert followed.deliver().requeue_after == 300


def test_a_failing_receiver_leaves_the_model_ready(followed: Site, caplog: pytest.LogCaptureFixture) -> None:
    followed.receiver.answer = lambda _: 500
    followed.promote(1)
    followed.deliver()
    followed.world.reconcile()
    assert followed.world.ready()[0] == "True"
    assert followed.status() is not None
    (warning,) = [each for each in caplog.records if each.levelname == "WARNING"]
    assert "churn: webhook ci" in warning.getMessage()
    assert "answered 500" in warning.getMessage()


def test_one_receiver_does_not_wait_for_another(site: Site) -> None:
    site.put_secret(ci=site.receiver.secret)
    with receiver(answer=lambda _: 500) as dead:
        secret = {"name": SECRET_NAME, "key": "ci"}
        urls = {"ci": site.receiver.url, "dead": dead.url}
        site.world.edit({"webhooks": [{"name": name, "url": url, "secretRef": secret} for name, url in urls.items()]})
        site.promote(1)
        site.deliver("dead")
        site.deliver("ci")
    assert site.receiver.sequences == [3]
    assert [(each.name, each.delivered, each.attempts) for each in site.world.status().webhooks] == [
        ("ci", 3, 0),
        ("dead", 2, 1),
    ]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "there is no Secret modelyard-webhooks"),
        ({"other": "x"}, "the Secret modelyard-webhooks has no key ci"),
        (
            {"ci": "hunter2"},
            "the key ci of the Secret modelyard-webhooks cannot be used: the signing secret has 7 bytes",
        ),
    ],
)
def test_a_secret_that_cannot_be_used_is_said(site: Site, data: dict[str, str] | None, message: str) -> None:
    if data is not None:
        site.put_secret(**data)
    site.follow("ci")
    site.promote(1)
    assert site.deliver().requeue_after == 1
    status = site.status()
    assert status is not None
    assert status.last_error is not None
    assert message in status.last_error
    assert site.receiver.requests == []


def test_a_host_that_the_installation_does_not_allow_is_said(followed: Site) -> None:
    followed.reconciler = followed.new_reconciler(("*.example.com",))
    followed.promote(1)
    followed.deliver()
    status = followed.status()
    assert status is not None
    assert "this installation lets no webhook be at 127.0.0.1: it allows *.example.com" in (status.last_error or "")
    assert followed.receiver.requests == []


def test_a_record_that_was_altered_is_not_sent(followed: Site) -> None:
    followed.promote(1)
    key = "registry/ml/churn/log/00000003.json"
    followed.world.store.put(key, followed.world.store.get(key).data.replace(b"StagesChanged", b"Stages"))
    followed.deliver()
    status = followed.status()
    assert status is not None
    assert f"{key}, the next record, was altered" in (status.last_error or "")
    assert followed.receiver.requests == []


def test_a_webhook_that_is_taken_out_of_the_spec_leaves_the_status(followed: Site) -> None:
    followed.world.edit({"webhooks": None})
    followed.deliver()
    assert followed.status() is None


@pytest.mark.parametrize("crash_at", [1, 2, 3])
def test_the_operator_may_die_at_any_write(site: Site, crash_at: int) -> None:
    """Of what it sent before, the receiver gets at most the last once more, and nothing is left out."""
    site.put_secret(ci=site.receiver.secret)
    site.follow("ci")
    site.promote(1)
    site.promote(2)
    site.world.crash_at = crash_at
    with pytest.raises(Crash):
        site.deliver()
    site.restart()
    site.world.reconcile()
    assert site.deliver() == Outcome()
    sent = site.receiver.sequences
    assert list(dict.fromkeys(sent)) == [3, 4]
    assert sent == sorted(sent)
    assert len(sent) <= 3
    status = site.status()
    assert status is not None
    assert status.delivered == 4


def test_a_model_that_is_gone_is_no_error(followed: Site) -> None:
    followed.world.client.delete(REGISTERED_MODELS, NAMESPACE, "churn")
    assert followed.deliver() == Outcome()


def test_an_object_that_was_deleted_and_applied_again_repeats_nothing(followed: Site) -> None:
    followed.promote(1)
    followed.deliver()
    followed.world.client.delete(REGISTERED_MODELS, NAMESPACE, "churn")
    followed.world.clock.forward(60)
    followed.restart()
    followed.world.create()
    followed.follow("ci")
    followed.world.reconcile()
    followed.deliver()
    followed.promote(2)
    followed.deliver()
    assert followed.receiver.sequences[0] == 3
    assert followed.receiver.sequences.count(3) == 1
    assert followed.receiver.taken[-1].event["data"]["stages"]["production"]["version"] == 2
