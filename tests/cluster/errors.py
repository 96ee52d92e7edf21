"""The one exception that the commands report without a traceback."""

from __future__ import annotations


class ClusterError(Exception):
    """Something that the user can act on; the message says what it is and what to do."""
