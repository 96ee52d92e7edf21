"""How much of a body is JSON: what the headers say."""

from __future__ import annotations

from modelyard_serving.errors import RequestError
from modelyard_serving.protocol.dialect import HttpRequest
from modelyard_serving.protocol.v2.rest import HEADER

_PLAIN = {None, b"", b"application/json"}
_MEDIA = {"application/json", "application/octet-stream"}


def header_length(request: HttpRequest) -> bytes | None:
    """How many bytes of the body are JSON; None: all of them.

    A request without Content-Type, or with an empty one, is JSON, too: the extension's clients send none. Raises
    RequestError (415) for any other media type, or charset than UTF-8.
    """
    given = request.headers.get(b"content-type")
    length = request.headers.get(HEADER)
    if given in _PLAIN:
        return length
    text = (given or b"").decode("latin-1")
    mime, *pairs = (part.strip() for part in text.split(";"))
    parameters = {key.strip().lower(): value.strip().strip('"') for key, _, value in (p.partition("=") for p in pairs)}
    if mime.lower() not in _MEDIA:
        raise RequestError(f"The protocol has the content types {', '.join(sorted(_MEDIA))}; got '{text}'.", status=415)
    if parameters.get("charset", "utf-8").lower() != "utf-8":
        raise RequestError("The protocol's JSON is UTF-8.", status=415)
    return length
