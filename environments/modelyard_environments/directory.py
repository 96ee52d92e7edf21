"""Reads the directory of a project that is part of an image."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from modelyard_environments.running import Failed

MAX_PATHS = 20_000
MAX_TEXT = 1 << 20
MAX_TEXTS = 4 << 20
_TEXTS = (".yaml", ".yml", ".txt", ".toml", ".lock")


def read(top: Path) -> dict[str, Any]:
    """Return `paths` of all files, and `texts` of those that may say how it is run. Raises `Failed`."""
    if not top.is_dir():
        raise Failed(f"the image has no directory {top}")
    paths: list[str] = []
    texts: dict[str, str] = {}
    left = MAX_TEXTS
    for current, folders, names in os.walk(top):
        folders[:] = sorted(each for each in folders if each not in (".git", "__pycache__"))
        for name in sorted(names):
            path = Path(current, name)
            relative = path.relative_to(top).as_posix()
            paths.append(relative)
            if len(paths) > MAX_PATHS:
                raise Failed(f"{top} holds more than {MAX_PATHS} files")
            text = _text(path) if name.lower() == "mlproject" or name.endswith(_TEXTS) else None
            if text is not None and len(text) <= left:
                texts[relative] = text
                left -= len(text)
    return {"paths": sorted(paths), "texts": texts}


def _text(path: Path) -> str | None:
    try:
        if path.stat().st_size > MAX_TEXT:
            return None
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return None
