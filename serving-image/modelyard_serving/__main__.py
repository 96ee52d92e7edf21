"""`python -m modelyard_serving`."""

from __future__ import annotations

import os
import signal
import sys

# As the first process of a container, one without a handler is deaf to SIGTERM: a pod that is deleted while the modules
# below are imported would live for all of its grace period. There is nothing to drain yet.
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))

from modelyard_serving.server import main  # noqa: E402

code = main(os.environ)
sys.stdout.flush()
sys.stderr.flush()
# An orderly exit would wait for threads, and a download or a prediction that hangs must not outlive its deadline.
os._exit(code)
