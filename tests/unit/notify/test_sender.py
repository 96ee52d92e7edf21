"""One request to a receiver: what counts as taken, and what every other end of it says."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from modelyard.notify.cloudevents import CloudEvent
from modelyard.notify.hosts import UrlRefused
from modelyard.notify.sender import NotTaken, Sender
from modelyard.notify.signing import parse_secret
from tests.fakes.receiver import Receiver, receiver

EVENT = CloudEvent(
    id="ml/churn/7",
    source="/namespaces/ml/registeredmodels/churn",
    type="test",
    time="2026-01-15T12:00:00Z",
    subject=None,
    data={"stages": {}},
)


@pytest.fixture
def there() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


def send(to: Receiver, *, seconds: float = 5.0, secret: str | None = None) -> None:
    Sender(["127.0.0.1"], seconds=seconds).send(to.url, parse_secret((secret or to.secret).encode()), EVENT)


@pytest.mark.parametrize("code", [200, 201, 202, 204, 299])
def test_an_event_is_taken_with_2xx(there: Receiver, code: int) -> None:
    there.answer = lambda _: code
    send(there)
    (delivery,) = there.taken
    assert delivery.path == "/hooks/models?token=hidden"
    assert delivery.headers["content-type"] == "application/cloudevents+json"
    assert (delivery.event["specversion"], delivery.event["id"]) == ("1.0", "ml/churn/7")
    assert delivery.body == EVENT.to_json()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (301, "127.0.0.1 answered 301 Moved Permanently"),
        (404, "127.0.0.1 answered 404 Not Found"),
        (500, "127.0.0.1 answered 500 Internal Server Error"),
        (599, "127.0.0.1 answered 599"),
    ],
)
def test_any_other_code_is_not(there: Receiver, code: int, said: str) -> None:
    there.answer = lambda _: code
    with pytest.raises(NotTaken) as refused:
        send(there)
    assert str(refused.value) == said
    assert refused.value.retry_after is None


def test_no_redirect_is_followed(there: Receiver) -> None:
    with receiver() as elsewhere:
        there.answer = lambda _: 307
        there.headers["location"] = elsewhere.url
        with pytest.raises(NotTaken, match="307"):
            send(there)
        assert elsewhere.requests == []


@pytest.mark.parametrize(("said", "seconds"), [("120", 120.0), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("-5", None)])
def test_a_receiver_may_say_when_to_come_again(there: Receiver, said: str, seconds: float | None) -> None:
    there.answer = lambda _: 503
    there.headers["retry-after"] = said
    with pytest.raises(NotTaken) as refused:
        send(there)
    assert refused.value.retry_after == seconds


def test_a_receiver_with_another_key_does_not_take_it(there: Receiver) -> None:
    with pytest.raises(NotTaken, match="cannot be reached"):
        send(there, secret="another secret of many letters")
    assert there.taken == []


def test_a_receiver_that_does_not_answer_is_given_up(there: Receiver) -> None:
    there.answer = lambda _: None
    started = time.monotonic()
    with pytest.raises(NotTaken, match=r"did not answer within 0\.3 s"):
        send(there, seconds=0.3)
    # The receiver itself lets go after 30 s.
    assert time.monotonic() - started < 15


def test_a_receiver_that_drips_its_answer_is_given_up_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection:
                for byte in b"HTTP/1.1 200 OK\r\nx-" + b"a" * 1000:
                    try:
                        connection.send(bytes([byte]))
                    except OSError:
                        return
                    time.sleep(0.05)

        thread = threading.Thread(target=drip)
        thread.start()
        with pytest.raises(NotTaken, match="did not answer within"):
            Sender(["*"], seconds=0.5).send(f"http://127.0.0.1:{server.getsockname()[1]}/", b"k" * 24, EVENT)
        thread.join()


def test_a_connection_that_is_refused_says_so_without_the_path() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(NotTaken, match=r"^127\.0\.0\.1 cannot be reached: ") as refused:
        Sender(["*"]).send(f"http://127.0.0.1:{port}/hooks?token=hidden", b"k" * 24, EVENT)
    assert "hidden" not in str(refused.value)


def test_a_host_that_is_not_allowed_gets_no_request(there: Receiver) -> None:
    with pytest.raises(UrlRefused, match="lets no webhook"):
        Sender(["*.example.com"]).send(there.url, b"k" * 24, EVENT)
    assert there.requests == []
