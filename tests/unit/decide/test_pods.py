"""What is wrong with pods, as the API server shows it. The messages are Kubernetes' own, word for word."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.api.reasons import Reason
from modelyard.decide.pods import Diagnosis, diagnose, needs_events, restarts
from modelyard_serving.errors import Reason as LastWord

Json = dict[str, Any]


def pod(
    *,
    name: str = "web-1",
    conditions: list[Json] | None = None,
    going: bool = False,
    created: str = "2026-01-01T00:00:00Z",
    phase: str = "Pending",
    said: Json | None = None,
    **container: Any,
) -> Json:
    status: Json = {"phase": phase, "conditions": conditions or [], **(said or {})}
    if container:
        status["containerStatuses"] = [{"name": "model", "ready": False, **container}]
    metadata = {"name": name, "creationTimestamp": created}
    return {"metadata": {**metadata, **({"deletionTimestamp": created} if going else {})}, "status": status}


def waiting(reason: str, message: str = "") -> Json:
    return {"state": {"waiting": {"reason": reason, "message": message}}}


def ended(message: str, reason: str = "Error", code: int = 1) -> Json:
    return {"terminated": {"reason": reason, "exitCode": code, "message": message}}


def crashing(message: str, reason: str = "Error", code: int = 1, restarts: int = 1) -> Json:
    return pod(**waiting("CrashLoopBackOff"), lastState=ended(message, reason, code), restartCount=restarts)


def unscheduled(message: str) -> Json:
    found = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return pod(conditions=[found])


def replica_failure(message: str) -> Json:
    found = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}
    return {"status": {"conditions": [found]}}


PREEMPTION = " preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (f"0/1 nodes are available: 1 Insufficient memory.{PREEMPTION}", Reason.UNSCHEDULABLE),
        ("0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.", Reason.UNSCHEDULABLE),
        ("no nodes available to schedule pods", Reason.UNSCHEDULABLE),
        ('0/1 nodes are available: persistentvolumeclaim "data" not found. not found', Reason.VOLUME_UNAVAILABLE),
        ("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.", Reason.VOLUME_UNAVAILABLE),
        (f"0/1 nodes are available: 1 node(s) were unschedulable.{PREEMPTION}", Reason.NODE_UNAVAILABLE),
        (
            "0/2 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }, "
            "1 node(s) had untolerated taint {node.kubernetes.io/unreachable: }.",
            Reason.NODE_UNAVAILABLE,
        ),
        (
            "0/2 nodes are available: 1 Insufficient cpu, "
            "1 node(s) had untolerated taint {node.kubernetes.io/unreachable: }.",
            Reason.UNSCHEDULABLE,
        ),
    ],
)
def test_a_pod_without_a_node_is_diagnosed_by_what_the_nodes_lack(message: str, reason: Reason) -> None:
    assert diagnose(None, [unscheduled(message)]) == Diagnosis(reason, f"pod web-1: {message}")


@pytest.mark.parametrize(
    ("why", "message", "reason"),
    [
        ("ErrImageNeverPull", 'Container image "x" is not present', Reason.IMAGE_UNAVAILABLE),
        ("InvalidImageName", "couldn't parse image name", Reason.IMAGE_UNAVAILABLE),
        ("ImagePullBackOff", 'Back-off pulling image "x"', Reason.IMAGE_UNAVAILABLE),
        ("CreateContainerConfigError", 'secret "x" not found', Reason.CONFIGURATION_MISSING),
        ("CreateContainerConfigError", "couldn't find key k in Secret ns/x", Reason.CONFIGURATION_MISSING),
        ("CreateContainerConfigError", "container has runAsNonRoot", Reason.CANDIDATE_FAILED),
        ("RunContainerError", "container init was OOM-killed (memory limit too low?)", Reason.OUT_OF_MEMORY),
    ],
)
def test_a_container_that_cannot_be_started_is_diagnosed_by_the_kubelets_words(
    why: str, message: str, reason: Reason
) -> None:
    assert diagnose(None, [pod(**waiting(why, message))]) == Diagnosis(reason, f"pod web-1: {why}: {message}")


@pytest.mark.parametrize(
    ("words", "reason", "permanent"),
    [
        ("ConfigInvalid: MODELYARD_MODEL_SOURCE: missing", Reason.CONFIGURATION_INVALID, False),
        ("ConfigInvalid: MODELYARD_PORT: cannot listen on :: port 8080: in use", Reason.PORT_IN_USE, False),
        ("ArtifactNotFound: nothing is stored below s3://a/b/", Reason.ARTIFACT_MISSING, True),
        ("ArtifactAccessDenied: s3://a/b: InvalidAccessKeyId", Reason.ARTIFACT_ACCESS_DENIED, False),
        ("ArtifactStoreUnreachable: s3://a/b: refused", Reason.ARTIFACT_STORE_UNREACHABLE, False),
        (
            "ArtifactStoreUnreachable: s3://a/b: [Errno -3] Temporary failure in name resolution",
            Reason.CLUSTER_DNS_FAILING,
            False,
        ),
        (
            "ArtifactStoreUnreachable: s3://a/b: [Errno -2] Name or service not known",
            Reason.ARTIFACT_STORE_UNREACHABLE,
            False,
        ),
        ("DigestMismatch: expected a, found b", Reason.DIGEST_MISMATCH, True),
        ("ModelInvalid: no MLmodel", Reason.MODEL_INVALID, True),
        ("UnsupportedFlavor: mleap", Reason.UNSUPPORTED_FLAVOR, True),
        ("EnvironmentFailed: scikit-learn==1.5.2, the image has 1.9.1", Reason.ENVIRONMENT_FAILED, True),
        ("MissingDependency: No module named 'x'", Reason.MISSING_DEPENDENCY, True),
        ("LoadFailed: ValueError: no", Reason.LOAD_FAILED, True),
        ("LoadFailed: cannot write the model to /tmp: No space left on device", Reason.LOAD_FAILED, False),
    ],
)
def test_a_model_servers_last_words_are_its_diagnosis(words: str, reason: Reason, permanent: bool) -> None:
    message = f"pod web-1: {words} (Error, exit code 1)"
    assert diagnose(None, [crashing(words)]) == Diagnosis(reason, message, permanent)


def test_every_word_that_the_model_server_can_end_with_is_known() -> None:
    reasons = {word: diagnose(None, [crashing(f"{word}: why")]) for word in LastWord}
    assert [word for word, found in reasons.items() if not found or found.reason is Reason.CANDIDATE_FAILED] == []


@pytest.mark.parametrize(
    ("reason", "code", "expected", "permanent_from"),
    [
        pytest.param("OOMKilled", 137, Reason.OUT_OF_MEMORY, 2, id="out of memory"),
        pytest.param("Error", 139, Reason.CANDIDATE_FAILED, 3, id="a crash in native code"),
        pytest.param("Completed", 0, Reason.PROBE_FAILING, None, id="told to end by the kubelet"),
        pytest.param("Error", 137, Reason.PROBE_FAILING, None, id="killed by the kubelet"),
        pytest.param("ContainerStatusUnknown", 137, Reason.NODE_UNAVAILABLE, None, id="lost by its node"),
    ],
)
def test_an_ending_without_last_words_is_the_models_fault_only_when_it_comes_again(
    reason: str, code: int, expected: Reason, permanent_from: int | None
) -> None:
    for number in (1, 2, 3, 4):
        found = diagnose(None, [crashing("", reason, code, restarts=number)])
        assert found is not None
        assert (found.reason, found.permanent) == (expected, permanent_from is not None and number >= permanent_from)
        assert f"{reason}, exit code {code}" in found.message


def test_an_ending_counts_before_its_restart() -> None:
    found = diagnose(None, [pod(state=ended("", "OOMKilled", 137), restartCount=1)])
    assert found == Diagnosis(Reason.OUT_OF_MEMORY, "pod web-1: OOMKilled, exit code 137", permanent=True)


def test_another_container_is_named_and_is_never_the_models_fault() -> None:
    crashed = pod(name="web-1", lastState=ended("", "OOMKilled", 137), restartCount=5, state={"running": {}})
    crashed["status"]["containerStatuses"][0]["name"] = "proxy"
    text = "pod web-1, container proxy: OOMKilled, exit code 137"
    assert diagnose(None, [crashed]) == Diagnosis(Reason.OUT_OF_MEMORY, text)


READY_LOST = {"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-01T00:05:00Z"}
NEVER_READY = {"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-01T00:00:00Z"}
RUNNING = {"running": {"startedAt": "2026-01-01T00:00:01Z"}}


def test_a_pod_that_has_stopped_answering_is_told_from_one_that_starts() -> None:
    lost = diagnose(None, [pod(conditions=[READY_LOST], state=RUNNING, lastState=ended("old"))])
    assert lost is not None
    assert lost.reason is Reason.PROBE_FAILING
    assert diagnose(None, [pod(conditions=[NEVER_READY], state=RUNNING)]) is None


def test_a_pod_whose_containers_are_ready_is_unready_by_its_node() -> None:
    found = pod(conditions=[READY_LOST], state=RUNNING, ready=True)
    found["spec"] = {"nodeName": "node-1"}
    assert diagnose(None, [found]) == Diagnosis(Reason.NODE_UNAVAILABLE, "pod web-1: its node node-1 does not answer")
    found["spec"]["readinessGates"] = [{"conditionType": "example.com/attached"}]
    assert diagnose(None, [found]) is None


EVICTED = {"reason": "Evicted", "message": "The node was low on resource: memory."}


def test_an_evicted_pod_is_told_of_until_another_takes_its_place() -> None:
    evicted = pod(phase="Failed", said=EVICTED, created="2026-01-01T00:01:00Z")
    assert diagnose(None, [evicted, pod(name="web-0")]) == Diagnosis(
        Reason.EVICTED, "pod web-1: Evicted: The node was low on resource: memory."
    )
    assert diagnose(None, [evicted, pod(name="web-2", created="2026-01-01T00:02:00Z", state=RUNNING)]) is None


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(pod(), id="just made"),
        pytest.param(pod(**waiting("ContainerCreating")), id="being created"),
        pytest.param(pod(state={"running": {}}), id="starting"),
        pytest.param(pod(ready=True, state={"running": {}}, lastState=ended("old")), id="recovered from a crash"),
        pytest.param(pod(going=True, state=ended("", "OOMKilled", 137)), id="on its way out"),
    ],
)
def test_a_pod_that_only_needs_time_is_not_diagnosed(found: Json) -> None:
    assert diagnose({"status": {}}, [found]) is None


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1", Reason.QUOTA_EXCEEDED),
        ("failed quota: q: must specify limits.cpu for: model", Reason.QUOTA_EXCEEDED),
        ("maximum memory usage per Container is 64Mi, but limit is 1Gi", Reason.LIMIT_RANGE_VIOLATED),
        ("[minimum cpu usage per Pod is 2, but request is 1, x]", Reason.LIMIT_RANGE_VIOLATED),
        ('violates PodSecurity "restricted:latest": runAsNonRoot != true', Reason.ADMISSION_DENIED),
        ("ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no", Reason.ADMISSION_DENIED),
        ('admission webhook "w.example.com" denied the request: exceeded quota: none', Reason.ADMISSION_DENIED),
        (
            'error looking up service account ns/x: serviceaccount "x" not found',
            Reason.SERVICE_ACCOUNT_NOT_FOUND,
        ),
        ("no PriorityClass with name x was found", Reason.PRIORITY_CLASS_NOT_FOUND),
        ('pod rejected: RuntimeClass "x" not found', Reason.RUNTIME_CLASS_NOT_FOUND),
        ("unable to create new content in namespace x", Reason.POD_REFUSED),
    ],
)
def test_pods_that_the_api_server_forbids_are_diagnosed_by_its_words(message: str, reason: Reason) -> None:
    words = f'pods "web-1" is forbidden: {message}'
    assert diagnose(replica_failure(words), []) == Diagnosis(reason, words)


def test_a_webhook_that_does_not_answer_is_named() -> None:
    words = (
        'Internal error occurred: failed calling webhook "w.example.com": failed to call webhook: '
        'Post "https://w.ns.svc:443/?timeout=10s": service "w" not found'
    )
    assert diagnose(replica_failure(words), []) == Diagnosis(Reason.ADMISSION_WEBHOOK_UNAVAILABLE, words)


def test_pods_that_are_too_slow_are_told_of_when_nothing_else_is_known() -> None:
    found = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "too slow"}
    assert diagnose({"status": {"conditions": [found]}}, []) == Diagnosis(Reason.CANDIDATE_NOT_READY, "too slow")


def test_the_models_fault_comes_before_what_is_around_it() -> None:
    quota = replica_failure('pods "web-2" is forbidden: exceeded quota: q')
    first = {**unscheduled("0/1 nodes are available: 1 Insufficient cpu."), "metadata": {"name": "web-0"}}
    found = diagnose(quota, [first, crashing("ModelInvalid: no MLmodel")])
    assert found is not None
    assert found.reason is Reason.MODEL_INVALID
    found = diagnose(quota, [first])
    assert found is not None
    assert found.reason is Reason.QUOTA_EXCEEDED


def event(reason: str, note: str, at: str = "2026-01-01T00:00:00Z", about: str = "web-1") -> Json:
    return {
        "reason": reason,
        "note": note,
        "regarding": {"kind": "Pod", "name": about},
        "deprecatedLastTimestamp": at,
    }


MISSING = 'MountVolume.SetUp failed for volume "data" : configmap "x" not found'


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (event("FailedMount", MISSING), Reason.CONFIGURATION_MISSING),
        (
            event("FailedMount", 'MountVolume.SetUp failed for volume "d" : references non-existent secret key: k'),
            Reason.CONFIGURATION_MISSING,
        ),
        (event("FailedMount", "mount failed: exit status 32"), Reason.VOLUME_UNAVAILABLE),
        (event("FailedAttachVolume", "Multi-Attach error"), Reason.VOLUME_UNAVAILABLE),
        (event("FailedCreatePodSandBox", 'no runtime for "x" is configured'), Reason.SANDBOX_FAILED),
        (event("FailedMount", 'object "ns"/"kube-root-ca.crt" not registered'), None),
        (event("FailedMount", MISSING, about="web-2"), None),
        (event("Pulled", "Container image is present"), None),
    ],
)
def test_a_pod_that_is_being_set_up_is_diagnosed_by_its_events(told: Json, reason: Reason | None) -> None:
    found = diagnose(None, [pod(**waiting("ContainerCreating"))], [told])
    assert (found.reason if found else None) == reason
    if found:
        assert found.message == f"pod web-1: {told['reason']}: {told['note']}"
    classic = {
        "reason": told["reason"],
        "message": told["note"],
        "involvedObject": told["regarding"],
        "lastTimestamp": told["deprecatedLastTimestamp"],
    }
    assert diagnose(None, [pod(**waiting("ContainerCreating"))], [classic]) == found


def test_of_a_pods_events_the_newest_counts() -> None:
    events = [event("FailedMount", MISSING), event("FailedCreatePodSandBox", "network", "2026-01-01T00:01:00Z")]
    found = diagnose(None, [pod(**waiting("ContainerCreating"))], events)
    assert found is not None
    assert found.reason is Reason.SANDBOX_FAILED


def test_events_are_needed_only_while_nothing_of_a_pod_has_started() -> None:
    assert needs_events([pod(state=RUNNING), pod(**waiting("ContainerCreating"))])
    assert not needs_events([pod(state=RUNNING), pod(), pod(going=True, **waiting("ContainerCreating"))])
    assert diagnose(None, [pod(state=RUNNING)], [event("FailedMount", MISSING)]) is None


def test_restarts_are_those_of_all_containers() -> None:
    assert restarts([pod(restartCount=2), pod(restartCount=1), pod()]) == 3


@pytest.mark.parametrize(
    ("words", "counted"),
    [
        ("", 1),
        ("LoadFailed: pickle data was truncated", 1),
        ("ArtifactStoreUnreachable: no answer", 0),
        ("ArtifactAccessDenied: 403", 0),
    ],
)
def test_a_restart_for_want_of_something_around_the_model_does_not_count(words: str, counted: int) -> None:
    assert restarts([pod(restartCount=1, lastState=ended(words, "Error", 1))]) == counted


def test_a_long_message_is_cut() -> None:
    found = diagnose(None, [pod(**waiting("ErrImagePull", "x" * 5000))])
    assert found is not None
    assert len(found.message) == 512
