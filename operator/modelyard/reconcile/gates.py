"""Gathers what a stage's gates ask about a version, and has them judged."""

from __future__ import annotations

from typing import Protocol

from modelyard.api.registeredmodel import RegisteredModel
from modelyard.decide.gates import Judgement
from modelyard.records.state import ModelState, VersionState


class Judge(Protocol):
    """What the reconciler of RegisteredModels needs of the gates."""

    def judge(self, model: RegisteredModel, state: ModelState, version: VersionState, stage: str) -> Judgement:
        """Judge whether `version`, whose files are sound, may enter `stage` (a key of `spec.stages`).

        Raises nothing for what cannot be reached: that is the verdict Unknown, and is to be asked again.
        """
