"""Has versions prepared for serving by Jobs, and records what came of it before it is used.

    <prefix>/prepared/<digest>/<key>/preparation.json     what the Job found
    <prefix>/prepared/<digest>/<key>/model.onnx           the model, converted
    <prefix>/prepared/<digest>/<key>/environment.tar.gz   the libraries that it asks for

The Job may write these three and read what model pods read. It runs the model's code, so nothing that it says of the
objects is believed: the operator reads and hashes them. The record in the model's log is what counts afterwards.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from modelyard.api.model_status import PreparationStatus, VersionStatus
from modelyard.api.modeldeployment import ModelDeployment
from modelyard.api.names import FIELD_MANAGER, REFRESH_ANNOTATION
from modelyard.api.reasons import Reason
from modelyard.api.registeredmodel import RegisteredModel
from modelyard.api.serving import ServedModel
from modelyard.artifacts.store import ArtifactError, ArtifactMissing, ArtifactStore
from modelyard.cluster.client import ApiError, Client, Conflict
from modelyard.cluster.resources import JOBS, SECRETS
from modelyard.decide.jobs import JobState, state_of
from modelyard.decide.modeldeployment import Problem, parse_time
from modelyard.decide.preparation import (
    ENVIRONMENT,
    EVIDENCE,
    EVIDENCE_LIMIT,
    MODEL,
    Ask,
    EvidenceInvalid,
    Standing,
    ask_for,
    failed,
    job_failure,
    must_wait,
    note_of,
    prepared,
    read_evidence,
    refusal,
    settled,
    wants,
)
from modelyard.desired.preparation import (
    SECRET,
    JobSettings,
    Preparing,
    left_over,
    preparation_job,
    upload_manager,
    upload_secret,
)
from modelyard.reconcile.base import Clock
from modelyard.reconcile.jobs import how_it_gets_on, pods_of
from modelyard.reconcile.reader import ensure_reader_secret
from modelyard.registry.objects import RegistryError
from modelyard.registry.registry import Registry
from modelyard.settings import Settings

Json = dict[str, Any]
log = logging.getLogger(__name__)

LOOK_SECONDS = 3.0
"""How often a Job is looked at that pods wait for: Jobs are not watched."""

AHEAD_SECONDS = 15.0
"""How often one is looked at that nobody waits for yet."""

AHEAD_AT_ONCE = 4
"""How many versions are prepared at a time that nobody has asked for yet."""

RETRY = timedelta(minutes=5)
"""How long no Job is tried to be made again for a version that nobody waits for."""

_KNOWN = 4096
_SPARE_SECONDS = 600
"""How much longer than the Job its URLs live."""


@dataclass(frozen=True)
class Look:
    """What is wanted once its preparation is looked at, and when to look again (seconds)."""

    wanted: ServedModel | Problem
    again_after: float | None = None


@dataclass
class _Ahead:
    """The Jobs that were made ahead of time and have not ended. Losing it costs a few Jobs more at a time."""

    running: set[str] = field(default_factory=set)
    refused: dict[str, datetime] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Preparations:
    """What a ModelDeployment's reconcile asks of preparations. Safe to use from several threads."""

    def __init__(
        self, client: Client, store: ArtifactStore, registry: Registry, settings: Settings, clock: Clock
    ) -> None:
        """`settings.preparation` must be there."""
        assert settings.preparation is not None
        self._jobs = PreparationJobs(client, store, registry, settings, clock)
        self._seconds = settings.preparation.wait_seconds
        self._image = settings.serving_image
        self._uri = store.uri("").rstrip("/")
        self._clock = clock
        self._ahead = _Ahead()

    def look(
        self,
        owner: ModelDeployment,
        model: RegisteredModel | None,
        wanted: ServedModel | Problem,
        deployments: Mapping[str, Json],
    ) -> Look:
        """Return what is wanted with what was prepared of it, or why it has to wait or cannot be had.

        `deployments` are the live ones, by revision. Raises `ApiError` where the API server does not answer.
        """
        if model is None or not wants(owner):
            return Look(wanted)
        look = Look(wanted)
        if isinstance(wanted, ServedModel):
            present = deployments.get(wanted.revision)
            look = self._to_come(owner, model, wanted) if present is None else self._made(owner, model, wanted, present)
        if look.again_after is None and isinstance(look.wanted, ServedModel):
            return replace(look, again_after=self._newest(owner, model, look.wanted))
        return look

    def known(self, owner: ModelDeployment, model: RegisteredModel | None, served: ServedModel) -> ServedModel:
        """Return a version with what is recorded of it, without asking anybody."""
        version = model.status.find(served.version) if model else None
        if version is None or version.preparation is None or version.preparation.image != self._image:
            return served
        return self._with(owner, served, Standing(version.preparation))

    def _to_come(self, owner: ModelDeployment, model: RegisteredModel, wanted: ServedModel) -> Look:
        """Look at a version that has no pods yet."""
        refused = owner.status.refused
        if refused and (refused.revision, refused.generation) == (wanted.revision, owner.metadata.generation):
            # It was taken back, and is not tried again.
            return Look(wanted)
        version = _version(model, wanted)
        ask = ask_for(owner, model.metadata.name, version, self._image)
        standing = Standing(version.preparation) if ask is None else self._jobs.follow(owner, model, ask)
        if problem := refusal(owner, wanted, standing.settled):
            return Look(problem)
        if problem := must_wait(owner, wanted, standing, self._clock(), self._seconds):
            return Look(problem, LOOK_SECONDS)
        return Look(self._with(owner, wanted, standing), AHEAD_SECONDS if standing.since else None)

    def _made(self, owner: ModelDeployment, model: RegisteredModel, wanted: ServedModel, present: Json) -> Look:
        """Look at a version that has pods: they wait for nothing, but what came of a Job since is told."""
        note = note_of(present)
        unfinished = note is not None and note[0] == Reason.PREPARING
        ask = ask_for(owner, model.metadata.name, _version(model, wanted), self._image)
        asked_again = ask is not None and REFRESH_ANNOTATION in owner.metadata.annotations
        if ask is None or not (unfinished or asked_again):
            return Look(self.known(owner, model, wanted))
        standing = self._jobs.follow(owner, model, ask)
        return Look(self._with(owner, wanted, standing), AHEAD_SECONDS if standing.since else None)

    def _newest(self, owner: ModelDeployment, model: RegisteredModel, wanted: ServedModel) -> float | None:
        """Have the newest version prepared before anybody asks for it; return when to look at it again."""
        version = model.status.find(model.status.latest_version)
        if version is None or owner.spec.model.version is not None or version.version <= wanted.version:
            return None
        ask = ask_for(owner, model.metadata.name, version, self._image)
        now, ahead = self._clock(), self._ahead
        if ask is None:
            return None
        with ahead.lock:
            full = len(ahead.running) >= AHEAD_AT_ONCE and ask.job not in ahead.running
            if full or now < ahead.refused.get(ask.job, now):
                return None
            ahead.running.add(ask.job)
        standing = self._jobs.follow(owner, model, ask)
        with ahead.lock:
            if standing.since is None:
                ahead.running.discard(ask.job)
            if standing.since is None and standing.settled is None:
                ahead.refused = {job: until for job, until in ahead.refused.items() if until > now}
                ahead.refused[ask.job] = now + RETRY
        return AHEAD_SECONDS if standing.since else None

    def _with(self, owner: ModelDeployment, served: ServedModel, standing: Standing) -> ServedModel:
        return replace(served, prepared=prepared(owner, standing, self._uri))


