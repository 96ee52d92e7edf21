"""What pods were asked lately: the inputs on which a converted model's answers matter most."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from modelyard_serving import logs
from modelyard_serving.recent import Remembered
from modelyard_serving.reference import Address, FetchError, Page, fetch

MAX_REQUESTS = 256


def recorded(url: str | None, token: str | None, ask: Callable[[Address, int, str], Page] = fetch) -> list[Remembered]:
    """At most MAX_REQUESTS of one pod, the oldest first; none where nothing is served or nobody answers."""
    if url is None or token is None:
        return []
    parts = urlsplit(url)
    found: list[Remembered] = []
    instance = None
    try:
        address = Address(parts.hostname or "", parts.port or 80)
        while len(found) < MAX_REQUESTS:
            page = ask(address, found[-1].seq if found else 0, token)
            # The next answer may be another pod's, which counts for itself.
            if not page.requests or instance not in (None, page.instance):
                break
            instance = page.instance
            found += page.requests
    except FetchError as error:
        logs.warning("recorded_inputs_not_read", error=str(error))
    return found[:MAX_REQUESTS]
