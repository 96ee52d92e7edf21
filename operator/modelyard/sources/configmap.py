"""Projects in ConfigMaps: each key is a file. Their content is named by a digest, as a commit names that of a tree."""

from __future__ import annotations

import hashlib
from base64 import b64decode
from collections.abc import Mapping
from typing import Any


def files(body: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the files of a ConfigMap object: name → content."""
    text = {name: value.encode() for name, value in (body.get("data") or {}).items()}
    return text | {name: b64decode(value) for name, value in (body.get("binaryData") or {}).items()}


def digest(content: Mapping[str, bytes]) -> str:
    """Return the SHA-256, in hex, of the names and contents, each after its length in 8 bytes, big end first."""
    total = hashlib.sha256()
    for name in sorted(content):
        for part in (name.encode(), content[name]):
            total.update(len(part).to_bytes(8, "big") + part)
    return total.hexdigest()
