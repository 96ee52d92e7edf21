"""Runs the Jobs of gates. Their logs and verdicts go to the artifact store before they count.

    <prefix>/registry/<namespace>/<object>/evidence/<job>.log     the end of the pod's log
    <prefix>/registry/<namespace>/<object>/evidence/<job>.json    the verdict, and the SHA-256 of the log

Both are written once. The verdict's file is what ends a gate: whatever is lost before it was written is worked out
again from the Job, and after it the Job is not needed any more.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from modelyard.api.gates import Gate, GateVerdict
from modelyard.api.names import FIELD_MANAGER, REGISTERED_MODEL_LABEL, STAGE_LABEL
from modelyard.api.registeredmodel import RegisteredModel
from modelyard.artifacts.store import AlreadyExists, ArtifactMissing, ArtifactStore
from modelyard.cluster.client import ApiError, Client, Conflict, Invalid, NotFound
from modelyard.cluster.resources import JOBS, PODS
from modelyard.decide.gates import JobReport, attempt
from modelyard.decide.jobs import JobState, newest, state_of
from modelyard.decide.validation import Ended, ended
from modelyard.desired.validation import CONTAINER, Surroundings, Trial, job_name, validation_job
from modelyard.reconcile.base import Clock
from modelyard.reconcile.jobs import how_it_gets_on, pods_of
from modelyard.reconcile.reader import ensure_reader_secret
from modelyard.records.state import ModelState, VersionState
from modelyard.settings import Settings

Json = dict[str, Any]
log = logging.getLogger(__name__)

LOG_LIMIT = 1 << 20
"""How much of the end of a log is kept, in bytes."""

_LOG_READ_LIMIT = 16 << 20
_LOG_LINES = 20000
_LOG_PATIENCE = timedelta(minutes=10)
"""How long a node that does not answer is asked for the log of a Job that has ended."""

_KNOWN = 4096
_SHOWN_DIGEST = 16


@dataclass(frozen=True)
class Entering:
    """The version that is to enter a stage (a key of `spec.stages`) of a model. `evidence` is where its evidence is."""

    model: RegisteredModel
    state: ModelState
    version: VersionState
    stage: str
    evidence: str


class GateJobs:
    """Makes, follows and settles Jobs. Safe to use from several threads."""

    def __init__(self, client: Client, store: ArtifactStore, settings: Settings, clock: Clock) -> None:
        self._client = client
        self._store = store
        self._settings = settings
        self._clock = clock
        self._settled: OrderedDict[str, JobReport] = OrderedDict()
        self._lock = threading.Lock()

    def reports(self, entering: Entering, gates: Iterable[Gate]) -> dict[str, JobReport]:
        """Return how the Job of each gate stands; one that is not there yet is started, one of before is stopped.

        Raises `ArtifactStoreUnreachable`, and `ApiError` where the API server does not answer.
        """
        trials = {gate.name: _trial(entering, gate) for gate in gates if gate.job is not None}
        names = {gate: job_name(entering.model, gate, trial.attempt) for gate, trial in trials.items()}
        reports = {gate: known for gate, name in names.items() if (known := self._known(entering, name))}
        if trials.keys() == reports.keys():
            return reports
        live = self._live(entering)
        self._stop(entering, [job for name, job in live.items() if name not in names.values()])
        for gate, trial in trials.items():
            if gate not in reports:
                job = live.get(names[gate])
                reports[gate] = self._start(entering, trial) if job is None else self._follow(entering, trial, job)
        return reports

    def _known(self, entering: Entering, name: str) -> JobReport | None:
        """Return the verdict that is in the artifact store, if it is there."""
        key = f"{entering.evidence}{name}.json"
        with self._lock:
            if key in self._settled:
                self._settled.move_to_end(key)
                return self._settled[key]
        try:
            verdict = json.loads(self._store.get(key).data)
        except ArtifactMissing:
            return None
        return self._settle(key, verdict)

    def _settle(self, key: str, verdict: Mapping[str, Any]) -> JobReport:
        kept = f"{verdict['job']}.log, sha256:{verdict['log']['sha256'][:_SHOWN_DIGEST]}"
        report = JobReport(GateVerdict(verdict["verdict"]), f"{verdict['message']} ({kept})")
        with self._lock:
            self._settled[key] = report
            if len(self._settled) > _KNOWN:
                self._settled.popitem(last=False)
        return report

    def _live(self, entering: Entering) -> dict[str, Json]:
        metadata = entering.model.metadata
        labels = f"{REGISTERED_MODEL_LABEL}={metadata.name},{STAGE_LABEL}={entering.stage}"
        return {job["metadata"]["name"]: job for job in self._client.list_all(JOBS, metadata.namespace, labels)}

    def _stop(self, entering: Entering, jobs: Sequence[Json]) -> None:
        """Stop what another version, or a gate that was changed, has left at work."""
        for job in jobs:
            if state_of(job) is JobState.ACTIVE:
                metadata = job["metadata"]
                log.info("%s: stopping job %s, which is asked for no more", _name(entering.model), metadata["name"])
                self._client.delete(JOBS, metadata["namespace"], metadata["name"], uid=metadata["uid"])

    def _start(self, entering: Entering, trial: Trial) -> JobReport:
        namespace = entering.model.metadata.namespace
        around = Surroundings(
            self._settings.training_image, self._settings.image_pull_policy, self._settings.tracking_uri
        )
        body = validation_job(entering.model, trial, around)
        name = body["metadata"]["name"]
        ensure_reader_secret(self._client, self._settings, namespace)
        try:
            self._client.create(JOBS, namespace, body, FIELD_MANAGER)
        except Invalid as error:
            return JobReport(GateVerdict.FAILED, f"the API server does not take its Job: {error}")
        except Conflict:
            return JobReport(GateVerdict.RUNNING, f"Job {name} is there already")
        log.info("%s: started job %s for version %d", _name(entering.model), name, trial.version)
        return JobReport(GateVerdict.RUNNING, f"Job {name} was started")

    def _follow(self, entering: Entering, trial: Trial, job: Json) -> JobReport:
        metadata = job["metadata"]
        owners = {owner.get("uid") for owner in metadata.get("ownerReferences", [])}
        if metadata.get("deletionTimestamp") or entering.model.metadata.uid not in owners:
            return JobReport(GateVerdict.RUNNING, f"Job {metadata['name']} of before is about to be removed")
        pods = pods_of(self._client, metadata["namespace"], metadata["name"])
        outcome = ended(job, pods, trial.job.timeout_seconds)
        if outcome is None:
            return JobReport(GateVerdict.RUNNING, how_it_gets_on(self._client, job, pods, self._clock()))
        try:
            text = self._log(metadata["namespace"], newest(pods), outcome)
        except ApiError as error:
            return JobReport(GateVerdict.UNKNOWN, f"{outcome.message}, and its log cannot be read yet: {error}")
        return self._keep(entering, trial, metadata["name"], outcome, text)

    def _log(self, namespace: str, pod: Json | None, outcome: Ended) -> bytes:
        """Return the end of the log. Raises `ApiError` where a node may still give it."""
        if pod is None:
            return b"(there is no log: the pod is gone)\n"
        query = [("container", CONTAINER), ("tailLines", str(_LOG_LINES)), ("limitBytes", str(_LOG_READ_LIMIT))]
        path = PODS.path(namespace, pod["metadata"]["name"], "log")
        try:
            text = self._client.read(path, query, {"Accept": "*/*"})
        except ApiError as error:
            lasting = isinstance(error, NotFound) or error.code == 400
            if not lasting and not self._is_long_ago(outcome.finished_at):
                raise
            return f"(there is no log: {error})\n".encode()
        return text if len(text) <= LOG_LIMIT else b"(the beginning was cut off)\n" + text[-LOG_LIMIT:]

    def _is_long_ago(self, moment: str) -> bool:
        try:
            return self._clock() - datetime.fromisoformat(moment) > _LOG_PATIENCE
        except ValueError:
            return True

    def _keep(self, entering: Entering, trial: Trial, name: str, outcome: Ended, text: bytes) -> JobReport:
        """Write the log and then the verdict; what is there already was written before a crash, and counts."""
        key = f"{entering.evidence}{name}.json"
        verdict = {
            "schemaVersion": 1,
            "job": name,
            "gate": trial.gate,
            "stage": trial.stage,
            "version": trial.version,
            "digest": trial.digest,
            "attempt": trial.attempt,
            "verdict": GateVerdict.PASSED if outcome.passed else GateVerdict.FAILED,
            "message": outcome.message,
            "startedAt": outcome.started_at,
            "finishedAt": outcome.finished_at,
        }
        text = self._written(f"{entering.evidence}{name}.log", text)
        verdict["log"] = {"bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()}
        data = self._written(key, json.dumps(verdict, indent=1).encode() + b"\n")
        log.info("%s: job %s has ended: %s", _name(entering.model), name, outcome.message)
        return self._settle(key, json.loads(data))

    def _written(self, key: str, data: bytes) -> bytes:
        try:
            self._store.put_if_absent(key, data)
        except AlreadyExists:
            return self._store.get(key).data
        return data


def _trial(entering: Entering, gate: Gate) -> Trial:
    assert gate.job is not None
    version = entering.version
    return Trial(
        gate=gate.name,
        job=gate.job,
        stage=entering.stage,
        version=version.version,
        artifact=version.artifact,
        digest=version.digest,
        attempt=attempt(entering.state, version, entering.stage, gate),
    )


def _name(model: RegisteredModel) -> str:
    return f"registeredmodel {model.metadata.namespace}/{model.metadata.name}"
