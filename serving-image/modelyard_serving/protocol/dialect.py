"""A protocol over HTTP, as far as requests for predictions differ between protocols. Pure: bytes in, bytes out."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from modelyard_serving.call import Call, Reply, Result
from modelyard_serving.errors import RequestError

_NONE: Mapping[Any, Any] = MappingProxyType({})


class HttpRequest(NamedTuple):
    """A POST whose body has arrived. Names of headers are lower case."""

    body: bytes
    headers: Mapping[bytes, bytes] = _NONE
    query: Mapping[str, str] = _NONE

    @property
    def content_type(self) -> str | None:
        """The header's value, if there is one."""
        value = self.headers.get(b"content-type")
        return None if value is None else value.decode("latin-1")


class Dialect(Protocol):
    """One protocol of one model. Any thread may call its methods."""

    name: str
    """As metrics and logs call it: `mlflow`, `v1`, `v2`."""

    def quick(self, request: HttpRequest) -> Call | None:
        """Read the request if that takes microseconds; None leaves it to `read`. Never raises."""

    def read(self, request: HttpRequest) -> Call:
        """Read the request and hold it to the signature. Raises RequestError."""

    def write(self, call: Call, result: Result) -> Reply:
        """The answer. Raises RequestError (500) for predictions that the protocol cannot express."""

    def refuse(self, error: RequestError) -> Reply:
        """The error in the protocol's own form."""

    def predictions(self, answer: bytes) -> Any:
        """What the body of an answer says, as a list of rows, for comparing versions. Raises ValueError."""
