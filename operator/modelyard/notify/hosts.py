"""Where webhooks may point: whoever may write a model must not thereby reach everything that the operator can. Pure."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from urllib.parse import urlsplit


class UrlRefused(Exception):
    """The installation does not send webhooks to this URL; the message is fit for a status."""


def check_url(url: str, allowed: Sequence[str]) -> str:
    """Return the URL's host, where it matches one of the patterns (`ci.example.com`, `*.example.com`, `*`).

    Patterns are of host names, in shell style, without ports. Raises `UrlRefused`.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise UrlRefused(f"the webhook's url is none: {error}") from error
    if parts.scheme not in ("http", "https") or not host:
        raise UrlRefused("the webhook's url must be http://<host>… or https://<host>…")
    if parts.username or parts.password:
        raise UrlRefused("the webhook's url must not hold a user or password: requests are signed instead")
    # hostname is in lower case already; a trailing dot names the same host.
    name = host.rstrip(".")
    if not any(fnmatch.fnmatchcase(name, pattern.lower()) for pattern in allowed):
        listed = ", ".join(allowed) or "nothing"
        raise UrlRefused(f"this installation sends no webhooks to {name}: it allows {listed} (MODELYARD_WEBHOOK_HOSTS)")
    return name
