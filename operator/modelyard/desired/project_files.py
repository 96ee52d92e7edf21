"""The containers that bring a project's files into a pod before its program is started."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from modelyard.api.project_files import GitFiles, ImageFiles, KeptFiles, ProjectFiles, to_json
from modelyard.desired.common import CONTAINER_SECURITY, Json, literal
from modelyard.desired.reader import READER_SECRET

FETCH_CONTAINER = "project"
PARAMETERS_CONTAINER = "parameters"
WORKSPACE = "/workspace"
PARAMETERS = "/workspace-data"
GIT_SECRET = "/modelyard/git"  # noqa: S105 - a directory
"""Where the Secret of a git repository is mounted, in the container that fetches and nowhere else."""

_WORKSPACE_VOLUME = "modelyard-workspace"
_PARAMETERS_VOLUME = "modelyard-parameters"
_SCRATCH_VOLUME = "modelyard-fetch"
_GIT_VOLUME = "modelyard-git"
_FETCH = ("python", "-m", "modelyard.sources.fetch")
_IN_STORE = ("s3:", "runs:", "models:")
"""What may be in the artifact store, or be said by the tracking server to be there."""

_RESOURCES: Json = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}}

# In an image of which nothing is known but that it has a shell. The program may have another user of the same group.
_COPY = """
say() { echo "$1" >&2; echo "$1" > /dev/termination-log; exit 1; }
umask 002
[ -d "$1" ] || say "spec.project.image.path: the image has no directory $1"
cp -R "$1/." /workspace/ || say "spec.project.image.path: the files of $1 cannot be copied: the pod's user must be \
allowed to read them"
chmod -R ug+rwX /workspace
shift
for path in "$@"; do
  [ -e "$path" ] || say "Got value $path for a path parameter, but no such file or directory was found."
done
"""


class Download(Protocol):
    """A `path` parameter that is a URI: what it names is put below `directory`."""

    @property
    def name(self) -> str:
        """The parameter's name."""

    @property
    def uri(self) -> str:
        """What is downloaded."""

    @property
    def directory(self) -> str:
        """Where it is put."""


class Images(Protocol):
    """The images of the pod: the program's, and the operator's, which can fetch."""

    @property
    def trial(self) -> str:
        """The image that the program runs in."""

    @property
    def fetch(self) -> str:
        """The operator's image."""

    @property
    def pull_policy(self) -> str:
        """When images are pulled."""


@dataclass(frozen=True)
class Fetching:
    """What a pod needs: containers that run before, their volumes, and the program's mounts, the workspace first."""

    containers: tuple[Json, ...]
    volumes: tuple[Json, ...]
    mounts: tuple[Json, ...]

    @property
    def container(self) -> Json:
        """The first container: the one that brings the project's own files."""
        return self.containers[0]


def fetching(
    files: ProjectFiles,
    downloads: Sequence[Download],
    paths: Sequence[str],
    images: Images,
    tracking_uri: str = "",
) -> Fetching:
    """Return what brings a project's files to /workspace, and what its parameters name to /workspace-data.

    `paths` are absolute, and have to be there afterwards. `tracking_uri` is where runs:/, models:/ and
    mlflow-artifacts:/ are asked for. Credentials are in these containers alone.
    """
    workspace = {"name": _WORKSPACE_VOLUME, "mountPath": WORKSPACE}
    parameters = {"name": _PARAMETERS_VOLUME, "mountPath": PARAMETERS}
    scratch = {"name": _SCRATCH_VOLUME, "mountPath": "/tmp"}  # noqa: S108 - a volume of the pod's own
    names = [_WORKSPACE_VOLUME, _SCRATCH_VOLUME, *([_PARAMETERS_VOLUME] if downloads else [])]
    volumes: list[Json] = [{"name": name, "emptyDir": {}} for name in names]
    wanted = _parameters(downloads, paths)
    containers = []
    if isinstance(files, ImageFiles):
        command = ["sh", "-c", literal(_COPY), "project", *map(literal, (files.path, *paths))]
        containers.append({**_container(FETCH_CONTAINER, images.trial, images), "command": command})
        containers[0]["volumeMounts"] = [workspace, scratch]
        wanted = _parameters(downloads, ())
    if wanted or not isinstance(files, ImageFiles):
        name = PARAMETERS_CONTAINER if isinstance(files, ImageFiles) else FETCH_CONTAINER
        container = {**_container(name, images.fetch, images), "command": list(_FETCH)}
        container["env"] = _variables(files, wanted, tracking_uri)
        container["volumeMounts"] = [workspace, scratch, *([parameters] if downloads else [])]
        if isinstance(files, KeptFiles) or any(item.uri.startswith(_IN_STORE) for item in downloads):
            container["envFrom"] = [{"secretRef": {"name": READER_SECRET}}]
        if isinstance(files, GitFiles) and files.secret:
            # For the pod's group, as which its user reads it.
            volumes.append({"name": _GIT_VOLUME, "secret": {"secretName": files.secret, "defaultMode": 0o440}})
            container["volumeMounts"].append({"name": _GIT_VOLUME, "mountPath": GIT_SECRET, "readOnly": True})
        containers.append(container)
    return Fetching(tuple(containers), tuple(volumes), (workspace, *([parameters] if downloads else [])))


def _container(name: str, image: str, images: Images) -> Json:
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": images.pull_policy,
        "resources": _RESOURCES,
        "securityContext": CONTAINER_SECURITY,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _parameters(downloads: Sequence[Download], paths: Sequence[str]) -> Json:
    if not downloads and not paths:
        return {}
    wanted = [{"name": item.name, "uri": item.uri, "directory": item.directory} for item in downloads]
    return {"downloads": wanted, "paths": list(paths)}


def _variables(files: ProjectFiles, wanted: Json, tracking_uri: str) -> list[Json]:
    values = {"HOME": "/tmp"}  # noqa: S108 - a volume of the pod's own
    if not isinstance(files, ImageFiles):
        values["MODELYARD_PROJECT"] = to_json(files)
    if wanted:
        values["MODELYARD_PARAMETERS"] = json.dumps(wanted, sort_keys=True)
        values["MLFLOW_TRACKING_URI"] = tracking_uri
    return [{"name": name, "value": literal(value)} for name, value in values.items()]
