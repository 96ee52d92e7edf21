"""Optuna's tree-structured Parzen estimator over a sweep's space. Nothing else imports Optuna."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections import deque
from collections.abc import Container, Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache, partial

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from modelyard.api.experiment import Goal
from modelyard.decide.sweep.domains import Domain, Listed, Reals
from modelyard.decide.sweep.model import State, Told
from modelyard.decide.sweep.space import Items, Parameter, Space

# It would tell of every study and trial. What is left goes where the operator's log goes.
optuna.logging.set_verbosity(optuna.logging.ERROR)
optuna.logging.disable_default_handler()
optuna.logging.enable_propagation()

_ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)


class Estimator:
    """What the trials say of where good values are."""

    def __init__(self, space: Space, goal: Goal) -> None:
        self._space, self._goal = space, goal
        self._told: list[Told] = []
        self._study = optuna.create_study(direction="maximize" if goal is Goal.MAXIMIZE else "minimize")

    def goes_on_with(self, space: Space, goal: Goal, told: Sequence[Told]) -> bool:
        """Whether these trials begin with those that it was told."""
        same = self._goal is goal and self._space == space
        return same and self._told == list(told[: len(self._told)])

    def tell(self, told: Sequence[Told]) -> None:
        """Take in what it was not told yet."""
        for trial in told[len(self._told) :]:
            if (frozen := _frozen(self._space, trial)) is not None:
                self._study.add_trial(frozen)
        self._told = list(told)

    def new(self, keys: Iterable[str], tried: Container[Items]) -> dict[str, str] | None:
        """Return a combination that was not tried and promises a better value, or None where none was found.

        Each key seeds one attempt; the attempts before it count as running. None of them leaves anything behind.
        """
        asked = []
        try:
            for key in keys:
                self._study.sampler = self._sampler(int.from_bytes(hashlib.sha256(key.encode()).digest()[:4]))
                asked.append(self._study.ask())
                combination = self._space.choose(partial(_chosen, asked[-1]))
                if tuple(combination.items()) not in tried:
                    return combination
            return None
        finally:
            for trial in asked:
                self._study.tell(trial, state=TrialState.FAIL)

    def _sampler(self, seed: int) -> optuna.samplers.TPESampler:
        conditional = any(root.children for root in self._space.roots)
        with warnings.catch_warnings():
            # Learning in groups is called experimental, and is the only way to learn of what depends on conditions.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.samplers.TPESampler(
                # When random search has done its part is decided elsewhere.
                seed=seed,
                n_startup_trials=1,
                multivariate=True,
                group=conditional,
                constant_liar=True,
            )


_KEPT: deque[Estimator] = deque(maxlen=1)


def suggested(
    space: Space, goal: Goal, told: Sequence[Told], keys: Iterable[str], tried: Container[Items]
) -> dict[str, str] | None:
    """Return a combination that was not tried, in the order of the trials and by the keys alone; or None.

    Trials that start together ask one after the other, each with one more that runs: the estimator is kept for that.
    """
    estimator = _KEPT.pop() if _KEPT else None
    if estimator is None or not estimator.goes_on_with(space, goal, told):
        estimator = Estimator(space, goal)
    estimator.tell(told)
    combination = estimator.new(keys, tried)
    _KEPT.append(estimator)
    return combination


class _Uncopied(FrozenTrial):
    """A told trial, without the deep copy that a study makes of each.

    It takes longer than all the rest, and guards against changes by others who hold the trial: there are none.
    """

    def __deepcopy__(self, memo: object) -> _Uncopied:
        return self


def _frozen(space: Space, told: Told) -> FrozenTrial | None:
    """Return the trial as Optuna knows it, or None where its parameters are not of this space.

    A trial that failed, or whose result is no finite number, is told as one that still runs: the estimator takes it
    for a bad one, and so looks elsewhere, without its weight among the results.
    """
    values: dict[str, str | int | float] = {}
    distributions: dict[str, BaseDistribution] = {}

    def choose(parameter: Parameter) -> str:
        value, domain = told.parameters[parameter.name], parameter.domain
        if domain.count != 1:
            values[parameter.name] = _internal(domain, value)
            distributions[parameter.name] = _distribution(domain)
        return value

    try:
        space.choose(choose)
    except (KeyError, ValueError):
        return None
    state, value, steps = TrialState.RUNNING, told.result, {}
    last = max((step for step, logged in told.steps.items() if math.isfinite(logged)), default=None)
    if value is not None:
        state = TrialState.COMPLETE
    elif told.state is State.STOPPED and last is not None:
        state, steps = TrialState.PRUNED, {last: told.steps[last]}
    return _Uncopied(
        number=told.index,
        trial_id=told.index,
        state=state,
        value=value,
        datetime_start=_ANY_TIME,
        datetime_complete=_ANY_TIME if state.is_finished() else None,
        params=values,
        distributions=distributions,
        intermediate_values=steps,
        user_attrs={},
        system_attrs={},
    )


def _chosen(trial: optuna.Trial, parameter: Parameter) -> str:
    name, domain = parameter.name, parameter.domain
    if domain.count == 1:
        return domain.at(0)
    if isinstance(domain, Listed):
        return trial.suggest_categorical(name, domain.values)
    if isinstance(domain, Reals):
        return domain.write(trial.suggest_float(name, *domain.ends, log=domain.log))
    if domain.log:
        return domain.at(trial.suggest_int(name, int(domain.low), domain.high, log=True) - int(domain.low))
    return domain.at(trial.suggest_int(name, 0, domain.count - 1))


def _internal(domain: Domain, value: str) -> str | int | float:
    """Return the value as Optuna is told it. Raises `ValueError` where it is not of the domain."""
    if isinstance(domain, Reals):
        number = float(value)
        if not domain.ends[0] <= number <= domain.ends[1]:
            raise ValueError(value)
        return number
    position = domain.position(value)
    if position is None:
        raise ValueError(value)
    if isinstance(domain, Listed):
        return value
    return position + int(domain.low) if domain.log else position


@lru_cache(maxsize=256)
def _distribution(domain: Domain) -> BaseDistribution:
    if isinstance(domain, Listed):
        return CategoricalDistribution(domain.values)
    if isinstance(domain, Reals):
        return FloatDistribution(*domain.ends, log=domain.log)
    if domain.log:
        return IntDistribution(int(domain.low), domain.high, log=True)
    return IntDistribution(0, domain.count - 1)
