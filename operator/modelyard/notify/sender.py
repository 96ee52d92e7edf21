"""Sends one event to one receiver: one POST, bounded in time, no redirects, nothing of the answer kept but its code."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus

import httpx

from modelyard.notify.cloudevents import CONTENT_TYPE, CloudEvent
from modelyard.notify.hosts import check_url
from modelyard.notify.signing import signed_headers

CONNECT_SECONDS = 5.0
TOTAL_SECONDS = 20.0
"""For everything from the name's resolution to the answer's code: a receiver that drips its answer gets no more."""

_AGENT = "modelyard-operator"


class NotTaken(Exception):
    """The receiver did not take the event; the message is fit for a status: no path, no query, no answer's body.

    `retry_after` is how many seconds the receiver asked to be left alone for, if it did.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Sender:
    """Sends events. Safe to use from several threads; every call has connections of its own.

    `allowed` are the patterns of hosts that may be sent to; `seconds` bounds each request.
    """

    def __init__(
        self,
        allowed: Sequence[str],
        *,
        clock: Callable[[], float] = time.time,
        seconds: float = TOTAL_SECONDS,
    ) -> None:
        self._allowed = tuple(allowed)
        self._clock = clock
        self._seconds = seconds
        # Reading the authorities' certificates takes longer than a request.
        self._tls = httpx.create_ssl_context()

    def send(self, url: str, key: bytes, event: CloudEvent) -> None:
        """Return when the receiver has taken the event (2xx). Raises `NotTaken`, `UrlRefused`.

        To be called from a thread without an event loop: only a loop of its own can bound the whole of a request.
        """
        host = check_url(url, self._allowed)
        body = event.to_json()
        headers = {
            "content-type": CONTENT_TYPE,
            "user-agent": _AGENT,
            **signed_headers(key, event.id, int(self._clock()), body),
        }
        try:
            response = asyncio.run(self._post(url, headers, body))
        except TimeoutError as error:
            raise NotTaken(f"{host} did not answer within {self._seconds:g} s") from error
        except httpx.TimeoutException as error:
            raise NotTaken(f"{host} cannot be reached within {CONNECT_SECONDS:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise NotTaken(f"{host} cannot be reached: {error}") from error
        if not response.is_success:
            raise NotTaken(f"{host} answered {_said(response.status_code)}", _retry_after(response))

    async def _post(self, url: str, headers: dict[str, str], body: bytes) -> httpx.Response:
        timeout = httpx.Timeout(self._seconds, connect=min(CONNECT_SECONDS, self._seconds))
        async with (
            asyncio.timeout(self._seconds),
            httpx.AsyncClient(timeout=timeout, follow_redirects=False, verify=self._tls) as client,
            # The answer's body is not read.
            client.stream("POST", url, headers=headers, content=body) as response,
        ):
            return response


def _said(code: int) -> str:
    try:
        return f"{code} {HTTPStatus(code).phrase}"
    except ValueError:
        return str(code)


def _retry_after(response: httpx.Response) -> float | None:
    value = response.headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdigit() else None
