"""The entry point of `python3 -m tests.cluster`."""

from __future__ import annotations

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - the system's python3 may be older than what the project asks for
    sys.exit(f"error: Python 3.11 or newer is needed, and {sys.executable} is {sys.version.split()[0]}")

from tests.cluster.cli import main

sys.exit(main())
