from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from modelyard.api.experiment import Experiment
from modelyard.api.project_files import Directory, GitFiles, ImageFiles, KeptFiles, ProjectFiles, to_json
from modelyard.api.reasons import Reason
from modelyard.artifacts.store import Keys
from modelyard.cluster.client import ApiError
from modelyard.cluster.resources import CONFIG_MAPS, SECRETS
from modelyard.decide.experiment_model import PROJECT_TAG, Problem, Run
from modelyard.reconcile.experiment_source import Pinned, ProjectSources
from modelyard.settings import Settings
from modelyard.sources import keep as copies
from modelyard.sources.errors import SourceUnreachable
from modelyard.sources.s3 import S3Project
from modelyard.tracking.client import TrackingUnreachable
from tests.fakes.artifacts import SETTINGS as STORE
from tests.fakes.artifacts import Bucket, bucket
from tests.fakes.cluster import FakeClient
from tests.unit.sources.gitserver import Repository, over_http

SETTINGS = Settings(
    **{name: getattr(STORE, name) for name in ("artifact_store", "s3_endpoint", "s3_region", "git_managers")},
    tracking_uri="http://tracking:5000",
    reader_access_key="reader",
    reader_secret_key="reader-secret",
    serving_image="serving",
    training_image="training",
    operator_image="operator",
    image_pull_policy="Always",
    watch_namespaces=(),
)
FILES = {"MLproject": "name: churn", "train.py": "print(1)", "python_env.yaml": "python: '3.12'"}
RUN = "0" * 31 + "1"


def experiment(project: dict[str, Any]) -> Experiment:
    metadata = {"name": "churn", "namespace": "ml", "uid": "1", "generation": 1}
    body = {"apiVersion": "modelyard.dev/v1alpha1", "kind": "Experiment", "metadata": metadata}
    return Experiment.parse({**body, "spec": {"project": project}})


class World:
    """An API server, an artifact store and the runs of a tracking server."""

    def __init__(self, store: Bucket) -> None:
        self.bucket = store
        self.client = FakeClient()
        self.runs: dict[str, Run] = {}
        self.sources = ProjectSources(self.client, store.store(), self.runs.get, None, SETTINGS)

    def put(self, kind: str, name: str, data: dict[str, str]) -> None:
        metadata = {"name": name, "namespace": "ml"}
        self.client.apply(CONFIG_MAPS, {"apiVersion": "v1", "kind": kind, "metadata": metadata, "data": data}, "user")

    def pin(self, project: dict[str, Any], content: str | None = None) -> Pinned:
        pinned = self.sources.pin(experiment(project), content)
        assert isinstance(pinned, Pinned), pinned
        return pinned

    def kept(self, project: dict[str, Any]) -> Pinned:
        pinned = self.sources.keep(self.pin(project))
        assert isinstance(pinned, Pinned), pinned
        return pinned

    def problem(self, project: dict[str, Any]) -> Problem:
        found = self.sources.pin(experiment(project))
        assert isinstance(found, Problem)
        return found


@pytest.fixture
def world() -> Iterator[World]:
    with bucket() as made:
        yield World(made)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


CONFIG_MAP = {"configMap": {"name": "churn"}}


def test_a_branch_is_resolved_once_an_execution(world: World, repository: Repository) -> None:
    first = repository.commit(FILES)
    with over_http(repository) as url:
        project = {"git": {"url": url, "revision": "main", "path": "."}}
        pinned = world.pin(project)
        assert (pinned.content, pinned.commit) == (first, first)
        assert pinned.files == GitFiles(url, first, ".", submodules=True)
        assert pinned.tags == {
            "mlflow.source.name": url,
            "mlflow.source.git.commit": first,
            "mlflow.source.git.repoURL": url,
            "mlflow.source.git.branch": "main",
        }
        second = repository.commit({"train.py": "print(2)"})
        assert world.pin(project, first).commit == first
        assert world.pin(project).commit == second


def test_a_pinned_commit_asks_nobody(world: World) -> None:
    pinned = world.pin({"git": {"url": "https://127.0.0.1:1/x.git", "path": "a/b"}}, "a" * 40)
    assert pinned.tags["mlflow.source.name"] == "https://127.0.0.1:1/x.git#a/b"
    assert world.client.requests == []


def test_what_was_read_of_a_commit_is_remembered(world: World, repository: Repository) -> None:
    commit = repository.commit(FILES)
    with over_http(repository) as url:
        pinned = world.pin({"git": {"url": url}})
        found = world.sources.directory(pinned)
    assert found == Directory(frozenset(FILES), {name: FILES[name] for name in ("MLproject", "python_env.yaml")})
    assert world.sources.directory(world.pin({"git": {"url": url}}, commit)) == found


