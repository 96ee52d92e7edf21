"""The entry point of `python3 -m tests.cluster.images`."""

from __future__ import annotations

import sys

from tests.cluster.images import main

sys.exit(main())
