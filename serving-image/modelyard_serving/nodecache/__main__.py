"""`python -m modelyard_serving.nodecache`."""

from __future__ import annotations

import os
import signal
import sys

from modelyard_serving import logs
from modelyard_serving.nodecache.server import Server
from modelyard_serving.nodecache.settings import Settings, SettingsError


def main() -> int:
    """Serve until told to end, which is at once: whoever is being served goes on at the store."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    logs.configure()
    try:
        settings = Settings.from_env(os.environ)
        server = Server(settings)
    except (SettingsError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    logs.event("started", port=settings.port, directory=str(settings.directory), limit=settings.limit)
    server.serve_forever()
    return 0


sys.exit(main())
