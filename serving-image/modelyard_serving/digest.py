"""The digest of a model directory: what was registered is what is served.

The manifest is the text that `sha256sum` prints for every file of the directory,

    <64 hex digits>  <path relative to the directory, separated by '/'>\\n

sorted by path (bytewise, as UTF-8). The digest is `sha256:` and the SHA-256 of that text. A changed, missing or
added file changes it; the order in which files were found, their times and their modes do not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path


def manifest(files: Mapping[str, str]) -> str:
    """The manifest text; `files` maps a relative path to the SHA-256 of the file's content, in hex."""
    return "".join(f"{files[path]}  {path}\n" for path in sorted(files, key=str.encode))


def digest(files: Mapping[str, str]) -> str:
    """`sha256:<hex>` of the manifest of `files`."""
    return "sha256:" + hashlib.sha256(manifest(files).encode()).hexdigest()


def hash_directory(root: Path) -> dict[str, str]:
    """Relative path → SHA-256 of each regular file below `root`.

    A symbolic link is no part of a model (S3 has none): it is listed with no hash, so that it cannot go unnoticed.
    """
    hashes = {}
    for path in root.rglob("*"):
        relative = path.relative_to(root).as_posix()
        if path.is_symlink():
            hashes[relative] = "link"
        elif path.is_file():
            with path.open("rb") as file:
                hashes[relative] = hashlib.file_digest(file, "sha256").hexdigest()
    return hashes
