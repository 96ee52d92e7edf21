"""What deciding about a served version and building its objects have in common."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from modelyard.api.names import DEPLOYMENT_LABEL, REVISION_LABEL

DRAIN_SECONDS = 10
"""How long a version that is going goes on answering, until every proxy has heard that it is."""


@dataclass(frozen=True)
class PreparedObject:
    """An object that was made of a version for serving it: where it is, and its SHA-256 (`sha256:<hex>`)."""

    source: str
    digest: str


@dataclass(frozen=True)
class Prepared:
    """What was made of a version before it is served. What is missing was not needed, or cannot be used."""

    accelerated: PreparedObject | None = None
    """The model as ONNX, found to give the same answers."""
    environment: PreparedObject | None = None
    """The libraries that the model asks for, packed."""
    note: tuple[str, str] | None = None
    """Reason and message of the condition `Accelerated`; None where versions are not prepared."""


@dataclass(frozen=True)
class ServedModel:
    """One version of a model, with what a pod needs to load it."""

    name: str
    version: int
    artifact: str
    digest: str
    prepared: Prepared = field(default=Prepared(), compare=False)
    """Matters for pods that are made; those that are there stay as they are."""

    @property
    def revision(self) -> str:
        """Names the content: 8 hex digits, the same for the same model, version and digest."""
        return hashlib.sha256(f"{self.name}\n{self.version}\n{self.digest}".encode()).hexdigest()[:8]


def pod_labels(deployment: str, revision: str) -> dict[str, str]:
    """Return the labels that select the pods of one revision of the ModelDeployment `deployment`."""
    return {DEPLOYMENT_LABEL: deployment, REVISION_LABEL: revision}
