"""Gathers what a stage's gates ask about a version, and has them judged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, Protocol

from pydantic import ValidationError

from modelyard.api.approval import Approval
from modelyard.api.gates import Gate, GateVerdict
from modelyard.api.model_status import CandidateStatus, Verdict
from modelyard.api.reasons import Reason
from modelyard.api.registeredmodel import RegisteredModel
from modelyard.artifacts.signing import verify
from modelyard.artifacts.store import ArtifactError, ArtifactStore
from modelyard.cluster.client import ApiError, Client, NotFound
from modelyard.cluster.resources import (
    VALIDATING_ADMISSION_POLICIES,
    VALIDATING_ADMISSION_POLICY_BINDINGS,
    ResourceType,
    of_kind,
)
from modelyard.decide.gates import (
    Approvals,
    Evidence,
    Held,
    JobReport,
    Judgement,
    Metrics,
    fingerprint,
    judge,
    remembered,
)
from modelyard.decide.registeredmodel import Fault, asked_by, precise_timestamp
from modelyard.decide.signatures import SignatureState, SignatureVerdict
from modelyard.reconcile.base import Clock
from modelyard.reconcile.gate_jobs import Entering, GateJobs
from modelyard.reconcile.registeredmodel import Judged
from modelyard.records.events import PromotionRefused, StageGates
from modelyard.records.state import ModelState, VersionState
from modelyard.registry.ledger import Ledger
from modelyard.registry.objects import RegistryError
from modelyard.settings import Settings
from modelyard.tracking.client import TrackingError, TrackingUnreachable

Json = dict[str, Any]


_REASONS = {
    Verdict.RUNNING: Reason.GATES_RUNNING,
    Verdict.UNKNOWN: Reason.GATES_RUNNING,
    Verdict.WAITING: Reason.AWAITING_APPROVAL,
    Verdict.REFUSED: Reason.GATES_NOT_PASSED,
}


class Tracking(Protocol):
    """What the gates need of the tracking server; see `tracking.client.TrackingClient`."""

    def metrics(self, run_id: str) -> Mapping[str, float]:
        """Return the newest values of a run's metrics."""