def _version(model: RegisteredModel, wanted: ServedModel) -> VersionStatus:
    version = model.status.find(wanted.version)
    assert version is not None, "what is wanted was found by its number"
    return version


class PreparationJobs:
    """Makes, follows and settles the Jobs."""

    def __init__(
        self,
        client: Client,
        store: ArtifactStore,
        registry: Registry,
        settings: Settings,
        clock: Clock,
    ) -> None:
        assert settings.preparation is not None
        self._client = client
        self._store = store
        self._registry = registry
        self._settings = settings
        self._preparation = settings.preparation
        self._clock = clock
        self._known: OrderedDict[tuple[str, int], Standing] = OrderedDict()
        """What was recorded and an object may not show yet: by the Job's name and the version."""
        self._lock = threading.Lock()

    def follow(self, owner: ModelDeployment, model: RegisteredModel, ask: Ask) -> Standing:
        """Return how a preparation stands; its Job is made where there is none, and what it left is recorded.

        Raises `ApiError` where the API server does not answer.
        """
        with self._lock:
            if known := self._known.get((ask.job, ask.version)):
                return known
        job = self._client.find(JOBS, ask.namespace, ask.job)
        since = parse_time(job["metadata"]["creationTimestamp"]) if job else None
        try:
            if job is None:
                # Nobody may have looked before it was removed; or it was recorded for another version with these files.
                done = self._found(ask)
                return self._recorded(model, ask, done) if done else self._start(owner, model, ask)
            owners = {each.get("uid") for each in job["metadata"].get("ownerReferences", [])}
            if job["metadata"].get("deletionTimestamp") or model.metadata.uid not in owners:
                return Standing(since=since, message=f"Job {ask.job} of before is about to be removed")
            return self._after(model, ask, job)
        except (ArtifactError, RegistryError) as error:
            log.warning("%s/%s: preparing version %d: %s", ask.namespace, ask.model, ask.version, error)
            return Standing(since=since, message=str(error))

    def _after(self, model: RegisteredModel, ask: Ask, job: Json) -> Standing:
        state = state_of(job)
        if state is JobState.ACTIVE:
            since = parse_time(job["metadata"]["creationTimestamp"])
            message = how_it_gets_on(self._client, job, pods_of(self._client, ask.namespace, ask.job), self._clock())
            return Standing(since=since, message=message)
        if state is JobState.FAILED:
            why = job_failure(job, pods_of(self._client, ask.namespace, ask.job))
            return self._recorded(model, ask, failed(ask, why))
        done = self._found(ask) or failed(ask, f"Job {ask.job} has ended without leaving {EVIDENCE}")
        return self._recorded(model, ask, done)

    def _found(self, ask: Ask) -> PreparationStatus | None:
        """Read and check what was uploaded; None where there is no evidence."""
        try:
            data = self._store.get_small(f"{ask.directory}/{EVIDENCE}", EVIDENCE_LIMIT)
        except ArtifactMissing:
            return None
        try:
            evidence = read_evidence(data, ask.digest)
            hashes = {name: self._hash(f"{ask.directory}/{name}") for name in evidence.objects}
            done = settled(ask, evidence, f"sha256:{hashlib.sha256(data).hexdigest()}", hashes)
        except EvidenceInvalid as error:
            return failed(ask, f"what was uploaded is not used: {error}")
        # Where the Job could not write, as long as it may: what is recorded stays readable.
        self._store.put(self._registry.ledger(ask.namespace, ask.model).evidence_key(done.evidence_name), data)
        return done

    def _hash(self, key: str) -> tuple[str, int] | None:
        try:
            return self._store.hash(key)
        except ArtifactMissing:
            return None

    def _recorded(self, model: RegisteredModel, ask: Ask, done: PreparationStatus) -> Standing:
        """Take the Job's URLs back, then record what came of it."""
        manager = upload_manager(FIELD_MANAGER, ask.job)
        self._client.apply(SECRETS, upload_secret(ask.namespace, ask.job, {}), manager)
        self._registry.record_preparation(ask.namespace, model.model_name, ask.version, ask.digest, done)
        log.info("%s/%s: version %d: %s: %s", ask.namespace, ask.model, ask.version, done.outcome, done.message)
        with self._lock:
            self._known[ask.job, ask.version] = Standing(done)
            if len(self._known) > _KNOWN:
                self._known.popitem(last=False)
        return Standing(done)

    def _start(self, owner: ModelDeployment, model: RegisteredModel, ask: Ask) -> Standing:
        ensure_reader_secret(self._client, self._settings, ask.namespace)
        version = model.status.find(ask.version)
        assert version is not None
        job = preparation_job(model, self._preparing(owner, ask, version), self._job_settings)
        try:
            self._clear_away(ask.namespace)
            # First what the Job cannot begin without.
            self._client.apply(SECRETS, self._secret(ask), upload_manager(FIELD_MANAGER, ask.job))
            made = self._client.create(JOBS, ask.namespace, job, FIELD_MANAGER)
        except Conflict:
            made = self._client.get(JOBS, ask.namespace, ask.job)
        except ApiError as error:
            if not error.code:
                raise
            return Standing(message=f"the API server does not take Job {ask.job}: {error}")
        log.info("%s/%s: started job %s for version %d", ask.namespace, ask.model, ask.job, ask.version)
        return Standing(since=parse_time(made["metadata"]["creationTimestamp"]), message=f"Job {ask.job} is at work")

    def _clear_away(self, namespace: str) -> None:
        """Remove the URLs of Jobs that nobody has looked after: their models were deleted meanwhile."""
        for job in left_over(self._client.find(SECRETS, namespace, SECRET), self._clock()):
            self._client.apply(SECRETS, upload_secret(namespace, job, {}), upload_manager(FIELD_MANAGER, job))

    def _secret(self, ask: Ask) -> Json:
        names = {"evidence": EVIDENCE, "model": MODEL, "environment": ENVIRONMENT}
        seconds = self._preparation.deadline_seconds + _SPARE_SECONDS
        urls = {part: self._store.put_url(f"{ask.directory}/{name}", seconds) for part, name in names.items()}
        return upload_secret(ask.namespace, ask.job, urls)

    @staticmethod
    def _preparing(owner: ModelDeployment, ask: Ask, version: VersionStatus) -> Preparing:
        recent = f"http://{owner.metadata.name}.{ask.namespace}.svc/modelyard/recent" if owner.status.served else None
        return Preparing(ask.job, ask.version, version.artifact, ask.digest, recent)

    @property
    def _job_settings(self) -> JobSettings:
        return JobSettings(
            image=self._settings.serving_image,
            pull_policy=self._settings.image_pull_policy,
            deadline_seconds=self._preparation.deadline_seconds,
            resources=self._preparation.resources,
            env_from=self._preparation.env_from,
            index_url=self._preparation.index_url,
        )
