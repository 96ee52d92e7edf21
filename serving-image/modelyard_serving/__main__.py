"""`python -m modelyard_serving`."""

from __future__ import annotations

import gc
import os
import signal
import sys

# As the first process of a container, one without a handler is deaf to SIGTERM: a pod that is deleted while the modules
# below are imported would live for all of its grace period. There is nothing to drain yet.
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
# Until the model is loaded nothing becomes garbage; looking for it takes a tenth of the start.
gc.disable()

from modelyard_serving import logs, threads  # noqa: E402
from modelyard_serving.ahead import Ahead, begin  # noqa: E402
from modelyard_serving.config import Config  # noqa: E402
from modelyard_serving.errors import StartupError  # noqa: E402


def _begin() -> Ahead | None:
    """The download, before what serves it is imported; None where the settings are wrong, which `main` tells."""
    try:
        return begin(Config.from_env(os.environ))
    except StartupError:
        return None


# Before the libraries that read it are imported.
threads.pin(os.environ)
logs.configure()
ahead = _begin()

from modelyard_serving.server import main  # noqa: E402

code = main(os.environ, ahead)
sys.stdout.flush()
sys.stderr.flush()
# An orderly exit would wait for threads, and a download or a prediction that hangs must not outlive its deadline.
os._exit(code)
