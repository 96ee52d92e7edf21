"""How many bytes of requests the process holds at a time: many large bodies at once would be the end of it."""

from __future__ import annotations

from modelyard_serving.errors import ErrorCode, Rejection, RequestError


class Budget:
    """For the event loop alone: it has no lock."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.held = 0
        """Bytes."""

    def take(self, size: int) -> None:
        """So many bytes are held now. Raises RequestError (503) if that is too much; then they are not counted."""
        if self.held + size > self._limit:
            message = f"The server is busy: requests of {self.held} bytes are being answered"
            raise RequestError(
                message, ErrorCode.TEMPORARILY_UNAVAILABLE, 503, retry_after=1, rejection=Rejection.MEMORY
            )
        self.held += size

    def give(self, size: int) -> None:
        """So many bytes are held no longer."""
        self.held -= size
