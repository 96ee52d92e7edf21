"""Packs and sends what was built: `python -m modelyard_environments upload KEY WORK ROOT`.

It runs in the operator's image, so the URLs are never where packages' code runs. What that code left is data here:
`environment.json`, which is sent last, is made of the parts of it that have the right form.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from modelyard_environments import packing, sending
from modelyard_environments.build import BUILT, LOCK_TEXT, OUT, RECIPE
from modelyard_environments.progress import say
from modelyard_environments.recipe import IMAGE, Recipe
from modelyard_environments.running import Failed

SCHEMA_VERSION = 1
NO_PYTHON = "no-python"
MAX_MESSAGE = 2000

Put = Callable[[str, Path], sending.Uploaded]


def upload(key: str, work: Path, root: Path, env: Mapping[str, str], put: Put = sending.put) -> None:
    """Send all. Raises `Failed`, `UploadFailed`, `RecipeInvalid`."""
    recipe = Recipe.from_json((work / RECIPE).read_text())
    report: dict[str, Any] = {"schemaVersion": SCHEMA_VERSION, "key": key}
    if (work / NO_PYTHON).exists():
        report["message"] = _without_python(recipe)
    else:
        said = _told(work / OUT / BUILT)
        report["lock"] = _sent(put(env["MODELYARD_LOCK_URL"], work / OUT / LOCK_TEXT))
        if said.pop("archived"):
            archive = work / "environment.tar.gz"
            packing.pack(root, archive)
            say(f"packed: {archive.stat().st_size >> 20} MiB")
            report["archive"] = _sent(put(env["MODELYARD_ARCHIVE_URL"], archive))
        report.update(said)
    document = work / "environment.json"
    document.write_text(json.dumps(report))
    # Last: who finds it finds all that it names.
    put(env["MODELYARD_REPORT_URL"], document)
    say("sent")


def _without_python(recipe: Recipe) -> str:
    none = "the image has no Python from 3.9 on"
    if recipe.kind != IMAGE:
        raise Failed(f"{none}, with which the environment of {recipe.origin} could be made in it")
    if recipe.directory is not None:
        raise Failed(f"{none}, with which the files in {recipe.directory} could be read")
    return f"{none}: its packages are not known"


def _told(path: Path) -> dict[str, Any]:
    try:
        said = json.loads(path.read_bytes())
        told: dict[str, Any] = {
            "archived": bool(said["archived"]),
            "python": str(said["python"]),
            "packages": int(said["packages"]),
            "message": str(said["message"])[:MAX_MESSAGE],
        }
        if said.get("directory"):
            told["directory"] = said["directory"]
        return told
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Failed(f"{path.name} cannot be read: {type(error).__name__}: {error}") from error


def _sent(uploaded: sending.Uploaded) -> dict[str, Any]:
    return {"sha256": uploaded.sha256, "bytes": uploaded.bytes}
