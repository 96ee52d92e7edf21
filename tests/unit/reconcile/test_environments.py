"""Environments are made once for each content and image, and nothing that a Job says of them is believed unread."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from modelyard.api.experiment import Experiment
from modelyard.api.project_files import Directory, ImageFiles, KeptFiles
from modelyard.api.reasons import Reason
from modelyard.cluster.resources import EVENTS, JOBS, PODS, SECRETS
from modelyard.decide.environment import ARCHIVE, LOCK, REPORT
from modelyard.decide.experiment_model import Problem
from modelyard.decide.jobs import JOB_NAME_LABEL
from modelyard.desired.environment import SECRET
from modelyard.desired.reader import READER_SECRET
from modelyard.projects.mlproject import Environment, EnvironmentKind
from modelyard.reconcile.environments import Environments, Ready, Waiting
from modelyard.settings import EnvironmentSettings, Settings
from modelyard_environments.lock import FIRST_LINE
from modelyard_environments.recipe import LOCK as LOCK_KIND
from modelyard_environments.recipe import Recipe
from tests.fakes import artifacts
from tests.fakes.cluster import FakeClient

Json = dict[str, Any]
NAMESPACE, IMAGE = "ml", "training:1"
FILES = KeptFiles("s3://models/team/projects/x.tar.gz", "x", "configmap:x")
CONDA = "dependencies: [python=3.10, pip, {pip: [numpy]}]\n"
DIRECTORY = Directory(frozenset({"MLproject", "conda.yaml"}), {"MLproject": "", "conda.yaml": CONDA})
WANTED = Environment(EnvironmentKind.CONDA, file="conda.yaml")
LOCK_TEXT = f"{FIRST_LINE}\n# python: 3.12.8\nnumpy==2.0\n".encode()
SETTINGS = Settings.from_environment(
    {
        "MODELYARD_TRACKING_URI": "http://tracking:5000",
        "MODELYARD_ARTIFACT_STORE": artifacts.SETTINGS.artifact_store,
        "MODELYARD_SERVING_IMAGE": "serving:1",
        "MODELYARD_TRAINING_IMAGE": IMAGE,
        "MODELYARD_OPERATOR_IMAGE": "operator:1",
        "MODELYARD_READER_ACCESS_KEY_ID": "reader",
        "MODELYARD_READER_SECRET_ACCESS_KEY": "word",
    }
)


class World:
    """A namespace and a bucket. `environments` is the operator's, just started."""

    def __init__(self, bucket: artifacts.Bucket) -> None:
        self.now = datetime(2026, 5, 1, 12, tzinfo=UTC)
        self.bucket = bucket
        self.client = FakeClient(clock=lambda: self.now)
        self.settings = SETTINGS
        self.restart()

    def restart(self) -> None:
        self.environments = Environments(self.client, self.bucket.store(), self.settings, lambda: self.now)

    def ensure(self, name: str = "one", namespace: str = NAMESPACE, **given: Any) -> Ready | Waiting | Problem:
        metadata = {"name": name, "namespace": namespace, "uid": f"uid-{name}"}
        spec = given.pop("spec", {"project": {"configMap": {"name": "x"}}})
        experiment = Experiment.parse({"metadata": metadata, "spec": spec})
        arguments: Json = {"files": FILES, "directory": DIRECTORY, "environment": WANTED, "image": IMAGE, **given}
        return self.environments.ensure(experiment, **arguments)

    def ready(self, **given: Any) -> Ready:
        found = self.ensure(**given)
        assert isinstance(found, Ready), found
        return found

    @property
    def jobs(self) -> list[Json]:
        return self.client.list_all(JOBS)

    @property
    def job(self) -> Json:
        (job,) = self.jobs
        return job

    def key(self, job: Json) -> str:
        command = job["spec"]["template"]["spec"]["containers"][0]["command"]
        return str(command[command.index("upload") + 1])

    def put(self, key: str, name: str, data: bytes) -> Json:
        self.bucket.put(f"s3://models/team/environments/{key}/{name}", data)
        return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}

    def upload(self, job: Json, **other: Any) -> str:
        """Do as the Job does; return its key."""
        key = self.key(job)
        report: Json = {
            "schemaVersion": 1,
            "key": key,
            "python": "3.12.8",
            "packages": 1,
            "message": "built",
            "lock": self.put(key, LOCK, LOCK_TEXT),
            "archive": self.put(key, ARCHIVE, b"archive"),
            **other,
        }
        self.put(key, REPORT, json.dumps(report).encode())
        return key

    def end(self, job: Json, condition: str = "Complete") -> None:
        self.now += timedelta(seconds=30)
        said = {"type": condition, "status": "True", "lastTransitionTime": self.now.isoformat()}
        self.client.replace_status(JOBS, {**job, "status": {"conditions": [said]}}, "test")

    def urls(self) -> set[str]:
        data = self.client.get(SECRETS, NAMESPACE, SECRET).get("data") or {}
        return set(data)


@pytest.fixture
def world() -> Iterator[World]:
    with artifacts.bucket() as bucket:
        yield World(bucket)


