"""Every reason that a condition can have, with what it means and what to do.

The reference in docs/ is generated from this table, so a reason that is not here cannot be used.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ConditionType(StrEnum):
    """The conditions of the three kinds. `Reconciling` and `Stalled` are there only while they are True (kstatus)."""

    READY = "Ready"
    SUCCEEDED = "Succeeded"
    SERVING = "Serving"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"


class Reason(StrEnum):
    """Reasons, in the order of a model's life."""

    # Any kind
    INVALID_SPEC = "InvalidSpec"
    TRACKING_SERVER_UNREACHABLE = "TrackingServerUnreachable"
    TRACKING_SERVER_REFUSED = "TrackingServerRefused"
    ARTIFACT_STORE_UNREACHABLE = "ArtifactStoreUnreachable"

    # Experiment
    PROJECT_NOT_FOUND = "ProjectNotFound"
    PROJECT_UNREACHABLE = "ProjectUnreachable"
    PROJECT_INVALID = "ProjectInvalid"
    ENTRY_POINT_NOT_FOUND = "EntryPointNotFound"
    PARAMETER_INVALID = "ParameterInvalid"
    TRIALS_RUNNING = "TrialsRunning"
    TRIALS_FAILED = "TrialsFailed"
    OBJECTIVE_MISSING = "ObjectiveMissing"
    NOT_GOOD_ENOUGH = "NotGoodEnough"
    REGISTRATION_FAILED = "RegistrationFailed"
    COMPLETED = "Completed"

    # RegisteredModel
    NO_VERSIONS = "NoVersions"
    AS_WANTED = "AsWanted"
    VERSION_NOT_FOUND = "VersionNotFound"
    ARTIFACT_MISSING = "ArtifactMissing"
    DIGEST_MISMATCH = "DigestMismatch"
    ARTIFACT_DELETED = "ArtifactDeleted"
    DECLARATION_CONFLICT = "DeclarationConflict"
    GATES_RUNNING = "GatesRunning"
    AWAITING_APPROVAL = "AwaitingApproval"
    GATES_NOT_PASSED = "GatesNotPassed"
    RECORDS_ALTERED = "RecordsAltered"

    # ModelDeployment
    MODEL_NOT_FOUND = "ModelNotFound"
    NO_VERSION_IN_STAGE = "NoVersionInStage"
    UNSUPPORTED_FLAVOR = "UnsupportedFlavor"
    ROLLING_OUT = "RollingOut"
    CANDIDATE_NOT_READY = "CandidateNotReady"
    CANDIDATE_FAILED = "CandidateFailed"
    IMAGE_UNAVAILABLE = "ImageUnavailable"
    POD_REFUSED = "PodRefused"
    UNSCHEDULABLE = "Unschedulable"
    OBJECT_REFUSED = "ObjectRefused"
    NO_READY_PODS = "NoReadyPods"
    TOO_FEW_READY_PODS = "TooFewReadyPods"
    SCALED_TO_ZERO = "ScaledToZero"
    SERVING = "Serving"


@dataclass(frozen=True)
class Explanation:
    """What a reason means and what a person does about it."""

    meaning: str
    remedy: str


