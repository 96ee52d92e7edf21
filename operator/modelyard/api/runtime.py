"""How the model server answers: by which runtime, with which libraries, within which limits."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from modelyard.api.common import ApiModel, Decimal, rules
from modelyard.api.rollout import Duration

MAX_BODY_BYTES = 64 << 20
MAX_QUEUE = 256
REQUEST_SECONDS = 60
MAX_BATCH_ROWS = 1024

_BINARY = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}
_DECIMAL = {"k": 10**3, "M": 10**6, "G": 10**9}


class RuntimeMode(StrEnum):
    """Which runtime answers."""

    AUTO = "Auto"
    NATIVE = "Native"


class EnvironmentMode(StrEnum):
    """Whose libraries a model is loaded with."""

    AUTO = "Auto"
    IMAGE = "Image"
    MODEL = "Model"


class ServingLimits(ApiModel):
    """What one pod takes on."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.timeout) || (duration(self.timeout) >= duration('1s')"
                " && duration(self.timeout) <= duration('1h'))",
                "spec.rest.limits.timeout is between 1s and 1h",
            ),
        )
    )

    max_body_size: Annotated[
        str,
        Field(
            max_length=32,
            pattern=r"^[1-9][0-9]{0,8}(k|M|G|Ki|Mi|Gi)?$",
            description="A larger request is refused with 413. Bytes, as a quantity.",
        ),
    ] = "64Mi"
    max_queue: Annotated[
        int,
        Field(
            ge=1,
            le=100000,
            description="How many requests may wait in a pod; those beyond get 503 and Retry-After.",
            json_schema_extra={"format": "int32"},
        ),
    ] = MAX_QUEUE
    timeout: Annotated[
        Duration, Field(description="How long a request may take, its waiting included; beyond, it gets 504.")
    ] = f"{REQUEST_SECONDS}s"
    max_batch_rows: Annotated[
        int,
        Field(
            ge=0,
            le=1000000,
            description="How many rows of requests that wait may be predicted at once. 0: each request on its own.",
            json_schema_extra={"format": "int32"},
        ),
    ] = MAX_BATCH_ROWS

    @property
    def max_body_bytes(self) -> int:
        """`max_body_size` in bytes."""
        for unit, factor in {**_BINARY, **_DECIMAL}.items():
            if self.max_body_size.endswith(unit):
                return int(self.max_body_size.removesuffix(unit)) * factor
        return int(self.max_body_size)


class TracingSpec(ApiModel):
    """OpenTelemetry traces of requests, sent by OTLP over HTTP."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "double(self.sampleRatio) >= 0.0 && double(self.sampleRatio) <= 1.0",
                "spec.rest.tracing.sampleRatio is a share: between 0 and 1",
            ),
        )
    )

    endpoint: Annotated[
        str,
        Field(
            min_length=8,
            max_length=1024,
            pattern=r"^https?://[^\s@]+$",
            description="Base URL of the collector, mostly http://<host>:4318.",
        ),
    ]
    sample_ratio: Annotated[
        Decimal, Field(description="The share of the requests without a parent that are traced.")
    ] = "1"
