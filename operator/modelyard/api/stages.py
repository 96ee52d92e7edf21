"""MLflow's stages, and the keys of `spec.stages` that name two of them."""

from __future__ import annotations

from enum import StrEnum


class Stage(StrEnum):
    """MLflow's model stages, spelt as MLflow spells them."""

    NONE = "None"
    STAGING = "Staging"
    PRODUCTION = "Production"
    ARCHIVED = "Archived"


ASSIGNABLE = {"staging": Stage.STAGING, "production": Stage.PRODUCTION}
"""The keys of `spec.stages` and the stages that they name."""

STAGE_KEYS = ("production", "staging")
"""The keys of `spec.stages`, the one that counts for more first."""
