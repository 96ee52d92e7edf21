"""Writes a recipe's lines and files where uv reads them, and finds what of them concerns indexes alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from modelyard_environments.recipe import Recipe
from modelyard_environments.running import without_credentials

BUILD, REQUIREMENTS, OPTIONS = "modelyard-build.txt", "modelyard-requirements.txt", "modelyard-options.txt"

_OPTION = re.compile(
    r"\s*(-i|--index-url|--extra-index-url|-f|--find-links|--no-index|--no-binary|--only-binary)(?=[\s=])[^#]*"
)


def write(recipe: Recipe, top: Path) -> Path:
    """Write all below `top`; return the folder in which the lines are to be read."""
    for name, text in recipe.files.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    folder = top / recipe.folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in ((BUILD, recipe.build), (REQUIREMENTS, recipe.requirements), (OPTIONS, options(recipe))):
        (folder / name).write_text("".join(f"{line}\n" for line in lines))
    return folder


def options(recipe: Recipe) -> tuple[str, ...]:
    """Return the lines that say where packages come from, and in which form."""
    return tuple(dict.fromkeys(_options(recipe)))


def open_options(recipe: Recipe) -> tuple[str, ...]:
    """Return those of them that anybody may read: none with credentials, of users or in variables."""
    return tuple(line for line in options(recipe) if line == without_credentials(line) and "${" not in line)


def _options(recipe: Recipe) -> Iterator[str]:
    texts = [*recipe.build, *recipe.requirements]
    for text in recipe.files.values():
        texts += text.splitlines()
    for line in texts:
        match = _OPTION.match(line)
        if match:
            yield match[0].strip()
