"""The fields of `docker_env`, as MLflow and Docker read them.

Faults are `ValueError`, in MLflow's words where it has some.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import Any

_VARIABLE = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")
"""What Kubernetes takes as the name of a variable."""

_MODES = {"ro", "rw", "z", "Z", "cached", "delegated", "consistent", "nocopy"}
"""What Docker takes after the second colon. All but `ro` and `rw` mean nothing in a pod."""


@dataclass(frozen=True)
class DockerVolume:
    """One of `docker_env.volumes`. `source` is a volume's name, a path of the machine, or "" for an empty one."""

    source: str
    target: str
    read_only: bool = False


def image(value: Any) -> str:
    """Return `docker_env.image`."""
    if not value:
        raise ValueError("Docker environment specified but no image attribute found.")
    if not isinstance(value, str):
        raise ValueError(f"docker_env.image must be an image's name, not {type(value).__name__}")
    return value


def environment(value: Any) -> tuple[tuple[str, str | None], ...]:
    """Return `docker_env.environment`: names to copy, each with None, and names with values."""
    if not value:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, list | str) for item in value):
        raise ValueError(
            "environment must be a list containing either strings (to copy environment variables from host system) or "
            "lists of string pairs (to define new environment variables)."
            'E.g.: \'[["NEW_VAR", "new_value"], "VAR_TO_COPY_FROM_HOST"])'
        )
    return tuple(_variable(item) for item in value)


def volumes(value: Any) -> tuple[DockerVolume, ...]:
    """Return `docker_env.volumes`, each `source:target`, `source:target:ro` or `target`."""
    if not value:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError('Docker volumes must be a list of strings, e.g.: \'["/path1/:/path1", "/path2/:/path2"])')
    found = tuple(_volume(item) for item in value)
    targets = [volume.target for volume in found]
    for target in targets:
        if targets.count(target) > 1:
            raise ValueError(f"docker_env.volumes has two volumes at {target}: keep one of them")
    return found


def _variable(item: list[Any] | str) -> tuple[str, str | None]:
    name, value = (item, None) if isinstance(item, str) else _pair(item)
    if not _VARIABLE.fullmatch(name):
        raise ValueError(f"docker_env.environment: {name!r} is no name of a variable")
    if value is not None and "\0" in value:
        raise ValueError(f"docker_env.environment: the value of {name} has a NUL character")
    return name, value


def _pair(item: list[Any]) -> tuple[str, str]:
    if len(item) != 2 or not all(isinstance(part, str | int | float) for part in item):
        raise ValueError(f"docker_env.environment: {str(item)[:100]} is no pair of a name and a value")
    return str(item[0]), str(item[1])


def _volume(text: str) -> DockerVolume:
    parts = text.split(":")
    if len(parts) == 1:
        parts = ["", *parts]
    source, target, *rest = parts
    modes = rest[0].split(",") if rest else []
    if len(rest) > 1 or (not source and rest) or not set(modes) <= _MODES:
        raise ValueError(f"docker_env.volumes: {text!r} is not source:target or source:target:ro")
    if not target.startswith("/") or ".." in target.split("/") or posixpath.normpath(target) == "/":
        raise ValueError(f"docker_env.volumes: {text!r} needs an absolute path in the container, such as /data")
    return DockerVolume(source, posixpath.normpath(target), "ro" in modes)