def test_is_made_by_one_job_and_then_known_to_every_experiment_of_the_namespace(world: World) -> None:
    first = world.ensure()
    assert isinstance(first, Waiting)
    assert world.job["metadata"]["name"] in first.message
    assert isinstance(world.ensure("two"), Waiting)
    assert world.client.find(SECRETS, NAMESPACE, READER_SECRET)
    assert world.urls() == {f"{world.job['metadata']['name']}.{part}" for part in ("report", "archive", "lock")}
    key = world.upload(world.job)
    world.end(world.job)
    made = world.ready().environment
    assert made.archive == f"s3://models/team/environments/{key}/{ARCHIVE}"
    assert made.digest == f"sha256:{hashlib.sha256(b'archive').hexdigest()}"
    assert made.lock == f"sha256:{hashlib.sha256(LOCK_TEXT).hexdigest()}"
    assert (made.key, made.image, made.packages, made.message) == (key, IMAGE, 1, "built")
    # The Job can no longer write.
    assert world.urls() == set()
    assert world.ready(name="two").environment == made


def test_costs_nothing_when_it_is_known_and_survives_the_operator_and_the_job(world: World) -> None:
    world.ensure()
    world.upload(world.job)
    world.end(world.job)
    made = world.ready()
    world.client.requests.clear()
    world.bucket.requests.clear()
    assert world.ready() == made
    assert (world.client.requests, world.bucket.requests) == ([], [])
    world.client.delete(JOBS, NAMESPACE, world.job["metadata"]["name"])
    world.restart()
    assert world.ready() == made
    assert world.client.writes[1:] == []


def test_what_a_job_left_counts_that_was_removed_before_anybody_looked(world: World) -> None:
    world.ensure()
    world.upload(world.job)
    world.client.delete(JOBS, NAMESPACE, world.job["metadata"]["name"])
    assert world.ready().environment.packages == 1
    assert world.jobs == []


def test_another_content_image_or_namespace_has_a_job_of_its_own(world: World) -> None:
    other = Directory(DIRECTORY.paths, {**DIRECTORY.texts, "conda.yaml": CONDA.replace("numpy", "pandas")})
    unrelated = Directory(DIRECTORY.paths | {"a.txt"}, {**DIRECTORY.texts, "a.txt": "another"})
    for given in ({}, {"directory": unrelated}, {"directory": other}, {"image": "training:2"}, {"namespace": "b"}):
        assert isinstance(world.ensure(**given), Waiting)
    assert len(world.jobs) == 4
    assert len({world.key(job) for job in world.jobs}) == 4


@pytest.mark.parametrize(
    ("report", "says"),
    [
        ({"key": "0" * 24}, "is of the environment"),
        ({"schemaVersion": 2}, "schema version 2"),
        ({"packages": "many"}, "cannot be read: packages"),
        ({"archive": {"sha256": "0" * 64, "bytes": 7}}, f"{ARCHIVE} is sha256:"),
        ({"lock": {"sha256": "0" * 64, "bytes": 7}}, f"{LOCK} is sha256:"),
    ],
)
def test_what_a_job_says_and_is_not_so_is_not_used(world: World, report: Json, says: str) -> None:
    world.ensure()
    world.upload(world.job, **report)
    world.end(world.job)
    found = world.ensure()
    assert isinstance(found, Problem)
    assert found.reason == Reason.ENVIRONMENT_FAILED
    assert says in found.message
    assert world.urls() == set()


def test_a_job_that_leaves_nothing_is_a_failure(world: World) -> None:
    world.ensure()
    world.end(world.job)
    found = world.ensure()
    assert isinstance(found, Problem)
    assert "without leaving" in found.message


def test_a_failed_job_is_told_in_its_own_words(world: World) -> None:
    world.ensure()
    job = world.job
    words = "installing its packages failed: error: there is no version of numpy==99"
    ended = {"name": "build", "state": {"terminated": {"exitCode": 1, "reason": "Error", "message": f"{words}\n"}}}
    name = job["metadata"]["name"]
    pod = {"metadata": {"name": "p", "namespace": NAMESPACE, "labels": {JOB_NAME_LABEL: name}}}
    made = world.client.create(PODS, NAMESPACE, pod, "test")
    world.client.replace_status(PODS, {**made, "status": {"initContainerStatuses": [ended]}}, "test")
    world.end(job, "Failed")
    found = world.ensure()
    assert found == Problem(Reason.ENVIRONMENT_FAILED, words)
    assert len(world.jobs) == 1
    before = list(world.client.writes)
    assert world.ensure() == found
    assert world.client.writes == before


def test_a_job_whose_pod_is_refused_says_why(world: World) -> None:
    world.ensure()
    name = world.job["metadata"]["name"]
    world.now += timedelta(seconds=30)
    refused = {
        "metadata": {"name": "e", "namespace": NAMESPACE},
        "regarding": {"kind": "Job", "name": name},
        "reason": "FailedCreate",
        "type": "Warning",
        "note": f'Error creating: pods "{name}-x" is forbidden: failed quota: must specify limits.memory',
    }
    world.client.create(EVENTS, NAMESPACE, refused, "test")
    found = world.ensure()
    assert isinstance(found, Waiting)
    assert "its pod cannot be made: forbidden: failed quota: must specify limits.memory" in found.message


