"""The lock: every package of an environment, exactly. A requirements file, with the rest of it in comments.

# modelyard-lock: 1
# python: 3.12.8
# conda: https://conda.anaconda.org/conda-forge/linux-64/python-3.10.14-….conda#sha256:…
numpy==2.3.1 --hash=sha256:…
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

FIRST_LINE = "# modelyard-lock: 1"
PYTHON_LINE = "# python: "
CONDA_LINE = "# conda: "


class LockInvalid(Exception):
    """The text is no lock; the message says why."""


@dataclass(frozen=True)
class Lock:
    """What an environment consists of."""

    python: str
    """`3.12.8`."""
    conda: tuple[str, ...] = ()
    """Each `<URL>#sha256:<hex>`."""
    packages: tuple[str, ...] = ()
    """Lines of a requirements file, each with one version, and with hashes where they are known."""

    def to_text(self) -> str:
        """Return the file."""
        lines = [FIRST_LINE, PYTHON_LINE + self.python, *(CONDA_LINE + each for each in self.conda), *self.packages]
        return "\n".join(lines) + "\n"


def read(text: str) -> Lock:
    """Return what `Lock.to_text` wrote. Raises `LockInvalid`."""
    lines = text.splitlines()
    if not lines or lines[0] != FIRST_LINE:
        raise LockInvalid(f"a lock begins with {FIRST_LINE!r}")
    python = _after(PYTHON_LINE, lines)
    if len(python) != 1:
        raise LockInvalid("a lock names one Python")
    packages = tuple(line for line in lines if line.strip() and not line.startswith("#"))
    return Lock(python[0], tuple(_after(CONDA_LINE, lines)), packages)


def hashed(text: str) -> tuple[str, ...]:
    """Return what `uv pip compile` or pip wrote, a line for each package."""
    joined = text.replace("\\\n", " ")
    lines = (" ".join(line.split()) for line in joined.splitlines())
    return tuple(line for line in lines if line and not line.startswith(("#", "-")))


def _after(beginning: str, lines: Sequence[str]) -> list[str]:
    return [line[len(beginning) :].strip() for line in lines if line.startswith(beginning)]
