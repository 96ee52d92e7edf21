"""`python -m modelyard_environments`: the steps of the operator's Job.

    conda WORK ROOT        install packages of conda channels          (the operator's image)
    build WORK ROOT        make the environment, and its lock          (the image of the trials)
    upload KEY WORK ROOT   pack it and send it                         (the operator's image)

Each exits 1 with one line in /dev/termination-log where it fails.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from modelyard_environments import build, conda, upload
from modelyard_environments.lock import LockInvalid
from modelyard_environments.progress import fail
from modelyard_environments.recipe import RecipeInvalid
from modelyard_environments.running import Failed
from modelyard_environments.sending import UploadFailed


def main(arguments: Sequence[str], env: Mapping[str, str]) -> int:
    """Return the exit code."""
    # The containers of a pod may have users of their own in one group.
    os.umask(0o002)
    try:
        step, *rest = arguments
        if step == "build" and len(rest) == 2:
            build.build(Path(rest[0]), Path(rest[1]), env, Path(sys.executable))
        elif step == "conda" and len(rest) == 2:
            conda.install(Path(rest[0]), Path(rest[1]), env)
        elif step == "upload" and len(rest) == 3:
            upload.upload(rest[0], Path(rest[1]), Path(rest[2]), env)
        else:
            raise ValueError(f"there is no step {step!r} with {len(rest)} arguments")
    except ValueError as error:
        print(f"{error}\n{__doc__}", file=sys.stderr)
        return 2
    except (Failed, LockInvalid, RecipeInvalid, UploadFailed, OSError) as error:
        return fail(str(error))
    return 0


if __name__ == "__main__":
    ended = main(sys.argv[1:], os.environ)
    sys.stdout.flush()
    sys.stderr.flush()
    # Without the interpreter's own end: rattler's threads may still be in it, and then the process dies by a signal.
    os._exit(ended)
