"""The environment of an execution: what is asked for, what its Job says of it, and what is recorded.

`environment.json`, which the Job uploads last, says what it made. Nothing of that is believed before it was checked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from modelyard.api.project_files import Directory, TrialEnvironment
from modelyard.decide.jobs import failure_of, short
from modelyard_environments.lock import CONDA_LINE
from modelyard_environments.recipe import CONDA, Recipe
from modelyard_environments.recipe import LOCK as LOCKED

Json = dict[str, Any]

REPORT = "environment.json"
ARCHIVE = "environment.tar.gz"
LOCK = "environment.lock.txt"
RECIPE = "recipe.json"
RECORD = "record.json"
"""What the operator found and checked, where no Job may write."""

REPORT_LIMIT = 8 << 20
"""The largest report that is read, in bytes."""

SCHEMA_VERSION = 1
_MESSAGE_LIMIT = 900


class ReportInvalid(Exception):
    """What was uploaded cannot be used; the message says why."""


@dataclass(frozen=True)
class Ask:
    """One environment. `key` names it, its Job and its directory in the artifact store."""

    namespace: str
    image: str
    recipe: Recipe

    @property
    def key(self) -> str:
        """24 hex digits.

        Namespaces do not share what was made of equal content: each trusts its own pods only.
        """
        said = "\n".join([self.namespace, self.image, self.recipe.digest])
        return hashlib.sha256(said.encode()).hexdigest()[:24]

    @property
    def job(self) -> str:
        """The name of the Job."""
        return f"environment-{self.key[:12]}"

    @property
    def directory(self) -> str:
        """Below this key of the artifact store everything is."""
        return f"environments/{self.key}"


def asks_channels(recipe: Recipe) -> bool:
    """Whether packages of conda channels are wanted: they are installed before those of an index."""
    if recipe.kind == LOCKED:
        return any(text.startswith(CONDA_LINE) for text in recipe.files.get("lock", "").splitlines())
    return recipe.kind == CONDA


class _Said(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", strict=True)


class _Object(_Said):
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)

    @property
    def digest(self) -> str:
        return f"sha256:{self.sha256}"


class _Directory(_Said):
    paths: list[str]
    texts: dict[str, str]


class Report(_Said):
    """`environment.json`: format of `modelyard_environments.report`."""

    schema_version: int
    key: str
    python: str = ""
    packages: int = Field(default=0, ge=0)
    message: str = ""
    archive: _Object | None = None
    lock: _Object | None = None
    directory: _Directory | None = None

    @property
    def objects(self) -> dict[str, _Object]:
        """What is to be found beside the report, by name."""
        named = {ARCHIVE: self.archive, LOCK: self.lock}
        return {name: found for name, found in named.items() if found is not None}


def read_report(data: bytes, ask: Ask) -> Report:
    """Read what a Job has uploaded. Raises `ReportInvalid`."""
    if len(data) > REPORT_LIMIT:
        raise ReportInvalid(f"{REPORT} is larger than {REPORT_LIMIT} bytes")
    try:
        found = Report.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise ReportInvalid(f"{REPORT} cannot be read: {where or 'the whole'}: {first['msg']}") from error
    if found.schema_version != SCHEMA_VERSION:
        raise ReportInvalid(f"{REPORT} has schema version {found.schema_version}, not {SCHEMA_VERSION}")
    if found.key != ask.key:
        raise ReportInvalid(f"{REPORT} is of the environment {found.key}, not {ask.key}")
    if ask.recipe.directory is not None and found.directory is None:
        raise ReportInvalid(f"{REPORT} does not say what is in {ask.recipe.directory}")
    return found


def settled(
    ask: Ask, report: Report, uri: str, hashes: Mapping[str, tuple[str, int] | None]
) -> tuple[TrialEnvironment, Directory | None]:
    """Return the environment, and the project's directory where the recipe asks for it.

    `uri` is that of the artifact store's root, without a slash at its end; `hashes` what was read of the objects.
    Raises `ReportInvalid` where an object is not there, or is not the one that the report names.
    """
    for name, named in report.objects.items():
        found = hashes.get(name)
        if found is None:
            raise ReportInvalid(f"{REPORT} names {name}, which was not uploaded")
        if found != (named.digest, named.bytes):
            raise ReportInvalid(f"{name} is {found[0]}, {found[1]} bytes; {REPORT} says {named.digest}, {named.bytes}")
    below = f"{uri}/{ask.directory}"
    environment = TrialEnvironment(
        key=ask.key,
        image=ask.image,
        archive=f"{below}/{ARCHIVE}" if report.archive else None,
        digest=report.archive.digest if report.archive else None,
        lock=report.lock.digest if report.lock else "",
        lock_uri=f"{below}/{LOCK}" if report.lock else "",
        packages=report.packages,
        message=short(report.message, _MESSAGE_LIMIT),
    )
    return environment, _directory(report.directory)


def _directory(said: _Directory | None) -> Directory | None:
    return Directory(frozenset(said.paths), dict(said.texts)) if said else None


def job_failure(job: Json, pods: Sequence[Json]) -> str:
    """Say why a Job has failed: in the words that its container left, where it left any."""
    name = job["metadata"]["name"]
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp")), reverse=True):
        status = pod.get("status", {})
        for container in (*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])):
            ended = container.get("state", {}).get("terminated") or {}
            if ended.get("exitCode") and ended.get("reason") == "OOMKilled":
                return f"Job {name}: container {container['name']} ran out of memory (OOMKilled)"
            if ended.get("exitCode") and str(ended.get("message", "")).strip():
                return short(str(ended["message"]), _MESSAGE_LIMIT)
    failure = failure_of(job, pods)
    if failure.reason == "DeadlineExceeded":
        return f"Job {name} did not end within {job['spec']['activeDeadlineSeconds']} s"
    return short(": ".join(filter(None, (f"Job {name}", failure.reason, failure.message))), _MESSAGE_LIMIT)
