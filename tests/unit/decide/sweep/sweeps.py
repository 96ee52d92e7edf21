"""Sweeps for tests, as users write them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import strategies as st

from modelyard.api.experiment import Goal
from modelyard.api.sweep import Sweep
from modelyard.decide.sweep import State, Told, propose

Combination = Mapping[str, str]


def sweep(algorithm: str = "Random", **fields: Any) -> Sweep:
    """Return a sweep, by default a random one of 20 trials."""
    trials = {} if algorithm == "Grid" else {"maxTrials": 20}
    return Sweep.model_validate({"algorithm": algorithm, **trials, **fields})


def values(*listed: str, **fields: Any) -> dict[str, Any]:
    return {"values": list(listed), **fields}


def between(low: str, high: str, **fields: Any) -> dict[str, Any]:
    return {"min": low, "max": high, **fields}


def when(parameter: str, *listed: str) -> dict[str, Any]:
    return {"parameter": parameter, "values": list(listed)}


def all_of(what: Sweep, types: Mapping[str, str] | None = None, goal: Goal | None = None) -> list[Combination]:
    """Return what is proposed one after the other, until nothing is left; nothing is told but what runs."""
    history: list[Told] = []
    while (combination := propose(what, goal, types or {}, len(history), history)) is not None:
        history.append(Told(len(history), combination, State.RUNNING))
    return [told.parameters for told in history]


def run(what: Sweep, objective: Callable[[Combination], float], trials: int, goal: Goal = Goal.MINIMIZE) -> list[Told]:
    """Run trials one after the other, each told before the next is proposed."""
    history: list[Told] = []
    for index in range(trials):
        combination = propose(what, goal, {}, index, history)
        if combination is None:
            break
        history.append(Told(index, combination, State.SUCCEEDED, objective(combination)))
    return history


@st.composite
def discrete_sweeps(draw: st.DrawFn, algorithm: str = "Grid") -> Sweep:
    """Sweeps of few values, some of them conditional on others before them, in chains, too."""
    parameters: dict[str, dict[str, Any]] = {}
    known: dict[str, list[str]] = {}
    for number in range(draw(st.integers(1, 4))):
        name = f"p{draw(st.integers(0, 9))}{number}"
        if draw(st.booleans()):
            known[name] = draw(st.lists(st.sampled_from("abcd"), min_size=1, max_size=3, unique=True))
            parameters[name] = values(*known[name])
        else:
            high = draw(st.integers(2, 3))
            parameters[name] = between("1", str(high), step="1")
            known[name] = [str(value) for value in range(1, high + 1)]
        parent = draw(st.sampled_from([None, *[other for other in known if other != name]]))
        if parent is not None:
            chosen = draw(st.lists(st.sampled_from(known[parent]), min_size=1, unique=True))
            parameters[name]["when"] = when(parent, *chosen)
    return sweep(algorithm, parameters=parameters, **({} if algorithm == "Grid" else {"maxTrials": 1000}))


def expected_combinations(what: Sweep) -> set[tuple[tuple[str, str], ...]]:
    """Return all combinations of a discrete sweep by brute force: each product, without what its conditions exclude."""
    found: list[dict[str, str]] = [{}]
    waiting = dict(what.parameters)
    while waiting:
        name = next(name for name, one in waiting.items() if one.when is None or one.when.parameter not in waiting)
        parameter = waiting.pop(name)
        listed = parameter.values or tuple(
            str(value) for value in range(int(parameter.min or 0), int(parameter.max or 0) + 1)
        )
        grown: list[dict[str, str]] = []
        for one in found:
            condition = parameter.when
            active = condition is None or one.get(condition.parameter) in condition.values
            grown += [{**one, name: value} for value in listed] if active else [one]
        found = grown
    return {tuple(sorted(one.items())) for one in found}
