"""Names that other parts of a cluster may rely on: the API group, labels, annotations, field managers.

They are stable: changing one breaks selectors, dashboards and Git repositories of users.
"""

from __future__ import annotations

import hashlib
import re

GROUP = "modelyard.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
CATEGORY = "modelyard"

FIELD_MANAGER = "modelyard-operator"
"""Field manager of everything that the operator applies."""

MLFLOW_FIELD_MANAGER = "mlflow"
"""Field manager of edits that come through the MLflow API; they are a user's edits of `spec`."""

KUBECTL_FIELD_MANAGER = "kubectl-modelyard"
"""Field manager of edits that a person makes with `kubectl modelyard`."""

RECORDS_PORT = 8081
RECORDS_TOKEN_HEADER = "X-Modelyard-Token"  # noqa: S105 - a header's name
"""Where the operator serves records, and the header that holds the token of those who may read them."""

MANAGED_BY = "app.kubernetes.io/managed-by"
NAME = "app.kubernetes.io/name"
INSTANCE = "app.kubernetes.io/instance"
COMPONENT = "app.kubernetes.io/component"

EXPERIMENT_LABEL = f"{GROUP}/experiment"
EXECUTION_LABEL = f"{GROUP}/execution"
TRIAL_LABEL = f"{GROUP}/trial"
DEPLOYMENT_LABEL = f"{GROUP}/deployment"
REGISTERED_MODEL_LABEL = f"{GROUP}/model"
"""On Jobs that validate a version of a RegisteredModel, and on their pods: its object's name."""

GATE_LABEL = f"{GROUP}/gate"
STAGE_LABEL = f"{GROUP}/stage"
MODEL_VERSION_LABEL = f"{GROUP}/model-version"
REVISION_LABEL = f"{GROUP}/revision"
"""Names the content that a model pod serves, so that a Service can choose one among several."""

RUN_ID_ANNOTATION = f"{GROUP}/run-id"
ATTEMPT_ANNOTATION = f"{GROUP}/attempt"
"""On a trial's Job: which one of the trial it is, where it is not the first."""

RUN_ANNOTATION = f"{GROUP}/run"
"""On an Experiment: any new value, a time for one, has it run once more."""

MODEL_NAME_ANNOTATION = f"{GROUP}/model-name"
MODEL_DIGEST_ANNOTATION = f"{GROUP}/model-digest"
APPLIED_HASH_ANNOTATION = f"{GROUP}/applied-hash"
"""Hash of the manifest that was applied last: tells a field that was taken out of it, which a comparison cannot see."""

PAUSED_ANNOTATION = f"{GROUP}/paused"
"""`true` on a ModelDeployment: nothing of it is changed; its status goes on telling what is."""

PROMOTE_ANNOTATION = f"{GROUP}/promote"
"""On a ModelDeployment: `<version>` takes that candidate to all of the traffic, without further pauses or analysis;
`<version>/<step>` lets it pass the hold at that step."""

ABORT_ANNOTATION = f"{GROUP}/abort"
"""On a ModelDeployment: `<version>`, whose rollout is taken back."""

REFRESH_ANNOTATION = f"{GROUP}/refresh"
"""On a ModelDeployment: any new value has its pods made anew by the operator that is installed now."""

STABLE_ANNOTATION = f"{GROUP}/stable-revision"
"""On a model's Service: the revision that is served, also while the Service selects the candidate's pods, too."""

TEMPLATE_ANNOTATION = f"{GROUP}/pod-template"
"""On a model's Deployment: its pod template as it was applied, and the hash of what it was made from (JSON), so that
an operator that would make it otherwise leaves the pods alone."""

PREPARATION_ANNOTATION = f"{GROUP}/preparation"
"""On a model's Deployment: what had come of the version's preparation when its pods were made: JSON, `reason` and
`message` as in the condition `Accelerated`."""

REPLACED_BECOMES_ANNOTATION = f"{GROUP}/replaced-becomes"
"""`<stage key>=<version>:<None|Archived>` pairs, comma-separated: where `<version>` goes when it leaves the stage.

Written with the MLflow client's transition when it asks not to archive.
"""


def editor_annotation(stage_key: str) -> str:
    """Return the annotation in which admission writes down who changed that key of `spec.stages` last."""
    return f"{GROUP}/{stage_key}-by"


_DNS_LABEL = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
_LABEL_LIMIT = 63


def is_dns_label(name: str, limit: int = _LABEL_LIMIT) -> bool:
    """Whether `name` is an RFC 1123 label of at most `limit` characters."""
    return len(name) <= limit and _DNS_LABEL.match(name) is not None


def object_name(name: str, limit: int = 52) -> str:
    """Return the name of the object that holds `name`: itself if it can be one, else a readable, collision-free label.

    The hash of the whole name is appended whenever anything had to be changed, so two names never share an object.
    The limit leaves room for suffixes of objects derived from it.
    """
    if is_dns_label(name, limit):
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    readable = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[: limit - 9].rstrip("-")
    return f"{readable}-{digest}" if readable else f"model-{digest}"
