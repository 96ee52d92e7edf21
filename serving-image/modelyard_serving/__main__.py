"""`python -m modelyard_serving`."""

from __future__ import annotations

import os
import sys

from modelyard_serving.server import main

sys.exit(main(os.environ))