class Gates:
    """Judges versions. Safe to use from several threads."""

    def __init__(
        self,
        client: Client,
        store: ArtifactStore,
        tracking: Tracking,
        ledger_of: Callable[[str, str], Ledger],
        *,
        settings: Settings,
        clock: Clock,
    ) -> None:
        """`ledger_of` returns the log of the model in a namespace and an object."""
        self._client = client
        self._store = store
        self._tracking = tracking
        self._ledger_of = ledger_of
        self._settings = settings
        self._clock = clock
        self._jobs = GateJobs(client, store, settings, clock)

    def __call__(self, model: RegisteredModel, state: ModelState, stage: str, version: int) -> Judged:
        """Judge a version of the model by `spec.gates[stage]`, and say it in the reconciler's terms."""
        judgement = self.judge(model, state, state.versions[version], stage)
        if judgement.verdict is Verdict.ALLOWED:
            return Judged(StageGates(stage=stage, version=version, gates=judgement.results))
        refused = judgement.verdict is Verdict.REFUSED
        fault = Fault(_REASONS[judgement.verdict], judgement.message, passing=not refused)
        refusal = None
        if refused and not judgement.recorded:
            by, user = asked_by(model, stage)
            refusal = PromotionRefused(
                by=by,
                user=user,
                stage=stage,
                version=version,
                fingerprint=judgement.fingerprint,
                gates=judgement.results,
            )
        return Judged(fault, self._candidate(model, stage, version, judgement), refusal)

    def judge(self, model: RegisteredModel, state: ModelState, version: VersionState, stage: str) -> Judgement:
        """Judge whether `version`, whose files are sound, may enter `stage` (a key of `spec.stages`).

        Nothing is raised for what cannot be reached: that is the verdict Unknown, and is to be asked again.
        """
        found = remembered(model, state, version, stage)
        if found is not None:
            return found
        gates = model.spec.gates.get(stage, ())
        evidence = Evidence(
            model=model.model_name,
            stage=stage,
            version=version,
            metrics=self._metrics(version) if any(gate.metric for gate in gates) else Metrics(),
            held=self._held(gates, state),
            jobs=self._job_reports(model, state, version, stage, gates),
            approvals=self._approvals(model) if any(gate.approvers for gate in gates) else Approvals(),
            signatures=self._signatures(model, version, gates),
        )
        return judge(gates, evidence, fingerprint(model, version, stage))

    def _candidate(self, model: RegisteredModel, stage: str, version: int, judgement: Judgement) -> CandidateStatus:
        before = next((each for each in model.status.candidates if each.stage == stage), None)
        unchanged = before is not None and (before.version, before.verdict) == (version, judgement.verdict)
        return CandidateStatus(
            stage=stage,
            version=version,
            verdict=judgement.verdict,
            since=before.since if before and unchanged else precise_timestamp(self._clock()),
            gates=judgement.results,
        )

    def _held(self, gates: Iterable[Gate], state: ModelState) -> dict[str, Held]:
        compared = {gate.compared_to for gate in gates if gate.compared_to}
        held = {}
        for stage, status in state.stages.items():
            version = state.find(status.version)
            known = self._metrics(version) if version and stage in compared else Metrics()
            held[stage] = Held(status.version, known)
        return held

    def _metrics(self, version: VersionState) -> Metrics:
        """Return the metrics of the version's run, or those that were declared with it."""
        if version.run_id is None:
            return Metrics({name: Decimal(value) for name, value in version.metrics.items()})
        try:
            values = self._tracking.metrics(version.run_id)
        except TrackingUnreachable as error:
            return Metrics(problem=str(error), passing=True)
        except TrackingError as error:
            return Metrics(problem=f"run {version.run_id}: {error}")
        return Metrics({name: Decimal(repr(value)) for name, value in values.items()})

    def _job_reports(
        self, model: RegisteredModel, state: ModelState, version: VersionState, stage: str, gates: Iterable[Gate]
    ) -> dict[str, JobReport]:
        with_job = [gate for gate in gates if gate.job]
        if not with_job:
            return {}
        ledger = self._ledger_of(model.metadata.namespace, model.metadata.name)
        try:
            return self._jobs.reports(Entering(model, state, version, stage, ledger.evidence_key("")), with_job)
        except (ApiError, ArtifactError) as error:
            return {gate.name: JobReport(GateVerdict.UNKNOWN, str(error)) for gate in with_job}

    def _approvals(self, model: RegisteredModel) -> Approvals:
        """Return the Approvals that an admission policy vouches for."""
        name = self._settings.approval_policy
        if name is None:
            return Approvals(problem="this installation has no admission policy that says who made them")
        try:
            policy = self._client.get(VALIDATING_ADMISSION_POLICIES, None, name)
            binding = self._client.get(VALIDATING_ADMISSION_POLICY_BINDINGS, None, name)
            bodies = self._client.list_all(_APPROVALS, model.metadata.namespace)
        except NotFound as error:
            return Approvals(problem=f"nothing says who made them: {error}")
        except ApiError as error:
            return Approvals(problem=str(error), passing=True)
        problem = _weakness(name, policy, binding)
        if problem is not None:
            return Approvals(problem=problem)
        since = max(str(body["metadata"].get("creationTimestamp", "")) for body in (policy, binding))
        given: list[Approval] = []
        unproven: list[Approval] = []
        for approval in _parsed(bodies):
            (given if str(approval.metadata.creation_timestamp) >= since else unproven).append(approval)
        return Approvals(tuple(given), tuple(unproven))

    def _signatures(
        self, model: RegisteredModel, version: VersionState, gates: Iterable[Gate]
    ) -> dict[str, SignatureVerdict]:
        signers = {gate.name: gate.signature for gate in gates if gate.signature}
        if not signers:
            return {}
        try:
            manifest = self._ledger_of(model.metadata.namespace, model.metadata.name).files(version)
            if manifest is None or manifest.digest != version.digest:
                known = SignatureVerdict(SignatureState.INVALID, "the version's files are not in the records")
                return dict.fromkeys(signers, known)
            return {name: verify(self._store, version.artifact, manifest, signer) for name, signer in signers.items()}
        except (ArtifactError, RegistryError) as error:
            return dict.fromkeys(signers, SignatureVerdict(SignatureState.UNKNOWN, str(error)))


_APPROVALS: ResourceType = of_kind(Approval)


def _weakness(name: str, policy: Json, binding: Json) -> str | None:
    """Say why a policy that is there does not vouch for Approvals, or None where it does."""
    spec = binding.get("spec", {})
    if spec.get("policyName") != name:
        return f"the ValidatingAdmissionPolicyBinding {name} binds another policy"
    if "Deny" not in spec.get("validationActions", []) or spec.get("matchResources"):
        return f"the ValidatingAdmissionPolicyBinding {name} does not deny everywhere"
    if policy.get("spec", {}).get("failurePolicy", "Fail") != "Fail":
        return f"the ValidatingAdmissionPolicy {name} lets through what it cannot judge"
    return None


def _parsed(bodies: Iterable[Json]) -> Iterable[Approval]:
    """Return the Approvals that can be read; one of another release's schema says nothing."""
    for body in bodies:
        if body["metadata"].get("deletionTimestamp"):
            continue
        try:
            yield Approval.parse(body)
        except ValidationError:
            continue
