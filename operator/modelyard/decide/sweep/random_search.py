"""Random search: values drawn independently, by seed and index alone, and none of finitely many twice."""

from __future__ import annotations

import random
import threading
from functools import lru_cache

from modelyard.decide.sweep.space import Items, Space

_PATIENCE = 100
"""How many drawings in a row may bring nothing new before what is left is taken from the list of all."""

_LONG_PATIENCE = 10_000
"""The same where all cannot be listed."""

_LISTED = 20_000
"""More combinations than this are not listed: twice as many as there can be trials."""


def drawn(space: Space, seed: int, index: int) -> dict[str, str] | None:
    """Return the combination of an index, or None where there are no more."""
    if space.always_new:
        return _draw(space, f"{seed}/{index}")
    return _sequence(space, seed).at(index)


def _draw(space: Space, key: str) -> dict[str, str]:
    # Seeding by a string and random() itself give the same numbers in every version of Python.
    numbers = random.Random(key)  # noqa: S311 - nothing secret
    return space.choose(lambda parameter: parameter.domain.draw(numbers.random()))


class _Sequence:
    """The distinct combinations in the order in which they are drawn first."""

    def __init__(self, space: Space, seed: int) -> None:
        self._space, self._seed = space, seed
        self._found: dict[Items, None] = {}
        self._order: list[Items] = []
        self._drawings = 0
        self._patience = _PATIENCE if space.count is not None else _LONG_PATIENCE
        self._lock = threading.Lock()

    def at(self, index: int) -> dict[str, str] | None:
        with self._lock:
            while len(self._order) <= index:
                if not self._extend():
                    return None
            return dict(self._order[index])

    def _extend(self) -> bool:
        count = self._space.count
        if count is not None and len(self._order) >= count:
            return False
        for _ in range(self._patience):
            if self._add(self._drawn_next()):
                return True
        if count is None:
            # As good as never: nearly all of the space is a few combinations, which are all there.
            self._order.append(tuple(self._drawn_next().items()))
            return True
        # From here on each of those that are left is as likely as any other.
        self._patience = 0
        numbers = random.Random(f"{self._seed}/rest/{len(self._order)}")  # noqa: S311
        if count <= _LISTED:
            left = (rank for rank in range(count) if tuple(self._space.combination(rank).items()) not in self._found)
            ranks = list(left)
            numbers.shuffle(ranks)
            for rank in ranks:
                self._add(self._space.combination(rank))
            return bool(ranks)
        while not self._add(self._space.combination(int(numbers.random() * count))):
            pass
        return True

    def _drawn_next(self) -> dict[str, str]:
        self._drawings += 1
        return _draw(self._space, f"{self._seed}/{self._drawings - 1}")

    def _add(self, combination: dict[str, str]) -> bool:
        items = tuple(combination.items())
        if items in self._found:
            return False
        self._found[items] = None
        self._order.append(items)
        return True


@lru_cache(maxsize=16)
def _sequence(space: Space, seed: int) -> _Sequence:
    """Return the sequence, which is worked out again where it was forgotten: it depends on nothing else."""
    return _Sequence(space, seed)
