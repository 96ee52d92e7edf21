"""Whether a model's pickles hold code themselves, and not only the names of where it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

BY_VALUE = (b"_make_function", b"_make_skel_func", b"CodeType")
"""What a pickle names that holds the code of functions or classes itself, as cloudpickle writes it."""


def holds_code(directory: Path) -> bool:
    """Whether one of the model's pickles holds code by value."""
    return any(_contains(path, BY_VALUE) for path in sorted(directory.rglob("*.pkl")) if path.is_file())


def _contains(path: Path, needles: Sequence[bytes]) -> bool:
    overlap = max(map(len, needles)) - 1
    with path.open("rb") as file:
        tail = b""
        while chunk := file.read(1 << 20):
            window = tail + chunk
            if any(needle in window for needle in needles):
                return True
            tail = window[-overlap:]
    return False
