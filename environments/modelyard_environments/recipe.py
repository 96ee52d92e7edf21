"""What an environment is made of: plain data, which the operator writes and the Job's containers read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

FORMAT = 1
"""Counts up when the same recipe comes to be built otherwise."""

IMAGE, PYTHON, CONDA, LOCK = "image", "python", "conda", "lock"


class RecipeInvalid(Exception):
    """The text is no recipe; the message says why."""


@dataclass(frozen=True)
class Recipe:
    """What an environment is made of.

    `kind` is `image` (nothing is installed, only told what there is), `python`, `conda`, or `lock` (exactly the
    packages of a lock). `python` is a version such as `3.10` or `3.10.4`, or None for the image's.
    """

    kind: str
    python: str | None = None
    build: tuple[str, ...] = ()
    """Requirements that are there before the others are built: `build_dependencies` of python_env.yaml."""
    requirements: tuple[str, ...] = ()
    """Lines of a requirements file, as pip takes them; `-r` and `-c` name keys of `files`, relative to `folder`."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Texts of the files that are included, by path in the project."""
    folder: str = ""
    """The folder of the project that the lines are read in; empty for its top."""
    channels: tuple[str, ...] = ()
    """Of conda, in order: names or URLs."""
    packages: tuple[str, ...] = ()
    """What is asked of them, as conda writes it: `python=3.10`, `pytorch::pytorch>=2`."""
    origin: str = ""
    """The project's file that says so, for messages."""
    directory: str | None = None
    """A directory of the image whose project is to be told."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """What is set for uv and pip, e.g. UV_EXCLUDE_NEWER: such an environment is built, whatever the image has."""

    def to_json(self) -> str:
        """Return it as one line."""
        return json.dumps({"format": FORMAT, **asdict(self)}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """Return what `to_json` wrote. Raises `RecipeInvalid`."""
        try:
            said: dict[str, Any] = json.loads(text)
            if said.pop("format") != FORMAT:
                raise RecipeInvalid("the recipe is of another version of Modelyard")
            lists = {name: tuple(said[name]) for name in ("build", "requirements", "channels", "packages")}
            return cls(**{**said, **lists})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RecipeInvalid(f"{text[:200]!r} is no recipe: {error}") from error

    @property
    def digest(self) -> str:
        """64 hex digits, the same for the same content."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()
