"""Fixes what an Experiment runs: a branch becomes a commit, a ConfigMap or a directory in S3 a copy that stays."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from modelyard.api.experiment import Experiment
from modelyard.api.project import ConfigMapSource, GitSource, ProjectSource, RunSource, S3Source
from modelyard.api.project_files import Directory, GitFiles, ImageFiles, KeptFiles, ProjectFiles, from_json
from modelyard.api.reasons import Reason
from modelyard.artifacts.store import (
    AlreadyExists,
    ArtifactError,
    ArtifactMissing,
    ArtifactStore,
    Keys,
)
from modelyard.cluster.client import ApiError, Client
from modelyard.cluster.resources import CONFIG_MAPS, SECRETS
from modelyard.decide.experiment_model import PROJECT_TAG, Problem, Run
from modelyard.settings import Settings
from modelyard.sources import configmap, git
from modelyard.sources import keep as copies
from modelyard.sources.address import shown
from modelyard.sources.apart import SeparateGit
from modelyard.sources.credentials import FIELD, Credentials
from modelyard.sources.errors import SourceError, SourceNotFound, SourceUnreachable
from modelyard.sources.s3 import S3Project, artifact_directory, keys_of, reading
from modelyard.tracking.client import TrackingError, TrackingUnreachable

PROJECT_ARTIFACT = "modelyard/project.tar.gz"
"""Where `mlflow run` keeps a local directory, below the artifacts of the run that it names in `project.run`."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_STORED = 10_000
_REMEMBERED = 32 << 20
"""How many bytes of projects' texts and file names are kept in memory."""


class Git(Protocol):
    """What is needed of git."""

    def find(self, url: str, revision: str, credentials: Credentials | None = None) -> git.Resolved:
        """Return what a revision names now. Raises `SourceError`."""

    def directory(self, files: GitFiles, credentials: Credentials | None = None) -> Directory:
        """Return what a directory holds at a commit. Raises `SourceError`."""


@dataclass(frozen=True)
class Pinned:
    """What is run, fixed: the same content for every trial of an execution.

    `content` names it: a commit, the digest of the files, or `image:<path>`. `tags` are MLflow's own of a run's source.
    """

    content: str
    files: ProjectFiles
    commit: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    directory: Directory | None = None
    namespace: str = ""
    """Of the Experiment: credentials are read there."""

    to_keep: copies.Content | None = field(default=None, compare=False, repr=False)
    """Files that are not in the artifact store yet."""


