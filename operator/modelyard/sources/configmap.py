"""Projects in ConfigMaps: each key is a file. Their content is named by a digest, as a commit names that of a tree."""

from __future__ import annotations

import hashlib
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelyard.projects.mlproject import find_mlproject
from modelyard.sources.errors import SourceNotFound
from modelyard.sources.git import Directory


def files(body: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the files of a ConfigMap object: name → content."""
    text = {name: value.encode() for name, value in (body.get("data") or {}).items()}
    return text | {name: b64decode(value) for name, value in (body.get("binaryData") or {}).items()}


def digest(content: Mapping[str, bytes]) -> str:
    """Return the SHA-256, in hex, of the names and contents."""
    total = hashlib.sha256()
    for name in sorted(content):
        for part in (name.encode(), content[name]):
            total.update(len(part).to_bytes(8, "big") + part)
    return total.hexdigest()


def directory(content: Mapping[str, bytes]) -> Directory:
    """Return the project's directory that the files make."""
    name = find_mlproject(content)
    return Directory(frozenset(content), content[name].decode(errors="replace") if name else None)


def copy(source: Path, expected: str, destination: Path) -> int:
    """Copy a mounted ConfigMap's files; return how many.

    Raises `SourceNotFound` where its content is not the one of the digest: it was edited since the trial was planned.
    """
    content = {path.name: path.read_bytes() for path in source.iterdir() if path.is_file()}
    if digest(content) != expected:
        raise SourceNotFound("the ConfigMap was edited after this trial was planned")
    for name, data in content.items():
        (destination / name).write_bytes(data)
    return len(content)
