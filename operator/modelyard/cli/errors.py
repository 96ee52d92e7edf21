"""How a command ends otherwise than well."""

from __future__ import annotations

REFUSED = 1
"""The command could not be done, or the answer is no."""

USAGE = 2
"""The command line makes no sense; argparse's own code."""

ALTERED = 3
"""A record or a model's file is not the one that was written."""


class CliError(Exception):
    """Ends the command: the message for the person, and the exit code."""

    def __init__(self, message: str, code: int = REFUSED) -> None:
        super().__init__(message)
        self.code = code


class Altered(CliError):
    """A record or a file was changed, removed, put in later or put elsewhere."""

    def __init__(self, message: str) -> None:
        super().__init__(message, ALTERED)
