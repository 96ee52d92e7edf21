"""What is wrong with a sweep: said before anything is made, with the field and what to do."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal

from modelyard.api.experiment import Goal
from modelyard.api.sweep import TRIALS_LIMIT, NumberType, Scale, Sweep, SweepAlgorithm, SweepParameter
from modelyard.decide.sweep.domains import Listed, Reals, Steps
from modelyard.decide.sweep.space import domain_of, is_int, space_of

_PARAMETERS = "spec.sweep.parameters"
_INT = re.compile(r"[+-]?[0-9]+")
_EXACT_INTEGERS = 2**53
"""Beyond this a 64-bit float, which optimizers calculate with, skips whole numbers."""


def check(sweep: Sweep, types: Mapping[str, str], goal: Goal | None) -> str | None:
    """Return what is wrong, naming the field and what to do; None where nothing is.

    `types` are the entry point's types by parameter (int, float, string, path, uri), as far as it declares any.
    """
    return next(_problems(sweep, types, goal), None)


def _problems(sweep: Sweep, types: Mapping[str, str], goal: Goal | None) -> Iterator[str]:
    if sweep.algorithm is not SweepAlgorithm.GRID and sweep.max_trials is None:
        yield f"spec.sweep.algorithm {sweep.algorithm.value} needs spec.sweep.maxTrials"
    if goal is None and sweep.algorithm is SweepAlgorithm.BAYESIAN:
        yield "spec.sweep.algorithm Bayesian needs spec.objective: it learns from its metric"
    if goal is None and sweep.early_stopping is not None:
        yield "spec.sweep.earlyStopping needs spec.objective: it compares trials by its metric"
    for name, parameter in sorted(sweep.parameters.items()):
        field = f"{_PARAMETERS}.{name}"
        yield from _of_shape(field, parameter)
        if parameter.values is not None:
            yield from _of_values(field, parameter.values, types.get(name))
        else:
            yield from _of_range(field, parameter, types.get(name))
        if sweep.algorithm is SweepAlgorithm.GRID and parameter.values is None and parameter.step is None:
            yield f"{field}: algorithm Grid needs values or a step; Random and Bayesian do not"
    for name in sorted(sweep.parameters):
        yield from _of_condition(name, sweep, types)
    yield from _of_size(sweep, types)


def _of_shape(field: str, parameter: SweepParameter) -> Iterator[str]:
    ends = (parameter.min, parameter.max)
    if (parameter.values is None) != (None not in ends) or (parameter.values is not None and ends != (None, None)):
        yield f"{field}: set either values, or min and max"
    if parameter.values is not None and (parameter.step or parameter.scale or parameter.type):
        yield f"{field}: step, scale and type belong to a range, not to values"


def _of_values(field: str, values: tuple[str, ...], declared: str | None) -> Iterator[str]:
    for value in values:
        if declared == "int" and not _INT.fullmatch(value):
            yield f"{field}.values: the entry point declares int, but {value!r} is none"
        if declared == "float" and not _is_float(value):
            yield f"{field}.values: the entry point declares float, but {value!r} is none"


def _of_range(field: str, parameter: SweepParameter, declared: str | None) -> Iterator[str]:
    low, high = Decimal(parameter.min or "0"), Decimal(parameter.max or "0")
    step = Decimal(parameter.step) if parameter.step is not None else None
    log = parameter.scale is Scale.LOG
    if declared in ("path", "uri"):
        yield f"{field}: the entry point declares {declared}, so give values instead of a range of numbers"
    if declared == "int" and parameter.type is NumberType.FLOAT:
        yield f"{field}.type: the entry point declares int: leave type out, or set Int"
    if low >= high:
        yield f"{field}: min {parameter.min} must be below max {parameter.max}"
    if log and low <= 0:
        yield f"{field}.min must be above 0 on a logarithmic scale, but is {parameter.min}"
    if log and step is not None:
        yield f"{field}.step has no meaning on a logarithmic scale: leave it out, or give values"
    if step is not None and not 0 < step <= high - low:
        yield f"{field}.step must be above 0 and at most max - min, but is {parameter.step}"
    numbers = {"min": low, "max": high, "step": step or Decimal(1)}
    fraction = next((key for key, number in numbers.items() if number != int(number)), None)
    if is_int(parameter, declared) and fraction:
        why = "the entry point declares int" if declared == "int" else "type is Int"
        yield f"{field}.{fraction} must be a whole number, since {why}, but is {numbers[fraction]}"
    yield from _of_precision(field, parameter, declared)


def _of_precision(field: str, parameter: SweepParameter, declared: str | None) -> Iterator[str]:
    domain = domain_of(parameter, declared)
    if isinstance(domain, Reals) and domain.ends[0] == domain.ends[1]:
        yield f"{field}: min and max are the same number as a 64-bit float: set them further apart, or give values"
    if isinstance(domain, Steps) and domain.count > _EXACT_INTEGERS:
        yield f"{field}: the range has {domain.count} numbers, more than 2^53: set a greater step"
    if is_int(parameter, declared) and max(abs(Decimal(parameter.min or 0)), abs(Decimal(parameter.max or 0))) > (
        _EXACT_INTEGERS
    ):
        yield f"{field}: whole numbers must lie within ±2^53: give values instead"


def _of_condition(name: str, sweep: Sweep, types: Mapping[str, str]) -> Iterator[str]:
    when = sweep.parameters[name].when
    if when is None:
        return
    field = f"{_PARAMETERS}.{name}.when"
    parent = sweep.parameters.get(when.parameter)
    if parent is None or when.parameter == name:
        yield f"{field}.parameter {when.parameter!r} must name another parameter of {_PARAMETERS}"
        return
    if cycle := _cycle(name, sweep):
        yield f"{field}: {' → '.join(cycle)} depend on each other in a circle, so none is ever given: remove one when"
        return
    domain = domain_of(parent, types.get(when.parameter))
    if isinstance(domain, Reals):
        yield f"{field}.parameter {when.parameter!r} is a range without steps, which hits no value: give it a step"
        return
    for value in when.values:
        if domain.position(value) is None:
            known = f": its values are {_some(domain)}" if isinstance(domain, Listed) else ""
            yield f"{field}.values: {when.parameter} never is {value!r}{known}"


def _cycle(name: str, sweep: Sweep) -> list[str] | None:
    path = [name]
    while (parameter := sweep.parameters.get(path[-1])) and parameter.when:
        path.append(parameter.when.parameter)
        if path[-1] in path[:-1]:
            return path[path.index(path[-1]) :]
    return None


def _of_size(sweep: Sweep, types: Mapping[str, str]) -> Iterator[str]:
    count = space_of(sweep, types).count
    if sweep.max_trials is None and count is not None and count > TRIALS_LIMIT:
        yield (
            f"{_PARAMETERS} make {count} trials; at most {TRIALS_LIMIT} are run: give fewer values, or set"
            " spec.sweep.maxTrials with algorithm Random or Bayesian"
        )


def _some(domain: Listed, limit: int = 10) -> str:
    more = ", …" if domain.count > limit else ""
    return ", ".join(repr(value) for value in domain.values[:limit]) + more


def _is_float(value: str) -> bool:
    try:
        return not math.isnan(float(value))
    except ValueError:
        return False
