"""What a sweep can try: parameters as a forest, since each is given always or where one other has certain values."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property

from modelyard.api.sweep import NumberType, Scale, Sweep, SweepParameter
from modelyard.decide.sweep.domains import EXACT, Domain, Listed, Reals, Steps

Items = tuple[tuple[str, str], ...]
"""A combination that can be looked up: its parameters with their values, by name."""

Choose = Callable[["Parameter"], str]


@dataclass(frozen=True)
class Child:
    """A parameter that is given only where its parent is at one of these positions."""

    parameter: Parameter
    positions: frozenset[int]


@dataclass(frozen=True)
class Parameter:
    """A parameter with those that depend on it."""

    name: str
    domain: Domain
    children: tuple[Child, ...] = ()

    def active(self, position: int | None) -> tuple[Parameter, ...]:
        """Return the parameters that are given where this one is at a position."""
        return tuple(child.parameter for child in self.children if position in child.positions)

    @cached_property
    def branches(self) -> tuple[tuple[int, int | None], ...]:
        """The positions on which others depend, in order, and how many combinations there are below each."""
        positions = sorted(set().union(*(child.positions for child in self.children)))
        return tuple((position, combinations(self.active(position))) for position in positions)

    @cached_property
    def count(self) -> int | None:
        """How many combinations there are of this parameter and those below it; None where that is no number."""
        if self.domain.count is None:
            return None
        total = self.domain.count
        for _, below in self.branches:
            if below is None:
                return None
            total += below - 1
        return total


@dataclass(frozen=True)
class Space:
    """All that can be tried: the parameters that are always given, by name, with what depends on them."""

    roots: tuple[Parameter, ...]

    @cached_property
    def count(self) -> int | None:
        """How many combinations there are; None with a range that has no steps."""
        return combinations(self.roots)

    @property
    def always_new(self) -> bool:
        """Whether a drawn combination as good as never is one of before: two ranges without steps are in each."""
        return sum(root.domain.count is None for root in self.roots) > 1

    def choose(self, value: Choose) -> dict[str, str]:
        """Return a combination, with each parameter's value asked for after that on which it depends."""
        return dict(sorted(_choose(self.roots, value)))

    def combination(self, rank: int) -> dict[str, str]:
        """Return one of all combinations by its number: the last root varies fastest, values go in their order."""
        return dict(sorted(_unrank(self.roots, rank)))


def combinations(parameters: tuple[Parameter, ...]) -> int | None:
    """Return how many combinations there are of independent parameters; None where that is no number."""
    counts = [parameter.count for parameter in parameters]
    return None if None in counts else math.prod(count for count in counts if count is not None)


def space_of(sweep: Sweep, types: Mapping[str, str]) -> Space:
    """Return the space of a sweep in which `check` finds nothing wrong."""

    def below(parent: str) -> Iterator[Child]:
        for name, parameter in sorted(sweep.parameters.items()):
            if parameter.when and parameter.when.parameter == parent:
                found = (domains[parent].position(value) for value in parameter.when.values)
                yield Child(grown(name), frozenset(position for position in found if position is not None))

    def grown(name: str) -> Parameter:
        return Parameter(name, domains[name], tuple(below(name)))

    domains = {name: domain_of(parameter, types.get(name)) for name, parameter in sweep.parameters.items()}
    return Space(tuple(grown(name) for name in sorted(domains) if sweep.parameters[name].when is None))


def domain_of(parameter: SweepParameter, declared: str | None) -> Domain:
    """Return the values of one parameter. `declared` is the entry point's type of it, if it declares one."""
    if parameter.values is not None:
        return Listed(tuple(dict.fromkeys(parameter.values)))
    low, high = Decimal(parameter.min or "0"), Decimal(parameter.max or "0")
    log = parameter.scale is Scale.LOG
    if is_int(parameter, declared):
        step = Decimal(int(Decimal(parameter.step or "1")))
        low, high = Decimal(int(low)), Decimal(int(high))
        return Steps(low, step, int((high - low) // step) + 1, log)
    if parameter.step is not None:
        step = Decimal(parameter.step)
        return Steps(low, step, int(EXACT.divide_int(EXACT.subtract(high, low), step)) + 1)
    return Reals(low, high, log)


def is_int(parameter: SweepParameter, declared: str | None) -> bool:
    """Whether a range holds whole numbers."""
    return parameter.type is NumberType.INT or (parameter.type is None and declared == "int")


def _choose(parameters: tuple[Parameter, ...], value: Choose) -> Iterator[tuple[str, str]]:
    for parameter in parameters:
        chosen = value(parameter)
        yield parameter.name, chosen
        if parameter.children:
            yield from _choose(parameter.active(parameter.domain.position(chosen)), value)


def _unrank(parameters: tuple[Parameter, ...], rank: int) -> Iterator[tuple[str, str]]:
    for parameter in reversed(parameters):
        rank, own = divmod(rank, parameter.count or 1)
        yield from _unrank_one(parameter, own)


def _unrank_one(parameter: Parameter, rank: int) -> Iterator[tuple[str, str]]:
    """Find the position in which a rank falls: one combination a position, but more at the branches."""
    before = 0
    for position, below in parameter.branches:
        width = below or 1
        if rank < position + before:
            break
        if rank < position + before + width:
            yield parameter.name, _at(parameter, position)
            yield from _unrank(parameter.active(position), rank - position - before)
            return
        before += width - 1
    yield parameter.name, _at(parameter, rank - before)


def _at(parameter: Parameter, position: int) -> str:
    if isinstance(parameter.domain, Reals):
        raise TypeError(f"{parameter.name} is a range without steps: its values have no numbers")
    return parameter.domain.at(position)
