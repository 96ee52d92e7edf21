"""What a diagnosis is, and what the API server's words mean when it refuses an object.

The words are those that Kubernetes itself writes. Its answers carry no machine-readable cause (all of these are 403
`Forbidden` or 500 `InternalError`), and a Deployment's condition quotes nothing else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from modelyard.api.reasons import Reason

Json = dict[str, Any]

MESSAGE_LIMIT = 512


@dataclass(frozen=True)
class Diagnosis:
    """Why something does not work."""

    reason: Reason
    message: str
    permanent: bool = False
    """Whether the model is at fault, so that trying again cannot help; otherwise it is what surrounds it."""


# In this order: what a webhook or a policy writes is free text, which may hold any of the other words.
_REFUSALS: tuple[tuple[re.Pattern[str], Reason], ...] = tuple(
    (re.compile(pattern), reason)
    for pattern, reason in (
        (r"failed calling webhook|failed to call webhook", Reason.ADMISSION_WEBHOOK_UNAVAILABLE),
        (r"admission webhook \"[^\"]*\" denied the request", Reason.ADMISSION_DENIED),
        (r"ValidatingAdmissionPolicy '[^']*'.* denied request", Reason.ADMISSION_DENIED),
        (r"violates PodSecurity", Reason.ADMISSION_DENIED),
        (r"(exceeded|failed) quota: |insufficient quota to match these scopes", Reason.QUOTA_EXCEEDED),
        (r"(minimum|maximum) \S+ usage per |max limit to request ratio per ", Reason.LIMIT_RANGE_VIOLATED),
        (r"error looking up service account ", Reason.SERVICE_ACCOUNT_NOT_FOUND),
        (r"no PriorityClass with name \S+ was found", Reason.PRIORITY_CLASS_NOT_FOUND),
        (r"pod rejected: RuntimeClass \"[^\"]*\" not found", Reason.RUNTIME_CLASS_NOT_FOUND),
    )
)


def refused_pod(words: str) -> Diagnosis:
    """Diagnose why pods are not created, from what the API server answered their controller."""
    return Diagnosis(_cause(words) or Reason.POD_REFUSED, short(words))


def diagnose_refusal(kind: str, name: str, words: str) -> Diagnosis:
    """Diagnose why an object of the operator's own is refused, from what the API server answered.

    A 404 on writing an HTTPRoute stands for a cluster without the Gateway API.
    """
    reason = _cause(words) or Reason.OBJECT_REFUSED
    if kind == "HTTPRoute" and re.search(r"404 page not found|could not find the requested resource", words):
        reason = Reason.GATEWAY_API_MISSING
        words = "the cluster does not know HTTPRoutes, which spec.rest.gateway needs"
    return Diagnosis(reason, short(f"{kind} {name}: {words}"))


def _cause(words: str) -> Reason | None:
    return next((reason for pattern, reason in _REFUSALS if pattern.search(words)), None)


def condition(status: Json, kind: str) -> Json | None:
    """Return the condition of that type of a status, or None."""
    return next((each for each in status.get("conditions") or [] if each.get("type") == kind), None)


def short(text: str) -> str:
    """Return the text on one line, cut where it is longer than a message should be."""
    text = " ".join(text.split())
    return text if len(text) <= MESSAGE_LIMIT else text[: MESSAGE_LIMIT - 1] + "…"
