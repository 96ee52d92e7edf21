"""How a promotion becomes traffic: strategies, steps, and what a candidate is judged by."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from modelyard.api.common import ApiModel, Decimal, StatusModel, Timestamp, VersionNumber, rules

DURATION = r"^([0-9]{1,4}h)?([0-9]{1,5}m)?([0-9]{1,6}s)?$"

Duration = Annotated[
    str, Field(min_length=2, max_length=20, pattern=DURATION, description="Hours, minutes, seconds: 30s, 5m, 1h30m.")
]
_SHARE_RULE = "double(self.{0}) >= 0.0 && double(self.{0}) <= 1.0"


def _share(name: str) -> tuple[str, str]:
    return f"!has(self.{name}) || ({_SHARE_RULE.format(name)})", f"{name} is a share: between 0 and 1"


def parse_duration(text: str) -> timedelta:
    """Return what a text like 1h30m or 45s stands for (`DURATION`)."""
    units = {"h": 3600, "m": 60, "s": 1}
    seconds, digits = 0, ""
    for character in text:
        if character in units:
            seconds, digits = seconds + int(digits) * units[character], ""
        else:
            digits += character
    return timedelta(seconds=seconds)


class Strategy(StrEnum):
    """How traffic gets from the stable version to the candidate."""

    ROLLING_UPDATE = "RollingUpdate"
    CANARY = "Canary"
    BLUE_GREEN = "BlueGreen"
    SHADOW = "Shadow"


class CanaryStep(ApiModel):
    """A share of the traffic, and how long the candidate keeps it before the next step."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("has(self.pause) != (has(self.hold) && self.hold)", "a step has either pause or hold: true"),
        )
    )

    weight: Annotated[int, Field(ge=1, le=99, description="The candidate's share of the requests, in percent.")]
    pause: Annotated[Duration | None, Field(description="How long to stay before the next step.")] = None
    hold: Annotated[bool, Field(description="Stay until somebody promotes: kubectl modelyard promote.")] = False


class PrometheusCheck(ApiModel):
    """A figure of a Prometheus server. `{candidate}` and `{stable}` in the query become the versions' numbers."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("has(self.min) || has(self.max)", "a Prometheus check needs min or max"),
        )
    )

    name: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
    url: Annotated[
        str, Field(min_length=1, max_length=1024, pattern=r"^https?://[^\s@]+$", description="Of the server.")
    ]
    query: Annotated[str, Field(min_length=1, max_length=4096, description="Its result must be one number.")]
    min: Decimal | None = None
    max: Decimal | None = None


class Analysis(ApiModel):
    """Bounds that a candidate must keep. A figure without a bound is not judged; too few samples hold the rollout."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            _share("maxErrorRate"),
            _share("maxDisagreement"),
            _share("maxInvalid"),
            (
                "!(has(self.minAnswer) && has(self.maxAnswer)) || double(self.minAnswer) <= double(self.maxAnswer)",
                "minAnswer is above maxAnswer",
            ),
            (
                "!has(self.tolerance) || double(self.tolerance) >= 0.0",
                "tolerance must not be negative",
            ),
            (
                "!has(self.maxP99Ratio) || double(self.maxP99Ratio) >= 1.0",
                "maxP99Ratio is a factor of the stable version's p99: at least 1",
            ),
            (
                "!has(self.maxPSI) || double(self.maxPSI) >= 0.0",
                "maxPSI must not be negative",
            ),
        )
    )

    min_samples: Annotated[int, Field(ge=1, le=100000, description="How many requests a verdict needs at least.")] = 100
    max_error_rate: Annotated[
        Decimal, Field(description="Share of requests that the candidate fails and that are not the client's fault.")
    ] = "0.01"
    max_p99: (
        Annotated[
            str,
            Field(
                max_length=16, pattern=r"^[0-9]{1,7}(\.[0-9]{1,3})?(ms|s)$", description="99th percentile: 250ms, 1.5s."
            ),
        ]
        | None
    ) = None
    max_p99_ratio: Annotated[
        Decimal | None,
        Field(alias="maxP99Ratio", description="99th percentile over that of the stable version in the same time."),
    ] = None
    max_disagreement: Annotated[
        Decimal | None, Field(description="Share of answers that differ from the stable version's on the same inputs.")
    ] = None
    tolerance: Annotated[
        Decimal, Field(description="Numbers that are not whole differ when they are further apart than this share.")
    ] = "0"
    max_psi: Annotated[
        Decimal | None,
        Field(alias="maxPSI", description="Population stability index of the answers against the stable version's."),
    ] = None
    max_invalid: Annotated[
        Decimal, Field(description="Share of answers that are NaN or infinite, where the stable version's are not.")
    ] = "0"
    min_answer: Annotated[Decimal | None, Field(description="One answer below it fails.")] = None
    max_answer: Annotated[Decimal | None, Field(description="One answer above it fails.")] = None
    max_memory_growth: Annotated[
        str | None,
        Field(
            max_length=32,
            pattern=r"^[0-9]+(\.[0-9]+)?(k|M|G|Ki|Mi|Gi)?$",
            description="How much a candidate's pod may grow beyond what it had when the model was loaded.",
        ),
    ] = None
    prometheus: Annotated[tuple[PrometheusCheck, ...], Field(max_length=8)] = ()


