"""A client that keeps asking, and counts what it gets."""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

VERSION_HEADER = "X-Modelyard-Version"


@dataclass(frozen=True)
class Endpoint:
    """Where a model is asked: the ingress controller's address, and the host that it routes by."""

    address: str
    host: str

    def ask(self, body: str, connection: http.client.HTTPConnection | None = None) -> Answer:
        """Send one request to /invocations. Raises `OSError` where no answer comes."""
        own = connection is None
        link = connection or self.connect()
        try:
            link.request("POST", "/invocations", body, {"Content-Type": "application/json", "Host": self.host})
            response = link.getresponse()
            return Answer(response.status, response.getheader(VERSION_HEADER, "?"), response.read().decode())
        finally:
            if own:
                link.close()

    def connect(self) -> http.client.HTTPConnection:
        """Open a connection that can be used for many requests."""
        return http.client.HTTPConnection(urlsplit(self.address).netloc, timeout=10)


@dataclass(frozen=True)
class Answer:
    """One answer: HTTP status, the version that gave it, the text."""

    status: int
    version: str
    text: str

    @property
    def predictions(self) -> list[object]:
        """The predictions. Raises `ValueError` where the answer is none."""
        return list(json.loads(self.text)["predictions"])


@dataclass
class Record:
    """What a client saw."""

    answers: Counter[str] = field(default_factory=Counter)
    """Answers by version."""
    failures: list[str] = field(default_factory=list)
    first_seen: dict[str, float] = field(default_factory=dict)
    """When each version answered first, in seconds of the monotonic clock."""
    last_seen: dict[str, float] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """All requests, answered or not."""
        return self.answers.total() + len(self.failures)


class Client:
    """Asks again and again, from several connections, between `with` and its end. At most `limit` requests in all."""

    def __init__(
        self, endpoint: Endpoint, body: str | Sequence[str], *, connections: int = 2, limit: int = 200_000
    ) -> None:
        """`body` is what is asked, or what is asked in turn."""
        self.record = Record()
        self._endpoint = endpoint
        self._bodies = itertools.cycle([body] if isinstance(body, str) else body)
        self._left = limit
        self._lock = threading.Lock()
        self._stop = threading.Event()
        # Half of the clients keep their connections, half open one for each request: both kinds exist.
        self._threads = [
            threading.Thread(target=self._ask_on, args=(number % 2 == 0,), daemon=True) for number in range(connections)
        ]

    def __enter__(self) -> Self:
        """Begin to ask."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, and wait for the last answers."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask_on(self, keep_alive: bool) -> None:
        connection = self._endpoint.connect() if keep_alive else None
        while not self._stop.is_set() and self._take():
            try:
                answer = self._endpoint.ask(self._next(), connection)
            except (OSError, http.client.HTTPException) as error:
                self._note(None, f"{type(error).__name__}: {error}")
                if connection:
                    # The next request opens it again.
                    connection.close()
            else:
                self._note(answer, None if answer.status == 200 else f"{answer.status}: {answer.text[:200]}")
            # A steady client, not a load test: about 100 requests a second and connection.
            self._stop.wait(0.01)
        if connection:
            connection.close()

    def _next(self) -> str:
        with self._lock:
            return next(self._bodies)

    def _take(self) -> bool:
        with self._lock:
            self._left -= 1
            return self._left >= 0

    def _note(self, answer: Answer | None, failure: str | None) -> None:
        now = time.monotonic()
        with self._lock:
            if failure or answer is None:
                self.record.failures.append(failure or "no answer")
                return
            self.record.answers[answer.version] += 1
            self.record.first_seen.setdefault(answer.version, now)
            self.record.last_seen[answer.version] = now
