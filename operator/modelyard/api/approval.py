"""`Approval`: a person's consent that a version enters a stage.

An object of its own, so that Kubernetes decides who may give it: RBAC says who may create one, and an admission policy
of the chart makes sure that `user` and `group` are those of the request.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field

from modelyard.api.common import ApiModel, Resource, VersionNumber, rules
from modelyard.api.gates import StageKey


class ApprovalSpec(ApiModel):
    """Who consents to what. It cannot be changed; deleting it takes the consent back."""

    model_config = ConfigDict(
        json_schema_extra=rules(("self == oldSelf", "an Approval cannot be changed: delete it and create another one"))
    )

    model: Annotated[str, Field(min_length=1, max_length=256, description="The model's name in MLflow.")]
    version: VersionNumber
    digest: Annotated[
        str,
        Field(
            max_length=71,
            pattern=r"^sha256:[0-9a-f]{64}$",
            description="The version's digest: exactly these bytes are approved.",
        ),
    ]
    stage: StageKey
    group: Annotated[
        str, Field(min_length=1, max_length=253, description="The group of the gate's approvers that the user is in.")
    ]
    user: Annotated[
        str, Field(min_length=1, max_length=253, description="Who approves: the user that makes the request.")
    ]
    comment: Annotated[str, Field(max_length=1024)] | None = None


class Approval(Resource):
    """A person's consent that a version enters a stage, which a gate with `approvers` waits for."""

    kind_name: ClassVar[str] = "Approval"
    plural: ClassVar[str] = "approvals"
    singular: ClassVar[str] = "approval"
    short_names: ClassVar[tuple[str, ...]] = ()
    name_limit: ClassVar[int | None] = None
    printer_columns: ClassVar[tuple[dict[str, Any], ...]] = (
        {"name": "Model", "type": "string", "jsonPath": ".spec.model"},
        {"name": "Version", "type": "integer", "jsonPath": ".spec.version"},
        {"name": "Stage", "type": "string", "jsonPath": ".spec.stage"},
        {"name": "User", "type": "string", "jsonPath": ".spec.user"},
        {"name": "Group", "type": "string", "jsonPath": ".spec.group"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    )

    spec: ApprovalSpec
