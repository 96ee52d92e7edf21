"""What is wrong with pods, in one reason and one sentence, from what the API server shows of them.

The strings are those that the kubelet, the scheduler and the controllers write. A diagnosis is permanent where the
model is at fault: its digest, its MLmodel, its flavor, libraries it needs, its loading, files that are gone; memory
that it runs out of for the second time; and a model server that ends for the third time without a word, as a crash in
native code does. Everything else is around the model and may mend: nothing is given up for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from modelyard.api.reasons import Reason
from modelyard.decide.diagnosis import Diagnosis, condition, refused_pod, short

__all__ = ["Diagnosis", "diagnose", "needs_events", "newest_first", "restarts"]

Json = dict[str, Any]

MODEL_CONTAINER = "model"
OOM_IS_PERMANENT = 2
"""The how-manieth ending for want of memory is the model's fault; the first may have been a neighbour's."""
CRASH_IS_PERMANENT = 3
"""The how-manieth ending without last words is the model's fault."""

_IMAGE_PROBLEMS = (
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
    "RegistryUnavailable",
    "SignatureValidationFailed",
)
_START_PROBLEMS = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PreStartHookError")
_EVICTIONS = ("Evicted", "NodeShutdown", "Terminated", "Preempting")

# The word before the colon in the last words of the model server (modelyard_serving.errors.Reason).
_LAST_WORDS = {
    "ArtifactNotFound": (Reason.ARTIFACT_MISSING, True),
    "DigestMismatch": (Reason.DIGEST_MISMATCH, True),
    "ModelInvalid": (Reason.MODEL_INVALID, True),
    "UnsupportedFlavor": (Reason.UNSUPPORTED_FLAVOR, True),
    "MissingDependency": (Reason.MISSING_DEPENDENCY, True),
    "LoadFailed": (Reason.LOAD_FAILED, True),
    "RequirementsDiffer": (Reason.REQUIREMENTS_DIFFER, True),
    "EnvironmentFailed": (Reason.ENVIRONMENT_FAILED, True),
    "ArtifactAccessDenied": (Reason.ARTIFACT_ACCESS_DENIED, False),
    "ArtifactStoreUnreachable": (Reason.ARTIFACT_STORE_UNREACHABLE, False),
    "ConfigInvalid": (Reason.CONFIGURATION_INVALID, False),
    "PortInUse": (Reason.PORT_IN_USE, False),
}
_NO_DISK = re.compile(r"^LoadFailed: cannot write the model to ")
_DNS_IS_SILENT = re.compile(r"Temporary failure in name resolution")
_TOO_LITTLE_MEMORY = re.compile(r"OOM-killed|memory limit too low", re.IGNORECASE)
_CONFIGURATION = re.compile(r"(secret|configmap) \"[^\"]*\" not found|couldn't find key|references non-existent", re.I)
_CLAIM = re.compile(r"persistentvolumeclaim|persistent volume|non-existent pv|volume node affinity|subPath", re.I)
_NODE_DOWN = re.compile(
    r"^\d+ node\(s\) (had untolerated taint \{node\.kubernetes\.io/(not-ready|unreachable|network-unavailable)"
    r"|were unschedulable|were not ready)"
)
_EVENT_REASONS = ("FailedMount", "FailedAttachVolume", "FailedMapVolume", "FailedCreatePodSandBox")


def diagnose(deployment: Json | None, pods: Iterable[Json], events: Iterable[Json] = ()) -> Diagnosis | None:
    """Return what keeps a Deployment's pods from being ready, or None where they only need time.

    What is permanent comes first, then the order is that of a pod's life: made, scheduled, image, start, run.
    `events` are Events about the pods, of v1 or events.k8s.io/v1; only `needs_events` pods are told of by them alone.
    """
    status = (deployment or {}).get("status", {})
    events = list(events)
    present = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
    found = [each for pod in _living(present) if (each := _diagnose_pod(pod, events))]
    permanent = next((each for each in found if each.permanent), None)
    if permanent:
        return permanent
    refused = condition(status, "ReplicaFailure")
    if refused and refused["status"] == "True":
        return refused_pod(str(refused.get("message", "")))
    if found:
        return found[0]
    deadline = condition(status, "Progressing")
    if deadline and deadline.get("reason") == "ProgressDeadlineExceeded":
        return Diagnosis(Reason.CANDIDATE_NOT_READY, short(deadline.get("message", "")))
    return None


def restarts(pods: Iterable[Json]) -> int:
    """Return how often containers of these pods were started again, all together.

    One that last ended for want of something around it, as an artifact store that does not answer, does not count.
    """
    containers = (container for pod in pods for container in pod.get("status", {}).get(_STATUSES, []))
    return sum(int(each.get("restartCount", 0)) for each in containers if not _ended_for_others(each))


