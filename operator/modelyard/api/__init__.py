"""The API: pydantic types of the kinds, the one source of the CRDs' schemas."""

from __future__ import annotations

from modelyard.api.approval import Approval
from modelyard.api.common import Resource
from modelyard.api.experiment import Experiment
from modelyard.api.modeldeployment import ModelDeployment
from modelyard.api.registeredmodel import RegisteredModel

KINDS: tuple[type[Resource], ...] = (Experiment, RegisteredModel, ModelDeployment, Approval)

__all__ = ["KINDS", "Approval", "Experiment", "ModelDeployment", "RegisteredModel", "Resource"]
