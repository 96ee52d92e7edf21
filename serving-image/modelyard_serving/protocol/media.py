"""Which payloads the Content-Type header announces."""

from __future__ import annotations

from enum import Enum

from modelyard_serving.errors import RequestError


class Media(Enum):
    """What a request body holds."""

    CSV = "text/csv"
    JSON = "application/json"


def media_of(content_type: str | None) -> Media:
    """The kind of body. Raises RequestError (415) for any other media type, charset or parameter, or none at all."""
    if content_type is None:
        raise _unsupported(f"The request has no Content-Type header. {_supported()}")
    mime, *pairs = (part.strip() for part in content_type.split(";"))
    parameters = {key.strip().lower(): value for key, _, value in (pair.partition("=") for pair in pairs)}
    if parameters.pop("charset", "utf-8").strip('"').lower() != "utf-8":
        raise _unsupported("The scoring server only supports UTF-8")
    if parameters:
        raise _unsupported(f"Unrecognized content type parameters: {', '.join(parameters)}.")
    try:
        return Media(mime.lower())
    except ValueError:
        raise _unsupported(f"{_supported()} Got '{content_type}'.") from None


def _supported() -> str:
    types = [media.value for media in Media]
    return f"This predictor only supports the following content types: Types: {types}."


def _unsupported(message: str) -> RequestError:
    return RequestError(message, status=415)