def test_a_later_execution_tries_again_and_the_same_one_does_not(world: World) -> None:
    start = world.now
    world.ensure(since=start)
    world.end(world.job, "Failed")
    assert isinstance(world.ensure(since=start), Problem)
    world.now += timedelta(seconds=5)
    later = world.now
    assert isinstance(world.ensure(since=later), Waiting)
    assert world.jobs == []
    assert isinstance(world.ensure(since=later), Waiting)
    assert len(world.jobs) == 1
    world.end(world.job, "Failed")
    assert isinstance(world.ensure(since=later), Problem)
    assert world.urls() == set()


def test_an_archive_that_somebody_removed_is_built_again(world: World) -> None:
    world.ensure()
    key = world.upload(world.job)
    world.end(world.job)
    world.ready()
    world.client.delete(JOBS, NAMESPACE, world.job["metadata"]["name"])
    world.bucket.delete(f"s3://models/team/environments/{key}/{ARCHIVE}")
    world.bucket.delete(f"s3://models/team/environments/{key}/{REPORT}")
    world.restart()
    assert isinstance(world.ensure(), Waiting)
    assert len(world.jobs) == 1


def test_a_project_in_the_image_is_read_there_first(world: World) -> None:
    given: Json = {"files": ImageFiles("/opt/project"), "directory": None, "environment": None}
    assert isinstance(world.ensure(**given), Waiting)
    said = {"paths": ["MLproject"], "texts": {"MLproject": "name: baked"}}
    world.upload(world.job, directory=said, archive=None)
    world.end(world.job)
    found = world.ready(**given)
    assert found.directory == Directory(frozenset({"MLproject"}), {"MLproject": "name: baked"})
    assert found.environment.archive is None
    world.restart()
    assert world.ready(**given) == found


def test_a_job_that_does_not_tell_the_image_s_project_is_not_believed(world: World) -> None:
    given: Json = {"files": ImageFiles("/opt/project"), "directory": None, "environment": None}
    world.ensure(**given)
    world.upload(world.job)
    world.end(world.job)
    found = world.ensure(**given)
    assert isinstance(found, Problem)
    assert "does not say what is in /opt/project" in found.message


def test_a_run_of_before_is_run_again_with_its_environment_as_long_as_that_is_there(world: World) -> None:
    world.ensure()
    key = world.upload(world.job)
    world.end(world.job)
    before = world.ready().environment
    changed = Directory(DIRECTORY.paths, {"conda.yaml": CONDA.replace("numpy", "pandas")})
    assert world.ready(directory=changed, again=before).environment == before
    world.bucket.delete(before.archive or "")
    world.client.delete(JOBS, NAMESPACE, world.job["metadata"]["name"])
    assert isinstance(world.ensure(directory=changed, again=before), Waiting)
    recipe = Recipe.from_json(
        world.bucket.store().get(f"environments/{world.key(world.job)}/recipe.json").data.decode()
    )
    assert (recipe.kind, recipe.files["lock"]) == (LOCK_KIND, LOCK_TEXT.decode())
    assert key in recipe.origin


def test_another_lock_than_the_runs_is_refused(world: World) -> None:
    world.ensure()
    world.upload(world.job)
    world.end(world.job)
    before = replace(world.ready().environment, lock=f"sha256:{'0' * 64}", image="training:0")
    found = world.ensure(again=before)
    assert isinstance(found, Problem)
    assert "is not the lock" in found.message


def test_where_environments_are_turned_off_no_job_is_made(world: World) -> None:
    world.settings = replace(SETTINGS, environments=EnvironmentSettings(enabled=False))
    world.restart()
    made = world.ready().environment
    assert made.archive is None
    assert "turned off" in made.message
    assert world.jobs == []


def test_an_experiment_that_uses_the_image_shares_what_is_known_of_it(world: World) -> None:
    image = {"project": {"configMap": {"name": "x"}}, "environment": "Image"}
    world.ensure(spec=image)
    assert isinstance(world.ensure(environment=None), Waiting)
    assert len(world.jobs) == 1


def test_a_file_that_cannot_be_understood_is_the_projects_problem(world: World) -> None:
    found = world.ensure(directory=Directory(frozenset({"conda.yaml"}), {"conda.yaml": "[]"}))
    assert found == Problem(Reason.PROJECT_INVALID, "conda.yaml must be a mapping, not list")
    assert world.jobs == []


def test_a_store_that_does_not_answer_is_waited_for(world: World) -> None:
    world.bucket.s3.delete_bucket(Bucket=artifacts.SETTINGS.bucket)
    found = world.ensure()
    assert isinstance(found, Problem)
    assert (found.reason, found.transient) == (Reason.ARTIFACT_STORE_UNREACHABLE, True)
