"""What is run, fixed: a project's files by content, and the environment of its entry points. As pods are told it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class GitFiles:
    """A directory of a git repository at a commit. `secret` names a Secret of the Experiment's namespace."""

    url: str
    commit: str
    path: str = "."
    submodules: bool = True
    secret: str | None = None


@dataclass(frozen=True)
class KeptFiles:
    """A .tar.gz in the artifact store, `uri` s3://…, with the SHA-256 (hex) of the files' names and contents.

    `origin` says in words where the files came from, e.g. `configmap:churn-project` or `s3://bucket/churn`.
    """

    uri: str
    digest: str
    origin: str


@dataclass(frozen=True)
class ImageFiles:
    """A directory of the image."""

    path: str


ProjectFiles = GitFiles | KeptFiles | ImageFiles

_KINDS: Mapping[str, type[ProjectFiles]] = {"git": GitFiles, "kept": KeptFiles, "image": ImageFiles}


def to_json(files: ProjectFiles) -> str:
    """Return the files as one line of JSON: `{"git": {…}}`, `{"kept": {…}}` or `{"image": {…}}`."""
    (kind,) = (name for name, cls in _KINDS.items() if isinstance(files, cls))
    return json.dumps({kind: asdict(files)}, sort_keys=True)


def from_json(text: str) -> ProjectFiles:
    """Return what `to_json` wrote. Raises ValueError."""
    try:
        ((kind, fields),) = json.loads(text).items()
        return _KINDS[kind](**fields)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{text[:200]!r} does not name a project's files") from error


@dataclass(frozen=True)
class Directory:
    """A project's directory: the paths of its files, and the texts of those that may say how it is run.

    `paths` are relative, with `/` between; `texts` holds MLproject, *.yaml, *.yml, *.txt, *.toml and *.lock files, by
    path.
    """

    paths: frozenset[str]
    texts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TrialEnvironment:
    """The libraries that the entry point runs with, fixed by content.

    `archive` is the s3:// URI of a .tar.gz that is unpacked at /environment, and `digest` its `sha256:…`; both None
    where the image is used as it is. `lock_uri` is the s3:// URI of the list of all packages, `lock` its `sha256:…`.
    """

    key: str
    image: str
    archive: str | None = None
    digest: str | None = None
    lock: str = ""
    lock_uri: str = ""
    packages: int = 0
    message: str = ""


def environment_to_json(environment: TrialEnvironment) -> str:
    """Return the environment as one line of JSON."""
    return json.dumps(asdict(environment), sort_keys=True)


def environment_from_json(text: str) -> TrialEnvironment:
    """Return what `environment_to_json` wrote. Raises ValueError."""
    try:
        fields: dict[str, Any] = json.loads(text)
        return TrialEnvironment(**fields)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{text[:200]!r} does not name an environment") from error
