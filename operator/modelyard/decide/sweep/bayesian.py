"""Bayesian search: Optuna's tree-structured Parzen estimator, made anew from the trials for each proposal.

Nothing but the trials is kept, so that an operator that starts again goes on where the last one was.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from modelyard.api.experiment import Goal
from modelyard.decide.sweep import random_search
from modelyard.decide.sweep.domains import Domain, Listed, Reals
from modelyard.decide.sweep.model import State, Told
from modelyard.decide.sweep.space import Parameter, Space

if TYPE_CHECKING:
    import optuna

STARTUP_TRIALS = 10
"""So many results come from random search before the estimator has enough to learn from; Optuna's own default."""

_ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)

_ATTEMPTS = 8
"""How often the estimator is asked for something that was not tried, before random search is."""


def suggested(space: Space, goal: Goal, seed: int, index: int, history: Sequence[Told]) -> dict[str, str] | None:
    """Return the combination of a trial, or None where each of finitely many was tried."""
    told = sorted((trial for trial in history if trial.index != index), key=lambda trial: trial.index)
    tried = {tuple(sorted(trial.parameters.items())) for trial in told}
    if space.count is not None and len(tried) >= space.count:
        return None
    if sum(1 for trial in told if _has_result(trial)) >= STARTUP_TRIALS:
        study = _study(space, goal, told)
        for attempt in range(_ATTEMPTS):
            combination = _asked(study, space, f"{seed}/{index}/{attempt}")
            if tuple(combination.items()) not in tried:
                return combination
    return _untried(space, seed, index, tried)


def _untried(space: Space, seed: int, index: int, tried: set[tuple[tuple[str, str], ...]]) -> dict[str, str] | None:
    """Return the first combination of random search that was not tried, from the trial's own index on."""
    last = max(index, len(tried)) + 1
    for position in (*range(index, last + 1), *range(index)):
        combination = random_search.drawn(space, seed, position)
        if combination is not None and tuple(combination.items()) not in tried:
            return combination
    return None


def _has_result(trial: Told) -> bool:
    stopped = trial.state is State.STOPPED
    return trial.result is not None or (stopped and any(map(math.isfinite, trial.steps.values())))


def _study(space: Space, goal: Goal, told: Sequence[Told]) -> optuna.Study:
    import optuna  # noqa: PLC0415 - a second and tens of megabytes, which other sweeps do without

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize" if goal is Goal.MAXIMIZE else "minimize")
    for trial in told:
        if (frozen := _frozen(space, trial)) is not None:
            study.add_trial(frozen)
    return study


def _asked(study: optuna.Study, space: Space, key: str) -> dict[str, str]:
    study.sampler = _sampler(space, int.from_bytes(hashlib.sha256(key.encode()).digest()[:4]))
    trial = study.ask()

    def choose(parameter: Parameter) -> str:
        domain = parameter.domain
        if domain.count == 1:
            return domain.at(0)
        return _suggested(trial, parameter.name, domain)

    return space.choose(choose)


def _sampler(space: Space, seed: int) -> optuna.samplers.TPESampler:
    import optuna  # noqa: PLC0415

    conditional = any(root.children for root in space.roots)
    with warnings.catch_warnings():
        # That parameters are learnt in groups is called experimental, and is the only way for those with conditions.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=STARTUP_TRIALS, multivariate=True, group=conditional, constant_liar=True
        )


def _suggested(trial: optuna.Trial, name: str, domain: Domain) -> str:
    if isinstance(domain, Listed):
        return trial.suggest_categorical(name, domain.values)
    if isinstance(domain, Reals):
        return domain.write(trial.suggest_float(name, *domain.ends, log=domain.log))
    if domain.log:
        return domain.at(trial.suggest_int(name, int(domain.low), domain.high, log=True) - int(domain.low))
    return domain.at(trial.suggest_int(name, 0, domain.count - 1))


def _frozen(space: Space, told: Told) -> optuna.trial.FrozenTrial | None:
    """Return the trial as Optuna knows it, or None where its parameters are not of this space.

    A trial that failed, or whose result is no finite number, is told as one that still runs: the estimator takes it
    for a bad one, and so looks elsewhere, without its weight among the results.
    """
    import optuna  # noqa: PLC0415

    values: dict[str, str | int | float] = {}
    distributions: dict[str, optuna.distributions.BaseDistribution] = {}

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
    state, value, steps = optuna.trial.TrialState.RUNNING, told.result, {}
    last = max((step for step, logged in told.steps.items() if math.isfinite(logged)), default=None)
    if value is not None:
        state = optuna.trial.TrialState.COMPLETE
    elif told.state is State.STOPPED and last is not None:
        state, steps = optuna.trial.TrialState.PRUNED, {last: told.steps[last]}
    return _uncopied()(
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


@cache
def _uncopied() -> type[optuna.trial.FrozenTrial]:
    """Return Optuna's type of told trials, without the deep copy that a study makes of each.

    It takes longer than all the rest, and guards against changes of trials that nobody else has.
    """
    import optuna  # noqa: PLC0415

    class Uncopied(optuna.trial.FrozenTrial):
        def __deepcopy__(self, memo: object) -> Uncopied:
            return self

    return Uncopied


@lru_cache(maxsize=256)
def _distribution(domain: Domain) -> optuna.distributions.BaseDistribution:
    from optuna import distributions  # noqa: PLC0415

    if isinstance(domain, Listed):
        return distributions.CategoricalDistribution(domain.values)
    if isinstance(domain, Reals):
        return distributions.FloatDistribution(*domain.ends, log=domain.log)
    if domain.log:
        return distributions.IntDistribution(int(domain.low), domain.high, log=True)
    return distributions.IntDistribution(0, domain.count - 1)