def test_a_config_map_is_kept_once_and_an_edit_harms_nothing(world: World) -> None:
    world.put("ConfigMap", "churn", FILES)
    pinned = world.kept(CONFIG_MAP)
    assert isinstance(pinned.files, KeptFiles)
    assert pinned.files.uri == f"s3://models/team/projects/{pinned.content}.tar.gz"
    assert (pinned.files.origin, pinned.commit) == ("configmap:churn", None)
    assert pinned.tags == {"mlflow.source.name": "configmap:churn"}
    world.put("ConfigMap", "churn", {**FILES, "train.py": "print(2)"})
    same = world.pin(CONFIG_MAP, pinned.content)
    assert (same.files, world.sources.directory(same)) == (pinned.files, pinned.directory)
    assert world.pin(CONFIG_MAP).content != pinned.content
    world.bucket.requests.clear()
    world.kept(CONFIG_MAP)
    world.kept(CONFIG_MAP)
    assert world.bucket.requests.count("PutObject") == 1


def test_content_that_was_fixed_but_never_kept_is_taken_anew(world: World) -> None:
    world.put("ConfigMap", "churn", FILES)
    pinned = world.pin(CONFIG_MAP)
    assert world.kept(CONFIG_MAP).content == pinned.content
    assert world.pin(CONFIG_MAP, "f" * 64).content == pinned.content


def test_an_image_is_read_by_its_pods_alone(world: World) -> None:
    pinned = world.kept({"image": {"path": "/opt/churn"}})
    assert pinned == Pinned(
        "image:/opt/churn", ImageFiles("/opt/churn"), None, {"mlflow.source.name": "image:/opt/churn"}, namespace="ml"
    )
    assert world.sources.directory(pinned) is None


def test_a_run_names_what_it_ran(world: World) -> None:
    world.put("ConfigMap", "churn", FILES)
    kept = world.kept(CONFIG_MAP)
    cases: list[ProjectFiles] = [
        GitFiles("https://git.example/churn.git", "a" * 40, "sub", submodules=False, secret="deploy"),
        ImageFiles("/opt/churn"),
        kept.files,
    ]
    for files in cases:
        world.runs[RUN] = Run(RUN, tags={PROJECT_TAG: to_json(files)})
        assert world.pin({"run": {"id": RUN}}).files == files


def test_a_runs_tag_cannot_name_other_objects_of_the_store(world: World) -> None:
    world.put("ConfigMap", "churn", FILES)
    digest = world.kept(CONFIG_MAP).content
    world.runs[RUN] = Run(RUN, tags={PROJECT_TAG: to_json(KeptFiles("s3://models/secret.tar.gz", digest, "x"))})
    files = world.pin({"run": {"id": RUN}}).files
    assert isinstance(files, KeptFiles)
    assert files.uri == f"s3://models/team/projects/{digest}.tar.gz"


@pytest.mark.parametrize(
    ("project", "said"),
    [
        (CONFIG_MAP, "spec.project.configMap.name: there is no ConfigMap churn in namespace ml"),
        ({"run": {"id": RUN}}, "spec.project.run.id: the tracking server has no run"),
        ({"git": {"url": "https://git.example/x.git", "secretRef": {"name": "key"}}}, "there is no Secret key"),
        (
            {"git": {"url": "ssh://git@git.example/x.git"}},
            "needs a key: spec.project.git.secretRef is to name a Secret",
        ),
    ],
)
def test_what_is_not_there_is_named_with_its_field(world: World, project: dict[str, Any], said: str) -> None:
    problem = world.problem(project)
    assert (problem.reason, problem.transient) == (Reason.PROJECT_NOT_FOUND, False)
    assert said in problem.message


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({}, "was not made by an Experiment"),
        ({PROJECT_TAG: "{}"}, "does not name a project's files"),
        ({PROJECT_TAG: to_json(KeptFiles("s3://a/b", "f" * 64, "configmap:x"))}, "configmap:x, are not kept any more"),
    ],
)
def test_a_run_that_cannot_be_run_again_says_why(world: World, tags: dict[str, str], said: str) -> None:
    world.runs[RUN] = Run(RUN, tags=tags)
    assert said in world.problem({"run": {"id": RUN}}).message


def test_a_server_that_does_not_answer_is_tried_again(world: World) -> None:
    problem = world.problem({"git": {"url": "http://127.0.0.1:1/x.git", "revision": "main"}})
    assert (problem.reason, problem.transient) == (Reason.PROJECT_UNREACHABLE, True)


def test_a_secret_that_the_operator_may_not_read_is_told_with_the_charts_setting() -> None:
    def forbid(_: str, path: str) -> None:
        raise ApiError(403, "Forbidden", path)

    refusing: Callable[[str, str], None] = forbid
    sources = ProjectSources(FakeClient(refusing), None, lambda _: None, None, SETTINGS)
    found = sources.pin(experiment({"git": {"url": "https://git.example/x", "secretRef": {"name": "key"}}}))
    assert isinstance(found, Problem)
    assert "the operator may not read Secret key: the chart's training.projects.secretNames" in found.message


