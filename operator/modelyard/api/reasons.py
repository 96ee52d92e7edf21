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
    SCALABLE = "Scalable"
    ACCELERATED = "Accelerated"
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
    SCHEDULED = "Scheduled"
    SUSPENDED = "Suspended"
    ENVIRONMENT_BUILDING = "EnvironmentBuilding"
    FOLLOWING = "Following"
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

    # ModelDeployment: which version
    MODEL_NOT_FOUND = "ModelNotFound"
    NO_VERSION_IN_STAGE = "NoVersionInStage"
    UNSUPPORTED_FLAVOR = "UnsupportedFlavor"

    # ModelDeployment: a version is prepared for serving
    PREPARING = "Preparing"
    ENVIRONMENT_FAILED = "EnvironmentFailed"
    VERIFIED = "Verified"
    ANSWERS_DIFFER = "AnswersDiffer"
    NOT_CONVERTIBLE = "NotConvertible"
    PREPARATION_FAILED = "PreparationFailed"
    PREPARED_LATER = "PreparedLater"
    DISABLED = "Disabled"

    # ModelDeployment: a rollout
    ROLLING_OUT = "RollingOut"
    ANALYSING = "Analysing"
    AWAITING_PROMOTION = "AwaitingPromotion"
    PAUSED = "Paused"
    ANALYSIS_INCONCLUSIVE = "AnalysisInconclusive"
    ANALYSIS_FAILED = "AnalysisFailed"
    CANDIDATE_RESTARTED = "CandidateRestarted"
    ABORTED = "Aborted"
    ROLLED_BACK = "RolledBack"
    CANDIDATE_NOT_READY = "CandidateNotReady"

    # ModelDeployment: the model in its pods
    CANDIDATE_FAILED = "CandidateFailed"
    MODEL_INVALID = "ModelInvalid"
    MISSING_DEPENDENCY = "MissingDependency"
    REQUIREMENTS_DIFFER = "RequirementsDiffer"
    LOAD_FAILED = "LoadFailed"
    OUT_OF_MEMORY = "OutOfMemory"
    PROBE_FAILING = "ProbeFailing"

    # ModelDeployment: what the pods find around them
    ARTIFACT_ACCESS_DENIED = "ArtifactAccessDenied"
    CLUSTER_DNS_FAILING = "ClusterDnsFailing"
    CONFIGURATION_MISSING = "ConfigurationMissing"
    CONFIGURATION_INVALID = "ConfigurationInvalid"
    PORT_IN_USE = "PortInUse"
    IMAGE_UNAVAILABLE = "ImageUnavailable"
    VOLUME_UNAVAILABLE = "VolumeUnavailable"
    SANDBOX_FAILED = "SandboxFailed"
    UNSCHEDULABLE = "Unschedulable"
    NODE_UNAVAILABLE = "NodeUnavailable"
    EVICTED = "Evicted"

    # ModelDeployment: what the cluster refuses
    QUOTA_EXCEEDED = "QuotaExceeded"
    LIMIT_RANGE_VIOLATED = "LimitRangeViolated"
    ADMISSION_DENIED = "AdmissionDenied"
    ADMISSION_WEBHOOK_UNAVAILABLE = "AdmissionWebhookUnavailable"
    SERVICE_ACCOUNT_NOT_FOUND = "ServiceAccountNotFound"
    PRIORITY_CLASS_NOT_FOUND = "PriorityClassNotFound"
    RUNTIME_CLASS_NOT_FOUND = "RuntimeClassNotFound"
    POD_REFUSED = "PodRefused"
    OBJECT_REFUSED = "ObjectRefused"
    NAME_TAKEN = "NameTaken"

    # ModelDeployment: the way from outside, and scaling
    INGRESS_CLASS_NOT_FOUND = "IngressClassNotFound"
    GATEWAY_API_MISSING = "GatewayApiMissing"
    GATEWAY_NOT_FOUND = "GatewayNotFound"
    ROUTE_NOT_ACCEPTED = "RouteNotAccepted"
    AUTOSCALER_UNABLE = "AutoscalerUnable"
    AUTOSCALER_ACTIVE = "AutoscalerActive"

    # ModelDeployment: what is served
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
    Reason.SCHEDULED: Explanation(
        "Nothing has run yet; the schedule says when it will.",
        "Wait, or run it now: kubectl modelyard run.",
    ),
    Reason.SUSPENDED: Explanation(
        "spec.suspend holds trials back; those that ran when it was set go on.", "Set spec.suspend to false."
    ),
    Reason.ENVIRONMENT_BUILDING: Explanation(
        "A Job builds what python_env or conda_env ask for, once for all trials.",
        "Wait; the message names the Job, whose log shows how far it is.",
    ),
    Reason.FOLLOWING: Explanation(
        "The Experiment runs nothing itself; it follows the runs that others log.", "Nothing is to be done."
    ),
    Reason.TRIALS_RUNNING: Explanation("Trials are waiting or running.", "Wait, or watch status.runs."),
    Reason.TRIALS_FAILED: Explanation(
        "All trials failed, or more than spec.sweep.maxFailedTrials; nothing is registered.",
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
        "A stage, an alias or a ModelDeployment names a version that does not exist; what was effective stays.",
        "Name one of status.versions.",
    ),
    Reason.ARTIFACT_MISSING: Explanation(
        "The version's files are gone from the artifact store; it is not promoted or loaded.",
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
    Reason.PREPARING: Explanation(
        "A Job makes what the version is served with: its ONNX form, and its own libraries where they differ.",
        "Wait: its pods are made when the Job has ended, or has taken longer than they wait.",
    ),
    Reason.ENVIRONMENT_FAILED: Explanation(
        "The model asks for other libraries than the serving image has, and they could not be installed.",
        "Do what the message asks for; then set the annotation modelyard.dev/refresh to any new value to try again,"
        " or spec.rest.environment to Image to load it with the image's libraries.",
    ),
    Reason.VERIFIED: Explanation(
        "The version answers by ONNX Runtime, which was found to give the original's answers.", "Nothing."
    ),
    Reason.ANSWERS_DIFFER: Explanation(
        "The version's ONNX form gives other answers than the original, which serves instead.",
        "Nothing; the evidence has the inputs whose answers differ: kubectl modelyard evidence.",
    ),
    Reason.NOT_CONVERTIBLE: Explanation(
        "The version has no ONNX form: nothing converts its estimator. The original serves.", "Nothing."
    ),
    Reason.PREPARATION_FAILED: Explanation(
        "The Job that prepares the version did not end well, or left what cannot be used; the original serves.",
        "Do what the message asks for; then set the annotation modelyard.dev/refresh to any new value to try again.",
    ),
    Reason.PREPARED_LATER: Explanation(
        "The version was found to answer alike by ONNX Runtime after its pods had been made, which are left alone.",
        "Set the annotation modelyard.dev/refresh to any new value: the pods are made anew, one after the other.",
    ),
    Reason.DISABLED: Explanation("spec.rest.runtime is Native: the original serves.", "Nothing."),
    Reason.ROLLING_OUT: Explanation(
        "The wanted version is starting or getting its traffic; the one served before answers until then.",
        "Wait.",
    ),
    Reason.ANALYSING: Explanation(
        "The candidate is judged by spec.rest.rollout.analysis, with the figures in status.rollout.figures.",
        "Wait.",
    ),
    Reason.AWAITING_PROMOTION: Explanation(
        "The rollout has reached a step with hold: true and stays there, with the weight that the status shows.",
        "Go on with kubectl modelyard promote, or take the candidate back with kubectl modelyard abort.",
    ),
    Reason.PAUSED: Explanation(
        "The annotation modelyard.dev/paused is set: nothing is changed, what is served goes on answering.",
        "Remove the annotation: kubectl modelyard resume.",
    ),
    Reason.ANALYSIS_INCONCLUSIVE: Explanation(
        "The analysis has too few samples for a verdict; the rollout waits as it is.",
        "Send requests, lower minSamples, or decide: kubectl modelyard promote or abort.",
    ),
    Reason.ANALYSIS_FAILED: Explanation(
        "The candidate broke a bound of spec.rest.rollout.analysis; the message has the figure and the bound.",
        "Promote a better version, or change the bound: any change of spec has the version tried again.",
    ),
    Reason.CANDIDATE_RESTARTED: Explanation(
        "Pods of the candidate ended and were started again while it had traffic or was analysed.",
        "Look at the ending that the message quotes; any change of spec has the version tried again.",
    ),
    Reason.ABORTED: Explanation(
        "Somebody took the candidate back by the annotation modelyard.dev/abort.",
        "Promote another version; any change of spec has this one tried again.",
    ),
    Reason.ROLLED_BACK: Explanation(
        "The wanted version was refused, for the reason in status.refused; the version before has all the traffic.",
        "Correct what the message names, then promote another version or change spec.",
    ),
    Reason.CANDIDATE_NOT_READY: Explanation(
        "The wanted version's pods did not become ready in time; the one served before goes on answering.",
        "Look at the pods that the message names.",
    ),
    Reason.CANDIDATE_FAILED: Explanation(
        "The wanted version's pods end with the error that the message quotes; the one served before answers on.",
        "Correct what the message says or promote another version.",
    ),
    Reason.MODEL_INVALID: Explanation(
        "The version's MLmodel file is missing or cannot be understood.",
        "Log the model again with MLflow and promote the new version.",
    ),
    Reason.MISSING_DEPENDENCY: Explanation(
        "The model needs a Python module that the serving image does not hold; the message names it.",
        "Log the model without it, or set the installation's serving image to one that holds it.",
    ),
    Reason.REQUIREMENTS_DIFFER: Explanation(
        "The model asks for other libraries than its pods have; the message lists them.",
        "Log it with the serving image's libraries, or set spec.rest.environment to Auto or to Model.",
    ),
    Reason.LOAD_FAILED: Explanation(
        "The model's files are whole, but loading them raises the error that the message quotes.",
        "Correct the model, for example the library versions it was saved with, and promote the new version.",
    ),
    Reason.OUT_OF_MEMORY: Explanation(
        "A pod used more memory than its limit, and the kernel ended it.",
        "Raise spec.rest.resources.limits.memory.",
    ),
    Reason.PROBE_FAILING: Explanation(
        "A pod runs but does not answer its health checks in time, so it gets no requests or is started again.",
        "Look at its log; raise spec.rest.resources where the CPU is short.",
    ),
    Reason.ARTIFACT_ACCESS_DENIED: Explanation(
        "The artifact store refuses the credentials of the model's pods.",
        "Correct the Secret modelyard-artifacts-reader of the namespace, or the installation's reader credentials.",
    ),
    Reason.CLUSTER_DNS_FAILING: Explanation(
        "The model's pods get no answer from the cluster's DNS, so they cannot reach the artifact store.",
        "Look at the pods of the cluster's DNS; the pods try again by themselves.",
    ),
    Reason.CONFIGURATION_MISSING: Explanation(
        "A Secret or ConfigMap that the pods use does not exist, or lacks a key.",
        "Create it, or correct spec.rest.pod. The pods start by themselves then.",
    ),
    Reason.CONFIGURATION_INVALID: Explanation(
        "A setting of the model's pods is missing or malformed; the message names the variable.",
        "Correct it in spec.rest.pod.env, or in the Secret modelyard-artifacts-reader.",
    ),
    Reason.PORT_IN_USE: Explanation(
        "Something else in the pod, mostly an injected sidecar, listens on the model server's port.",
        "Have the sidecar use another port, or keep it from being injected by spec.rest.pod.annotations.",
    ),
    Reason.IMAGE_UNAVAILABLE: Explanation(
        "The serving image cannot be pulled.",
        "Check the installation's image values and pull secrets.",
    ),
    Reason.VOLUME_UNAVAILABLE: Explanation(
        "A volume of spec.rest.pod.volumes cannot be had: its claim is missing or unbound, or it cannot be mounted.",
        "Create or repair the volume that the message names, or correct spec.rest.pod.volumes.",
    ),
    Reason.SANDBOX_FAILED: Explanation(
        "The node cannot set up the pod: its network or its container runtime fails.",
        "Look at the node and the runtime class that the message names.",
    ),
    Reason.UNSCHEDULABLE: Explanation(
        "No node has room for the pods, or none fits their selectors and tolerations.",
        "Lower spec.rest.resources, correct spec.rest.pod, or add nodes.",
    ),
    Reason.NODE_UNAVAILABLE: Explanation(
        "The nodes that could run the pods, or run them, are not ready or are cordoned.",
        "Look at the nodes: kubectl get nodes.",
    ),
    Reason.EVICTED: Explanation(
        "A node took the pods away: it was short of a resource, shut down, or made room for others.",
        "Raise spec.rest.resources.requests to what the model uses, or add nodes.",
    ),
    Reason.QUOTA_EXCEEDED: Explanation(
        "A ResourceQuota of the namespace does not allow the pods.",
        "Raise the quota, or set spec.rest.resources and spec.rest.replicas so that they fit it.",
    ),
    Reason.LIMIT_RANGE_VIOLATED: Explanation(
        "A LimitRange of the namespace does not allow the pods' resources.",
        "Set spec.rest.resources within the bounds that the message quotes.",
    ),
    Reason.ADMISSION_DENIED: Explanation(
        "An admission policy or webhook of the cluster refuses the pods or another object.",
        "Do what the quoted message asks for, or have the policy's owner except the namespace.",
    ),
    Reason.ADMISSION_WEBHOOK_UNAVAILABLE: Explanation(
        "An admission webhook that the cluster must ask does not answer.",
        "Repair or remove the webhook that the message names; the operator tries again by itself.",
    ),
    Reason.SERVICE_ACCOUNT_NOT_FOUND: Explanation(
        "The ServiceAccount of spec.rest.pod.serviceAccountName does not exist.",
        "Create it in the namespace, or correct the name.",
    ),
    Reason.PRIORITY_CLASS_NOT_FOUND: Explanation(
        "The PriorityClass of spec.rest.pod.priorityClassName does not exist.",
        "Create it, or correct the name.",
    ),
    Reason.RUNTIME_CLASS_NOT_FOUND: Explanation(
        "The RuntimeClass of spec.rest.pod.runtimeClassName does not exist.",
        "Create it, or correct the name.",
    ),
    Reason.POD_REFUSED: Explanation(
        "The cluster refuses to create the pods.",
        "Do what the quoted message asks for.",
    ),
    Reason.OBJECT_REFUSED: Explanation(
        "The API server refuses an object that the operator makes.",
        "Correct the field that the quoted message names.",
    ),
    Reason.NAME_TAKEN: Explanation(
        "An object of the name that the operator needs exists and belongs to somebody else; it is left alone.",
        "Rename the ModelDeployment, or remove the object that the message names.",
    ),
    Reason.INGRESS_CLASS_NOT_FOUND: Explanation(
        "The Ingress names an IngressClass that does not exist, or names none where there is no default.",
        "Set spec.rest.ingress.className to one of kubectl get ingressclass.",
    ),
    Reason.GATEWAY_API_MISSING: Explanation(
        "spec.rest.gateway needs the Gateway API, whose HTTPRoute the cluster does not know.",
        "Install the Gateway API, or use spec.rest.ingress.",
    ),
    Reason.GATEWAY_NOT_FOUND: Explanation(
        "The Gateway of spec.rest.gateway.parentRef does not exist.",
        "Create it, or correct its name and namespace.",
    ),
    Reason.ROUTE_NOT_ACCEPTED: Explanation(
        "The Gateway does not take the HTTPRoute; the message quotes why.",
        "Correct spec.rest.gateway, or the Gateway's listeners: their hostnames and the namespaces they allow.",
    ),
    Reason.AUTOSCALER_ACTIVE: Explanation("The autoscaler sees the pods' load and sets their number.", "Nothing."),
    Reason.AUTOSCALER_UNABLE: Explanation(
        "The HorizontalPodAutoscaler cannot work; the number of pods stays as it is.",
        "Mostly metrics-server is missing: do what the quoted message asks for.",
    ),
    Reason.NO_READY_PODS: Explanation(
        "The served version has no ready pod.",
        "Look at its pods.",
    ),
    Reason.TOO_FEW_READY_PODS: Explanation(
        "Some of the served version's pods are not ready; the others answer.",
        "Look at its pods.",
    ),
    Reason.SCALED_TO_ZERO: Explanation(
        "spec.rest.replicas is 0: nothing answers, as asked.",
        "Scale it up to serve again.",
    ),
    Reason.SERVING: Explanation(
        "The wanted version answers with all its replicas.",
        "Nothing.",
    ),
}