def _ended_for_others(container: Json) -> bool:
    ended = container.get("lastState", {}).get("terminated") or {}
    word = str(ended.get("message", "")).strip().partition(":")[0]
    return word in _LAST_WORDS and not _LAST_WORDS[word][1]


def needs_events(pods: Iterable[Json]) -> bool:
    """Whether a pod is on its node with nothing started: the kubelet says only in Events what it waits for."""
    return any(not pod["metadata"].get("deletionTimestamp") and _being_created(pod) for pod in pods)


_STATUSES = "containerStatuses"


def _living(pods: Sequence[Json]) -> list[Json]:
    """Return the pods by name; of those that ended for good only what no younger pod has replaced."""
    newest = max((_created(pod) for pod in pods if not _ended_for_good(pod)), default="")
    kept = [pod for pod in pods if not _ended_for_good(pod) or _created(pod) > newest]
    return sorted(kept, key=lambda pod: str(pod["metadata"]["name"]))


def _ended_for_good(pod: Json) -> bool:
    return pod.get("status", {}).get("phase") in ("Failed", "Succeeded")


def _created(pod: Json) -> str:
    return str(pod["metadata"].get("creationTimestamp", ""))


def _diagnose_pod(pod: Json, events: Sequence[Json]) -> Diagnosis | None:
    name, status = pod["metadata"]["name"], pod.get("status", {})
    if _ended_for_good(pod):
        why = str(status.get("reason", "Failed"))
        reason = Reason.EVICTED if why in _EVICTIONS else Reason.POD_REFUSED
        return Diagnosis(reason, short(f"pod {name}: {why}: {status.get('message', '')}"))
    scheduled = condition(status, "PodScheduled")
    if scheduled and scheduled["status"] == "False":
        message = str(scheduled.get("message", ""))
        return Diagnosis(_unschedulable(message), short(f"pod {name}: {message}"))
    for container in (*status.get("initContainerStatuses", []), *status.get(_STATUSES, [])):
        found = _diagnose_container(pod, container)
        if found:
            return found
    ready = condition(status, "Ready")
    if ready and ready["status"] == "False" and _whole(pod):
        node = pod.get("spec", {}).get("nodeName", "")
        return Diagnosis(Reason.NODE_UNAVAILABLE, short(f"pod {name}: its node {node} does not answer"))
    return _diagnose_events(name, events) if _being_created(pod) else None


def _unschedulable(message: str) -> Reason:
    """Tell volumes and nodes that are down from want of room. The scheduler counts nodes by what each lacks."""
    if _CLAIM.search(message):
        return Reason.VOLUME_UNAVAILABLE
    _, _, lacks = message.partition("preemption: ")[0].partition(" nodes are available: ")
    parts = [part for part in re.split(r"[,.] ", lacks + " ") if part.strip()]
    down = bool(parts) and all(_NODE_DOWN.match(part) for part in parts)
    return Reason.NODE_UNAVAILABLE if down else Reason.UNSCHEDULABLE


def _diagnose_container(pod: Json, container: Json) -> Diagnosis | None:
    which = f"pod {pod['metadata']['name']}"
    if container.get("name", MODEL_CONTAINER) != MODEL_CONTAINER:
        which += f", container {container['name']}"
    state = container.get("state", {})
    waiting = state.get("waiting", {})
    text = short(f"{which}: {waiting.get('reason')}: {waiting.get('message', '')}")
    if waiting.get("reason") in _IMAGE_PROBLEMS:
        return Diagnosis(Reason.IMAGE_UNAVAILABLE, text)
    if waiting.get("reason") in _START_PROBLEMS:
        return Diagnosis(*_start_problem(text, _endings(container)))
    if container.get("ready"):
        return None
    if _was_ready(pod, state):
        return Diagnosis(Reason.PROBE_FAILING, f"{which}: it runs, but has stopped answering its health checks")
    last = state.get("terminated") or container.get("lastState", {}).get("terminated")
    if not last or _done_before_the_others(pod, container):
        return None
    found = _ending(last, _endings(container))
    ours = container.get("name", MODEL_CONTAINER) == MODEL_CONTAINER
    return Diagnosis(found.reason, short(f"{which}: {found.message}"), found.permanent and ours)


def _start_problem(text: str, endings: int) -> tuple[Reason, str, bool]:
    """Diagnose a container that cannot be started: (reason, message, permanent)."""
    if _CONFIGURATION.search(text):
        return Reason.CONFIGURATION_MISSING, text, False
    if _TOO_LITTLE_MEMORY.search(text):
        return Reason.OUT_OF_MEMORY, text, endings >= OOM_IS_PERMANENT
    if _CLAIM.search(text):
        return Reason.VOLUME_UNAVAILABLE, text, False
    return Reason.CANDIDATE_FAILED, text, False


