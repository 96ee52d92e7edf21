"""Sweeps: which values are tried, how the next ones are chosen, and when a trial or the whole is given up."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from modelyard.api.common import ApiModel, Decimal, rules
from modelyard.api.rollout import Duration

ParameterValue = Annotated[str, Field(max_length=1024)]

TRIALS_LIMIT = 10_000


class SweepAlgorithm(StrEnum):
    """How trials are chosen."""

    GRID = "Grid"
    RANDOM = "Random"
    BAYESIAN = "Bayesian"


class Scale(StrEnum):
    """How a range is drawn from."""

    LINEAR = "Linear"
    LOG = "Log"


class NumberType(StrEnum):
    """What a range holds."""

    INT = "Int"
    FLOAT = "Float"


class ParameterCondition(ApiModel):
    """The parameter is given only where another one has one of these values."""

    parameter: Annotated[str, Field(min_length=1, max_length=255)]
    values: Annotated[tuple[ParameterValue, ...], Field(min_length=1, max_length=100)]


class SweepParameter(ApiModel):
    """The values that one parameter takes: a list, or a range with both ends in it."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "has(self.values) != (has(self.min) && has(self.max))",
                "a swept parameter has either values, or min and max",
            ),
            (
                "!has(self.values) || !(has(self.min) || has(self.max) || has(self.step) || has(self.scale)"
                " || has(self.type))",
                "min, max, step, scale and type belong to a range, not to values",
            ),
            (
                "!(has(self.min) && has(self.max)) || double(self.min) < double(self.max)",
                "min must be below max",
            ),
            (
                "!has(self.scale) || self.scale != 'Log' || !has(self.min) || double(self.min) > 0.0",
                "a range on a logarithmic scale needs a min above 0",
            ),
            (
                "!has(self.step) || (double(self.step) > 0.0 && !(has(self.scale) && self.scale == 'Log'))",
                "step must be above 0, and has no meaning on a logarithmic scale",
            ),
            (
                "!has(self.type) || self.type != 'Int' || ((!has(self.min) || self.min.matches('^-?[0-9]+$'))"
                " && (!has(self.max) || self.max.matches('^-?[0-9]+$'))"
                " && (!has(self.step) || self.step.matches('^[0-9]+$')))",
                "min, max and step of type Int are whole numbers",
            ),
        )
    )

    values: Annotated[tuple[ParameterValue, ...] | None, Field(min_length=1, max_length=100)] = None
    min: Decimal | None = None
    max: Decimal | None = None
    step: Annotated[Decimal | None, Field(description="Only min, min + step, … are tried.")] = None
    scale: Annotated[Scale | None, Field(description="Default: Linear.")] = None
    type: Annotated[
        NumberType | None, Field(description="Default: Int where the entry point declares int, else Float.")
    ] = None
    when: ParameterCondition | None = None


class StoppingAlgorithm(StrEnum):
    """How hopeless trials are told from others."""

    MEDIAN = "Median"
    ASHA = "ASHA"


class EarlyStopping(ApiModel):
    """Trials are stopped that do worse than others did at the same step of the objective's metric."""

    algorithm: StoppingAlgorithm = StoppingAlgorithm.MEDIAN
    min_steps: Annotated[
        int,
        Field(ge=0, le=1_000_000, description="No trial is stopped before it has logged this step of the metric."),
    ] = 1
    min_trials: Annotated[
        int, Field(ge=1, le=1000, description="Median: how many trials have to have ended before.")
    ] = 5
    reduction_factor: Annotated[
        int, Field(ge=2, le=10, description="ASHA: one of so many trials goes on at each rung.")
    ] = 4


class Sweep(ApiModel):
    """Several trials: one parent run, and one child run and one Job a trial."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "(has(self.algorithm) && self.algorithm != 'Grid') ? has(self.maxTrials)"
                " : self.parameters.all(name, has(self.parameters[name].values) || has(self.parameters[name].step))",
                "Random and Bayesian need spec.sweep.maxTrials; Grid needs values or a step for each parameter",
            ),
            (
                "self.parameters.all(name, !has(self.parameters[name].when)"
                " || (self.parameters[name].when.parameter in self.parameters"
                " && self.parameters[name].when.parameter != name))",
                "when.parameter names another parameter of spec.sweep.parameters",
            ),
        )
    )

    algorithm: SweepAlgorithm = SweepAlgorithm.GRID
    parameters: Annotated[dict[str, SweepParameter], Field(min_length=1, max_length=16)]
    max_trials: Annotated[int | None, Field(ge=1, le=TRIALS_LIMIT, description="No more trials than this are run.")] = (
        None
    )
    max_duration: Annotated[
        Duration | None, Field(description="After this time no trial is started any more; those that run go on.")
    ] = None
    max_failed_trials: Annotated[
        int | None,
        Field(ge=0, le=TRIALS_LIMIT, description="With more failed trials none is started any more. Default: any."),
    ] = None
    parallelism: Annotated[int, Field(ge=1, le=500, description="How many trials run at the same time.")] = 1
    seed: Annotated[
        int, Field(ge=0, le=2**31 - 1, description="Random and Bayesian: the same seed chooses the same values.")
    ] = 0
    early_stopping: EarlyStopping | None = None