class ProjectSources:
    """Pins, keeps and reads projects. What was read of a content is remembered, since it cannot change."""

    def __init__(
        self,
        client: Client,
        store: ArtifactStore | None,
        get_run: Callable[[str], Run | None],
        git_source: Git | None,
        settings: Settings,
    ) -> None:
        """`get_run` returns a run of the tracking server. Without `store` there are git and image sources alone."""
        self._client = client
        self._store = store
        self._settings = settings
        self._get_run = get_run
        self._git = git_source or SeparateGit()
        self._directories = _Memory()
        self._stored: OrderedDict[str, None] = OrderedDict()
        """Digests whose files are in the store."""
        self._seen: OrderedDict[str, str] = OrderedDict()
        """Digests of what was read in S3, by where it is and how it was."""
        self._lock = threading.Lock()

    def pin(self, experiment: Experiment, commit: str | None = None) -> Pinned | Problem:
        """Fix what is run.

        `commit` is the `content` that the present execution fixed before: then nothing is resolved anew. May raise
        `ApiError` where the API server does not answer.
        """
        source = experiment.spec.project
        assert source is not None
        try:
            return replace(self._pin(experiment, source, commit), namespace=experiment.metadata.namespace)
        except TrackingError as error:
            unreachable = isinstance(error, TrackingUnreachable)
            reason = Reason.TRACKING_SERVER_UNREACHABLE if unreachable else Reason.TRACKING_SERVER_REFUSED
            return Problem(reason, str(error), transient=unreachable)
        except (SourceError, ArtifactError) as error:
            return _problem(error)

    def keep(self, pinned: Pinned) -> Pinned | Problem:
        """Have the files in the artifact store, where they would not stay by themselves; once for each content."""
        if pinned.to_keep is None or not isinstance(pinned.files, KeptFiles):
            return pinned
        try:
            self._upload(pinned.files.digest, pinned.to_keep)
        except (SourceError, ArtifactError) as error:
            return _problem(error)
        return replace(pinned, to_keep=None)

    def directory(self, pinned: Pinned) -> Directory | Problem | None:
        """Return what the project's directory holds; None for a directory of an image, which only its pods can read."""
        files, namespace = pinned.files, pinned.namespace
        if pinned.directory is not None or isinstance(files, ImageFiles):
            return pinned.directory
        # Who may not read a repository does not learn what others have read of it.
        known = (namespace, files) if isinstance(files, GitFiles) else files.digest
        if found := self._directories.get(known):
            return found
        try:
            if isinstance(files, GitFiles):
                found = self._git.directory(files, self._credentials(namespace, files.secret))
            else:
                found = self._kept_directory(files)
        except (SourceError, ArtifactError) as error:
            return _problem(error)
        self._directories.put(known, found)
        return found

    def _pin(self, experiment: Experiment, source: ProjectSource, fixed: str | None) -> Pinned:
        if source.git:
            return self._pin_git(experiment, source.git, fixed)
        if source.config_map:
            return self._pin_config_map(experiment, source.config_map, fixed)
        if source.s3:
            return self._pin_s3(experiment.metadata.namespace, source.s3, fixed)
        if source.run:
            return self._pin_run(source.run)
        assert source.image is not None
        return _of_image(ImageFiles(source.image.path))

    def _pin_git(self, experiment: Experiment, source: GitSource, commit: str | None) -> Pinned:
        secret = source.secret_ref.name if source.secret_ref else None
        branch = None
        if commit is None or not _COMMIT.fullmatch(commit):
            credentials = self._credentials(experiment.metadata.namespace, secret)
            resolved = self._git.find(source.url, source.revision, credentials)
            commit, branch = resolved.commit, resolved.branch
        return _of_git(GitFiles(source.url, commit, source.path, source.submodules, secret), branch)

    def _pin_config_map(self, experiment: Experiment, source: ConfigMapSource, content: str | None) -> Pinned:
        origin = f"configmap:{source.name}"
        if content and _DIGEST.fullmatch(content) and self._holds(content):
            return _of_kept(self._kept_files(content, origin))
        namespace = experiment.metadata.namespace
        body = self._client.find(CONFIG_MAPS, namespace, source.name)
        if body is None:
            raise SourceNotFound(
                f"spec.project.configMap.name: there is no ConfigMap {source.name} in namespace {namespace}"
            )
        files = copies.in_memory(configmap.files(body))
        return _of_kept(self._kept_files(copies.digest(files), origin), copies.directory(files), files)

    def _pin_s3(self, namespace: str, source: S3Source, fixed: str | None) -> Pinned:
        if fixed and _DIGEST.fullmatch(fixed) and self._holds(fixed):
            return _of_kept(self._kept_files(fixed, source.uri))
        where = (namespace, source.endpoint, source.uri, source.secret_ref)
        project = S3Project(self._reading(namespace, source), source.uri)
        try:
            seen = f"{where}{project.fingerprint()}"
            if (known := self._seen.get(seen)) and self._holds(known):
                return _of_kept(self._kept_files(known, source.uri))
            pinned = self._copied(project, source.uri)
        except ArtifactMissing as error:
            raise SourceNotFound(f"spec.project.s3.uri: {error}") from error
        with self._lock:
            self._seen[seen] = pinned.content
            while len(self._seen) > _STORED:
                self._seen.popitem(last=False)
        return pinned

    def _copied(self, project: S3Project, origin: str) -> Pinned:
        """Read a project and keep it at once: a moment later it may be another."""
        with TemporaryDirectory(prefix="modelyard-project-") as scratch:
            content = copies.on_disk(project.bring(Path(scratch)))
            files = self._kept_files(copies.digest(content), origin)
            directory = copies.directory(content)
            self._upload(files.digest, content)
        return _of_kept(files, directory)

    def _reading(self, namespace: str, source: S3Source) -> ArtifactStore:
        """Return what reads a source, with the credentials that it is to be read with."""
        secret = source.secret_ref.name if source.secret_ref else None
        field = "spec.project.s3.secretRef"
        if secret:
            keys = keys_of(secret, read_secret(self._client, namespace, secret, field))
        elif source.endpoint:
            # The installation's credentials are for its own store.
            keys = Keys()
        elif self._settings.reader_access_key and self._settings.reader_secret_key:
            keys = Keys(self._settings.reader_access_key, self._settings.reader_secret_key)
        else:
            raise SourceNotFound(f"{field}: name a Secret: this installation has no read-only credentials of its own")
        return reading(self._settings, source.uri, source.endpoint, source.region, keys)

    def _pin_run(self, source: RunSource) -> Pinned:
        run = self._get_run(source.id)
        if run is None:
            raise SourceNotFound(f"spec.project.run.id: the tracking server has no run {source.id}")
        text = run.tags.get(PROJECT_TAG)
        if text is None:
            raise SourceNotFound(
                f"spec.project.run.id: run {source.id} was not made by an Experiment: no {PROJECT_TAG}"
            )
        try:
            files = from_json(text)
        except ValueError as error:
            raise SourceNotFound(f"spec.project.run.id: tag {PROJECT_TAG} of run {source.id}: {error}") from error
        if isinstance(files, GitFiles):
            return _of_git(files, None)
        if isinstance(files, ImageFiles):
            return _of_image(files)
        # Whoever may write tags must not thereby name any object of the store.
        if _DIGEST.fullmatch(files.digest) and self._holds(files.digest):
            return _of_kept(self._kept_files(files.digest, files.origin))
        return self._of_artifact(run, files)

    def _of_artifact(self, run: Run, files: KeptFiles) -> Pinned:
        """Take over files that a run has as its artifact: `mlflow run` puts them there."""
        gone = f"spec.project.run.id: the files of run {run.run_id}, {files.origin}, are not kept any more"
        directory = artifact_directory(run.artifact_uri, self._settings.artifacts_destination)
        if directory is None:
            raise SourceNotFound(gone)
        with self._lock:
            known = self._seen.get(run.run_id)
        if known and self._holds(known):
            return _of_kept(self._kept_files(known, files.origin))
        try:
            pinned = self._copied(S3Project(self._artifacts, f"{directory}/{PROJECT_ARTIFACT}"), files.origin)
        except ArtifactMissing as error:
            raise SourceNotFound(gone) from error
        with self._lock:
            self._seen[run.run_id] = pinned.content
        return pinned

    def _credentials(self, namespace: str, secret: str | None) -> Credentials | None:
        if secret is None:
            return None
        return Credentials.from_object(secret, read_secret(self._client, namespace, secret, FIELD))

    def _kept_files(self, digest: str, origin: str) -> KeptFiles:
        return KeptFiles(self._artifacts.uri(copies.key(digest)), digest, origin)

    def _holds(self, digest: str) -> bool:
        if digest in self._stored:
            return True
        found = self._artifacts.exists(copies.key(digest))
        if found:
            self._note(digest)
        return found

    def _note(self, digest: str) -> None:
        with self._lock:
            self._stored[digest] = None
            while len(self._stored) > _STORED:
                self._stored.popitem(last=False)

    def _kept_directory(self, files: KeptFiles) -> Directory:
        with self._artifacts.open(files.uri) as body:
            return copies.read_directory(body)

    def _upload(self, digest: str, content: copies.Content) -> None:
        if self._holds(digest):
            return
        with TemporaryDirectory(prefix="modelyard-project-") as scratch:
            packed = Path(scratch) / "project.tar.gz"
            with packed.open("wb") as file:
                copies.pack(content, file)
            with suppress(AlreadyExists):
                self._artifacts.put_file_if_absent(copies.key(digest), packed)
        self._note(digest)

    @property
    def _artifacts(self) -> ArtifactStore:
        if self._store is None:
            raise SourceUnreachable("there is no artifact store to keep the project's files in")
        return self._store


