"""Optuna's tree-structured Parzen estimator over a sweep's space. Nothing else imports Optuna."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from modelyard.api.experiment import Goal
from modelyard.decide.sweep.domains import Domain, Listed, Reals
from modelyard.decide.sweep.model import State, Told
from modelyard.decide.sweep.space import Parameter, Space

# It would tell of every study and trial. What is left goes where the operator's log goes.
optuna.logging.set_verbosity(optuna.logging.ERROR)
optuna.logging.disable_default_handler()
optuna.logging.enable_propagation()

_ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)


class Estimator:
    """What the trials say of where good values are. What it was asked for counts as running when it is asked again."""

    def __init__(self, space: Space, goal: Goal, told: Sequence[Told]) -> None:
        self._space = space
        self._study = optuna.create_study(direction="maximize" if goal is Goal.MAXIMIZE else "minimize")
        for trial in told:
            if (frozen := _frozen(space, trial)) is not None:
                self._study.add_trial(frozen)

    def ask(self, key: str) -> dict[str, str]:
        """Return a combination that promises a better value; the key seeds the sampling."""
        self._study.sampler = self._sampler(int.from_bytes(hashlib.sha256(key.encode()).digest()[:4]))
        trial = self._study.ask()

        def choose(parameter: Parameter) -> str:
            domain = parameter.domain
            return domain.at(0) if domain.count == 1 else _suggested(trial, parameter.name, domain)

        return self._space.choose(choose)

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


def _suggested(trial: optuna.Trial, name: str, domain: Domain) -> str:
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
