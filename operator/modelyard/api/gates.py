"""`spec.gates` of a RegisteredModel: what a version must pass to enter a stage, and what came of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from modelyard.api.common import ApiModel, Decimal, EnvVar, ObjectName, ResourceRequirements, StatusModel, rules

GATES_LIMIT = 16
_KINDS = "[has(self.metric), has(self.fromStage), has(self.job), has(self.approvers), has(self.signature)]"

GateName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
StageKey = Annotated[str, Field(max_length=16, json_schema_extra={"enum": ["staging", "production"]})]


class Goal(StrEnum):
    """Which way a metric is better."""

    MAXIMIZE = "Maximize"
    MINIMIZE = "Minimize"


class SignatureKey(ApiModel):
    """Who signs: the holder of a key, or an identity that Sigstore has certified."""

    public_key: (
        Annotated[
            str,
            Field(
                max_length=4096,
                pattern=r"^-----BEGIN PUBLIC KEY-----",
                description="An elliptic-curve public key, PEM.",
            ),
        ]
        | None
    ) = None
    identity: (
        Annotated[str, Field(min_length=1, max_length=512, description="The signer, as the certificate names it.")]
        | None
    ) = None
    issuer: (
        Annotated[str, Field(min_length=1, max_length=512, description="The OpenID provider that vouches for it.")]
        | None
    ) = None

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "has(self.identity) == has(self.issuer) && has(self.publicKey) != has(self.identity)",
                "set either publicKey, or identity and issuer",
            )
        )
    )


class ValidationJob(ApiModel):
    """A Job that gets the candidate's URI in MODEL_URI and passes by ending with exit code 0."""

    image: (
        Annotated[str, Field(min_length=1, max_length=512, description="Default: the installation's training image.")]
        | None
    ) = None
    command: Annotated[tuple[Annotated[str, Field(max_length=16384)], ...], Field(min_length=1, max_length=64)]
    args: Annotated[tuple[Annotated[str, Field(max_length=16384)], ...], Field(max_length=64)] = ()
    env: Annotated[tuple[EnvVar, ...], Field(max_length=64)] = ()
    resources: ResourceRequirements | None = None
    timeout_seconds: Annotated[int, Field(ge=1, le=86400, description="How long it may take.")] = 3600
    service_account_name: ObjectName | None = None
    node_selector: Annotated[dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=16)] = Field(
        default_factory=dict
    )


class Gate(ApiModel):
    """One condition for entering a stage: exactly one of metric, fromStage, job, approvers and signature."""

    name: GateName
    metric: (
        Annotated[
            str,
            Field(
                min_length=1, max_length=250, description="A metric of the version's run, with min, max or comparedTo."
            ),
        ]
        | None
    ) = None
    min: Decimal | None = None
    max: Decimal | None = None
    compared_to: (
        Annotated[StageKey, Field(description="The stage whose version's metric it must not be worse than.")] | None
    ) = None
    tolerance: Annotated[Decimal, Field(description="By how much it may be worse.")] | None = None
    goal: Annotated[Goal | None, Field(description="Which way the compared metric is better. Default: Maximize.")] = (
        None
    )
    from_stage: Annotated[StageKey, Field(description="A stage that the version must have been in.")] | None = None
    job: ValidationJob | None = None
    approvers: (
        Annotated[
            tuple[Annotated[str, Field(min_length=1, max_length=253)], ...],
            Field(
                min_length=1,
                max_length=16,
                description="Groups of users; an Approval by a member of any of them passes.",
            ),
        ]
        | None
    ) = None
    signature: (
        Annotated[SignatureKey, Field(description="Who must have signed the version (OpenSSF model-signing).")] | None
    ) = None

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                f"{_KINDS}.filter(x, x).size() == 1",
                "set exactly one of metric, fromStage, job, approvers and signature",
            ),
            (
                "!has(self.metric) || has(self.min) || has(self.max) || has(self.comparedTo)",
                "a metric needs min, max or comparedTo",
            ),
            (
                "has(self.metric) || !(has(self.min) || has(self.max) || has(self.comparedTo))",
                "min, max and comparedTo belong to a metric",
            ),
            (
                "!(has(self.min) && has(self.max)) || double(self.min) <= double(self.max)",
                "min is above max: no version could pass",
            ),
            (
                "has(self.comparedTo) || !(has(self.tolerance) || has(self.goal))",
                "tolerance and goal belong to comparedTo",
            ),
            (
                "!has(self.tolerance) || !self.tolerance.startsWith('-')",
                "tolerance must not be negative",
            ),
        )
    )


class GateVerdict(StrEnum):
    """How one gate stands."""

    PASSED = "Passed"
    FAILED = "Failed"
    RUNNING = "Running"
    WAITING = "Waiting"
    UNKNOWN = "Unknown"


class GateResult(StatusModel):
    """What came of one gate; the message has the numbers."""

    name: Annotated[str, Field(max_length=63)]
    verdict: GateVerdict
    message: Annotated[str, Field(max_length=512)] = ""