class RolloutSpec(ApiModel):
    """How a version that is promoted gets its traffic."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "(self.strategy == 'Canary') == (has(self.steps) && self.steps.size() > 0)",
                "steps belong to the strategy Canary, which needs at least one",
            ),
            (
                "!has(self.steps) || self.steps.map(step, step.weight).isSorted()",
                "spec.rest.rollout.steps: weights must not go down",
            ),
            (
                "self.strategy in ['BlueGreen', 'Shadow'] || !(has(self.pause) || (has(self.hold) && self.hold))",
                "pause and hold belong to the strategies BlueGreen and Shadow; a Canary has them in its steps",
            ),
            (
                "!(has(self.pause) && has(self.hold) && self.hold)",
                "set pause or hold, not both",
            ),
            (
                "self.strategy != 'Shadow' || has(self.pause) || (has(self.hold) && self.hold)",
                "the strategy Shadow needs pause (how long it watches) or hold",
            ),
        )
    )

    strategy: Strategy = Strategy.ROLLING_UPDATE
    max_surge: Annotated[
        int, Field(ge=1, le=100, description="How many pods above replicas RollingUpdate may have, in percent.")
    ] = 25
    steps: Annotated[tuple[CanaryStep, ...], Field(max_length=20, description="Of a Canary, in this order.")] = ()
    pause: Annotated[
        Duration | None,
        Field(description="BlueGreen, Shadow: how long the candidate is watched before it gets traffic."),
    ] = None
    hold: Annotated[
        bool, Field(description="BlueGreen, Shadow: wait until somebody promotes: kubectl modelyard promote.")
    ] = False
    analysis: Analysis | None = None
    progress_deadline_seconds: Annotated[
        int,
        Field(
            ge=10,
            le=86400,
            description="How long a candidate's pods may take to become ready.",
            json_schema_extra={"format": "int32"},
        ),
    ] = 300


class TrafficMethod(StrEnum):
    """By what the shares of traffic are brought about."""

    SWITCH = "Switch"
    POD_COUNTS = "PodCounts"
    HTTP_ROUTE = "HTTPRoute"
    INGRESS_CANARY = "IngressCanary"


class RolloutPhase(StrEnum):
    """What a rollout is at."""

    STARTING = "Starting"
    ANALYSING = "Analysing"
    SHIFTING = "Shifting"
    PAUSING = "Pausing"
    HELD = "Held"
    FINISHING = "Finishing"


class FigureVerdict(StrEnum):
    """How a figure of the analysis stands."""

    PASSED = "Passed"
    FAILED = "Failed"
    INCONCLUSIVE = "Inconclusive"


class Figure(StatusModel):
    """One figure of the analysis, with its bound."""

    name: Annotated[str, Field(max_length=128)]
    found: Annotated[str, Field(max_length=64)] = ""
    bound: Annotated[str, Field(max_length=64)] = ""
    samples: Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})] = 0
    verdict: FigureVerdict
    message: Annotated[str, Field(max_length=256)] = ""


class RolloutStatus(StatusModel):
    """A rollout that is under way. It is also where the operator goes on after a restart."""

    strategy: Strategy
    version: VersionNumber
    revision: Annotated[str, Field(max_length=63)]
    started_at: Timestamp
    phase: RolloutPhase
    step: Annotated[int, Field(ge=0, description="Of steps; 0 before the first.")] = 0
    steps: Annotated[int, Field(ge=0)] = 0
    step_since: Annotated[Timestamp | None, Field(description="When the present step was reached in full.")] = None
    weight: Annotated[int, Field(ge=0, le=100, description="The candidate's share that is wanted, in percent.")] = 0
    actual_weight: Annotated[int, Field(ge=0, le=100, description="The share that traffic brings about.")] = 0
    traffic: TrafficMethod = TrafficMethod.SWITCH
    figures: Annotated[tuple[Figure, ...], Field(max_length=24)] = ()


class RefusedVersion(StatusModel):
    """A version that was taken back. It is not tried again until spec changes."""

    model: Annotated[str, Field(max_length=256)]
    version: VersionNumber
    revision: Annotated[str, Field(max_length=63)]
    digest: Annotated[str, Field(max_length=71)]
    reason: Annotated[str, Field(max_length=128)]
    message: Annotated[str, Field(max_length=1024)] = ""
    at: Timestamp
    generation: Annotated[
        int, Field(ge=0, description="Of the ModelDeployment then.", json_schema_extra={"format": "int64"})
    ]
    figures: Annotated[tuple[Figure, ...], Field(max_length=24)] = ()
