"""Puts a project's files into a trial's pod; the init container of its Job.

`python -m modelyard.sources.fetch URL COMMIT PATH DESTINATION` for git,
`python -m modelyard.sources.fetch --directory DIRECTORY DIGEST DESTINATION` for a mounted ConfigMap.
Exits 1 with one line in /dev/termination-log where that fails.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from modelyard.api.project_files import GitFiles
from modelyard.sources import configmap, git
from modelyard.sources.errors import SourceError

TERMINATION_LOG = Path("/dev/termination-log")
_SECONDS = 600.0
_LIMIT = 2 << 30


def fetch(url: str, commit: str, path: str, destination: Path) -> int:
    """Write the project's directory at a commit below `destination`; return how many files. Raises `SourceError`."""
    return git.bring(GitFiles(url, commit, path), None, destination, (_SECONDS, _LIMIT))


def main(arguments: list[str], termination_log: Path = TERMINATION_LOG) -> int:
    """Run; return the exit code."""
    # The trial's container may have another user of the same group, and has to write here.
    os.umask(0o002)
    try:
        match arguments:
            case ["--directory", source, digest, destination]:
                count = configmap.copy(Path(source), digest, Path(destination))
            case [url, commit, path, destination]:
                count = fetch(url, commit, path, Path(destination))
            case _:
                print(__doc__, file=sys.stderr)
                return 2
    except (SourceError, OSError) as error:
        line = " ".join(str(error).split())
        print(line, file=sys.stderr)
        if termination_log.exists():
            termination_log.write_text(line)
        return 1
    print(f"{count} files")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
