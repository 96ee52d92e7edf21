"""Where the URLs of a spec may point: who may write one must not thereby reach all that the operator can. Pure."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from urllib.parse import urlsplit


class UrlRefused(Exception):
    """The installation asks nothing of this URL; the message is fit for a status."""


def check_url(
    url: str, allowed: Sequence[str], *, of: str = "webhook", variable: str = "MODELYARD_WEBHOOK_HOSTS"
) -> str:
    """Return the URL's host, where it matches one of the patterns (`ci.example.com`, `*.example.com`, `*`).

    Patterns are of host names, in shell style, without ports. `of` names what has the URL, `variable` what holds the
    patterns. Raises `UrlRefused`.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise UrlRefused(f"the {of}'s url is none: {error}") from error
    if parts.scheme not in ("http", "https") or not host:
        raise UrlRefused(f"the {of}'s url must be http://<host>… or https://<host>…")
    if parts.username or parts.password:
        raise UrlRefused(f"the {of}'s url must not hold a user or password")
    # hostname is in lower case already; a trailing dot names the same host.
    name = host.rstrip(".")
    if not any(fnmatch.fnmatchcase(name, pattern.lower()) for pattern in allowed):
        listed = ", ".join(allowed) or "nothing"
        raise UrlRefused(f"this installation lets no {of} be at {name}: it allows {listed} ({variable})")
    return name
