"""Puts a project's files into a pod; an init container of its Job.

`python -m modelyard.sources.fetch`, with

    MODELYARD_PROJECT     what to put below /workspace: JSON, as `api.project_files.to_json` writes it
    MODELYARD_PARAMETERS  what `path` parameters need: {"downloads": [{"name", "uri", "directory"}], "paths": ["/…"]}

either of which may be missing. A git repository's Secret is mounted at /modelyard/git; copies in the artifact store are
read with the usual AWS_* variables. Exits 1 with one line in /dev/termination-log where something fails.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelyard.api.project_files import GitFiles, ImageFiles, ProjectFiles, from_json
from modelyard.artifacts.store import ArtifactError, ArtifactStore, Location
from modelyard.projects.command import Download
from modelyard.settings import StoreSettings
from modelyard.sources import git, keep, parameters
from modelyard.sources.credentials import Credentials
from modelyard.sources.errors import SourceError

PROJECT = "MODELYARD_PROJECT"
PARAMETERS = "MODELYARD_PARAMETERS"
_SECONDS = 600.0
_LIMIT = 2 << 30
_ROOT = Path("/")


def fetch(files: ProjectFiles, root: Path = _ROOT) -> int:
    """Write a project's files below the workspace; return how many. Raises `SourceError`, `ArtifactError`, OSError."""
    workspace = root / "workspace"
    if isinstance(files, GitFiles):
        credentials = Credentials.from_directory(files.secret, root / "modelyard/git") if files.secret else None
        return git.bring(files, credentials, workspace, (_SECONDS, _LIMIT))
    if isinstance(files, ImageFiles):
        raise SourceError(f"{files.path} is a directory of an image: its own container copies it")
    place = Location.parse(files.uri)
    with _store(place.bucket).open(files.uri) as body:
        return keep.unpack(body, files.digest, workspace)


def bring_parameters(wanted: Mapping[str, Any], root: Path = _ROOT) -> int:
    """Download what `path` parameters name, and check that those in the project are there. Raises `SourceError`."""
    downloads = [Download(**item) for item in wanted["downloads"]]
    return parameters.fetch(downloads, wanted["paths"], root)


def main(environment: Mapping[str, str], root: Path = _ROOT) -> int:
    """Run, with the pod's files below `root`; return the exit code."""
    # The program's container may have another user of the same group, and has to write here.
    os.umask(0o002)
    log = root / "dev/termination-log"
    try:
        if project := environment.get(PROJECT):
            print(f"{fetch(from_json(project), root)} files of the project")
        if wanted := environment.get(PARAMETERS):
            print(f"{bring_parameters(json.loads(wanted), root)} files of parameters")
    except (SourceError, ArtifactError, OSError, ValueError) as error:
        line = " ".join(str(error).split())
        print(line, file=sys.stderr)
        if log.exists():
            log.write_text(line)
        return 1
    return 0


def _store(bucket: str) -> ArtifactStore:
    settings = StoreSettings(
        artifact_store=f"s3://{bucket}",
        s3_endpoint=os.environ.get("AWS_ENDPOINT_URL_S3") or None,
        s3_region=os.environ.get("AWS_DEFAULT_REGION") or "us-east-1",
        git_managers=(),
    )
    return ArtifactStore(settings)


if __name__ == "__main__":
    sys.exit(main(os.environ))
