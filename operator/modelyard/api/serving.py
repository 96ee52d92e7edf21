"""What deciding about a served version and building its objects have in common."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from modelyard.api.names import DEPLOYMENT_LABEL, REVISION_LABEL

DRAIN_SECONDS = 10
"""How long a version that is going goes on answering, until every proxy has heard that it is."""


@dataclass(frozen=True)
class ServedModel:
    """One version of a model, with what a pod needs to load it."""

    name: str
    version: int
    artifact: str
    digest: str

    @property
    def revision(self) -> str:
        """Names the content: 8 hex digits, the same for the same model, version and digest."""
        return hashlib.sha256(f"{self.name}\n{self.version}\n{self.digest}".encode()).hexdigest()[:8]


def pod_labels(deployment: str, revision: str) -> dict[str, str]:
    """Return the labels that select the pods of one revision of the ModelDeployment `deployment`."""
    return {DEPLOYMENT_LABEL: deployment, REVISION_LABEL: revision}
