"""What can be wrong with a project's source."""

from __future__ import annotations


class SourceError(Exception):
    """The project's files cannot be had; the message says why."""


class SourceUnreachable(SourceError):
    """The server does not answer, or not as a git server should: trying again may help."""


class SourceNotFound(SourceError):
    """The repository, the revision or the directory does not exist or cannot be used: a person has to correct it."""