def read_secret(client: Client, namespace: str, name: str, where: str) -> Mapping[str, Any]:
    """Return a Secret as the API server shows it; `where` names the field that refers to it.

    Raises `SourceNotFound`; `ApiError` where the API server does not answer.
    """
    try:
        body = client.find(SECRETS, namespace, name)
    except ApiError as error:
        if error.code != 403:
            raise
        raise SourceNotFound(
            f"{where}: the operator may not read Secret {name}: the chart's training.projects.secretNames lists"
            " those that it may"
        ) from error
    if body is None:
        raise SourceNotFound(f"{where}: there is no Secret {name} in namespace {namespace}")
    return body


def _of_git(files: GitFiles, branch: str | None) -> Pinned:
    url = shown(files.url)
    where = f"#{files.path.strip('/')}" if files.path.strip("/") not in ("", ".") else ""
    tags = {
        "mlflow.source.name": f"{url}{where}",
        "mlflow.source.git.commit": files.commit,
        "mlflow.source.git.repoURL": url,
        **({"mlflow.source.git.branch": branch} if branch else {}),
    }
    return Pinned(files.commit, files, files.commit, tags)


def _of_kept(files: KeptFiles, directory: Directory | None = None, content: copies.Content | None = None) -> Pinned:
    return Pinned(files.digest, files, None, {"mlflow.source.name": files.origin}, directory, to_keep=content)


def _of_image(files: ImageFiles) -> Pinned:
    name = f"image:{files.path}"
    return Pinned(name, files, None, {"mlflow.source.name": name})


def _problem(error: SourceError | ArtifactError) -> Problem:
    if isinstance(error, SourceNotFound | ArtifactMissing):
        return Problem(Reason.PROJECT_NOT_FOUND, str(error))
    return Problem(Reason.PROJECT_UNREACHABLE, str(error), transient=True)


class _Memory:
    """What was read of projects, the latest of it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: OrderedDict[Hashable, Directory] = OrderedDict()
        self._size = 0

    def get(self, name: Hashable) -> Directory | None:
        with self._lock:
            if name in self._found:
                self._found.move_to_end(name)
            return self._found.get(name)

    def put(self, name: Hashable, directory: Directory) -> None:
        with self._lock:
            if name in self._found:
                return
            self._found[name] = directory
            self._size += _size(directory)
            while self._size > _REMEMBERED and len(self._found) > 1:
                self._size -= _size(self._found.popitem(last=False)[1])


def _size(directory: Directory) -> int:
    return sum(len(path) + 64 for path in directory.paths) + sum(map(len, directory.texts.values()))
