"""The Job exactly as the operator makes it, its containers run as processes, with a real MinIO."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from modelyard.api.experiment import Experiment
from modelyard.api.project_files import Directory, ImageFiles, KeptFiles, ProjectFiles, TrialEnvironment
from modelyard.artifacts.store import ArtifactStore
from modelyard.cluster.resources import JOBS, SECRETS
from modelyard.desired.environment import ACTIVATE, entering
from modelyard.projects.mlproject import Environment, EnvironmentKind
from modelyard.reconcile.environments import Environments, Ready, Waiting
from modelyard.settings import EnvironmentSettings, Settings
from modelyard_environments import lock
from tests.fakes.cluster import FakeClient
from tests.unit.environments.world import REPOSITORY, conda_package, conda_python, index, indexed, served
from tests.unit.serving.fetch.minio import BUCKET, REGION, MinioStore, run_minio

Json = dict[str, Any]
NAMESPACE = "ml"
IMAGE = "training:1"

pytestmark = pytest.mark.timeout(300)


@dataclass(frozen=True)
class Images:
    """As desired/experiment.py has them."""

    fetch: str = "operator:1"
    pull_policy: str = "IfNotPresent"


class World:
    """A namespace, a store, and pods that are processes with their volumes below `top`."""

    def __init__(self, top: Path, minio: MinioStore, url: str) -> None:
        self.top = top
        self.path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        """Of the trial's image."""
        self.client = FakeClient()
        settings = Settings.from_environment(
            {
                "MODELYARD_TRACKING_URI": "http://tracking:5000",
                "MODELYARD_ARTIFACT_STORE": f"s3://{BUCKET}/{top.name}",
                "MODELYARD_S3_ENDPOINT": minio.endpoint,
                "MODELYARD_SERVING_IMAGE": "serving:1",
                "MODELYARD_TRAINING_IMAGE": IMAGE,
                "MODELYARD_OPERATOR_IMAGE": "operator:1",
                "MODELYARD_READER_ACCESS_KEY_ID": minio.access_key,
                "MODELYARD_READER_SECRET_ACCESS_KEY": minio.secret_key,
            }
        )
        made = EnvironmentSettings(index_url=f"{url}/simple", channel_alias=f"{url}/conda", deadline_seconds=240)
        s3 = boto3.client(
            "s3",
            endpoint_url=minio.endpoint,
            aws_access_key_id=minio.access_key,
            aws_secret_access_key=minio.secret_key,
            region_name=REGION,
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
        )
        self.settings = replace(settings, environments=made)
        store = ArtifactStore(self.settings, client=s3)
        self.store = store
        self.environments = Environments(self.client, store, self.settings, lambda: datetime.now(UTC))

    def ensure(self, files: ProjectFiles, directory: Directory | None, wanted: Environment | None, **given: Any) -> Any:
        body = {"metadata": {"name": "x", "namespace": NAMESPACE, "uid": "u"}}
        experiment = Experiment.parse({**body, "spec": {"project": {"configMap": {"name": "x"}}}})
        return self.environments.ensure(experiment, files, directory, wanted, IMAGE, **given)

    def make(self, files: ProjectFiles, directory: Directory | None, wanted: Environment | None, **given: Any) -> Ready:
        """Ask, do as the Job does, and ask again."""
        assert isinstance(self.ensure(files, directory, wanted, **given), Waiting)
        (job,) = self.client.list_all(JOBS, NAMESPACE)
        pod = job["spec"]["template"]["spec"]
        volumes = self.top / job["metadata"]["name"]
        for container in (*pod["initContainers"], *pod["containers"]):
            done = self.run(container, volumes)
            assert done.returncode == 0, f"{container['name']}: {done.stdout}{done.stderr}"
        said = {"conditions": [{"type": "Complete", "status": "True", "lastTransitionTime": "2026-05-01T12:00:00Z"}]}
        self.client.replace_status(JOBS, {**job, "status": said}, "test")
        found = self.ensure(files, directory, wanted, **given)
        assert isinstance(found, Ready), found
        self.client.delete(JOBS, NAMESPACE, job["metadata"]["name"])
        return found

    def run(self, container: Json, volumes: Path) -> subprocess.CompletedProcess[str]:
        places = {each["mountPath"]: volumes / each["mountPath"].strip("/") for each in container["volumeMounts"]}
        for place in places.values():
            place.mkdir(parents=True, exist_ok=True)

        def local(text: str) -> str:
            # A path is an argument, or begins or ends a word of the script.
            for path, place in places.items():
                text = re.sub(rf"(?<![\w.]){path}(?=$|[/;\s])", str(place), text) if path != "/tmp" else text
            return text

        command = [local(each) for each in container["command"]]
        command[0] = sys.executable if command[0] == "python" else command[0]
        return subprocess.run(
            command, env=self._env(container, places), capture_output=True, text=True, check=False, timeout=240
        )

    def _env(self, container: Json, places: Mapping[str, Path]) -> dict[str, str]:
        env = {"PATH": self.path}
        if container["image"] != IMAGE:
            env["PATH"] = os.environ["PATH"]
            env["PYTHONPATH"] = f"{REPOSITORY / 'operator'}:{REPOSITORY / 'environments'}"
        for each in container["env"]:
            env[each["name"]] = each["value"] if "value" in each else self._secret(**each["valueFrom"]["secretKeyRef"])
        for source in container.get("envFrom", []):
            data = self.client.get(SECRETS, NAMESPACE, source["secretRef"]["name"])["data"]
            env |= {name: b64decode(value).decode() for name, value in data.items()}
        return {**env, "HOME": str(places["/environment"].parent)}

    def _secret(self, name: str, key: str) -> str:
        return b64decode(self.client.get(SECRETS, NAMESPACE, name)["data"][key]).decode()

    def program(self, environment: TrialEnvironment, command: str) -> str:
        """What a trial's command says, after its init container."""
        entered = entering(environment, Images())
        volumes = self.top / "trial"
        for container in entered.init_containers:
            done = self.run(container, volumes)
            assert done.returncode == 0, done.stderr
        place = volumes / "environment"
        # Where it was built is where it is used, in a cluster; here the one is moved to the other.
        script = place / ACTIVATE.removeprefix("/environment/")
        env = {"PATH": os.environ["PATH"], "BASH_ENV": str(script)}
        done = subprocess.run(["bash", "-c", command], env=env, capture_output=True, text=True, check=False, timeout=60)
        return (done.stdout + done.stderr).strip()