def _endings(container: Json) -> int:
    """Return how often the container has ended."""
    return int(container.get("restartCount", 0)) + (1 if "terminated" in container.get("state", {}) else 0)


def _ending(terminated: Json, endings: int) -> Diagnosis:
    """Say how a container ended: by its own last words, if it left any, else by what the kubelet knows."""
    message = str(terminated.get("message", "")).strip()
    how, code = terminated.get("reason", "Error"), terminated.get("exitCode")
    text = f"{message} ({how}, exit code {code})" if message else f"{how}, exit code {code}"
    if how == "OOMKilled" or _TOO_LITTLE_MEMORY.search(message):
        return Diagnosis(Reason.OUT_OF_MEMORY, text, endings >= OOM_IS_PERMANENT)
    if how == "ContainerStatusUnknown":
        return Diagnosis(Reason.NODE_UNAVAILABLE, text)
    word = message.partition(":")[0]
    if word in _LAST_WORDS:
        reason, permanent = _LAST_WORDS[word]
        return Diagnosis(_told_apart(reason, message), text, permanent and not _NO_DISK.match(message))
    if not message and code in (0, 143):
        return Diagnosis(
            Reason.PROBE_FAILING, f"the kubelet ended it, for its health checks were not answered ({text})"
        )
    if not message and code == 137:
        return Diagnosis(
            Reason.PROBE_FAILING, f"it was killed, mostly for health checks that it did not answer ({text})"
        )
    crashed = not message and how == "Error"
    return Diagnosis(Reason.CANDIDATE_FAILED, text, crashed and endings >= CRASH_IS_PERMANENT)


def _told_apart(reason: Reason, message: str) -> Reason:
    """Tell two faults of the surroundings from those whose word they share."""
    if reason is Reason.ARTIFACT_STORE_UNREACHABLE and _DNS_IS_SILENT.search(message):
        return Reason.CLUSTER_DNS_FAILING
    if reason is Reason.CONFIGURATION_INVALID and "cannot listen on" in message:
        return Reason.PORT_IN_USE
    return reason


def _was_ready(pod: Json, state: Json) -> bool:
    """Whether a running container answered its readiness probe since it was started, and has stopped doing so."""
    started = state.get("running", {}).get("startedAt")
    ready = condition(pod.get("status", {}), "Ready") or {}
    changed = ready.get("lastTransitionTime")
    if not started or not changed or ready.get("status") != "False":
        return False
    return _time(changed) > _time(started)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _done_before_the_others(pod: Json, container: Json) -> bool:
    """Whether it is an init container that has done its work."""
    ended = container.get("state", {}).get("terminated")
    init = pod.get("status", {}).get("initContainerStatuses", [])
    return bool(ended and ended.get("exitCode") == 0 and container in init)


def _whole(pod: Json) -> bool:
    """Whether every container is ready, so that only its node can have made the pod unready."""
    statuses = pod.get("status", {}).get(_STATUSES, [])
    gates = pod.get("spec", {}).get("readinessGates")
    return bool(statuses) and all(each.get("ready") for each in statuses) and not gates


def _being_created(pod: Json) -> bool:
    statuses = pod.get("status", {}).get(_STATUSES, [])
    creating = ("ContainerCreating", "PodInitializing")
    return bool(statuses) and all(
        each.get("state", {}).get("waiting", {}).get("reason") in creating for each in statuses
    )


def _diagnose_events(name: str, events: Iterable[Json]) -> Diagnosis | None:
    """Read the newest of the kubelet's complaints about a pod that it is setting up."""
    about = [event for event in events if _regarding(event) == name and event.get("reason") in _EVENT_REASONS]
    for event in newest_first(about):
        words = str(event.get("note") or event.get("message") or "")
        if "not registered" in words:
            # The kubelet has not yet heard of an object that exists.
            continue
        reason = Reason.VOLUME_UNAVAILABLE
        if event["reason"] == "FailedCreatePodSandBox":
            reason = Reason.SANDBOX_FAILED
        elif _CONFIGURATION.search(words):
            reason = Reason.CONFIGURATION_MISSING
        return Diagnosis(reason, short(f"pod {name}: {event['reason']}: {words}"))
    return None


def newest_first(events: Iterable[Json]) -> list[Json]:
    """Return Events by when each was last seen."""
    return sorted(events, key=_at, reverse=True)


def _regarding(event: Json) -> str | None:
    about: Json = event.get("regarding") or event.get("involvedObject") or {}
    return about.get("name") if about.get("kind", "Pod") == "Pod" else None


def _at(event: Json) -> str:
    series: Json = event.get("series") or {}
    moments = (series.get("lastObservedTime"), event.get("deprecatedLastTimestamp"), event.get("lastTimestamp"))
    return str(next((moment for moment in (*moments, event.get("eventTime")) if moment), ""))
