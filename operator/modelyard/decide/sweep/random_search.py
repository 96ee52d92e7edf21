"""Random search: values drawn independently, by seed and index alone, and none of finitely many twice."""

from __future__ import annotations

import random
from functools import lru_cache

from modelyard.decide.sweep.space import Items, Space

_PATIENCE = 100
"""How many drawings in a row may bring nothing new before what is left is taken from the list of all."""

_LISTED = 200_000
"""More combinations than this are not listed."""


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
        self._rest: list[int] | None = None

    def at(self, index: int) -> dict[str, str] | None:
        while len(self._order) <= index:
            if not self._extend():
                return None
        return dict(self._order[index])

    def _extend(self) -> bool:
        count = self._space.count
        if count is not None and len(self._order) >= count:
            return False
        for _ in range(_PATIENCE):
            if self._rest is not None:
                break
            self._drawings += 1
            if self._add(_draw(self._space, f"{self._seed}/{self._drawings - 1}")):
                return True
        if count is None or count > _LISTED:
            # Almost never: what is drawn again and again is repeated, since the rest cannot be listed.
            self._order.append(tuple(_draw(self._space, f"{self._seed}/{self._drawings}").items()))
            return True
        if self._rest is None:
            self._rest = list(range(count))
            random.Random(f"{self._seed}/rest").shuffle(self._rest)  # noqa: S311
        while self._rest:
            if self._add(self._space.combination(self._rest.pop())):
                return True
        return False

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