@pytest.fixture(scope="module")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioStore]:
    with run_minio(tmp_path_factory.mktemp("minio")) as store:
        yield store


@pytest.fixture
def world(tmp_path: Path, minio: MinioStore) -> Iterator[World]:
    index(tmp_path / "web")
    channel = tmp_path / "web" / "conda" / "forge"
    conda_python(channel)
    conda_package(channel, "hello", "1.0", {"bin/hello": "#!/bin/sh\necho hello of conda\n"})
    indexed(channel)
    with served(tmp_path / "web") as url:
        yield World(tmp_path, minio, url)


def test_from_a_conda_file_to_a_program_that_has_its_libraries(world: World) -> None:
    text = "channels: [forge]\ndependencies: [python, hello, {pip: [-r r.txt]}]\n"
    directory = Directory(frozenset({"conda.yaml", "r.txt"}), {"conda.yaml": text, "r.txt": "pear\napple<2\n"})
    files = KeptFiles("s3://x/y.tar.gz", "y", "configmap:x")
    wanted = Environment(EnvironmentKind.CONDA, file="conda.yaml")
    made = world.make(files, directory, wanted).environment
    assert made.packages == 4
    assert made.message == ""
    text = world.store.get(made.lock_uri.removeprefix(f"{world.settings.artifact_store}/")).data.decode()
    assert any(each.startswith("apple==1.0 --hash=sha256:") for each in lock.read(text).packages)
    assert len(lock.read(text).conda) == 2
    assert world.program(made, "hello") == "hello of conda"
    assert world.ensure(files, directory, wanted) == Ready(made, directory)


def test_a_project_in_an_image_is_read_by_the_job(world: World, tmp_path: Path) -> None:
    project = tmp_path / "opt" / "project"
    project.mkdir(parents=True)
    (project / "MLproject").write_text("name: baked in\n")
    found = world.make(ImageFiles(str(project)), None, None)
    assert found.directory == Directory(frozenset({"MLproject"}), {"MLproject": "name: baked in\n"})
    assert found.environment.archive is None
    assert found.environment.packages > 50
    assert entering(found.environment, Images()).init_containers == ()


def without_python(world: World) -> None:
    programs = world.top / "programs"
    programs.mkdir()
    (programs / "sh").symlink_to("/bin/sh")
    (programs / "python3").write_text("#!/bin/sh\nexit 1  # older than is wanted\n")
    (programs / "python3").chmod(0o755)
    world.path = str(programs)


def test_an_image_without_a_python_has_no_lock_and_is_used_all_the_same(world: World) -> None:
    without_python(world)
    files = KeptFiles("s3://x/y.tar.gz", "y", "configmap:x")
    made = world.make(files, Directory(frozenset()), None).environment
    assert (made.archive, made.lock, made.packages) == (None, "", 0)
    assert made.message == "the image has no Python from 3.9 on: its packages are not known"


def test_an_environment_cannot_be_made_in_an_image_without_a_python(world: World) -> None:
    without_python(world)
    directory = Directory(frozenset({"python_env.yaml"}), {"python_env.yaml": "dependencies: [apple]\n"})
    files = KeptFiles("s3://x/y.tar.gz", "y", "configmap:x")
    with pytest.raises(AssertionError, match=r"with which the environment of python_env\.yaml could be made in it"):
        world.make(files, directory, Environment(EnvironmentKind.PYTHON, file="python_env.yaml"))


def test_other_bytes_than_were_recorded_are_not_entered(world: World) -> None:
    directory = Directory(frozenset({"python_env.yaml"}), {"python_env.yaml": "dependencies: [apple==1.0]\n"})
    files = KeptFiles("s3://x/y.tar.gz", "y", "configmap:x")
    made = world.make(files, directory, Environment(EnvironmentKind.PYTHON, file="python_env.yaml")).environment
    assert made.archive
    world.store.put(made.archive.removeprefix(f"{world.settings.artifact_store}/"), b"something else")
    (container,) = entering(made, Images()).init_containers
    done = world.run(container, world.top / "trial")
    assert done.returncode == 1
    assert f"not {made.digest}" in done.stderr
