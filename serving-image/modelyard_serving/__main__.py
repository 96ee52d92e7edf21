"""`python -m modelyard_serving`."""

from __future__ import annotations

import os
import sys

from modelyard_serving.server import main

code = main(os.environ)
sys.stdout.flush()
sys.stderr.flush()
# An orderly exit would wait for threads, and a download or a prediction that hangs must not outlive its deadline.
os._exit(code)