S3 = {"s3": {"uri": "s3://data/churn"}}


def put_in_s3(world: World, files: dict[str, str], prefix: str = "s3://data/churn") -> None:
    world.bucket.s3.create_bucket(Bucket="data")
    for name, text in files.items():
        world.bucket.put(f"{prefix}/{name}", text.encode())


def test_a_directory_in_s3_is_kept_when_it_is_fixed(world: World) -> None:
    put_in_s3(world, FILES)
    pinned = world.kept(S3)
    assert pinned.files == KeptFiles(
        f"s3://models/team/projects/{pinned.content}.tar.gz", pinned.content, "s3://data/churn"
    )
    assert pinned.tags == {"mlflow.source.name": "s3://data/churn"}
    assert pinned.directory is not None
    assert pinned.directory.paths == set(FILES)
    world.bucket.put("s3://data/churn/train.py", b"print(2)")
    fixed = world.pin(S3, pinned.content)
    assert (fixed.files, world.sources.directory(fixed)) == (pinned.files, pinned.directory)
    assert world.pin(S3).content != pinned.content


def test_what_is_as_it_was_in_s3_is_not_read_again(world: World) -> None:
    put_in_s3(world, FILES)
    seen: list[Path] = []
    first = world.pin(S3)
    with mock.patch.object(S3Project, "bring", side_effect=seen.append):
        assert world.pin(S3).files == first.files
    assert seen == []


@pytest.mark.parametrize(
    ("source", "reader", "keys"),
    [
        ({}, True, Keys("reader", "reader-secret")),
        ({}, False, None),
        ({"endpoint": "https://s3.example.com"}, True, Keys()),
        ({"secretRef": {"name": "modelyard-s3"}}, True, Keys("a", "b", "c")),
        ({"secretRef": {"name": "modelyard-s3"}, "endpoint": "https://s3.example.com"}, False, Keys("a", "b", "c")),
    ],
)
def test_s3_is_read_with_the_credentials_that_are_meant_for_it(
    source: dict[str, Any], reader: bool, keys: Keys | None
) -> None:
    client, used = FakeClient(), []
    data = {"AWS_ACCESS_KEY_ID": "YQ==", "AWS_SECRET_ACCESS_KEY": "Yg==", "AWS_SESSION_TOKEN": "Yw=="}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "modelyard-s3", "namespace": "ml"}}
    client.apply(SECRETS, {**secret, "data": data}, "user")
    settings = SETTINGS if reader else replace(SETTINGS, reader_access_key=None)

    def read(*arguments: Any) -> None:
        used.append(arguments[-1])
        raise SourceUnreachable("enough")

    with mock.patch("modelyard.reconcile.experiment_source.reading", read):
        sources = ProjectSources(client, None, lambda _: None, None, settings)
        found = sources.pin(experiment({"s3": {"uri": "s3://data/churn", **source}}))
    assert isinstance(found, Problem)
    assert used == ([keys] if keys else [])
    assert keys or "spec.project.s3.secretRef: name a Secret" in found.message


def test_files_that_a_run_has_as_its_artifact_are_taken_over_once(world: World) -> None:
    content = copies.in_memory({name: text.encode() for name, text in FILES.items()})
    packed = io.BytesIO()
    copies.pack(content, packed)
    world.bucket.put("s3://models/team/artifacts/7/run/artifacts/modelyard/project.tar.gz", packed.getvalue())
    tag = to_json(KeptFiles("mlflow-artifacts:/elsewhere", copies.digest(content), "mlflow run churn"))
    artifacts = "mlflow-artifacts:/7/run/artifacts"
    world.runs[RUN] = Run(RUN, artifact_uri=artifacts, tags={PROJECT_TAG: tag})
    pinned = world.kept({"run": {"id": RUN}})
    assert pinned.content == copies.digest(content)
    assert pinned.tags == {"mlflow.source.name": "mlflow run churn"}
    world.bucket.requests.clear()
    assert world.pin({"run": {"id": RUN}}).files == pinned.files
    assert world.bucket.requests == []


def test_a_tracking_server_that_does_not_answer_is_tried_again(world: World) -> None:
    def unreachable(_: str) -> None:
        raise TrackingUnreachable("UNREACHABLE", "no answer")

    sources = ProjectSources(world.client, world.bucket.store(), unreachable, None, SETTINGS)
    found = sources.pin(experiment({"run": {"id": RUN}}))
    assert found == Problem(Reason.TRACKING_SERVER_UNREACHABLE, "no answer", transient=True)