EXPLANATIONS: dict[Reason, Explanation] = {
    Reason.INVALID_SPEC: Explanation(
        "The stored object does not fit this operator's types.",
        "Apply it again with the CRDs of this release.",
    ),
    Reason.TRACKING_SERVER_UNREACHABLE: Explanation(
        "The MLflow tracking server does not answer.",
        "Look at its pod; the operator tries again by itself.",
    ),
    Reason.TRACKING_SERVER_REFUSED: Explanation(
        "The MLflow tracking server refuses a request of the operator.",
        "Do what the quoted message asks for.",
    ),
    Reason.ARTIFACT_STORE_UNREACHABLE: Explanation(
        "The artifact store does not answer or refuses the credentials.",
        "Check its endpoint and Secret; the operator tries again by itself.",
    ),
    Reason.PROJECT_NOT_FOUND: Explanation(
        "The ConfigMap, the git revision or the directory does not exist.",
        "Create it or correct spec.project.",
    ),
    Reason.PROJECT_UNREACHABLE: Explanation(
        "The git server does not answer.",
        "Check spec.project.git.url and the network; the operator tries again by itself.",
    ),
    Reason.PROJECT_INVALID: Explanation(
        "The directory has no MLproject file, or the file is not valid.",
        "Correct the file that the message names.",
    ),
    Reason.ENTRY_POINT_NOT_FOUND: Explanation(
        "The MLproject has no entry point of that name.",
        "Use one of those that the message lists in spec.entryPoint.",
    ),
    Reason.PARAMETER_INVALID: Explanation(
        "A parameter has no value, or one of the wrong type.",
        "Set the parameter that the message names in spec.parameters.",
    ),
    Reason.TRIALS_RUNNING: Explanation("Trials are waiting or running.", "Wait, or watch status.runs."),
    Reason.TRIALS_FAILED: Explanation(
        "At least one trial failed; nothing is registered.",
        "Look at status.failures and at the logs of its Job.",
    ),
    Reason.OBJECTIVE_MISSING: Explanation(
        "No finished run has the objective's metric.",
        "Log the metric in the entry point or correct spec.objective.metric.",
    ),
    Reason.NOT_GOOD_ENOUGH: Explanation(
        "The best run breaks a bound of spec.register.when; nothing is registered.",
        "Train better, or change the bound.",
    ),
    Reason.REGISTRATION_FAILED: Explanation(
        "The best run's model could not be registered.",
        "Correct what the message names: mostly spec.register.artifactPath.",
    ),
    Reason.COMPLETED: Explanation("All trials ended well, and what spec.register asks for is done.", "Nothing."),
    Reason.NO_VERSIONS: Explanation("The model has no version yet.", "Register one, with MLflow or an Experiment."),
    Reason.AS_WANTED: Explanation("Every stage holds the version that spec.stages names.", "Nothing."),
    Reason.VERSION_NOT_FOUND: Explanation(
        "spec.stages or spec.aliases names a version that does not exist; the stage keeps the one it has.",
        "Name one of status.versions.",
    ),
    Reason.ARTIFACT_MISSING: Explanation(
        "The version's files are gone from the artifact store; it is not promoted.",
        "Restore the files or promote another version.",
    ),
    Reason.DIGEST_MISMATCH: Explanation(
        "The version's files are not those that were registered; it is not promoted or loaded.",
        "Restore the files or promote another version.",
    ),
    Reason.ARTIFACT_DELETED: Explanation(
        "spec.retention had the version's files deleted, so it cannot be promoted.",
        "Register the model again, or promote another version.",
    ),
    Reason.DECLARATION_CONFLICT: Explanation(
        "spec.versions declares a number that another model's files have already, or that was deleted.",
        "Declare them under a number of their own.",
    ),
    Reason.GATES_RUNNING: Explanation(
        "The gates of the stage are being judged; the stage keeps the version it has.",
        "Wait, or watch status.candidates.",
    ),
    Reason.AWAITING_APPROVAL: Explanation(
        "Every other gate is passed, and an approval is missing.",
        "Have a member of the group that the message names approve: kubectl modelyard approve.",
    ),
    Reason.GATES_NOT_PASSED: Explanation(
        "The version failed a gate of the stage and is not promoted; the message has every gate with its numbers.",
        "Promote another version, or change the gate. The version is judged again when it, a gate or the spec changes.",
    ),
    Reason.RECORDS_ALTERED: Explanation(
        "A record of the model in the artifact store was changed or removed; nothing is promoted or registered.",
        "Restore the record that the message names from a backup of the artifact store, and find out who did it.",
    ),
    Reason.MODEL_NOT_FOUND: Explanation(
        "There is no RegisteredModel of that name in the namespace.",
        "Correct spec.model.name or register the model.",
    ),
    Reason.NO_VERSION_IN_STAGE: Explanation(
        "No version is in the stage that spec.model names.",
        "Promote one by spec.stages of the RegisteredModel.",
    ),
    Reason.UNSUPPORTED_FLAVOR: Explanation(
        "The version has no flavor that the serving image loads.",
        "Log the model with a flavor that the message lists.",
    ),
    Reason.ROLLING_OUT: Explanation(
        "The wanted version is starting; the one served before goes on answering.",
        "Wait.",
    ),
    Reason.CANDIDATE_NOT_READY: Explanation(
        "The wanted version's pods did not become ready in time; the one served before goes on answering.",
        "Look at the pods that the message names.",
    ),
    Reason.CANDIDATE_FAILED: Explanation(
        "The wanted version's pods end with the error that the message quotes; the one served before answers on.",
        "Correct what the message says or promote another version.",
    ),
    Reason.IMAGE_UNAVAILABLE: Explanation(
        "The serving image cannot be pulled.",
        "Check the installation's image values and pull secrets.",
    ),
    Reason.POD_REFUSED: Explanation(
        "The cluster refuses to create the pods: a quota, a policy or an admission webhook.",
        "Do what the quoted message asks for.",
    ),
    Reason.UNSCHEDULABLE: Explanation("No node has room for the pods.", "Lower spec.rest.resources or add nodes."),
    Reason.OBJECT_REFUSED: Explanation(
        "The API server refuses an object that the operator makes.",
        "Correct the field that the quoted message names.",
    ),
    Reason.NO_READY_PODS: Explanation("The served version has no ready pod.", "Look at its pods."),
    Reason.TOO_FEW_READY_PODS: Explanation(
        "Some of the served version's pods are not ready; the others answer.",
        "Look at its pods.",
    ),
    Reason.SCALED_TO_ZERO: Explanation(
        "spec.rest.replicas is 0: nothing answers, as asked.",
        "Scale it up to serve again.",
    ),
    Reason.SERVING: Explanation("The wanted version answers with all its replicas.", "Nothing."),
}
